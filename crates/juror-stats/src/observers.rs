//! Human ratings with observers who differ: quality, bias and inconsistency recovered together.
//!
//! The model of ITU-T P.910 (2022) and P.913: observer `i` rates video `j` as `u_ij = psi_j + delta_i + nu_i X`, with
//! quality `psi`, bias `delta` and inconsistency `nu`, `X` standard normal. Its maximum likelihood is found by alternating
//! projection (Li, Bampis, Krasula, Janowski, Katsavounidis 2020): biases, inconsistencies and qualities in turn until the
//! qualities rest. An observer without care counts by `1 / nu²`, so nobody has to be thrown out. Not every observer must
//! have rated every video.
//!
//! The likelihood has a hole: an observer whose ratings equal the qualities exactly would get all the weight (certain with
//! one rating). Inconsistencies are therefore kept at or above [`FLOOR`] times the overall residual spread.

use serde::Serialize;

use crate::error::StatsError;
use crate::interval::Interval;
use crate::scaling::Components;

/// Smallest inconsistency, as a share of the overall residual standard deviation.
pub const FLOOR: f64 = 0.1;

/// One rating.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// Index of the observer.
    pub observer: usize,
    /// Index of the video.
    pub video: usize,
    /// The rating, points.
    pub score: f64,
}

/// What ratings say of videos and observers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// Quality of each video, points; `None` for a video without ratings.
    pub quality: Vec<Option<f64>>,
    /// 95 % interval of each quality, `psi ± 1.96 / sqrt(sum 1 / nu²)`.
    pub ci95: Vec<Option<Interval>>,
    /// Plain mean of the ratings of each video (MOS), for comparison.
    pub mos: Vec<Option<f64>>,
    /// Bias of each observer, points, with mean 0 over the observers of a group; `None` without ratings.
    pub bias: Vec<Option<f64>>,
    /// Inconsistency of each observer, points, standard deviation; `None` without ratings.
    pub inconsistency: Vec<Option<f64>>,
    /// Groups of videos whose scores are comparable: joined by common observers. Biases cannot be told from quality
    /// across groups.
    pub groups: usize,
}

/// Recovers the qualities.
///
/// # Errors
/// No rating; an index out of range; a rating that is not finite; an iteration that does not come to rest.
pub fn recover(videos: usize, observers: usize, ratings: &[Rating]) -> Result<Recovery, StatsError> {
    const MAX_STEPS: usize = 10_000;
    const AT_REST: f64 = 1e-10;
    check(videos, observers, ratings)?;
    let groups = Components::new(videos + observers, ratings.iter().map(|r| (r.video, videos + r.observer)));

    let counts = |of: &dyn Fn(&Rating) -> usize, n: usize| {
        ratings.iter().fold(vec![0usize; n], |mut counts, r| {
            counts[of(r)] += 1;
            counts
        })
    };
    let (per_video, per_observer) = (counts(&|r| r.video, videos), counts(&|r| r.observer, observers));
    let mean = |of: &dyn Fn(&Rating) -> usize, value: &dyn Fn(&Rating) -> f64, counts: &[usize]| {
        let mut sums = vec![0.0; counts.len()];
        for r in ratings {
            sums[of(r)] += value(r);
        }
        sums.iter()
            .zip(counts)
            .map(|(sum, &n)| if n > 0 { sum / n as f64 } else { 0.0 })
            .collect::<Vec<f64>>()
    };
    let mos = mean(&|r| r.video, &|r| r.score, &per_video);

    let mut quality = mos.clone();
    let (mut bias, mut inconsistency) = (vec![0.0; observers], vec![1.0; observers]);
    let mut moved = f64::INFINITY;
    for _ in 0..MAX_STEPS {
        bias = mean(&|r| r.observer, &|r| r.score - quality[r.video], &per_observer);
        centre_biases(&mut bias, &per_observer, &groups, videos);
        let square = |r: &Rating| (r.score - quality[r.video] - bias[r.observer]).powi(2);
        let overall = (ratings.iter().map(square).sum::<f64>() / ratings.len() as f64).sqrt();
        // Where everybody agrees to the last digit any equal weights serve.
        let floor = if overall > 0.0 { FLOOR * overall } else { 1.0 };
        inconsistency =
            mean(&|r| r.observer, &square, &per_observer).iter().map(|v| v.sqrt().max(floor)).collect();

        let (mut sums, mut weights) = (vec![0.0; videos], vec![0.0; videos]);
        for r in ratings {
            let weight = inconsistency[r.observer].powi(-2);
            sums[r.video] += weight * (r.score - bias[r.observer]);
            weights[r.video] += weight;
        }
        let next: Vec<f64> =
            (0..videos).map(|j| if per_video[j] > 0 { sums[j] / weights[j] } else { 0.0 }).collect();
        moved = next.iter().zip(&quality).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        quality = next;
        if moved <= AT_REST * (1.0 + overall) {
            break;
        }
    }
    if moved > 1e-6 {
        let (what, tolerance) = ("alternating projection", 1e-6);
        return Err(StatsError::NotConverged { what, iterations: MAX_STEPS, residual: moved, tolerance });
    }

    let mut weights = vec![0.0; videos];
    for r in ratings {
        weights[r.video] += inconsistency[r.observer].powi(-2);
    }
    let rated = |j: usize, value: f64| (per_video[j] > 0).then_some(value);
    let rating = |i: usize, value: f64| (per_observer[i] > 0).then_some(value);
    // One rating in all says nothing of its own error.
    let known = ratings.len() > 1;
    Ok(Recovery {
        ci95: (0..videos)
            .map(|j| {
                let interval = Interval::of_estimate(quality[j], 1.0 / weights[j].sqrt(), None);
                rated(j, 0.0).filter(|_| known).map(|_| interval)
            })
            .collect(),
        quality: (0..videos).map(|j| rated(j, quality[j])).collect(),
        mos: (0..videos).map(|j| rated(j, mos[j])).collect(),
        bias: (0..observers).map(|i| rating(i, bias[i])).collect(),
        inconsistency: (0..observers).map(|i| rating(i, inconsistency[i])).collect(),
        groups: groups.members().iter().filter(|m| m.len() > 1).count(),
    })
}

/// The level of the qualities is that of the observers' mean bias, group by group: 0.
fn centre_biases(bias: &mut [f64], per_observer: &[usize], groups: &Components, videos: usize) {
    let mut sums = vec![(0.0, 0usize); groups.count()];
    for (i, &n) in per_observer.iter().enumerate().filter(|(_, n)| **n > 0) {
        debug_assert!(n > 0);
        let sum = &mut sums[groups.of_item[videos + i]];
        sum.0 += bias[i];
        sum.1 += 1;
    }
    for (i, bias) in bias.iter_mut().enumerate() {
        let (sum, n) = sums[groups.of_item[videos + i]];
        if n > 0 {
            *bias -= sum / n as f64;
        }
    }
}

fn check(videos: usize, observers: usize, ratings: &[Rating]) -> Result<(), StatsError> {
    if ratings.is_empty() {
        return Err(StatsError::TooFew { what: "ratings", have: 0, need: 1 });
    }
    for (index, r) in ratings.iter().enumerate() {
        if r.video >= videos || r.observer >= observers {
            let (what, value, allowed) = if r.video >= videos {
                ("video of rating", r.video as f64, "an index below the number of videos")
            } else {
                ("observer of rating", r.observer as f64, "an index below the number of observers")
            };
            return Err(StatsError::OutOfRange { what, index, value, allowed });
        }
        if !r.score.is_finite() {
            return Err(StatsError::NotFinite { what: "rating", index, value: r.score });
        }
    }
    Ok(())
}
