//! Compare, score and rank videos without a reference, and hold scores against people's ratings: the library behind the `juror` program.
//!
//! - [`judge`]: [`Juror`] opens a model and makes records of videos; a model served elsewhere is a [`Service`];
//! - [`anchors`]: videos of known score, which make absolute scores of margins;
//! - [`evaluation`]: files of ratings and scores, and how well they agree;
//! - [`ranking`]: many videos in order by few comparisons;
//! - [`record`]: the results, as serialised (`schema` `juror/1`); scripts may rely on every field;
//! - [`verdict`]: how numbers become words (levels, preference, intervals, pooling), in one place;
//! - [`error`]: what can go wrong, with the stable `kind` words of error records.
//!
//! Units: margins and scores are points of the five-point scale (ITU-T P.910: 1 bad .. 5 excellent),
//! times are seconds. This crate prints nothing and knows no command line.
//!
//! ```no_run
//! use std::path::Path;
//! use juror::{Juror, Options};
//!
//! let juror = Juror::open("nano")?;
//! let verdict = juror.compare(Path::new("a.mp4"), Path::new("b.mp4"), &Options::default(), &|_| ())?;
//! println!("{:?}, by {:+.1} points", verdict.prefer, verdict.margin);
//! # Ok::<(), juror::Error>(())
//! ```

pub mod anchors;
pub mod error;
pub mod evaluation;
mod hash;
pub mod judge;
pub mod ranking;
pub mod record;
mod segment;
pub mod verdict;

pub use anchors::Anchors;
pub use error::{Error, ErrorKind};
pub use judge::{Juror, Options, Viewed};
pub use juror_lmm::published::{OpenOptions, Processor};
pub use juror_lmm::remote::Media;
pub use juror_net::chat::Service;
pub use juror_net::http::{Patience, Secret};
pub use ranking::Ranker;
pub use record::calibration::Calibration;
pub use record::evaluation::Evaluation;
pub use record::ranking::Ranking;
pub use record::{Comparison, ErrorRecord, Record, Score};
pub use verdict::{Level, Preference};

/// The version written into every record.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
