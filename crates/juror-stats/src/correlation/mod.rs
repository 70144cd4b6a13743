//! Agreement of predicted scores with subjective ones.
//!
//! - [`pairs`]: the scores, checked and joined by id;
//! - [`coefficients`]: SRCC, KRCC, PLCC, RMSE, pair accuracy;
//! - [`logistic`]: the mapping fitted before PLCC and RMSE;
//! - [`evaluation`]: all figures with intervals, per group and over sets; outlier ratio;
//! - [`significance`]: two predictors on the same videos;
//! - [`ladder`]: the order of bitrates.

pub mod coefficients;
pub mod evaluation;
pub mod ladder;
pub mod logistic;
mod order;
pub mod pairs;
pub mod significance;

pub use coefficients::{Coefficients, PairCounts, krcc, pair_accuracy, pair_counts, plcc, rmse, srcc};
pub use evaluation::{Evaluation, Figure, Overall, evaluate, evaluate_groups, half_widths, outlier_ratio};
pub use ladder::{LadderOrder, ladder_order};
pub use logistic::Logistic;
pub use order::average_ranks;
pub use pairs::{Joined, ScorePairs, join_by_id};
pub use significance::{Correlation, PredictorComparison, compare_predictors};
