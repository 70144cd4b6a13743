//! How well scores agree with people's ratings: files in, figures out.
//!
//! - [`Ratings`], [`Scores`]: files, checked; [`ScoreColumn`] chooses what of a file of scores is used;
//! - [`Benchmark`]: the label files of public sets;
//! - [`Preferences`]: what people chose of pairs, beside a judge's probabilities;
//! - [`Sample`]: the videos that have all that is asked for, and the figures over them.
//!
//! Files are joined by the very text of `video`. The arithmetic is [`juror_stats::correlation`]'s; ladders keep their
//! order when no rung scores below a cheaper one. Scores and ratings may be on any scale where more is better.

mod benchmarks;
mod files;
mod opinions;
pub(crate) mod preferences;
mod sample;
pub(crate) mod table;

use std::path::PathBuf;

use juror_stats::StatsError;

pub use benchmarks::{BENCHMARKS, Benchmark};
pub use files::{Observer, Rating, RatingColumns, Ratings, ScoreColumn, Scores};
pub use preferences::{Kept, Preferences};
pub use sample::{Findings, Sample};
pub use table::Place;

/// What can be wrong with ratings and scores.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, or has nothing in it.
    #[error("cannot be read: {reason}: {}", path.display())]
    Unreadable {
        /// Why.
        reason: String,
        /// The file.
        path: PathBuf,
    },
    /// A row that makes no sense.
    #[error("{place}: {what}: {}", path.display())]
    Row {
        /// Where it stands.
        place: Place,
        /// What is wrong.
        what: String,
        /// The file.
        path: PathBuf,
    },
    /// Numbers that are all the same.
    #[error("all {count} {what} are {value}; agreement needs some that differ: {}", path.display())]
    Constant {
        /// What the numbers are.
        what: String,
        /// How many there are.
        count: usize,
        /// The number.
        value: f64,
        /// The file.
        path: PathBuf,
    },
    /// Fewer than two videos in common.
    #[error("videos with both a rating and a score: {count}; at least 2 are needed: {}", path.display())]
    TooFew {
        /// How many there are.
        count: usize,
        /// The scores.
        path: PathBuf,
    },
    /// Videos that one file has and the other lacks.
    #[error("{what}: {} ({}): {}", ids.len(), listed(ids), path.display())]
    Missing {
        /// What the videos have and lack.
        what: &'static str,
        /// Which they are.
        ids: Vec<String>,
        /// The file of scores.
        path: PathBuf,
    },
    /// A figure that cannot be computed.
    #[error(transparent)]
    Statistics(#[from] StatsError),
}

/// The first of a list, with a count of the rest.
fn listed(ids: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
