//! From comparisons to one score per item.
//!
//! - [`least_squares`]: signed margins, weighted least squares on the comparison graph;
//! - [`cycles`]: what no single score per item can explain, and where;
//!
//! All scales are free up to a constant per connected group of items; scores are centred in each group, and the groups
//! are part of every result. Nothing is ever guessed across groups.

pub mod cycles;
mod graph;
pub(crate) mod laplacian;
pub mod least_squares;
pub mod pairs;

pub use cycles::{Cycle, worst_cycles};
pub use graph::Components;
pub use least_squares::{MarginScale, Noise, scale_margins};
pub use pairs::{Comparison, PairTable};
