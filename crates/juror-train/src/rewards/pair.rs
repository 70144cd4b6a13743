//! Rewards of a comparison: which video is better, and by how much (`docs/mc-grpo.md`, equation 1).
//!
//! ```text
//! margin      exp(-(m^ - m*)² / (2 sigma²)), sigma = 0.5 points
//! preference  1 if the side taken is that of m*; where |m*| < tie, taking no side is right
//! ```
//!
//! The margin is the head's where the rollout has one, else the number in the answer.

use super::{Answer, Group, Reward, bell, each};
use juror_lmm::answer::{ScoreRule, read_score, read_word};
use serde::{Deserialize, Serialize};

/// Margins lie within these points.
const RANGE: ScoreRule = ScoreRule::Range { min: -4.0, max: 4.0 };

/// The head's margin, else the written one.
fn margin(answer: &Answer) -> Option<f64> {
    answer.margin.or_else(|| read_score(&answer.text, RANGE).value())
}

/// How near the margin is.
#[derive(Clone, Copy, Debug)]
pub struct MarginBell {
    /// Width of the bell, in points.
    pub sigma: f64,
}

impl Reward for MarginBell {
    fn name(&self) -> &'static str {
        "margin"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        each(groups, |truth, answer| margin(answer).map_or(0.0, |m| bell(m - truth.target, self.sigma)))
    }
}

/// Where the side taken is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// In the answer: `superior`, `better`, `similar`, `worse`, `inferior` of A against B.
    #[default]
    Written,
    /// From the margin.
    Margin,
}

/// Whether the better video is preferred.
#[derive(Clone, Copy, Debug)]
pub struct Preference {
    /// Margins below this, in points, are ties.
    pub tie: f64,
    /// Where the side is read.
    pub side: Side,
}

impl Preference {
    fn sign(&self, margin: f64) -> i8 {
        i8::from(margin >= self.tie) - i8::from(margin <= -self.tie)
    }

    fn side(&self, answer: &Answer) -> Option<i8> {
        match self.side {
            Side::Margin => Some(self.sign(margin(answer)?)),
            Side::Written => {
                let words = ["superior", "better", "similar", "worse", "inferior"];
                Some([1, 1, 0, -1, -1][read_word(&answer.text, &words).value()?])
            }
        }
    }
}

impl Reward for Preference {
    fn name(&self) -> &'static str {
        "preference"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        each(groups, |truth, answer| f64::from(u8::from(self.side(answer) == Some(self.sign(truth.target)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewards::Truth;

    fn said(target: f64, answers: &[(&str, Option<f64>)]) -> [Group; 1] {
        let answers =
            answers.iter().map(|&(text, margin)| Answer { text: format!("<answer>{text}</answer>"), margin });
        [Group { truth: Truth { target, faults: Vec::new() }, answers: answers.collect() }]
    }

    #[test]
    fn the_head_goes_before_the_text_and_silence_gets_nothing() {
        let rated = MarginBell { sigma: 0.5 }
            .rate(&said(1.5, &[("9", Some(1.0)), ("-0.5", None), ("?", None), ("7", None)]));
        let known = [[(-0.5f64).exp(), (-8.0f64).exp(), 0.0, 0.0]];
        assert_eq!(rated, known);
    }

    #[test]
    fn sides_are_taken_by_word_or_by_margin() {
        let words = [("superior", None), ("similar", None), ("worse", None), ("nice", Some(2.0))];
        let preference = Preference { tie: 0.25, side: Side::Written };
        assert_eq!(preference.rate(&said(0.25, &words)), [[1.0, 0.0, 0.0, 0.0]]);
        assert_eq!(preference.rate(&said(-0.2, &words)), [[0.0, 1.0, 0.0, 0.0]]);
        assert_eq!(preference.rate(&said(-3.0, &words)), [[0.0, 0.0, 1.0, 0.0]]);
        let preference = Preference { tie: 0.25, side: Side::Margin };
        let margins = [("", Some(0.24)), ("", Some(0.3)), ("", Some(-2.0)), ("-1.5", None)];
        assert_eq!(preference.rate(&said(0.1, &margins)), [[1.0, 0.0, 0.0, 0.0]]);
        assert_eq!(preference.rate(&said(-1.0, &margins)), [[0.0, 0.0, 1.0, 1.0]]);
    }
}
