//! Judged pairs, checked once: after [`PairTable::new`] nothing about them can be wrong.

use serde::{Deserialize, Serialize};

use crate::error::StatsError;

/// One judgement of two items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Index of the first item.
    pub a: usize,
    /// Index of the second item.
    pub b: usize,
    /// Signed margin: quality of `a` minus quality of `b`, in points of the scale.
    pub margin: f64,
    /// Weight, proportional to the inverse variance of the margin; above 0.
    pub weight: f64,
}

impl Comparison {
    /// A comparison of weight 1.
    pub fn new(a: usize, b: usize, margin: f64) -> Self {
        Self { a, b, margin, weight: 1.0 }
    }
}

/// How the comparisons of one item went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Comparisons in which it was better.
    pub wins: usize,
    /// Comparisons in which it was worse.
    pub losses: usize,
    /// Comparisons without a winner.
    pub ties: usize,
}

/// Validated comparisons among `items` items. A pair may stand more than once, in either order, with contradicting
/// margins: those are repeated measurements, and their disagreement shows as inconsistency.
#[derive(Debug, Clone, PartialEq)]
pub struct PairTable {
    items: usize,
    comparisons: Vec<Comparison>,
}

impl PairTable {
    /// Checks and takes the comparisons.
    ///
    /// # Errors
    /// No items; an index outside `0..items`; an item against itself; a margin that is not finite; a weight that is
    /// not finite and above 0.
    pub fn new(items: usize, comparisons: Vec<Comparison>) -> Result<Self, StatsError> {
        if items == 0 {
            return Err(StatsError::TooFew { what: "items", have: 0, need: 1 });
        }
        let table = Self { items, comparisons };
        for (pair, c) in table.comparisons.iter().enumerate() {
            table.check(pair, c)?;
        }
        Ok(table)
    }

    /// Adds one comparison; on an error the table stays as it was.
    ///
    /// # Errors
    /// As [`PairTable::new`].
    pub fn push(&mut self, comparison: Comparison) -> Result<(), StatsError> {
        self.check(self.comparisons.len(), &comparison)?;
        self.comparisons.push(comparison);
        Ok(())
    }

    /// Makes room for `more` further items, which have no comparisons yet (new videos join an earlier ranking).
    pub fn add_items(&mut self, more: usize) {
        self.items += more;
    }

    fn check(&self, pair: usize, c: &Comparison) -> Result<(), StatsError> {
        for item in [c.a, c.b] {
            if item >= self.items {
                return Err(StatsError::UnknownItem { pair, item, items: self.items });
            }
        }
        if c.a == c.b {
            return Err(StatsError::SelfComparison { pair, item: c.a });
        }
        if !c.margin.is_finite() {
            return Err(StatsError::NotFinite { what: "margin of pair", index: pair, value: c.margin });
        }
        if !(c.weight.is_finite() && c.weight > 0.0) {
            return Err(StatsError::OutOfRange {
                what: "weight of pair",
                index: pair,
                value: c.weight,
                allowed: "a finite number above 0",
            });
        }
        Ok(())
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The comparisons, in the order given.
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    /// Wins, losses and ties of each item; a margin of up to `tie_margin` points either way is a tie.
    pub fn tallies(&self, tie_margin: f64) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.items];
        for c in &self.comparisons {
            if c.margin.abs() <= tie_margin {
                tallies[c.a].ties += 1;
                tallies[c.b].ties += 1;
            } else {
                let (winner, loser) = if c.margin > 0.0 { (c.a, c.b) } else { (c.b, c.a) };
                tallies[winner].wins += 1;
                tallies[loser].losses += 1;
            }
        }
        tallies
    }

    /// Weighted edges `(a, b, weight)`.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        self.comparisons.iter().map(|c| (c.a, c.b, c.weight))
    }
}
