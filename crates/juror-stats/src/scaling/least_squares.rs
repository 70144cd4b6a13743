//! Scores from signed margins by weighted least squares on the comparison graph (HodgeRank: Jiang, Lim, Yao, Ye 2011).
//!
//! Minimises `sum_e w_e (s_a - s_b - m_e)²`. The normal equations are `L s = b` with the weighted graph Laplacian `L`
//! and `b_i = sum_e ±w_e m_e`; scores are centred in each connected group. The share of the margin energy
//! `sum_e w_e m_e²` that is left in the residual is the *inconsistency*: 0 when one score per item explains every
//! margin, 1 when none of it. Units: points of the margins.
//!
//! Unlike a MAP of choices this is linear, needs no prior and does not saturate.

use serde::Serialize;

use super::graph::Components;
use super::laplacian::{Inverse, Laplacian};
use super::pairs::PairTable;
use crate::error::StatsError;
use crate::interval::Interval;
use crate::normal;

/// What is known of the noise of a margin of weight 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Noise {
    /// Nothing: its variance is estimated from the residual, where the graph has more comparisons than it needs.
    #[default]
    Estimated,
    /// Its standard deviation, in points.
    Known(f64),
}

/// Scores explained by margins.
pub struct MarginScale {
    /// Score of each item `[items]`, points, centred in each connected group.
    pub scores: Vec<f64>,
    /// Groups of items that share a scale.
    pub components: Components,
    /// Share of the margin energy that no single score per item explains, 0..1; `None` without any margin but zeros.
    pub inconsistency: Option<f64>,
    /// Residual `margin - (s_a - s_b)` of each comparison, in their order.
    pub residuals: Vec<f64>,
    /// Standard deviation of a margin of weight 1; `None` when the comparisons form a tree, which leaves no residual.
    pub noise_std: Option<f64>,
    /// Degrees of freedom behind `noise_std`; `None` when the noise was known.
    freedom: Option<f64>,
    inverse: Inverse,
}

/// Solves for the scores.
///
/// Up to 400 items variances are exact; above, they are estimated to about 1 %.
///
/// # Errors
/// A known noise that is not finite and above 0; a solver that does not converge.
pub fn scale_margins(pairs: &PairTable, noise: Noise) -> Result<MarginScale, StatsError> {
    if let Noise::Known(std) = noise
        && !(std.is_finite() && std > 0.0)
    {
        return Err(StatsError::Setting { name: "noise", value: std, allowed: "a finite number above 0" });
    }
    let edges: Vec<_> = pairs.edges().collect();
    let laplacian = Laplacian::new(pairs.items(), &edges, 0.0);
    let mut b = vec![0.0; pairs.items()];
    for c in pairs.comparisons() {
        b[c.a] += c.weight * c.margin;
        b[c.b] -= c.weight * c.margin;
    }
    let scores = laplacian.solve(&b)?;
    let components = laplacian.components().clone();

    let residuals: Vec<f64> =
        pairs.comparisons().iter().map(|c| c.margin - (scores[c.a] - scores[c.b])).collect();
    let energy = |of: &dyn Fn(usize) -> f64| -> f64 {
        pairs.comparisons().iter().enumerate().map(|(k, c)| c.weight * of(k).powi(2)).sum()
    };
    let left = energy(&|k| residuals[k]);
    let total = energy(&|k| pairs.comparisons()[k].margin);
    let inconsistency = (total > 0.0).then(|| (left / total).clamp(0.0, 1.0));

    let surplus = (pairs.comparisons().len() + components.count()).saturating_sub(pairs.items());
    let (noise_std, freedom) = match noise {
        Noise::Known(std) => (Some(std), None),
        Noise::Estimated if surplus > 0 => (Some((left / surplus as f64).sqrt()), Some(surplus as f64)),
        Noise::Estimated => (None, None),
    };
    let inverse = laplacian.inverse()?;
    Ok(MarginScale { scores, components, inconsistency, residuals, noise_std, freedom, inverse })
}

impl MarginScale {
    /// Standard error of a score against the mean of its group; `None` for an item alone in its group and where the
    /// noise is unknown.
    pub fn standard_error(&self, item: usize) -> Option<f64> {
        if self.components.size_of(item) < 2 {
            return None;
        }
        Some(self.noise_std? * self.inverse.variance(item).sqrt())
    }

    /// 95 % interval of a score against the mean of its group.
    pub fn interval(&self, item: usize) -> Option<Interval> {
        Some(Interval::of_estimate(self.scores[item], self.standard_error(item)?, self.freedom))
    }

    /// Standard error of the difference of two scores; `None` across groups and where the noise is unknown.
    pub fn difference_error(&self, a: usize, b: usize) -> Option<f64> {
        if a == b || !self.components.together(a, b) {
            return None;
        }
        Some(self.noise_std? * self.inverse.variance_of_difference(a, b).sqrt())
    }

    /// Probability that `a` is truly above `b` given the margins (flat prior); `None` as in
    /// [`MarginScale::difference_error`].
    pub fn probability_above(&self, a: usize, b: usize) -> Option<f64> {
        let error = self.difference_error(a, b)?;
        let difference = self.scores[a] - self.scores[b];
        if error == 0.0 {
            return Some(if difference == 0.0 { 0.5 } else { f64::from(u8::from(difference > 0.0)) });
        }
        Some(normal::probability(difference / error))
    }

    /// The scale as one: errs where the items do not share one.
    ///
    /// # Errors
    /// The graph is in pieces.
    pub fn connected(self) -> Result<Self, StatsError> {
        if self.components.count() > 1 {
            return Err(StatsError::Disconnected { components: self.components.members() });
        }
        Ok(self)
    }

    /// Standing of the items, best first; see [`Standing`]. Groups follow each other in the order of their numbers.
    pub fn standings(&self) -> Vec<Standing> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        let group = |i: usize| self.components.of_item[i];
        order.sort_by(|&i, &j| {
            group(i).cmp(&group(j)).then(self.scores[j].total_cmp(&self.scores[i])).then(i.cmp(&j))
        });
        let mut standings: Vec<Standing> = Vec::with_capacity(order.len());
        let mut position = 0;
        for &item in &order {
            let previous = standings.last().copied().filter(|p| p.group == group(item));
            let tied_with_previous = previous.is_some_and(|p| self.indistinct(p.item, item));
            // Scores that differ by rounding alone share their rank.
            let equal = previous.is_some_and(|p| self.scores[p.item] - self.scores[item] <= 1e-9);
            position = if previous.is_some() { position + 1 } else { 1 };
            let rank = match previous {
                Some(p) if equal => p.rank,
                _ => position,
            };
            standings.push(Standing { item, group: group(item), rank, tied_with_previous });
        }
        standings
    }

    /// Whether the 95 % interval of the difference of two scores holds 0 (or nothing is known of it).
    fn indistinct(&self, a: usize, b: usize) -> bool {
        match self.difference_error(a, b) {
            Some(error) => {
                Interval::of_estimate(self.scores[a] - self.scores[b], error, self.freedom).contains(0.0)
            }
            None => true,
        }
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
    /// Whether the margins cannot tell the item from the one above it (95 %).
    pub tied_with_previous: bool,
}
