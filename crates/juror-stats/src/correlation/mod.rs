//! Agreement of predicted scores with subjective ones.

pub mod coefficients;
mod order;
pub mod pairs;

pub use coefficients::{Coefficients, PairCounts, krcc, pair_accuracy, pair_counts, plcc, rmse, srcc};
pub use order::average_ranks;
pub use pairs::{Joined, ScorePairs, join_by_id};
