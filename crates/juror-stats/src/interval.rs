//! Confidence intervals.

use serde::{Deserialize, Serialize};

use crate::normal;

/// The level of every interval that has no other: 95 %.
pub const CONFIDENCE: f64 = 0.95;

/// A two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

impl Interval {
    /// `centre ± half_width`.
    pub fn around(centre: f64, half_width: f64) -> Self {
        Self { lo: centre - half_width, hi: centre + half_width }
    }

    /// Interval of confidence [`CONFIDENCE`] of a normal estimate; with few degrees of `freedom` behind the standard
    /// error, Student's t is used (`None`: the standard error is known).
    pub fn of_estimate(centre: f64, standard_error: f64, freedom: Option<f64>) -> Self {
        let p = 0.5 + CONFIDENCE / 2.0;
        let factor = freedom.map_or_else(|| normal::quantile(p), |freedom| normal::t_quantile(p, freedom));
        Self::around(centre, factor * standard_error)
    }

    /// Whether a value lies inside (ends included).
    pub fn contains(&self, value: f64) -> bool {
        self.lo <= value && value <= self.hi
    }

    /// Width.
    pub fn width(&self) -> f64 {
        self.hi - self.lo
    }
}
