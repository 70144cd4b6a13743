//! One evaluation of predictions against ratings: every figure with its interval, whole, per group and over sets.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::coefficients::{Coefficients, rmse};
use super::logistic::Logistic;
use super::pairs::ScorePairs;
use crate::bootstrap::{Bootstrap, percentile_interval};
use crate::error::{StatsError, same_length};
use crate::interval::Interval;

/// A figure with its 95 % interval; the interval is `None` without a bootstrap and where too few resamples have the figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// 95 % interval.
    pub ci95: Option<Interval>,
}

/// Agreement of predictions with subjective scores. Figures that do not exist (constant scores) are `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Number of videos.
    pub n: usize,
    /// Spearman's rank correlation.
    pub srcc: Option<Figure>,
    /// Kendall's tau-b.
    pub krcc: Option<Figure>,
    /// Pearson's correlation after the logistic mapping.
    pub plcc: Option<Figure>,
    /// Pearson's correlation of the raw scores.
    pub plcc_raw: Option<Figure>,
    /// Root mean square error after the logistic mapping, in units of the subjective scores.
    pub rmse: Option<Figure>,
    /// Root mean square error of the raw scores: of use when both are on one scale.
    pub rmse_raw: Figure,
    /// Share of the pairs ranked as people rank them.
    pub pair_accuracy: Option<Figure>,
    /// The mapping: `b1, b2, b3, b4`.
    pub logistic: Option<[f64; 4]>,
}

/// The figures of one sample, in a fixed order: srcc, krcc, plcc, plcc_raw, rmse, rmse_raw, pair_accuracy.
type Figures = [Option<f64>; 7];

/// Evaluates; with a bootstrap, every figure gets its interval (the mapping is fitted anew in each replicate).
pub fn evaluate(scores: &ScorePairs, bootstrap: Option<Bootstrap>) -> Evaluation {
    let logistic = Logistic::fit_four(scores);
    let whole = figures(scores, logistic.as_ref());
    let replicates: Vec<Figures> = bootstrap.map_or_else(Vec::new, |bootstrap| {
        bootstrap.resample(scores.len(), |places| {
            let sample = scores.select(places)?;
            let refitted = logistic.and_then(|l| l.refit_four(&sample));
            Some(figures(&sample, refitted.as_ref()))
        })
    });
    let figure = |k: usize| {
        whole[k].map(|value| Figure {
            value,
            ci95: percentile_interval(replicates.iter().filter_map(|r| r[k]).collect()),
        })
    };
    Evaluation {
        n: scores.len(),
        srcc: figure(0),
        krcc: figure(1),
        plcc: figure(2),
        plcc_raw: figure(3),
        rmse: figure(4),
        rmse_raw: figure(5).unwrap_or(Figure { value: 0.0, ci95: None }),
        pair_accuracy: figure(6),
        logistic: logistic.and_then(|l| match l {
            Logistic::Four(b) => Some(b),
            Logistic::Five(_) => None,
        }),
    }
}

fn figures(scores: &ScorePairs, logistic: Option<&Logistic>) -> Figures {
    let raw = Coefficients::new(scores);
    let mapped = logistic.map(|l| l.mapped(scores));
    let plcc = mapped.as_ref().and_then(super::coefficients::plcc);
    let error = mapped.as_ref().map(|m| rmse(m.predicted(), m.subjective()));
    [raw.srcc, raw.krcc, plcc, raw.plcc, error, Some(raw.rmse), raw.pair_accuracy]
}

/// Evaluates each group by itself, groups in alphabetical order.
///
/// # Errors
/// A list of groups of another length than the scores.
pub fn evaluate_groups(
    scores: &ScorePairs,
    groups: &[impl AsRef<str>],
    bootstrap: Option<Bootstrap>,
) -> Result<Vec<(String, Evaluation)>, StatsError> {
    same_length("groups", groups.len(), "score pairs", scores.len())?;
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, group) in groups.iter().enumerate() {
        places.entry(group.as_ref()).or_default().push(i);
    }
    let evaluated = places.into_iter().filter_map(|(group, places)| {
        let evaluation = evaluate(&scores.select(&places)?, bootstrap);
        Some((group.to_owned(), evaluation))
    });
    Ok(evaluated.collect())
}

/// Means over sets, weighted by their numbers of videos, as the papers' "overall" column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overall {
    /// Number of videos in all sets.
    pub n: usize,
    /// Weighted mean of the SRCCs.
    pub srcc: Option<f64>,
    /// Weighted mean of the KRCCs.
    pub krcc: Option<f64>,
    /// Weighted mean of the PLCCs after the mapping.
    pub plcc: Option<f64>,
    /// Weighted mean of the raw PLCCs.
    pub plcc_raw: Option<f64>,
    /// Weighted mean of the pair accuracies.
    pub pair_accuracy: Option<f64>,
}

impl Overall {
    /// Over these sets. A set that lacks a figure does not count for that figure.
    pub fn of(sets: &[Evaluation]) -> Self {
        let mean = |figure: &dyn Fn(&Evaluation) -> Option<Figure>| {
            weighted_mean(sets.iter().filter_map(|e| Some((figure(e)?.value, e.n as f64))))
        };
        Self {
            n: sets.iter().map(|e| e.n).sum(),
            srcc: mean(&|e| e.srcc),
            krcc: mean(&|e| e.krcc),
            plcc: mean(&|e| e.plcc),
            plcc_raw: mean(&|e| e.plcc_raw),
            pair_accuracy: mean(&|e| e.pair_accuracy),
        }
    }
}

/// Mean of `(value, weight)`; `None` without any weight.
pub fn weighted_mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weight) = values.fold((0.0, 0.0), |(s, w), (value, weight)| (s + value * weight, w + weight));
    (weight > 0.0).then(|| sum / weight)
}

/// Share of the videos whose mapped prediction misses the subjective score by more than `half_width`, the half-width of
/// that score's own interval: `1.96 std / sqrt(votes)` (ITU-T P.1401), or `2 std` where votes are unknown (VQEG 2000);
/// see [`half_widths`].
///
/// # Errors
/// Lists of different length; a half-width that is negative or not finite.
pub fn outlier_ratio(mapped: &ScorePairs, half_width: &[f64]) -> Result<f64, StatsError> {
    same_length("half-widths", half_width.len(), "score pairs", mapped.len())?;
    if let Some(index) = half_width.iter().position(|h| !(h.is_finite() && *h >= 0.0)) {
        let allowed = "a finite number, 0 or more";
        return Err(StatsError::OutOfRange { what: "half-width", index, value: half_width[index], allowed });
    }
    let outliers = (mapped.predicted().par_iter().zip(mapped.subjective()).zip(half_width))
        .filter(|((p, s), h)| (*p - *s).abs() > **h)
        .count();
    Ok(outliers as f64 / mapped.len() as f64)
}

/// Half-widths of the intervals of mean opinion scores from the standard deviations and, where known, numbers of votes.
pub fn half_widths(std: &[f64], votes: Option<&[f64]>) -> Result<Vec<f64>, StatsError> {
    let Some(votes) = votes else { return Ok(std.iter().map(|s| 2.0 * s).collect()) };
    same_length("standard deviations", std.len(), "votes", votes.len())?;
    if let Some(index) = votes.iter().position(|v| !(v.is_finite() && *v >= 1.0)) {
        return Err(StatsError::OutOfRange {
            what: "votes",
            index,
            value: votes[index],
            allowed: "1 or more",
        });
    }
    Ok(std.iter().zip(votes).map(|(s, v)| 1.959_963_984_540_054 * s / v.sqrt()).collect())
}
