//! Numbers to judgements: from pairwise margins, choices and ratings to scores, intervals and agreement figures.
//!
//! No I/O, no tensors, no clock: everything is a pure function of its arguments and, where chance is involved, of a seed;
//! results are the same whatever the number of threads.
//!
//! - [`scaling`]: scores from margins (least squares) and from choices (Thurstone, Bradley-Terry);
//! - [`pair_choice`]: which pairs to judge next, and when to stop;
//! - [`anchors`]: absolute scores against anchors; pooling of segments;
//! - [`levels`]: the five levels of a comparison;
//! - [`observers`]: human ratings with biased and inconsistent observers;
//! - [`correlation`]: SRCC, KRCC, PLCC, RMSE, pair accuracy, significance, order of bitrates;
//! - [`calibration`]: are probabilities and intervals what they say.
//!
//! Input is checked once, by the constructors of the table types, with typed errors ([`StatsError`]). Figures that do not
//! exist for valid input, such as a correlation of constant scores, are `None`; NaN never comes out.

pub mod anchors;
mod bootstrap;
pub mod calibration;
pub mod correlation;
mod error;
mod interval;
pub mod levels;
pub mod normal;
pub mod observers;
pub mod pair_choice;
mod random;
pub mod scaling;

pub use bootstrap::{Bootstrap, percentile_interval};
pub use error::StatsError;
pub use interval::{CONFIDENCE, Interval};
pub use levels::Level;
