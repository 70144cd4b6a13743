//! From comparisons to one score per item.
//!
//! - [`least_squares`]: signed margins, weighted least squares on the comparison graph;
//! - [`response`]: margins of a judge who saturates;
//! - [`cycles`]: what no single score per item can explain, and where;
//! - [`choices`]: choices and ties, Thurstone Case V and Bradley-Terry;
//! - [`preferences`]: soft preferences against anchors, the published MAP of Compare2Score and W2S.
//!
//! Scores are free up to a constant per connected group of items; they are centred in each group, and the groups are
//! part of every result. Nothing is ever guessed across groups.

pub mod choices;
pub mod cycles;
mod graph;
pub(crate) mod laplacian;
pub mod least_squares;
pub mod pairs;
mod posterior;
pub mod preferences;
pub mod response;
mod scale;

pub use choices::{ChoiceFit, ChoiceModel, ChoiceTable, Choices, scale_choices};
pub use cycles::{Cycle, worst_cycles};
pub use graph::Components;
pub use least_squares::{MarginFit, Noise, scale_margins};
pub use pairs::{Comparison, PairTable, Tally};
pub use preferences::{AnchorPreferences, AnchoredPreference};
pub use response::{Judge, JudgeFit, scale_judged};
pub use scale::{Scale, Standing};
