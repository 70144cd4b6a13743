//! The record of an evaluation: how well scores agree with people's ratings.
//!
//! The figures are those of [`juror_stats::correlation`]. One that does not exist (a correlation of equal scores)
//! has the value `null`; an interval that was not asked for, or that too few resamples have, is `null`.

use std::collections::BTreeMap;

use juror_stats::Interval;
use juror_stats::correlation::significance::Test;
use juror_stats::correlation::{self, LadderOrder, Overall, PredictorComparison};
use serde::{Deserialize, Serialize};

use super::{EvaluationType, ModelId, Provenance, Schema};
use crate::evaluation::Observer;

/// How well scores agree with people's ratings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The record format.
    pub schema: Schema,
    /// `evaluation`.
    #[serde(rename = "type")]
    pub record_type: EvaluationType,
    /// The file of ratings.
    pub ratings: String,
    /// The file of scores; `null` where the model scored the videos.
    pub scores: Option<String>,
    /// The figures over all videos.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Does more bitrate never score lower; where the ratings carry ladders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladders: Option<LadderOrder>,
    /// The figures of each group; where the ratings carry groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_group: Option<BTreeMap<String, Agreement>>,
    /// Means over the groups, weighted by their numbers of videos; where the ratings carry groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighted: Option<Overall>,
    /// Those who rated, where the ratings tell them apart: the ratings of the videos are then recovered from theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observers: Vec<Observer>,
    /// The scores against a second file of scores; where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// What was left out.
    pub missing: Missing,
    /// How the record came about; the model is `null` where the scores came from a file.
    #[serde(flatten)]
    pub provenance: Provenance<Option<ModelId>>,
}

/// The figures over a set of videos.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Number of videos.
    pub n: usize,
    /// Spearman's rank correlation, equal scores at their average rank.
    pub srcc: Figure,
    /// Kendall's tau-b.
    pub krcc: Figure,
    /// Pearson's correlation after the 4-parameter logistic.
    pub plcc: Figure,
    /// Pearson's correlation of the scores as they are.
    pub plcc_raw: Figure,
    /// Root mean square error after the logistic, in units of the ratings.
    pub rmse: Figure,
    /// Root mean square error of the scores as they are: of use where both are on one scale.
    pub rmse_raw: Figure,
    /// Share of the pairs that the scores order as the ratings do.
    pub pair_accuracy: Figure,
    /// Share of the videos whose mapped score misses the interval of their rating; `null` without `std` in the ratings.
    pub outlier_ratio: Option<Figure>,
    /// The mapping; `null` for fewer than 4 videos or equal scores.
    pub logistic: Option<LogisticParameters>,
}

impl Agreement {
    /// The figures of `evaluation`, beside an outlier ratio.
    pub(crate) fn new(evaluation: &correlation::Evaluation, outlier_ratio: Option<Figure>) -> Self {
        Self {
            n: evaluation.n,
            srcc: evaluation.srcc.into(),
            krcc: evaluation.krcc.into(),
            plcc: evaluation.plcc.into(),
            plcc_raw: evaluation.plcc_raw.into(),
            rmse: evaluation.rmse.into(),
            rmse_raw: Some(evaluation.rmse_raw).into(),
            pair_accuracy: evaluation.pair_accuracy.into(),
            outlier_ratio,
            logistic: evaluation.logistic.map(|[b1, b2, b3, b4]| LogisticParameters { b1, b2, b3, b4 }),
        }
    }
}

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The figure; `null` where it does not exist.
    pub value: Option<f64>,
    /// 95 % interval `[lo, hi]`.
    pub ci95: Option<[f64; 2]>,
}

impl From<Option<correlation::Figure>> for Figure {
    fn from(figure: Option<correlation::Figure>) -> Self {
        Self { value: figure.map(|f| f.value), ci95: figure.and_then(|f| f.ci95).map(ends) }
    }
}

/// `[lo, hi]`.
pub(crate) fn ends(interval: Interval) -> [f64; 2] {
    [interval.lo, interval.hi]
}

/// `f(x) = b2 + (b1 - b2) / (1 + exp(-(x - b3) / b4))`, from a score to the scale of the ratings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LogisticParameters {
    /// The upper bound.
    pub b1: f64,
    /// The lower bound.
    pub b2: f64,
    /// The score in the middle.
    pub b3: f64,
    /// The width, above 0.
    pub b4: f64,
}

impl LogisticParameters {
    /// The mapping itself.
    pub fn mapping(self) -> correlation::Logistic {
        correlation::Logistic::Four([self.b1, self.b2, self.b3, self.b4])
    }
}

/// The scores (`first`) against a second file of scores (`second`) on the same videos.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// The second file.
    pub scores: String,
    /// By Spearman's rank correlation; `null` where one of the files has equal scores only.
    pub srcc: Option<Difference>,
    /// By Pearson's correlation of the scores as they are.
    pub plcc: Option<Difference>,
}

/// Two dependent correlations: do they differ by more than chance?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Correlation of the first scores with the ratings.
    pub first: f64,
    /// Correlation of the second scores with the ratings.
    pub second: f64,
    /// Correlation of the scores with each other.
    pub between: f64,
    /// 95 % interval `[lo, hi]` of `first - second` by bootstrap.
    pub difference_ci95: Option<[f64; 2]>,
    /// Williams' t; `null` for fewer than 4 videos or equal scores.
    pub williams: Option<Test>,
    /// Steiger's Z; `null` as Williams' t, and for perfect correlations.
    pub steiger: Option<Test>,
}

impl From<PredictorComparison> for Difference {
    fn from(comparison: PredictorComparison) -> Self {
        Self {
            first: comparison.first,
            second: comparison.second,
            between: comparison.between,
            difference_ci95: comparison.difference_ci95.map(ends),
            williams: comparison.williams,
            steiger: comparison.steiger,
        }
    }
}

/// Videos that one file has and another lacks; they are left out of every figure.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Missing {
    /// Rated videos without a score.
    pub without_score: Vec<String>,
    /// Scored videos without a rating.
    pub without_rating: Vec<String>,
}
