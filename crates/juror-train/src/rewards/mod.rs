//! What rollouts are rewarded for: functions of what was written, added up with weights.
//!
//! A [`Group`] is one prompt, what is known of its answer, and the rollouts that answered it. A [`Reward`] gives every
//! rollout of a batch of groups one number, mostly on 0..1; it sees the whole batch, since ranking compares videos.
//! [`Rewards`] weights several of them and keeps each function's column in a [`Table`], as TRL's `rewards_per_func`
//! does: row = rollout (all rollouts of the first group, then of the second), column = function.
//!
//! | function | of | after |
//! |---|---|---|
//! | [`Format`], [`Regression`], [`Ranking`] | a written score | VQAThinker (arXiv 2508.06051) |
//! | [`TemporalConsistency`] | a table, against the table of perturbed videos | VQAThinker |
//! | [`MarginBell`], [`Preference`], [`Attribution`] | the comparison of two videos | ours, `docs/mc-grpo.md` |
//!
//! Scores and margins are in points of the five-point scale. Where the published code draws a random integer because
//! it finds no number, the rollout gets 0 here: luck is no merit.

mod attribution;
mod pair;
mod ranking;
mod score;
mod temporal;

pub use attribution::Attribution;
pub use pair::{MarginBell, Preference, Side};
pub use ranking::{Ranking, fidelity};
pub use score::{Decimals, Format, Regression};
pub use temporal::{Decision, Perturbation, TemporalConsistency};

/// What is known about a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// The right score, or the right margin of A over B, in points.
    pub target: f64,
    /// The distortions of each video, by the names of `juror_lmm::nano::KINDS`.
    pub faults: Vec<Vec<&'static str>>,
}

/// What one rollout came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// All that was written, tags included.
    pub text: String,
    /// The margin read by a head behind the text, in points; `None` where the model has no such head.
    pub margin: Option<f64>,
}

/// One prompt and its rollouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// What is known.
    pub truth: Truth,
    /// What was said.
    pub answers: Vec<Answer>,
}

/// One reward function.
pub trait Reward {
    /// Its name in logs: `rewards/NAME/mean`.
    fn name(&self) -> &'static str;

    /// One number per rollout, group by group.
    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>>;
}

/// Rates every rollout by itself.
fn each(groups: &[Group], rate: impl Fn(&Truth, &Answer) -> f64) -> Vec<Vec<f64>> {
    groups
        .iter()
        .map(|group| group.answers.iter().map(|answer| rate(&group.truth, answer)).collect())
        .collect()
}

/// Weighted reward functions.
#[derive(Default)]
pub struct Rewards {
    functions: Vec<(f64, Box<dyn Reward>)>,
}

impl Rewards {
    /// Adds a function; one of weight 0 is left out.
    #[must_use]
    pub fn with(mut self, weight: f64, function: impl Reward + 'static) -> Self {
        if weight != 0.0 {
            self.functions.push((weight, Box::new(function)));
        }
        self
    }

    /// The names of the functions, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.functions.iter().map(|(_, function)| function.name()).collect()
    }

    /// Rates a batch.
    #[must_use]
    pub fn rate(&self, groups: &[Group]) -> Table {
        let sizes: Vec<usize> = groups.iter().map(|group| group.answers.len()).collect();
        let mut rows = vec![Vec::with_capacity(self.functions.len()); sizes.iter().sum()];
        for (_, function) in &self.functions {
            let column = function.rate(groups).into_iter().flatten();
            rows.iter_mut().zip(column).for_each(|(row, value)| row.push(value));
        }
        Table { names: self.names(), weights: self.functions.iter().map(|(w, _)| *w).collect(), sizes, rows }
    }
}

/// The rewards of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Name of each column.
    pub names: Vec<&'static str>,
    /// Weight of each column.
    pub weights: Vec<f64>,
    /// Rollouts of each group.
    pub sizes: Vec<usize>,
    /// `[rollouts][columns]`, unweighted.
    pub rows: Vec<Vec<f64>>,
}

impl Table {
    /// The weighted sum of each rollout.
    #[must_use]
    pub fn totals(&self) -> Vec<f64> {
        self.rows.iter().map(|row| row.iter().zip(&self.weights).map(|(r, w)| r * w).sum()).collect()
    }

    /// One column.
    #[must_use]
    pub fn column(&self, column: usize) -> Vec<f64> {
        self.rows.iter().map(|row| row[column]).collect()
    }

    /// The rows of each group.
    fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut start = 0;
        let range = |&size: &usize| {
            start += size;
            start - size..start
        };
        self.sizes.iter().map(range).collect()
    }
}

/// Mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Variance with divisor n - 1, as the published code takes it; `None` of fewer than two values.
pub(crate) fn unbiased_variance(values: &[f64]) -> Option<f64> {
    let centre = mean(values);
    (values.len() > 1)
        .then(|| values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (values.len() - 1) as f64)
}

/// `exp(-error² / (2 sigma²))`: 1 for a hit, .61 one sigma off.
fn bell(error: f64, sigma: f64) -> f64 {
    (-error * error / (2.0 * sigma * sigma)).exp()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A group of texts.
    pub fn group(target: f64, texts: &[&str]) -> Group {
        let answer = |text: &&str| Answer { text: (*text).to_owned(), margin: None };
        Group { truth: Truth { target, faults: Vec::new() }, answers: texts.iter().map(answer).collect() }
    }

    #[test]
    fn functions_are_weighted_and_keep_their_columns() {
        let rewards = Rewards::default()
            .with(0.5, Format)
            .with(0.0, Ranking)
            .with(2.0, Regression { sigma: 0.5, ..Regression::default() });
        assert_eq!(rewards.names(), ["format", "regression"]);
        let said = ["<think>a</think><answer>3.25</answer>", "3.25", "nothing"];
        let table = rewards.rate(&[group(3.25, &said[..2]), group(1.0, &said[2..])]);
        assert_eq!(table.sizes, [2, 1]);
        assert_eq!(table.rows, [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]);
        assert_eq!(table.totals(), [2.5, 2.0, 0.0]);
        assert_eq!(table.ranges(), [0..2, 2..3]);
    }
}
