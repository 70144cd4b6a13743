//! Compare and score videos without a reference: the library behind the `juror` program.
//!
//! - [`record`]: the results, as serialised (`schema` `juror/1`); scripts may rely on every field.
//! - [`verdict`]: how numbers become words (levels, preference, intervals, pooling), in one place.
//! - [`error`]: what can go wrong, with the stable `kind` words of error records.
//!
//! Units: margins and scores are points of the five-point scale (ITU-T P.910: 1 bad .. 5 excellent),
//! times are seconds. This crate prints nothing and knows no command line.

pub mod error;
pub mod record;
pub mod verdict;

pub use error::{Error, ErrorKind};
pub use record::{Comparison, ErrorRecord, Record, Score};
pub use verdict::{Level, Preference};

/// The version written into every record.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
