//! Is one predictor better than another on the same videos? Tests for two dependent correlations that share a variable,
//! and the bootstrap of their difference.
//!
//! Williams' t (1959, as recommended by Steiger 1980, eq. 7) and Steiger's Z (1980, eq. 14, pooled). Both are derived for
//! Pearson's correlation of normal data and are taken as approximations for SRCC; the bootstrap needs neither.

use serde::{Deserialize, Serialize};

use super::coefficients::{plcc, srcc};
use super::pairs::ScorePairs;
use crate::bootstrap::{Bootstrap, percentile_interval};
use crate::error::StatsError;
use crate::interval::Interval;
use crate::normal;

/// A test statistic and its two-sided p-value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The statistic: positive when the first correlation is larger.
    pub statistic: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// Which correlation is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correlation {
    /// Spearman's.
    #[default]
    Srcc,
    /// Pearson's of the raw scores.
    Plcc,
}

impl Correlation {
    fn of(self, scores: &ScorePairs) -> Option<f64> {
        match self {
            Self::Srcc => srcc(scores),
            Self::Plcc => plcc(scores),
        }
    }
}

/// Two predictors on the same videos.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictorComparison {
    /// Correlation of the first predictor with the subjective scores.
    pub first: f64,
    /// Correlation of the second.
    pub second: f64,
    /// Correlation of the predictors with each other.
    pub between: f64,
    /// Williams' t test; `None` for fewer than 4 videos or predictors that are the same.
    pub williams: Option<Test>,
    /// Steiger's Z test; `None` as for Williams', and for perfect correlations.
    pub steiger: Option<Test>,
    /// 95 % interval of `first - second` by the bootstrap over videos.
    pub difference_ci95: Option<Interval>,
}

/// Compares two lists of predictions of the same subjective scores. `None` when a list is constant.
///
/// # Errors
/// As [`ScorePairs::new`].
pub fn compare_predictors(
    first: &[f64],
    second: &[f64],
    subjective: &[f64],
    correlation: Correlation,
    bootstrap: Option<Bootstrap>,
) -> Result<Option<PredictorComparison>, StatsError> {
    let a = ScorePairs::new(first.to_vec(), subjective.to_vec())?;
    let b = ScorePairs::new(second.to_vec(), subjective.to_vec())?;
    let ab = ScorePairs::new(first.to_vec(), second.to_vec())?;
    let of = |scores: &ScorePairs| correlation.of(scores);
    let (Some(first), Some(second), Some(between)) = (of(&a), of(&b), of(&ab)) else { return Ok(None) };
    let difference_ci95 = bootstrap.and_then(|bootstrap| {
        percentile_interval(
            bootstrap.resample(a.len(), |places| Some(of(&a.select(places)?)? - of(&b.select(places)?)?)),
        )
    });
    Ok(Some(PredictorComparison {
        first,
        second,
        between,
        williams: williams(first, second, between, a.len()),
        steiger: steiger(first, second, between, a.len()),
        difference_ci95,
    }))
}

/// Williams' test of `r_first = r_second`, which share a variable and correlate by `between`; t with `n - 3` degrees of
/// freedom.
pub fn williams(r_first: f64, r_second: f64, between: f64, n: usize) -> Option<Test> {
    if n < 4 {
        return None;
    }
    let n = n as f64;
    let (r, s, b) = (r_first, r_second, between);
    let determinant = 1.0 - r * r - s * s - b * b + 2.0 * r * s * b;
    let spread = 2.0 * (n - 1.0) / (n - 3.0) * determinant + ((r + s) / 2.0).powi(2) * (1.0 - b).powi(3);
    let statistic = (r - s) * ((n - 1.0) * (1.0 + b) / spread).sqrt();
    statistic.is_finite().then(|| Test { statistic, p: normal::t_two_sided(statistic, n - 3.0) })
}

/// Steiger's Z test of the same, with pooled correlations.
pub fn steiger(r_first: f64, r_second: f64, between: f64, n: usize) -> Option<Test> {
    if n < 4 {
        return None;
    }
    let pooled = ((r_first + r_second) / 2.0).powi(2);
    let covariance = between * (1.0 - 2.0 * pooled) - 0.5 * pooled * (1.0 - 2.0 * pooled - between * between);
    let shared = covariance / (1.0 - pooled).powi(2);
    let statistic = (r_first.atanh() - r_second.atanh()) * ((n as f64 - 3.0) / (2.0 * (1.0 - shared))).sqrt();
    statistic.is_finite().then(|| Test { statistic, p: normal::two_sided(statistic) })
}
