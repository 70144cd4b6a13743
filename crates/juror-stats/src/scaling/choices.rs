//! Scores from choices: Thurstone Case V and Bradley-Terry, maximum a posteriori by Newton's method.
//!
//! Minimises `-sum_ij c_ij log F(q_i - q_j) + lambda/2 sum_i q_i²`, where `c_ij` counts how often `i` was preferred to
//! `j` (any number >= 0), `F` is the normal distribution (Thurstone 1927, Case V with unit noise on the difference) or
//! the logistic one (Bradley, Terry 1952), and `lambda` the precision of the prior `N(0, 1/lambda)`. A tie counts as half
//! a choice either way. The problem is convex; the prior alone sees the common level, so the scores of every connected
//! group sum to 0. With `lambda = 0` (maximum likelihood) they are finite only if every item of a group is joined to
//! every other by a chain of defeats (Ford 1957), which is checked.
//!
//! Units: standard deviations of the difference (Thurstone), logits (Bradley-Terry).

use serde::{Deserialize, Serialize};

use super::graph::strong_components;
use super::laplacian::Laplacian;
use super::scale::Scale;
use crate::error::StatsError;
use crate::normal;

/// Distribution of the noise on the difference of two scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceModel {
    /// Normal, unit variance: Thurstone Case V.
    #[default]
    Thurstone,
    /// Logistic, unit scale: Bradley-Terry.
    BradleyTerry,
}

impl ChoiceModel {
    /// Probability that the item which is `difference` better is preferred.
    pub fn probability(self, difference: f64) -> f64 {
        match self {
            Self::Thurstone => normal::probability(difference),
            Self::BradleyTerry => 1.0 / (1.0 + (-difference).exp()),
        }
    }

    /// `log F(d)`, its first derivative, and the negative of its second one (never below 0).
    fn log_likelihood(self, d: f64) -> (f64, f64, f64) {
        match self {
            Self::Thurstone => {
                let mills = normal::inverse_mills(d);
                (normal::log_probability(d), mills, (mills * (mills + d)).max(0.0))
            }
            Self::BradleyTerry => {
                let lose = 1.0 / (1.0 + d.exp());
                (-(-d.abs()).exp().ln_1p() + d.min(0.0), lose, lose * (1.0 - lose))
            }
        }
    }
}

/// How often each of two items was preferred to the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Index of the first item.
    pub a: usize,
    /// Index of the second item.
    pub b: usize,
    /// How often `a` was preferred.
    pub a_preferred: f64,
    /// How often `b` was preferred.
    pub b_preferred: f64,
}

impl Choices {
    /// One tie: half a choice either way.
    pub fn tie(a: usize, b: usize) -> Self {
        Self { a, b, a_preferred: 0.5, b_preferred: 0.5 }
    }

    /// One choice of `winner` over `loser`.
    pub fn win(winner: usize, loser: usize) -> Self {
        Self { a: winner, b: loser, a_preferred: 1.0, b_preferred: 0.0 }
    }

    /// One soft choice: `a` preferred with this probability, as a level stands for it
    /// ([`crate::Level::preference`]).
    ///
    /// # Errors
    /// A probability outside 0..1.
    pub fn soft(a: usize, b: usize, preference: f64) -> Result<Self, StatsError> {
        if !(0.0..=1.0).contains(&preference) {
            let (what, allowed) = ("preference", "a probability, 0 to 1");
            return Err(StatsError::OutOfRange { what, index: 0, value: preference, allowed });
        }
        Ok(Self { a, b, a_preferred: preference, b_preferred: 1.0 - preference })
    }
}

/// Validated choices among `items` items; entries of the same pair add up.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceTable {
    items: usize,
    choices: Vec<Choices>,
}

impl ChoiceTable {
    /// Checks and takes the choices.
    ///
    /// # Errors
    /// No items; an index outside `0..items`; an item against itself; a count that is negative or not finite.
    pub fn new(items: usize, choices: Vec<Choices>) -> Result<Self, StatsError> {
        if items == 0 {
            return Err(StatsError::TooFew { what: "items", have: 0, need: 1 });
        }
        for (pair, c) in choices.iter().enumerate() {
            if let Some(item) = [c.a, c.b].into_iter().find(|&i| i >= items) {
                return Err(StatsError::UnknownItem { pair, item, items });
            }
            if c.a == c.b {
                return Err(StatsError::SelfComparison { pair, item: c.a });
            }
            for value in [c.a_preferred, c.b_preferred] {
                if !(value.is_finite() && value >= 0.0) {
                    return Err(StatsError::OutOfRange {
                        what: "count of pair",
                        index: pair,
                        value,
                        allowed: "a finite number, 0 or more",
                    });
                }
            }
        }
        // Ordering and joining the entries makes the result independent of their order, up to rounding of the sums.
        let mut ordered: Vec<Choices> = choices
            .into_iter()
            .map(|c| {
                if c.a < c.b {
                    c
                } else {
                    Choices { a: c.b, b: c.a, a_preferred: c.b_preferred, b_preferred: c.a_preferred }
                }
            })
            .collect();
        ordered.sort_by_key(|c| (c.a, c.b));
        let mut joined: Vec<Choices> = Vec::with_capacity(ordered.len());
        for c in ordered {
            match joined.last_mut() {
                Some(last) if (last.a, last.b) == (c.a, c.b) => {
                    last.a_preferred += c.a_preferred;
                    last.b_preferred += c.b_preferred;
                }
                _ => joined.push(c),
            }
        }
        joined.retain(|c| c.a_preferred + c.b_preferred > 0.0);
        Ok(Self { items, choices: joined })
    }

    /// From a square matrix of counts, row by row: `counts[i][j]` tells how often `i` was preferred to `j`. The diagonal
    /// says nothing and is not read.
    ///
    /// # Errors
    /// As [`ChoiceTable::new`]; a row of the wrong length.
    pub fn from_matrix(counts: &[Vec<f64>]) -> Result<Self, StatsError> {
        let items = counts.len();
        if let Some(row) = counts.iter().find(|row| row.len() != items) {
            let (right, right_name) = (row.len(), "a row of the count matrix");
            return Err(StatsError::LengthMismatch {
                left_name: "the count matrix",
                left: items,
                right_name,
                right,
            });
        }
        let pairs = (0..items).flat_map(|a| (a + 1..items).map(move |b| (a, b)));
        let choices = pairs
            .map(|(a, b)| Choices { a, b, a_preferred: counts[a][b], b_preferred: counts[b][a] })
            .collect();
        Self::new(items, choices)
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The choices, one entry for each pair `a < b` that was judged, ascending.
    pub fn choices(&self) -> &[Choices] {
        &self.choices
    }

    /// The same pairs with other counts, which must be valid.
    pub(crate) fn recounted(&self, count: impl FnMut(&Choices) -> Choices) -> Self {
        Self { items: self.items, choices: self.choices.iter().map(count).collect() }
    }
}

/// Scores explained by choices.
pub struct ChoiceFit {
    /// The scores. Errors and intervals come from the Hessian at the optimum.
    pub scale: Scale,
    /// The minimised negative log posterior.
    pub objective: f64,
    prior_precision: f64,
}

impl ChoiceFit {
    /// Posterior standard deviation of a score itself (not against the mean of its group): the square root of the
    /// diagonal of the inverse Hessian. `None` without a prior, which alone fixes the level.
    pub fn posterior_std(&self, item: usize) -> Option<f64> {
        // The prior's own variance, shared by the group, is that of its mean.
        let level = 1.0 / (self.prior_precision * self.scale.components.size_of(item) as f64);
        level.is_finite().then(|| (self.scale.inverse.variance(item) + level).sqrt())
    }
}

/// Finds the scores.
///
/// # Errors
/// A `prior_precision` that is negative or not finite; without a prior, scores that are infinite.
pub fn scale_choices(
    table: &ChoiceTable,
    model: ChoiceModel,
    prior_precision: f64,
) -> Result<ChoiceFit, StatsError> {
    check(table, prior_precision)?;
    let (scores, objective) = optimum(table, model, prior_precision)?;
    let laplacian = Laplacian::new(table.items, &information(table, model, &scores), prior_precision);
    let scale = Scale {
        scores,
        components: laplacian.components().clone(),
        unit_std: Some(1.0),
        freedom: None,
        inverse: laplacian.inverse()?,
    };
    Ok(ChoiceFit { scale, objective, prior_precision })
}

fn check(table: &ChoiceTable, prior_precision: f64) -> Result<(), StatsError> {
    if !(prior_precision.is_finite() && prior_precision >= 0.0) {
        return Err(StatsError::Setting {
            name: "prior precision",
            value: prior_precision,
            allowed: "a finite number, 0 or more",
        });
    }
    if prior_precision > 0.0 {
        return Ok(());
    }
    // An edge from the loser to the winner: a group without an edge out of it is never beaten by the rest.
    let mut beaten_by = vec![Vec::new(); table.items];
    for c in &table.choices {
        if c.a_preferred > 0.0 {
            beaten_by[c.b].push(c.a);
        }
        if c.b_preferred > 0.0 {
            beaten_by[c.a].push(c.b);
        }
    }
    let group = strong_components(&beaten_by);
    let one_way = table.choices.iter().find(|c| group[c.a] != group[c.b]);
    match one_way {
        None => Ok(()),
        Some(c) => {
            let undefeated = group[c.a].min(group[c.b]);
            let items = (0..table.items).filter(|&i| group[i] == undefeated).collect();
            Err(StatsError::Unbounded { items })
        }
    }
}

/// Edges weighted with the curvature of the likelihood.
fn information(table: &ChoiceTable, model: ChoiceModel, scores: &[f64]) -> Vec<(usize, usize, f64)> {
    (table.choices.iter())
        .map(|c| {
            let d = scores[c.a] - scores[c.b];
            let curvature =
                c.a_preferred * model.log_likelihood(d).2 + c.b_preferred * model.log_likelihood(-d).2;
            // A weight that underflows to 0 would cut the graph.
            (c.a, c.b, curvature.max(f64::MIN_POSITIVE))
        })
        .collect()
}

/// Scores at the optimum and the objective there, by Newton's method with step halving.
pub(crate) fn optimum(
    table: &ChoiceTable,
    model: ChoiceModel,
    prior_precision: f64,
) -> Result<(Vec<f64>, f64), StatsError> {
    const MAX_STEPS: usize = 200;
    let objective = |q: &[f64]| {
        let likelihood: f64 = (table.choices.iter())
            .map(|c| {
                let d = q[c.a] - q[c.b];
                // 0 * -inf must stay 0 in far tails.
                let term =
                    |count: f64, d: f64| if count > 0.0 { count * model.log_likelihood(d).0 } else { 0.0 };
                term(c.a_preferred, d) + term(c.b_preferred, -d)
            })
            .sum();
        0.5 * prior_precision * q.iter().map(|q| q * q).sum::<f64>() - likelihood
    };
    let total: f64 = table.choices.iter().map(|c| c.a_preferred + c.b_preferred).sum();
    let tolerance = 1e-14 * (1.0 + total);
    let mut q = vec![0.0; table.items];
    let mut value = objective(&q);
    let mut largest = f64::INFINITY;
    for _ in 0..MAX_STEPS {
        let mut downhill: Vec<f64> = q.iter().map(|q| -prior_precision * q).collect();
        for c in &table.choices {
            let d = q[c.a] - q[c.b];
            let slope =
                c.a_preferred * model.log_likelihood(d).1 - c.b_preferred * model.log_likelihood(-d).1;
            downhill[c.a] += slope;
            downhill[c.b] -= slope;
        }
        largest = downhill.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        if largest <= tolerance {
            return Ok((q, value));
        }
        let step =
            Laplacian::new(table.items, &information(table, model, &q), prior_precision).solve(&downhill)?;
        let mut size = 1.0;
        let improved = loop {
            let trial: Vec<f64> = q.iter().zip(&step).map(|(q, s)| q + size * s).collect();
            let trial_value = objective(&trial);
            if trial_value <= value + 1e-15 * value.abs() {
                let moved = step.iter().zip(&q).any(|(s, q)| (size * s).abs() > 1e-15 * (1.0 + q.abs()));
                (q, value) = (trial, trial_value);
                break moved;
            }
            size *= 0.5;
            if size < 1e-12 {
                break false;
            }
        };
        if !improved {
            // Rounding forbids further progress; the gradient tells whether this is the optimum.
            break;
        }
    }
    if largest <= 1e-9 * (1.0 + total) {
        return Ok((q, value));
    }
    Err(StatsError::NotConverged {
        what: "Newton's method",
        iterations: MAX_STEPS,
        residual: largest,
        tolerance: 1e-9 * (1.0 + total),
    })
}
