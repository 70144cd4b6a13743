//! From the probabilities of the five levels to a margin, in one order and in both.
//!
//! Level k (0 inferior .. 4 superior) speaks of the second video, so it is worth `4 - 2k` points to the first.

use crate::generate::graded_preference;
use crate::judge::PairJudgement;
use std::time::Instant;

/// Half the distance of two levels in points, as the standard deviation of a uniform spread: the error of a judgement of
/// which only the word is known.
pub const WORD_SD: f64 = 0.577;

/// What level probabilities mean for the first video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    /// Its margin over the second, in points (-4..4).
    pub margin: f64,
    /// Standard deviation of the margin under the probabilities.
    pub sd: f64,
    /// Probability that it is preferred; half of `similar` counts.
    pub preference: f64,
}

/// The margin of the first video over the second in points (-4..4) that level probabilities mean.
pub fn margin(levels: &[f64; 5]) -> f64 {
    4.0 * (1.0 - 2.0 * graded_preference(levels))
}

/// Weighs the levels of the second video against the first, from inferior to superior.
pub fn weigh(levels: &[f64; 5]) -> Weighed {
    let margin = margin(levels);
    let variance =
        levels.iter().enumerate().map(|(k, p)| p * (4.0 - 2.0 * k as f64 - margin).powi(2)).sum::<f64>();
    let preference = levels[0] + levels[1] + levels[2] / 2.0;
    Weighed { margin, sd: variance.sqrt(), preference }
}

/// Joins A-B with B-A, where that was judged too; says whether their signs agree.
pub fn join(forward: Weighed, backward: Option<Weighed>) -> (Weighed, Option<bool>) {
    let Some(backward) = backward else { return (forward, None) };
    let both = Weighed {
        margin: (forward.margin - backward.margin) / 2.0,
        // Two readings of one judgement, not two independent ones: the mean of their spreads.
        sd: (forward.sd + backward.sd) / 2.0,
        preference: (forward.preference + 1.0 - backward.preference) / 2.0,
    };
    (both, Some(forward.margin * backward.margin <= 0.0))
}

impl Weighed {
    /// The judgement of a model that writes levels: it does not tell the aspects apart and names no distortions.
    pub(crate) fn judgement(
        self,
        order_agreement: Option<bool>,
        rationale: Option<String>,
        started: Instant,
    ) -> PairJudgement {
        PairJudgement {
            margin: self.margin,
            margin_sd: self.sd,
            probability: self.preference,
            visual: self.margin,
            temporal: 0.0,
            distortions_a: Vec::new(),
            distortions_b: Vec::new(),
            rationale,
            order_agreement,
            language_secs: started.elapsed().as_secs_f64(),
        }
    }
}

/// Mean and standard deviation of grades 1 (bad) to 5 (excellent) under their probabilities.
pub fn grade(grades: &[f64; 5]) -> (f64, f64) {
    let mean: f64 = grades.iter().enumerate().map(|(k, p)| p * (k as f64 + 1.0)).sum();
    let variance: f64 = grades.iter().enumerate().map(|(k, p)| p * (k as f64 + 1.0 - mean).powi(2)).sum();
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_speak_of_the_second_video() {
        let sure = |k: usize| weigh(&std::array::from_fn(|i| f64::from(u8::from(i == k))));
        let margins: Vec<f64> = (0..5).map(|k| sure(k).margin).collect();
        assert_eq!(margins, [4.0, 2.0, 0.0, -2.0, -4.0]);
        assert_eq!((sure(1).preference, sure(2).preference, sure(3).preference), (1.0, 0.5, 0.0));
        let split = weigh(&[0.0, 0.5, 0.0, 0.5, 0.0]);
        assert_eq!((split.margin, split.sd, split.preference), (0.0, 2.0, 0.5));
    }

    #[test]
    fn both_orders_cancel_a_bias() {
        let (a, b) = (weigh(&[0.0, 1.0, 0.0, 0.0, 0.0]), weigh(&[0.0, 0.0, 1.0, 0.0, 0.0]));
        let (joined, agree) = join(a, Some(b));
        assert_eq!((joined.margin, joined.preference, agree), (1.0, 0.75, Some(true)));
        let (swapped, _) = join(b, Some(a));
        assert_eq!(swapped.margin, -joined.margin);
        assert_eq!(join(a, Some(a)).1, Some(false), "the second in both orders");
        assert_eq!(join(a, None), (a, None));
    }

    #[test]
    fn grades_are_means() {
        assert_eq!(grade(&[0.0, 0.0, 0.0, 0.5, 0.5]), (4.5, 0.5));
    }
}
