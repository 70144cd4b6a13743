//! A test video against anchors of known score: margins become an absolute score, in closed form; and segments of a
//! video pooled into one score.
//!
//! Least squares with the anchors held: `s = sum_k w_k (s_k + m_k) / sum_k w_k`, where `m_k` is the margin of the test
//! video over anchor `k` (papers.md D3.7). Linear, without a prior, not bounded by the outermost anchors.
//!
//! How far such a score is off, the anchors tell themselves ([`AnchorSet`]): each is scored by the others, and its known score
//! is held against that. What a judge gets wrong alike against all anchors is in these errors, and in no residual.

use serde::Serialize;

use crate::bootstrap::quantile_sorted;
use crate::error::{StatsError, all_finite, same_length};
use crate::interval::Interval;
use crate::scaling::Noise;

/// One judgement of the test video against an anchor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnchorJudgement {
    /// Known score of the anchor, points.
    pub anchor_score: f64,
    /// Standard error of the known score, points; 0 when it is exact.
    pub anchor_error: f64,
    /// Margin: quality of the test video minus that of the anchor, points.
    pub margin: f64,
    /// Weight, proportional to the inverse variance of the margin; above 0.
    pub weight: f64,
}

/// An absolute score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnchoredScore {
    /// Score, points of the anchors' scale. Not clamped to it.
    pub score: f64,
    /// Standard error; `None` when the noise is unknown (one anchor only, and no known noise).
    pub standard_error: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<Interval>,
    /// Share of the spread of the margins that one score does not explain, 0..1: how little the anchors agree. `None`
    /// for a single anchor and for margins that are all equal.
    pub inconsistency: Option<f64>,
}

/// Scores a test video.
///
/// # Errors
/// No judgement; a number that is not finite; a weight not above 0; a negative error; a known noise not above 0.
pub fn score_by_anchors(judgements: &[AnchorJudgement], noise: Noise) -> Result<AnchoredScore, StatsError> {
    if judgements.is_empty() {
        return Err(StatsError::TooFew { what: "judgements against anchors", have: 0, need: 1 });
    }
    for (index, j) in judgements.iter().enumerate() {
        for (what, value) in [("anchor score", j.anchor_score), ("margin", j.margin)] {
            if !value.is_finite() {
                return Err(StatsError::NotFinite { what, index, value });
            }
        }
        if !(j.weight.is_finite() && j.weight > 0.0) {
            let allowed = "a finite number above 0";
            return Err(StatsError::OutOfRange { what: "weight", index, value: j.weight, allowed });
        }
        if !(j.anchor_error.is_finite() && j.anchor_error >= 0.0) {
            let allowed = "a finite number, 0 or more";
            return Err(StatsError::OutOfRange {
                what: "anchor error",
                index,
                value: j.anchor_error,
                allowed,
            });
        }
    }
    if let Noise::Known(value) = noise
        && !(value.is_finite() && value > 0.0)
    {
        return Err(StatsError::Setting { name: "noise", value, allowed: "a finite number above 0" });
    }
    let weight: f64 = judgements.iter().map(|j| j.weight).sum();
    let mean = |of: &dyn Fn(&AnchorJudgement) -> f64| {
        judgements.iter().map(|j| j.weight * of(j)).sum::<f64>() / weight
    };
    let score = mean(&|j| j.anchor_score + j.margin);
    let left = mean(&|j| (j.anchor_score + j.margin - score).powi(2));
    let mean_margin = mean(&|j| j.margin);
    let spread = mean(&|j| (j.margin - mean_margin).powi(2));

    // What the anchors' own errors add, through the weights of the mean.
    let shared: f64 = judgements.iter().map(|j| (j.weight * j.anchor_error / weight).powi(2)).sum();
    let freedom = judgements.len() - 1;
    let (variance, freedom) = match noise {
        Noise::Known(std) => (Some(std * std / weight + shared), None),
        // The residual holds the errors of the anchors already.
        Noise::Estimated if freedom > 0 => (Some((left / freedom as f64).max(shared)), Some(freedom as f64)),
        Noise::Estimated => (None, None),
    };
    let standard_error = variance.map(f64::sqrt);
    Ok(AnchoredScore {
        score,
        standard_error,
        ci95: standard_error.map(|error| Interval::of_estimate(score, error, freedom)),
        inconsistency: (judgements.len() > 1 && spread > 0.0).then(|| (left / spread).min(1.0)),
    })
}

/// Anchors that the judge has compared with each other.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorSet {
    scores: Vec<f64>,
    /// Known score less the score by the others.
    errors: Vec<f64>,
}

impl AnchorSet {
    /// Fewest anchors: with fewer there is hardly an error to learn from.
    pub const FEWEST: usize = 3;

    /// Anchors with their known scores; `margin(i, j)` is that of anchor `i` over anchor `j`, asked for `i < j` only.
    ///
    /// # Errors
    /// Fewer than [`AnchorSet::FEWEST`]; a score or margin that is not finite; a margin that cannot be had.
    pub fn new<E: From<StatsError>>(
        scores: Vec<f64>,
        mut margin: impl FnMut(usize, usize) -> Result<f64, E>,
    ) -> Result<Self, E> {
        let n = scores.len();
        if n < Self::FEWEST {
            return Err(StatsError::TooFew { what: "anchors", have: n, need: Self::FEWEST }.into());
        }
        all_finite("anchor score", &scores)?;
        let mut errors = vec![0.0; n];
        for i in 0..n {
            for j in i + 1..n {
                let value = margin(i, j)?;
                all_finite("margin of anchors", &[value])?;
                // By the others: `s_i = mean_j (s_j + m_ij)`, and `m_ji = -m_ij`.
                let error = (scores[i] - scores[j] - value) / (n - 1) as f64;
                errors[i] += error;
                errors[j] -= error;
            }
        }
        Ok(Self { scores, errors })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.scores.len()
    }

    /// Standard deviation of the error of a score by these anchors.
    pub fn deviation(&self) -> f64 {
        let squares: f64 = self.errors.iter().map(|error| error * error).sum();
        (squares / (self.errors.len() - 1) as f64).sqrt()
    }

    /// Scores a video by its margins over the anchors, in their order. The interval is that of a video of which the judge
    /// is as wrong as of the anchors.
    ///
    /// # Errors
    /// Not as many margins as anchors; a margin that is not finite.
    pub fn score(&self, margins: &[f64]) -> Result<AnchoredScore, StatsError> {
        same_length("margins", margins.len(), "anchors", self.scores.len())?;
        let judgements: Vec<AnchorJudgement> = (self.scores.iter().zip(margins))
            .map(|(&anchor_score, &margin)| AnchorJudgement {
                anchor_score,
                anchor_error: 0.0,
                margin,
                weight: 1.0,
            })
            .collect();
        let by_residual = score_by_anchors(&judgements, Noise::Estimated)?;
        let error = self.deviation();
        let freedom = Some((self.errors.len() - 1) as f64);
        Ok(AnchoredScore {
            standard_error: Some(error),
            ci95: Some(Interval::of_estimate(by_residual.score, error, freedom)),
            ..by_residual
        })
    }
}

/// Scores of segments in one, by the words of libvmaf.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pooled {
    /// Arithmetic mean.
    pub mean: f64,
    /// Harmonic mean, which leans to the bad moments; `None` unless all scores are above 0.
    pub harmonic_mean: Option<f64>,
    /// The worst segment.
    pub min: f64,
    /// 5th percentile, linearly interpolated.
    pub p5: f64,
}

/// Pools scores of segments.
///
/// # Errors
/// No score; a score that is not finite.
pub fn pool(scores: &[f64]) -> Result<Pooled, StatsError> {
    if scores.is_empty() {
        return Err(StatsError::TooFew { what: "segments", have: 0, need: 1 });
    }
    all_finite("score of segment", scores)?;
    let n = scores.len() as f64;
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(Pooled {
        mean: scores.iter().sum::<f64>() / n,
        harmonic_mean: (sorted[0] > 0.0).then(|| n / scores.iter().map(|s| 1.0 / s).sum::<f64>()),
        min: sorted[0],
        p5: quantile_sorted(&sorted, 0.05),
    })
}
