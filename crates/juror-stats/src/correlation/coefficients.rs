//! SRCC, KRCC, PLCC, RMSE and pair accuracy, each in O(n log n) or less.
//!
//! - SRCC: Spearman's rank correlation, Pearson's on average ranks;
//! - KRCC: Kendall's tau-b, by Knight's counting (1966);
//! - PLCC: Pearson's, on the scores as given (after a logistic mapping: see [`super::logistic`]);
//! - pair accuracy: of the pairs that people rank differently, the share the predictions rank the same way; a predicted
//!   tie counts a half.

use serde::Serialize;

use super::order::{ascending, ranks_in, sort_counting_inversions};
use super::pairs::ScorePairs;

/// How pairs of videos stand to each other in the two score lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PairCounts {
    /// Pairs ordered alike.
    pub concordant: u64,
    /// Pairs ordered oppositely.
    pub discordant: u64,
    /// Pairs tied in the predictions only.
    pub tied_predicted: u64,
    /// Pairs tied in the subjective scores only.
    pub tied_subjective: u64,
    /// Pairs tied in both.
    pub tied_both: u64,
}

/// The figures that need no fit, computed together (one sort of each list).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coefficients {
    /// Spearman's rank correlation.
    pub srcc: Option<f64>,
    /// Kendall's tau-b.
    pub krcc: Option<f64>,
    /// Pearson's correlation of the raw scores.
    pub plcc: Option<f64>,
    /// Root mean square difference of the raw scores.
    pub rmse: f64,
    /// Share of the pairs ranked as people rank them.
    pub pair_accuracy: Option<f64>,
}

impl Coefficients {
    /// All of them.
    pub fn new(scores: &ScorePairs) -> Self {
        let (x, y) = (scores.predicted(), scores.subjective());
        let (by_x, by_y) = rayon::join(|| ascending(x), || ascending(y));
        let (rank_x, rank_y) = (ranks_in(&by_x, x), ranks_in(&by_y, y));
        let counts = counts_in(&by_x, x, &by_y, y);
        Self {
            srcc: pearson(&rank_x, &rank_y),
            krcc: tau_b(&counts),
            plcc: pearson(x, y),
            rmse: rmse(x, y),
            pair_accuracy: accuracy(&counts),
        }
    }
}

/// Spearman's rank correlation; `None` for fewer than two videos or constant scores.
pub fn srcc(scores: &ScorePairs) -> Option<f64> {
    let (x, y) = (scores.predicted(), scores.subjective());
    pearson(&ranks_in(&ascending(x), x), &ranks_in(&ascending(y), y))
}

/// Kendall's tau-b; `None` for fewer than two videos or constant scores.
pub fn krcc(scores: &ScorePairs) -> Option<f64> {
    tau_b(&pair_counts(scores))
}

/// Pearson's correlation; `None` for fewer than two videos or constant scores.
pub fn plcc(scores: &ScorePairs) -> Option<f64> {
    pearson(scores.predicted(), scores.subjective())
}

/// Pair accuracy; `None` when no two subjective scores differ.
pub fn pair_accuracy(scores: &ScorePairs) -> Option<f64> {
    accuracy(&pair_counts(scores))
}

/// Root mean square difference of two lists of the same length.
pub fn rmse(x: &[f64], y: &[f64]) -> f64 {
    let squares: f64 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
    (squares / x.len() as f64).sqrt()
}

/// Pearson's correlation of two lists of the same length, by centred sums.
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    // A constant list may leave a crumb of rounding behind; that is no spread.
    let constant = |list: &[f64]| list.iter().all(|v| *v == list[0]);
    if x.len() < 2 || xx <= 0.0 || yy <= 0.0 || constant(x) || constant(y) {
        return None;
    }
    let r = xy / (xx.sqrt() * yy.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Counts of pairs.
pub fn pair_counts(scores: &ScorePairs) -> PairCounts {
    let (x, y) = (scores.predicted(), scores.subjective());
    counts_in(&ascending(x), x, &ascending(y), y)
}

/// Knight's method: sort by `x`, then by `y` inside ties of `x`; the discordant pairs are the inversions left in `y`.
fn counts_in(by_x: &[u32], x: &[f64], by_y: &[u32], y: &[f64]) -> PairCounts {
    let pairs = |n: usize| n as u64 * (n as u64).saturating_sub(1) / 2;
    // Dense integer ranks of y compare faster than floats.
    let mut dense = vec![0u32; y.len()];
    let mut tied_y = 0;
    for (rank, tied) in by_y.chunk_by(|&i, &j| y[i as usize] == y[j as usize]).enumerate() {
        tied_y += pairs(tied.len());
        for &i in tied {
            dense[i as usize] = rank as u32;
        }
    }
    let (mut tied_x, mut tied_both) = (0, 0);
    let mut sequence: Vec<u32> = by_x.iter().map(|&i| dense[i as usize]).collect();
    let mut start = 0;
    for tied in by_x.chunk_by(|&i, &j| x[i as usize] == x[j as usize]) {
        if tied.len() > 1 {
            let ys = &mut sequence[start..start + tied.len()];
            ys.sort_unstable();
            tied_x += pairs(ys.len());
            tied_both += ys.chunk_by(|a, b| a == b).map(|same| pairs(same.len())).sum::<u64>();
        }
        start += tied.len();
    }
    let discordant = sort_counting_inversions(&mut sequence);
    let concordant = pairs(x.len()) + tied_both - tied_x - tied_y - discordant;
    PairCounts {
        concordant,
        discordant,
        tied_predicted: tied_x - tied_both,
        tied_subjective: tied_y - tied_both,
        tied_both,
    }
}

fn tau_b(c: &PairCounts) -> Option<f64> {
    let untied = (c.concordant + c.discordant) as f64;
    let differ_x = untied + c.tied_subjective as f64;
    let differ_y = untied + c.tied_predicted as f64;
    let denominator = differ_x.sqrt() * differ_y.sqrt();
    (denominator > 0.0).then(|| ((c.concordant as f64 - c.discordant as f64) / denominator).clamp(-1.0, 1.0))
}

fn accuracy(c: &PairCounts) -> Option<f64> {
    let asked = c.concordant + c.discordant + c.tied_predicted;
    (asked > 0).then(|| (c.concordant as f64 + 0.5 * c.tied_predicted as f64) / asked as f64)
}
