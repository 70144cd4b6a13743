//! Drawing pairs so that small and large margins meet alike.
//!
//! The bounds of [`PairConfig`](super::PairConfig) cut |m*| into strata. One stratum is drawn, each as likely, then
//! pairs until one falls into it; a library that holds none (within `TRIES`) gives what it has. Every pair is asked
//! about in both orders, so targets average 0 exactly.

use crate::data::groups::{Example, model_kind};
use crate::decoder::Library;
use crate::language::UNSEEN_LEVEL;
use crate::rewards::Truth;
use anyhow::{Context, Result};
use juror_lmm::nano::KINDS;
use rand::{Rng, RngExt};

/// Pairs tried for one stratum.
const TRIES: usize = 100;

/// Two videos of a library, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Row of A.
    pub a: usize,
    /// Row of B.
    pub b: usize,
    /// Margin of A over B, in points.
    pub target: f64,
}

impl Pair {
    fn mirrored(self) -> Self {
        Self { a: self.b, b: self.a, target: -self.target }
    }
}

/// `count` prompts: pairs, each followed by its mirror.
///
/// # Errors
/// When the library is empty.
pub fn draw(library: &Library<'_>, strata: &[f64], count: usize, rng: &mut impl Rng) -> Result<Vec<Pair>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let pair = draw_one(library, strata, rng)?;
        all.extend([pair, pair.mirrored()]);
    }
    all.truncate(count);
    Ok(all)
}

fn draw_one(library: &Library<'_>, strata: &[f64], rng: &mut impl Rng) -> Result<Pair> {
    let wanted = rng.random_range(0..=strata.len());
    let mut last = None;
    for _ in 0..TRIES {
        let (a, b) = library.draw_pair(rng)?;
        if a == b {
            continue;
        }
        let target = library.margin(a, b);
        last = Some(Pair { a, b, target });
        if stratum(strata, target) == wanted {
            break;
        }
    }
    last.context("no two videos to compare")
}

/// Number of bounds at or below |margin|.
fn stratum(strata: &[f64], margin: f64) -> usize {
    strata.partition_point(|bound| *bound <= margin.abs())
}

/// What is known of a pair. Distortions that the written targets pass over are no faults here either.
#[must_use]
pub fn truth(library: &Library<'_>, pair: &Pair) -> Truth {
    let faults = [pair.a, pair.b].map(|row| faults(library.examples[row]));
    Truth { target: pair.target, faults: faults.into() }
}

fn faults(example: &Example) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for step in example.version.steps.iter().filter(|step| step.level >= UNSEEN_LEVEL) {
        let kind = model_kind(&step.kind).map(|index| KINDS[index]);
        kinds.extend(kind.filter(|kind| !kinds.contains(kind)));
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strata_are_closed_below() {
        let strata = [0.25, 1.0];
        let found = [0.0, -0.24, 0.25, -0.99, 1.0, -4.0].map(|margin| stratum(&strata, margin));
        assert_eq!(found, [0, 0, 1, 1, 2, 2]);
        assert_eq!(stratum(&[], 3.0), 0);
    }
}
