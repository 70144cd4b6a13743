//! One test item against anchors by soft preferences: the MAP of Compare2Score and W2S (papers.md A4), converged.
//!
//! Maximises `sum_ij M_ij log F(q_i - q_j) - sum_i q_i² / 2` over the scores of anchors and test item, where `M_ij` is
//! the judge's probability that `i` is better than `j`. The paper takes the normal `F`, the released code the logistic
//! one; both are here. The code's 50 Adam steps move with their random start by about 2 points of 100; Newton's method
//! finds the one optimum.
//!
//! The published min-max rescale to 0-100 gives every item beyond the outermost anchors exactly 0 or 100, which ties
//! them; it happens on request only, and the raw scores stay.

use serde::Serialize;

use super::choices::{ChoiceModel, ChoiceTable, Choices, optimum};
use crate::error::StatsError;

/// Preferences among the anchors, judged once for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorPreferences {
    anchors: usize,
    choices: Vec<Choices>,
}

/// Score of a test item among anchors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnchoredPreference {
    /// Score of the test item, sum of all scores 0.
    pub score: f64,
    /// Scores of the anchors.
    pub anchor_scores: Vec<f64>,
}

impl AnchorPreferences {
    /// From the upper triangle, row by row: the probabilities that anchor `i` is better than anchor `j`, `i < j`.
    ///
    /// # Errors
    /// No anchors; a triangle of the wrong size; a value outside 0..1.
    pub fn from_upper_triangle(anchors: usize, triangle: &[f64]) -> Result<Self, StatsError> {
        if anchors == 0 {
            return Err(StatsError::TooFew { what: "anchors", have: 0, need: 1 });
        }
        let pairs: Vec<_> = (0..anchors).flat_map(|i| (i + 1..anchors).map(move |j| (i, j))).collect();
        crate::error::same_length("the upper triangle", triangle.len(), "the pairs of anchors", pairs.len())?;
        let choices = pairs
            .into_iter()
            .zip(triangle)
            .enumerate()
            .map(|(k, ((i, j), &p))| Choices::soft(i, j, p).map_err(|e| at(e, "anchor preference", k)))
            .collect::<Result<_, _>>()?;
        Ok(Self { anchors, choices })
    }

    /// Scores a test item by the probabilities that it is better than each anchor.
    ///
    /// # Errors
    /// A list of the wrong length; a value outside 0..1.
    pub fn score(&self, test_better: &[f64], model: ChoiceModel) -> Result<AnchoredPreference, StatsError> {
        crate::error::same_length("test preferences", test_better.len(), "anchors", self.anchors)?;
        let test = self.anchors;
        let mut choices = self.choices.clone();
        for (anchor, &p) in test_better.iter().enumerate() {
            choices.push(Choices::soft(test, anchor, p).map_err(|e| at(e, "test preference", anchor))?);
        }
        let table = ChoiceTable::new(self.anchors + 1, choices)?;
        let (mut scores, _) = optimum(&table, model, 1.0)?;
        let score = scores.pop().unwrap_or_default();
        Ok(AnchoredPreference { score, anchor_scores: scores })
    }
}

impl AnchoredPreference {
    /// The published rescale: all scores mapped linearly so that the lowest is 0 and the highest 100, that of the test
    /// item returned. Saturates at 0 and 100. `None` when all scores are equal.
    pub fn min_max_rescaled(&self) -> Option<f64> {
        let lowest = self.anchor_scores.iter().copied().fold(self.score, f64::min);
        let highest = self.anchor_scores.iter().copied().fold(self.score, f64::max);
        (highest > lowest).then(|| 100.0 * (self.score - lowest) / (highest - lowest))
    }
}

/// The error with the place of the preference in its list.
fn at(error: StatsError, what: &'static str, index: usize) -> StatsError {
    match error {
        StatsError::OutOfRange { value, allowed, .. } => {
            StatsError::OutOfRange { what, index, value, allowed }
        }
        other => other,
    }
}
