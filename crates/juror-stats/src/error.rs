//! The one error type of this crate: each message gives the value met and what is allowed.

use thiserror::Error;

/// What can be wrong with the input of a statistic.
///
/// Statistics that merely do not exist for valid input (a correlation of constant scores) are `None`, not an error.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StatsError {
    /// A value is NaN or infinite.
    #[error("{what} {index} is {value}; it must be a finite number")]
    NotFinite {
        /// What the value is, in words ("score", "margin of pair", ...).
        what: &'static str,
        /// Where it stands, counted from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A value is finite but outside its domain.
    #[error("{what} {index} is {value}; allowed is {allowed}")]
    OutOfRange {
        /// What the value is, in words.
        what: &'static str,
        /// Where it stands, counted from 0.
        index: usize,
        /// The value.
        value: f64,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A setting is outside its domain.
    #[error("{name} is {value}; allowed is {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// Two lists that belong together differ in length.
    #[error("{left_name} has {left} entries but {right_name} has {right}; both must have the same number")]
    LengthMismatch {
        /// The first list.
        left_name: &'static str,
        /// Its length.
        left: usize,
        /// The second list.
        right_name: &'static str,
        /// Its length.
        right: usize,
    },
    /// Too few entries for what was asked.
    #[error("{what}: {have} given, at least {need} needed")]
    TooFew {
        /// What is missing, in words.
        what: &'static str,
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// A comparison names an item that does not exist.
    #[error("pair {pair} names item {item}, but there are {items} items (0 to {items} exclusive)")]
    UnknownItem {
        /// The pair, counted from 0.
        pair: usize,
        /// The item named.
        item: usize,
        /// Number of items.
        items: usize,
    },
    /// A comparison of an item with itself.
    #[error("pair {pair} compares item {item} with itself; two different items are needed")]
    SelfComparison {
        /// The pair, counted from 0.
        pair: usize,
        /// The item.
        item: usize,
    },
    /// An id stands more than once in a list that needs unique ids.
    #[error("the id stands more than once, at entries {first} and {second}: {id}")]
    DuplicateId {
        /// First place, counted from 0.
        first: usize,
        /// Second place, counted from 0.
        second: usize,
        /// The id.
        id: String,
    },
    /// Ids of one list are absent in the other.
    #[error(
        "{} of the ids with {present_in} have no {missing_in} (allow missing ones to leave them out): {}",
        ids.len(),
        listed(ids)
    )]
    MissingIds {
        /// The list that has them.
        present_in: &'static str,
        /// The list that lacks them.
        missing_in: &'static str,
        /// The ids, in the order of the list that has them.
        ids: Vec<String>,
    },
    /// The comparison graph falls into pieces, and the caller asked for one scale.
    #[error(
        "the comparisons fall into {} unconnected groups, so their scores share no common scale; compare items of different groups (first of each: {})",
        components.len(),
        listed(&components.iter().map(|c| c.first().map_or(String::new(), usize::to_string)).collect::<Vec<_>>())
    )]
    Disconnected {
        /// The items of each group, ascending.
        components: Vec<Vec<usize>>,
    },
    /// Without a prior an undefeated (or never winning) group of items has an infinite score.
    #[error(
        "without a prior the scores are infinite: items {} never lose to (or never meet) the others of their group; give a prior precision above 0",
        listed(&items.iter().map(usize::to_string).collect::<Vec<_>>())
    )]
    Unbounded {
        /// The items of one such group.
        items: Vec<usize>,
    },
    /// An iteration did not reach its tolerance.
    #[error(
        "{what} did not converge in {iterations} steps: the residual is {residual:e}, allowed is {tolerance:e}"
    )]
    NotConverged {
        /// The solver.
        what: &'static str,
        /// Steps taken.
        iterations: usize,
        /// Residual reached.
        residual: f64,
        /// Residual needed.
        tolerance: f64,
    },
}

/// The first few of a list, with a count of the rest.
fn listed(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let head = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{head} and {more} more"),
        _ => head,
    }
}

/// `Ok` when every value is finite.
pub(crate) fn all_finite(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

/// `Ok` when two lists have the same length.
pub(crate) fn same_length(
    left_name: &'static str,
    left: usize,
    right_name: &'static str,
    right: usize,
) -> Result<(), StatsError> {
    if left == right {
        Ok(())
    } else {
        Err(StatsError::LengthMismatch { left_name, left, right_name, right })
    }
}
