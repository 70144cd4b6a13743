//! Rewards of a written score: its form, and how near it is (VQAThinker's format and bell-shaped regression rewards).
//!
//! ```text
//! format      1 if the whole text is <think>...</think>, white space, <answer>...</answer>; else 0
//! regression  exp(-(score - target)² / (2 sigma²)), sigma = 0.5 points, times 0.8 when fewer than two decimals
//! ```
//!
//! "Fewer than two decimals" is a rule on the written string, so "3.50" is fine. The published code tests the parsed
//! number instead, which has lost its trailing zeros: [`Decimals::Parsed`] does likewise.

use super::{Group, Reward, bell, each};
use juror_lmm::answer::{Number, is_well_formed, training_number};
use serde::{Deserialize, Serialize};

/// Whether the text has the asked form.
#[derive(Clone, Copy, Debug)]
pub struct Format;

impl Reward for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        each(groups, |_, answer| f64::from(u8::from(is_well_formed(&answer.text))))
    }
}

/// What counts as decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decimals {
    /// The digits as written.
    #[default]
    Written,
    /// The digits that Python prints of the parsed number: the published quirk, which fines "3.50".
    Parsed,
}

/// How near the written score is.
#[derive(Clone, Copy, Debug)]
pub struct Regression {
    /// Width of the bell, in points.
    pub sigma: f64,
    /// Factor on scores with fewer than two decimals.
    pub coarse_factor: f64,
    /// What counts as decimals.
    pub decimals: Decimals,
}

impl Default for Regression {
    fn default() -> Self {
        Self { sigma: 0.5, coarse_factor: 0.8, decimals: Decimals::Written }
    }
}

impl Regression {
    /// The reward of one written number.
    #[must_use]
    pub fn of(&self, number: Number, target: f64) -> f64 {
        let fine = match self.decimals {
            Decimals::Written => number.decimals >= 2,
            Decimals::Parsed => python_prints_two_decimals(number.value),
        };
        bell(number.value - target, self.sigma) * if fine { 1.0 } else { self.coarse_factor }
    }
}

impl Reward for Regression {
    fn name(&self) -> &'static str {
        "regression"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        each(groups, |truth, answer| training_number(&answer.text).map_or(0.0, |n| self.of(n, truth.target)))
    }
}

/// Whether what stands behind the point of Python's `str(value)`, trailing zeros removed, has two characters or more.
/// Python writes an exponent below 1e-4 and from 1e16 on, and the exponent counts.
fn python_prints_two_decimals(value: f64) -> bool {
    let size = value.abs();
    let exponent = size != 0.0 && !(1e-4..1e16).contains(&size);
    let printed = if exponent { format!("{value:e}") } else { value.to_string() };
    printed.split_once('.').is_some_and(|(_, fraction)| exponent || fraction.len() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewards::tests::group;

    #[test]
    fn trailing_zeros_are_decimals_unless_the_published_rule_is_asked_for() {
        let said = group(3.5, &["<answer>3.50</answer>", "<answer>3.5</answer>", "<answer>none</answer>"]);
        let rate =
            |decimals| Regression { decimals, ..Regression::default() }.rate(std::slice::from_ref(&said));
        assert_eq!(rate(Decimals::Written), [[1.0, 0.8, 0.0]]);
        assert_eq!(rate(Decimals::Parsed), [[0.8, 0.8, 0.0]]);
    }

    #[test]
    fn python_prints_floats_this_way() {
        for (value, two) in
            [(3.75, true), (-2.25, true), (3.0, false), (1e-5, false), (1.5e-5, true), (1e16, false)]
        {
            assert_eq!(python_prints_two_decimals(value), two, "{value}");
        }
        assert!(python_prints_two_decimals(12_345_678_901_234_567_890.12));
        assert!(!python_prints_two_decimals(0.0));
    }

    #[test]
    fn the_bell_falls_to_exp_of_minus_a_half_at_one_sigma() {
        let number = Number { value: 3.0, decimals: 2 };
        let rated = Regression::default().of(number, 3.5);
        assert!((rated - (-0.5f64).exp()).abs() < 1e-15);
    }
}
