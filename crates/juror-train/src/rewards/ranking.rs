//! Pairwise ranking by fidelity (VisualQuality-R1, VQAThinker), over the whole batch.
//!
//! Video i has written scores p_i1..p_iK with mean m_i and unbiased variance v_i. Rollout j of video i is held against
//! the mean of every other video z:
//!
//! ```text
//! P = Phi((p_ij - m_z) / sqrt(v_i + v_z + 1e-6))        t = 1, 0 or 1/2 as target_i >, < or = target_z
//! r = sqrt(P t + 1e-6) + sqrt((1 - P)(1 - t) + 1e-6)    reward = mean over z of r   (.002 worst, 1.001 best)
//! ```
//!
//! Without a variance (a single score) P is 1/2, as in the published code. Rollouts without a number get 0 and take no
//! part in means; a video without any number is no opponent; a batch without opponents gives 0 throughout (the published
//! code divides by zero).

use super::{Group, Reward, mean, unbiased_variance};
use juror_lmm::answer::{ScoreRule, read_score};
use juror_stats::normal;

/// Whether videos come out in the right order.
#[derive(Clone, Copy, Debug)]
pub struct Ranking;

impl Reward for Ranking {
    fn name(&self) -> &'static str {
        "rank"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        let read = |group: &Group| -> Vec<Option<f64>> {
            let score = |text: &str| read_score(text, ScoreRule::VqaThinkerTraining).value();
            group.answers.iter().map(|answer| score(&answer.text)).collect()
        };
        let scores: Vec<Vec<Option<f64>>> = groups.iter().map(read).collect();
        let moments: Vec<Option<(f64, Option<f64>)>> = scores
            .iter()
            .map(|scores| {
                let said: Vec<f64> = scores.iter().flatten().copied().collect();
                (!said.is_empty()).then(|| (mean(&said), unbiased_variance(&said)))
            })
            .collect();
        let rate = |i: usize, score: Option<f64>| -> f64 {
            let (Some(score), Some((_, own))) = (score, moments[i]) else { return 0.0 };
            let against: Vec<f64> = (0..groups.len())
                .filter(|&z| z != i)
                .filter_map(|z| {
                    let (other, spread) = moments[z]?;
                    let spread = own.zip(spread).map(|(a, b)| a + b);
                    let target = wins(groups[i].truth.target, groups[z].truth.target);
                    Some(fidelity(win_probability(score - other, spread), target))
                })
                .collect();
            mean(&against)
        };
        scores
            .iter()
            .enumerate()
            .map(|(i, group)| group.iter().map(|&score| rate(i, score)).collect())
            .collect()
    }
}

/// 1 if the first is higher, 0 if lower, 1/2 if equal.
fn wins(a: f64, b: f64) -> f64 {
    if a > b {
        1.0
    } else if a < b {
        0.0
    } else {
        0.5
    }
}

/// `Phi(lead / sqrt(variance + 1e-6))`; 1/2 without a variance.
#[must_use]
pub fn win_probability(lead: f64, variance: Option<f64>) -> f64 {
    variance.map_or(0.5, |variance| normal::probability(lead / (variance + 1e-6).sqrt()))
}

/// Fidelity of a probability and its target, `sqrt(P t + 1e-6) + sqrt((1 - P)(1 - t) + 1e-6)` (Tsai et al. 2007).
#[must_use]
pub fn fidelity(probability: f64, target: f64) -> f64 {
    (probability * target + 1e-6).sqrt() + ((1.0 - probability) * (1.0 - target) + 1e-6).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewards::tests::group;

    #[test]
    fn the_worked_example_of_the_design_comes_out() {
        let a = group(4.12, &["3.51", "3.00", "3.80", "3.25"]);
        let b = group(2.85, &["2.87", "2.75", "3.10", "2.60"]);
        let rated = Ranking.rate(&[a, b]);
        let known = [[0.977782, 0.815436, 0.996950, 0.923575], [0.950396, 0.972455, 0.875037, 0.988385]];
        for (rated, known) in rated.iter().flatten().zip(known.iter().flatten()) {
            assert!((rated - known).abs() < 1e-6, "{rated} {known}");
        }
    }

    #[test]
    fn the_silent_get_nothing_and_are_no_opponents() {
        let rated = Ranking.rate(&[
            group(4.0, &["4.00", "?", "4.20"]),
            group(2.0, &["2.00", "2.10"]),
            group(3.0, &["?"]),
        ]);
        assert_eq!((rated[0][1], rated[2][0]), (0.0, 0.0));
        assert!(rated[0][0] > 1.0 && rated[1][0] > 1.0, "{rated:?}");
        assert_eq!(Ranking.rate(&[group(4.0, &["4.00", "4.20"])]), [[0.0, 0.0]]);
    }
}
