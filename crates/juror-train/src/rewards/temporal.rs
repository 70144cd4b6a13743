//! Temporal consistency (VQAThinker, after T-GRPO of Video-R1): a rollout that is right about the intact video earns
//! more when the model does better on intact videos than on the same videos with their frames disturbed.
//!
//! K rollouts answer the perturbed copy too and are rewarded against the same truth; no gradient flows through them.
//! For each rewarded column: where mean(intact) >= mean(perturbed), every intact rollout whose reward is above the
//! column's threshold gets `bonus` on it. The means are per video by default; the published code takes them over the
//! whole batch ([`Decision::PerBatch`]), so that one video pays for another.
//!
//! A [`Perturbation`] is drawn per video. It gives the order in which frames are shown, to every tower alike.

use super::{Table, mean};
use rand::seq::{IndexedRandom, SliceRandom, index};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Whose mean decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Each video's own rollouts.
    #[default]
    PerVideo,
    /// All rollouts of the batch, as published.
    PerBatch,
}

/// The bonus.
#[derive(Clone, Debug)]
pub struct TemporalConsistency {
    /// Added to rewards above their threshold.
    pub bonus: f64,
    /// Columns that can earn it, with their (strict) thresholds.
    pub thresholds: Vec<(&'static str, f64)>,
    /// Whose mean decides.
    pub decision: Decision,
}

impl Default for TemporalConsistency {
    fn default() -> Self {
        Self {
            bonus: 0.3,
            thresholds: vec![("rank", 0.5), ("regression", 0.9)],
            decision: Decision::PerVideo,
        }
    }
}

impl TemporalConsistency {
    /// Adds the bonus to `intact`; returns how many rollouts earned one per threshold. Columns that are missing in
    /// either table earn nothing; groups are matched by their place.
    pub fn apply(&self, intact: &mut Table, perturbed: &Table) -> Vec<usize> {
        let reward = |&(name, threshold): &(&'static str, f64)| {
            let at = |table: &Table| table.names.iter().position(|n| *n == name);
            let (Some(own), Some(other)) = (at(intact), at(perturbed)) else { return 0 };
            let (before, baseline) = (intact.column(own), perturbed.column(other));
            let pairs: Vec<_> = match self.decision {
                Decision::PerBatch => vec![(0..before.len(), 0..baseline.len())],
                Decision::PerVideo => intact.ranges().into_iter().zip(perturbed.ranges()).collect(),
            };
            let mut earned = 0;
            for (rows, others) in pairs {
                if mean(&before[rows.clone()]) < mean(&baseline[others]) {
                    continue;
                }
                for row in rows.filter(|&row| before[row] > threshold) {
                    intact.rows[row][own] += self.bonus;
                    earned += 1;
                }
            }
            earned
        };
        self.thresholds.iter().map(reward).collect()
    }
}

/// A way of disturbing the order of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perturbation {
    /// Any order.
    Shuffle,
    /// Any order within windows of four.
    LocalShuffle,
    /// Backwards.
    Reverse,
    /// Each place shows itself or a neighbour.
    Jitter,
    /// One frame is shown again up to three times somewhere, as many others are dropped.
    Duplicate,
    /// One to three frames are blank.
    Drop,
}

/// Frames of a window of [`Perturbation::LocalShuffle`].
const WINDOW: usize = 4;

impl Perturbation {
    /// All six.
    pub const ALL: [Self; 6] =
        [Self::Shuffle, Self::LocalShuffle, Self::Reverse, Self::Jitter, Self::Duplicate, Self::Drop];

    /// One of the six, each as likely.
    pub fn draw(rng: &mut impl Rng) -> Self {
        Self::ALL.choose(rng).copied().unwrap_or(Self::Shuffle)
    }

    /// Which of `frames` frames is shown at each place; `None` is a blank frame (zeros after normalisation).
    pub fn order(self, frames: usize, rng: &mut impl Rng) -> Vec<Option<usize>> {
        let mut order: Vec<usize> = (0..frames).collect();
        match self {
            Self::Shuffle => order.shuffle(rng),
            Self::LocalShuffle => order.chunks_mut(WINDOW).for_each(|window| window.shuffle(rng)),
            Self::Reverse => order.reverse(),
            Self::Jitter => {
                let last = frames.saturating_sub(1);
                order
                    .iter_mut()
                    .for_each(|at| *at = (*at + rng.random_range(0..=2)).saturating_sub(1).min(last));
            }
            Self::Duplicate if frames > 1 => {
                let (shown_again, place) = (rng.random_range(0..frames), rng.random_range(0..=frames));
                let times = rng.random_range(1..=3.min(frames - 1));
                order.splice(place..place, std::iter::repeat_n(shown_again, times));
                let others: Vec<usize> = (0..frames).filter(|&at| at != shown_again).collect();
                let dropped: Vec<usize> = others.sample(rng, times).copied().collect();
                order.retain(|at| !dropped.contains(at));
            }
            Self::Drop if frames > 0 => {
                let count = rng.random_range(1..=3.min(frames));
                let blank = index::sample(rng, frames, count);
                return order.into_iter().map(|at| (!blank.iter().any(|b| b == at)).then_some(at)).collect();
            }
            Self::Duplicate | Self::Drop => {}
        }
        order.into_iter().map(Some).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use juror_nn::rng;

    fn table(values: &[&[f64]]) -> Table {
        Table {
            names: vec!["rank"],
            weights: vec![1.0],
            sizes: values.iter().map(|group| group.len()).collect(),
            rows: values.iter().flat_map(|group| group.iter().map(|v| vec![*v])).collect(),
        }
    }

    #[test]
    fn each_video_decides_for_itself_unless_the_batch_does() {
        let perturbed = table(&[&[0.1, 0.1], &[0.99, 0.99]]);
        let apply = |decision| {
            let mut intact = table(&[&[0.9, 0.4], &[0.6, 0.7]]);
            let earned = TemporalConsistency { decision, ..TemporalConsistency::default() }
                .apply(&mut intact, &perturbed);
            (earned, intact.column(0))
        };
        assert_eq!(apply(Decision::PerVideo), (vec![1, 0], vec![0.9 + 0.3, 0.4, 0.6, 0.7]));
        assert_eq!(apply(Decision::PerBatch), (vec![3, 0], vec![0.9 + 0.3, 0.4, 0.6 + 0.3, 0.7 + 0.3]));
    }

    #[test]
    fn perturbations_keep_the_length_and_do_what_they_say() {
        for seed in 0..200 {
            let mut rng = rng::stream(seed, &[]);
            for frames in [1, 2, 5, 12] {
                for kind in Perturbation::ALL {
                    let order = kind.order(frames, &mut rng);
                    assert_eq!(order.len(), frames, "{kind:?}");
                    let shown: Vec<usize> = order.iter().flatten().copied().collect();
                    assert!(shown.iter().all(|&at| at < frames));
                    let mut sorted = shown.clone();
                    sorted.sort_unstable();
                    let all: Vec<usize> = (0..frames).collect();
                    match kind {
                        Perturbation::Shuffle | Perturbation::Reverse => assert_eq!(sorted, all),
                        Perturbation::LocalShuffle => {
                            assert_eq!(sorted, all);
                            assert!(shown.iter().enumerate().all(|(at, &was)| at / WINDOW == was / WINDOW));
                        }
                        Perturbation::Jitter => {
                            assert!(shown.iter().enumerate().all(|(at, &was)| at.abs_diff(was) <= 1));
                        }
                        Perturbation::Duplicate => {
                            sorted.dedup();
                            let missing = frames - sorted.len();
                            assert!(missing <= 3 && (frames == 1 || missing > 0), "{shown:?}");
                        }
                        Perturbation::Drop => assert!((1..=3).contains(&(frames - shown.len()))),
                    }
                }
            }
            assert!(Perturbation::Drop.order(0, &mut rng).is_empty());
        }
    }
}
