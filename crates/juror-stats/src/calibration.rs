//! Is a probability what it says? Preference from margin, fitted and checked; and intervals, whether they cover.
//!
//! `P(a preferred) = 1 / (1 + exp(-slope * margin))`: no constant, so that swapping the videos gives the complement. The
//! slope is fitted by maximum likelihood with a weak prior (`slope * rms(margin)` of standard deviation 10), which keeps
//! it finite when the margins separate the outcomes perfectly.

use serde::{Deserialize, Serialize};

use crate::error::{StatsError, same_length};
use crate::interval::Interval;
use crate::normal;

/// A margin and what people said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Margin of `a` over `b`.
    pub margin: f64,
    /// Share of the people who preferred `a`, 0..1; a tie is 0.5.
    pub preferred: f64,
    /// Number of people, above 0.
    pub weight: f64,
}

/// Probability of preference from margin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Log-odds per point of margin.
    pub slope: f64,
}

impl Calibration {
    /// Fits the slope.
    ///
    /// # Errors
    /// No outcome; a margin that is not finite; a share outside 0..1; a weight not above 0; margins that are all 0.
    pub fn fit(outcomes: &[Outcome]) -> Result<Self, StatsError> {
        const PRIOR_STD: f64 = 10.0;
        check(outcomes)?;
        let weight: f64 = outcomes.iter().map(|o| o.weight).sum();
        let rms = (outcomes.iter().map(|o| o.weight * o.margin * o.margin).sum::<f64>() / weight).sqrt();
        if rms == 0.0 {
            return Err(StatsError::TooFew { what: "margins other than 0", have: 0, need: 1 });
        }
        let precision = 1.0 / (PRIOR_STD * PRIOR_STD);
        // Newton on the log-odds per rms margin; the objective is convex and its slope bounded, so halving suffices.
        let objective = |k: f64| {
            let likelihood: f64 = outcomes
                .iter()
                .map(|o| {
                    let t = k * o.margin / rms;
                    // log(1 + e^t) - y t
                    o.weight * (t.max(0.0) + (-t.abs()).exp().ln_1p() - o.preferred * t)
                })
                .sum();
            likelihood + 0.5 * precision * k * k
        };
        let (mut k, mut value) = (0.0, objective(0.0));
        for _ in 0..100 {
            let (mut slope, mut curvature) = (precision * k, precision);
            for o in outcomes {
                let z = o.margin / rms;
                let p = 1.0 / (1.0 + (-k * z).exp());
                slope += o.weight * (p - o.preferred) * z;
                curvature += o.weight * p * (1.0 - p) * z * z;
            }
            let mut step = -slope / curvature;
            while objective(k + step) > value && step.abs() > 1e-14 {
                step *= 0.5;
            }
            k += step;
            value = objective(k);
            if step.abs() <= 1e-13 * (1.0 + k.abs()) {
                break;
            }
        }
        Ok(Self { slope: k / rms })
    }

    /// Probability that `a` is preferred.
    pub fn probability(&self, margin: f64) -> f64 {
        1.0 / (1.0 + (-self.slope * margin).exp())
    }
}

fn check(outcomes: &[Outcome]) -> Result<(), StatsError> {
    if outcomes.is_empty() {
        return Err(StatsError::TooFew { what: "outcomes", have: 0, need: 1 });
    }
    for (index, o) in outcomes.iter().enumerate() {
        if !o.margin.is_finite() {
            return Err(StatsError::NotFinite { what: "margin", index, value: o.margin });
        }
        check_share("share of preference", index, o.preferred)?;
        if !(o.weight.is_finite() && o.weight > 0.0) {
            let allowed = "a finite number above 0";
            return Err(StatsError::OutOfRange { what: "weight", index, value: o.weight, allowed });
        }
    }
    Ok(())
}

fn check_share(what: &'static str, index: usize, value: f64) -> Result<(), StatsError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(StatsError::OutOfRange { what, index, value, allowed: "0 to 1" })
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Lower end of the predicted probabilities, included.
    pub lo: f64,
    /// Upper end, excluded (included in the last bin).
    pub hi: f64,
    /// Number of predictions, weighted.
    pub weight: f64,
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share that came true.
    pub observed: f64,
    /// 95 % interval of the share (Wilson).
    pub ci95: Interval,
}

/// How far predicted probabilities are from what happens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// The bins that hold predictions, ascending.
    pub bins: Vec<Bin>,
    /// Expected calibration error: mean `|predicted - observed|` over the bins, weighted.
    pub expected_calibration_error: f64,
    /// Mean squared difference of prediction and outcome (Brier 1950): lower is better, 0.25 for a coin.
    pub brier: f64,
}

/// Compares predicted probabilities with outcomes (`preferred`, 0..1; `weight` people each), in `bins` bins of equal width.
///
/// # Errors
/// No prediction, no bin; lists of different length; a number outside its domain.
pub fn reliability(predicted: &[f64], outcomes: &[Outcome], bins: usize) -> Result<Reliability, StatsError> {
    same_length("predictions", predicted.len(), "outcomes", outcomes.len())?;
    check(outcomes)?;
    if bins == 0 {
        return Err(StatsError::TooFew { what: "bins", have: 0, need: 1 });
    }
    for (index, &p) in predicted.iter().enumerate() {
        check_share("predicted probability", index, p)?;
    }
    // (weight, weight * predicted, weight * observed)
    let mut sums = vec![(0.0, 0.0, 0.0); bins];
    let (mut brier, mut total) = (0.0, 0.0);
    for (&p, o) in predicted.iter().zip(outcomes) {
        let bin = ((p * bins as f64) as usize).min(bins - 1);
        sums[bin].0 += o.weight;
        sums[bin].1 += o.weight * p;
        sums[bin].2 += o.weight * o.preferred;
        brier += o.weight * (p - o.preferred).powi(2);
        total += o.weight;
    }
    let edge = |k: usize| k as f64 / bins as f64;
    let bins: Vec<Bin> = (sums.into_iter().enumerate())
        .filter(|(_, (weight, ..))| *weight > 0.0)
        .map(|(k, (weight, p, o))| {
            let (predicted, observed) = (p / weight, o / weight);
            Bin { lo: edge(k), hi: edge(k + 1), weight, predicted, observed, ci95: wilson(observed, weight) }
        })
        .collect();
    let expected_calibration_error =
        bins.iter().map(|b| b.weight * (b.predicted - b.observed).abs()).sum::<f64>() / total;
    Ok(Reliability { bins, expected_calibration_error, brier: brier / total })
}

/// How often intervals hold the truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Share of the intervals that hold it.
    pub share: f64,
    /// 95 % interval of the share (Wilson; takes the intervals as independent).
    pub ci95: Interval,
}

/// Coverage of intervals; `None` without any.
///
/// # Errors
/// Lists of different length.
pub fn coverage(intervals: &[Interval], truth: &[f64]) -> Result<Option<Coverage>, StatsError> {
    same_length("intervals", intervals.len(), "true values", truth.len())?;
    if truth.is_empty() {
        return Ok(None);
    }
    let n = truth.len() as f64;
    let share = intervals.iter().zip(truth).filter(|(i, t)| i.contains(**t)).count() as f64 / n;
    Ok(Some(Coverage { share, ci95: wilson(share, n) }))
}

/// Wilson's 95 % interval of a share of `n`.
pub fn wilson(share: f64, n: f64) -> Interval {
    let z = normal::quantile(0.975);
    let denominator = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / denominator;
    let half_width = z / denominator * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Interval { lo: (centre - half_width).max(0.0), hi: (centre + half_width).min(1.0) }
}
