//! How good a model is on groups that decide whether another stage is worth its while.

use crate::data::groups::GroupFile;
use anyhow::Result;
use juror_lmm::nano::Nano;
use juror_lmm::{JudgeOptions, Lmm, Watched};
use juror_stats::correlation::{ScorePairs, srcc};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Figures over validation groups.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Pairs of one group whose order is known.
    pub pairs: usize,
    /// Share of them that the margin tells right.
    pub pair_accuracy: f64,
    /// Root-mean-square error of margins over all pairs of one group, points.
    pub margin_rmse: f64,
    /// Rank correlation of the score with the yardstick, over all versions of all groups.
    pub score_srcc: Option<f64>,
}

/// What one group adds.
#[derive(Default)]
struct Sums {
    right: usize,
    known: usize,
    squares: f64,
    pairs: usize,
    scores: Vec<f64>,
    qualities: Vec<f64>,
}

/// Measures `nano` on `groups`.
///
/// # Errors
/// When a version cannot be judged.
pub fn measure(nano: &Nano, groups: &[GroupFile]) -> Result<Figures> {
    let each: Vec<Sums> = groups.par_iter().map(|group| sums(nano, group)).collect::<Result<_>>()?;
    let mut all = Sums::default();
    for sums in each {
        all.right += sums.right;
        all.known += sums.known;
        all.squares += sums.squares;
        all.pairs += sums.pairs;
        all.scores.extend(sums.scores);
        all.qualities.extend(sums.qualities);
    }
    Ok(Figures {
        pairs: all.known,
        pair_accuracy: all.right as f64 / all.known.max(1) as f64,
        margin_rmse: (all.squares / all.pairs.max(1) as f64).sqrt(),
        score_srcc: ScorePairs::new(all.scores, all.qualities).ok().as_ref().and_then(srcc),
    })
}

fn sums(nano: &Nano, group: &GroupFile) -> Result<Sums> {
    let mut sums = Sums::default();
    let mut seen: Vec<Watched> = Vec::new();
    for (version, example) in group.examples.iter().enumerate() {
        let watched = nano.watched(&group.observation(version)?, None)?;
        sums.scores.push(nano.score(&watched, &JudgeOptions::PLAIN)?.score);
        sums.qualities.push(example.quality);
        for (other, earlier) in seen.iter().zip(&group.examples) {
            let margin = nano.compare(&watched, other, &JudgeOptions::PLAIN)?.margin;
            sums.squares += (margin - 4.0 * (example.quality - earlier.quality)).powi(2);
            sums.pairs += 1;
            let order = i32::from(example.better_than(earlier)) - i32::from(earlier.better_than(example));
            if order != 0 {
                sums.known += 1;
                sums.right += usize::from(margin * f64::from(order) > 0.0);
            }
        }
        seen.push(watched);
    }
    Ok(sums)
}
