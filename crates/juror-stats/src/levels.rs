//! The five levels of a comparison: from two noisy scores, from a margin, from a language model's logits, and back to a
//! preference (Compare2Score; papers.md A4, A5).

use serde::{Deserialize, Serialize};

use crate::error::{StatsError, all_finite};
use crate::normal;

/// How one video compares with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Much worse.
    Inferior,
    /// Worse.
    Worse,
    /// No difference to speak of.
    Similar,
    /// Better.
    Better,
    /// Much better.
    Superior,
}

impl Level {
    /// All levels, from inferior to superior: the order of every array of five in this module.
    pub const ALL: [Self; 5] = [Self::Inferior, Self::Worse, Self::Similar, Self::Better, Self::Superior];

    /// The word judges use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inferior => "inferior",
            Self::Worse => "worse",
            Self::Similar => "similar",
            Self::Better => "better",
            Self::Superior => "superior",
        }
    }

    /// The level a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }

    /// The preference the level stands for: 0, 1/4, 1/2, 3/4, 1.
    pub fn preference(self) -> f64 {
        self as usize as f64 / 4.0
    }

    /// The level seen from the other video.
    pub fn swapped(self) -> Self {
        Self::ALL[4 - self as usize]
    }

    /// Level of a difference `d = score_a - score_b` whose standard deviation is `s` (A5): superior above `2s`, better in
    /// `(s, 2s]`, similar in `(-s, s]`, worse in `(-2s, -s]`, inferior up to `-2s`. Two equal scores without any noise
    /// are similar, where the published bounds all meet.
    ///
    /// # Errors
    /// A difference that is not finite; an `s` that is negative or not finite.
    pub fn of_difference(d: f64, s: f64) -> Result<Self, StatsError> {
        Thresholds::new(s)?.level(d)
    }

    /// Level of two scores with variances (across a panel, or of mean opinion scores): A5 with `s² = var_a + var_b`.
    ///
    /// # Errors
    /// As [`Level::of_difference`]; a negative variance.
    pub fn of_scores(score_a: f64, var_a: f64, score_b: f64, var_b: f64) -> Result<Self, StatsError> {
        for (index, value) in [var_a, var_b].into_iter().enumerate() {
            if !(value.is_finite() && value >= 0.0) {
                let allowed = "a finite number, 0 or more";
                return Err(StatsError::OutOfRange { what: "variance", index, value, allowed });
            }
        }
        all_finite("score", &[score_a, score_b])?;
        Self::of_difference(score_a - score_b, (var_a + var_b).sqrt())
    }
}

/// The bounds of the levels: `±s` and `±2s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    s: f64,
}

impl Thresholds {
    /// With the inner bound `s`, in the units of the difference.
    ///
    /// # Errors
    /// An `s` that is negative or not finite.
    pub fn new(s: f64) -> Result<Self, StatsError> {
        if !(s.is_finite() && s >= 0.0) {
            return Err(StatsError::Setting { name: "threshold of levels", value: s, allowed: "0 or more" });
        }
        Ok(Self { s })
    }

    /// Level of a difference, as [`Level::of_difference`].
    ///
    /// # Errors
    /// A difference that is not finite.
    pub fn level(&self, d: f64) -> Result<Level, StatsError> {
        all_finite("difference", &[d])?;
        let s = self.s;
        Ok(if d == 0.0 {
            Level::Similar
        } else if d > 2.0 * s {
            Level::Superior
        } else if d > s {
            Level::Better
        } else if d > -s {
            Level::Similar
        } else if d > -2.0 * s {
            Level::Worse
        } else {
            Level::Inferior
        })
    }

    /// Probability of each level of a difference known as `mean` with standard deviation `std` (normal).
    ///
    /// # Errors
    /// A mean that is not finite; an `std` that is negative or not finite.
    pub fn probabilities(&self, mean: f64, std: f64) -> Result<[f64; 5], StatsError> {
        if !(std.is_finite() && std >= 0.0) {
            return Err(StatsError::Setting { name: "standard deviation", value: std, allowed: "0 or more" });
        }
        let level = self.level(mean)?;
        if std == 0.0 {
            return Ok(Level::ALL.map(|l| f64::from(u8::from(l == level))));
        }
        let below = [-2.0, -1.0, 1.0, 2.0].map(|k| normal::probability((k * self.s - mean) / std));
        let above_all = normal::probability((mean - 2.0 * self.s) / std);
        Ok([below[0], below[1] - below[0], below[2] - below[1], below[3] - below[2], above_all])
    }
}

/// Probabilities of the levels from logits (inferior .. superior) at a temperature.
///
/// # Errors
/// A logit that is not finite; a temperature that is not finite and above 0.
pub fn level_probabilities(logits: &[f64; 5], temperature: f64) -> Result<[f64; 5], StatsError> {
    all_finite("logit", logits)?;
    if !(temperature.is_finite() && temperature > 0.0) {
        return Err(StatsError::Setting { name: "temperature", value: temperature, allowed: "above 0" });
    }
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials = logits.map(|l| ((l - largest) / temperature).exp());
    let total: f64 = exponentials.iter().sum();
    Ok(exponentials.map(|e| e / total))
}

/// Preference 0..1: the mean of the levels' preferences under these probabilities.
pub fn preference(probabilities: &[f64; 5]) -> f64 {
    Level::ALL.iter().zip(probabilities).map(|(level, p)| level.preference() * p).sum()
}
