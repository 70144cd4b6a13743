//! Scores with what is known of their errors: the common result of every scaling method.

use serde::Serialize;

use super::graph::Components;
use super::laplacian::Inverse;
use crate::error::StatsError;
use crate::interval::Interval;
use crate::normal;

/// One score per item, comparable inside each connected group, with standard errors.
///
/// Scores are relative to the mean of their group, and so are their errors and intervals.
pub struct Scale {
    /// Score of each item `[items]`, with mean 0 in each connected group.
    pub scores: Vec<f64>,
    /// Groups of items that share a scale.
    pub components: Components,
    /// Standard deviation of one unit of the inverse information; `None` when unknown.
    pub(crate) unit_std: Option<f64>,
    /// Degrees of freedom behind `unit_std`; `None` when it is not estimated.
    pub(crate) freedom: Option<f64>,
    /// Inverse information on what differs inside each group.
    pub(crate) inverse: Inverse,
}

impl Scale {
    /// Standard error of a score against the mean of its group; `None` for an item alone in its group and where the
    /// noise is unknown.
    pub fn standard_error(&self, item: usize) -> Option<f64> {
        if self.components.size_of(item) < 2 {
            return None;
        }
        Some(self.unit_std? * self.inverse.variance(item).sqrt())
    }

    /// 95 % interval of a score against the mean of its group; `None` as in [`Scale::standard_error`].
    pub fn interval(&self, item: usize) -> Option<Interval> {
        Some(Interval::of_estimate(self.scores[item], self.standard_error(item)?, self.freedom))
    }

    /// Standard error of the difference of two scores; `None` across groups and where the noise is unknown. Above 400
    /// items the covariance counts as 0.
    pub fn difference_error(&self, a: usize, b: usize) -> Option<f64> {
        if a == b || !self.components.together(a, b) {
            return None;
        }
        let covariance = self.inverse.covariance(a, b).unwrap_or(0.0);
        let variance = self.inverse.variance(a) + self.inverse.variance(b) - 2.0 * covariance;
        Some(self.unit_std? * variance.max(0.0).sqrt())
    }

    /// 95 % interval of the score of `a` minus that of `b`; `None` as in [`Scale::difference_error`].
    pub fn difference_interval(&self, a: usize, b: usize) -> Option<Interval> {
        let error = self.difference_error(a, b)?;
        Some(Interval::of_estimate(self.scores[a] - self.scores[b], error, self.freedom))
    }

    /// Probability that `a` is truly above `b` given the judgements; `None` as in [`Scale::difference_error`].
    pub fn probability_above(&self, a: usize, b: usize) -> Option<f64> {
        let error = self.difference_error(a, b)?;
        let difference = self.scores[a] - self.scores[b];
        if error == 0.0 {
            return Some(if difference == 0.0 { 0.5 } else { f64::from(u8::from(difference > 0.0)) });
        }
        Some(normal::probability(difference / error))
    }

    /// The scale as one.
    ///
    /// # Errors
    /// The comparisons fall into pieces, which share no scale.
    pub fn connected(self) -> Result<Self, StatsError> {
        if self.components.count() > 1 {
            return Err(StatsError::Disconnected { components: self.components.members() });
        }
        Ok(self)
    }

    /// Places of the items, best first; groups follow each other in the order of their numbers.
    pub fn standings(&self) -> Vec<Standing> {
        /// Scores nearer than this differ by rounding alone.
        const ROUNDING: f64 = 1e-9;
        let group = |i: usize| self.components.of_item[i];
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_by(|&i, &j| {
            group(i).cmp(&group(j)).then(self.scores[j].total_cmp(&self.scores[i])).then(i.cmp(&j))
        });
        let mut standings: Vec<Standing> = Vec::with_capacity(order.len());
        let mut place = 0;
        for &item in &order {
            let above = standings.last().copied().filter(|above| above.group == group(item));
            place = if above.is_some() { place + 1 } else { 1 };
            let rank = match above {
                Some(above) if self.scores[above.item] - self.scores[item] <= ROUNDING => above.rank,
                _ => place,
            };
            let tied_with_above = above.is_some_and(|above| {
                self.difference_interval(above.item, item).is_none_or(|difference| difference.contains(0.0))
            });
            standings.push(Standing { item, group: group(item), rank, tied_with_above });
        }
        standings
    }
}

/// Place of one item in the order of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The item.
    pub item: usize,
    /// Its group.
    pub group: usize,
    /// Rank in the group, 1 for the best; equal scores share the better rank.
    pub rank: usize,
    /// Whether the judgements cannot tell the item from the one above it: the 95 % interval of their difference holds 0,
    /// or nothing is known of it.
    pub tied_with_above: bool,
}
