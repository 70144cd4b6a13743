//! Which pairs to judge next, and when to stop.
//!
//! Scores have a normal posterior: the fit of a [`Judge`]. What a judgement of the pair `(i, j)` is expected to tell is the
//! sum of variances it takes from all scores, `|C (u_i - u_j)|² / (V + noise² / k)`, where `C` is the posterior covariance,
//! `V` the variance of `d = s_i - s_j` and `k` the expected squared slope of the judge's margin at `d`: pairs that are
//! uncertain *and* close enough to be told apart by degree are worth most. A batch is chosen greedily, the covariance being
//! updated after each choice as if it had been judged (the outcome does not matter to it). That is the aim of ASAP
//! (Mikhailiuk, Wilmot, Perez-Ortiz, Yue, Mantiuk 2020) for margins instead of choices; against its measure, the gain of
//! information `log(1 + V k / noise²)`, the sum of variances needed 5-15 % fewer judgements in simulation, since it does not
//! spend on what is known well. A heap of stale gains serves as upper bounds, so that few are computed anew.
//!
//! Up to 400 items the covariance is exact and all pairs are candidates. Above, only variances are tracked, and each item
//! has its neighbours in the present order and some random others for candidates.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

use nalgebra::DMatrix;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::StatsError;
use crate::normal;
use crate::random;
use crate::scaling::laplacian::{DENSE_LIMIT, Inverse};
use crate::scaling::{Comparison, Judge, JudgeFit, PairTable, scale_judged};

/// How pairs are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// What is known of the judge.
    pub judge: Judge,
    /// Whether a pair may be judged again: yes for people, no for a model that would repeat itself.
    pub repeats: bool,
    /// Seed of the random candidates (more than 400 items).
    pub seed: u64,
}

/// When to stop; the first rule that holds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StopRules {
    /// Most judgements.
    pub budget: Option<usize>,
    /// Widest 95 % interval of a score, points.
    pub interval_width: Option<f64>,
    /// Probability with which each item must be known to be above the next one.
    pub order_confidence: Option<f64>,
    /// Two items known (with `order_confidence`) to differ by less than this many points need no order; 0 asks for one.
    pub tie_margin: f64,
}

/// Why to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The budget is spent.
    Budget,
    /// Every interval is narrow enough.
    IntervalWidth,
    /// The order is settled.
    OrderSettled,
    /// Every pair has been judged.
    NoPairsLeft,
}

/// A ranking in the making. Resumable: the table of comparisons is its whole state.
pub struct Tournament {
    settings: Settings,
    pairs: PairTable,
}

impl Tournament {
    /// Goes on from these comparisons (none yet: `PairTable::new(n, vec![])`).
    ///
    /// # Errors
    /// A setting outside its domain.
    pub fn new(pairs: PairTable, settings: Settings) -> Result<Self, StatsError> {
        settings.judge.check()?;
        Ok(Self { settings, pairs })
    }

    /// Records a judgement.
    ///
    /// # Errors
    /// As [`PairTable::new`].
    pub fn record(&mut self, comparison: Comparison) -> Result<(), StatsError> {
        self.pairs.push(comparison)
    }

    /// Lets further items join.
    pub fn add_items(&mut self, more: usize) {
        self.pairs.add_items(more);
    }

    /// The comparisons so far.
    pub fn pairs(&self) -> &PairTable {
        &self.pairs
    }

    /// The scores so far, by the judge's own response and with the prior.
    ///
    /// # Errors
    /// A fit that does not converge.
    pub fn fit(&self) -> Result<JudgeFit, StatsError> {
        scale_judged(&self.pairs, self.settings.judge)
    }

    /// The next `count` pairs to judge, the most telling first; fewer when fewer are left.
    ///
    /// # Errors
    /// A solver that does not converge.
    pub fn next_pairs(&self, count: usize) -> Result<Vec<(usize, usize)>, StatsError> {
        let mut posterior = self.posterior()?;
        let judged: HashSet<(usize, usize)> = if self.settings.repeats {
            HashSet::new()
        } else {
            self.pairs.comparisons().iter().map(|c| (c.a.min(c.b), c.a.max(c.b))).collect()
        };
        let mut heap: BinaryHeap<Candidate> = (self.candidates(&posterior).into_iter())
            .filter(|pair| !judged.contains(pair))
            .map(|(i, j)| {
                let noise = posterior.expected_noise(i, j);
                Candidate { gain: posterior.gain(i, j, noise), i, j, noise }
            })
            .collect();
        let mut chosen = Vec::with_capacity(count.min(heap.len()));
        while chosen.len() < count {
            let Some(mut best) = heap.pop() else { break };
            best.gain = posterior.gain(best.i, best.j, best.noise);
            if heap.peek().is_some_and(|next| *next > best) {
                heap.push(best);
                continue;
            }
            posterior.judge(best.i, best.j, best.noise);
            chosen.push((best.i, best.j));
            if self.settings.repeats {
                heap.push(best);
            }
        }
        Ok(chosen)
    }

    /// Whether to stop, and why.
    ///
    /// # Errors
    /// A solver that does not converge; a confidence outside 0.5..1.
    pub fn stop(&self, rules: &StopRules) -> Result<Option<StopReason>, StatsError> {
        let n = self.pairs.items();
        if rules.budget.is_some_and(|budget| self.pairs.comparisons().len() >= budget) {
            return Ok(Some(StopReason::Budget));
        }
        if rules.interval_width.is_some() || rules.order_confidence.is_some() {
            let scale = self.fit()?.scale;
            let one_group = scale.components.count() == 1;
            if let Some(width) = rules.interval_width
                && one_group
                && (0..n)
                    .all(|i| n < 2 || scale.interval(i).is_some_and(|interval| interval.width() <= width))
            {
                return Ok(Some(StopReason::IntervalWidth));
            }
            if let Some(confidence) = rules.order_confidence {
                if !(0.5..1.0).contains(&confidence) {
                    let allowed = "0.5 to 1, 1 excluded";
                    return Err(StatsError::Setting { name: "order confidence", value: confidence, allowed });
                }
                let settled = |above: usize, below: usize| {
                    let Some(error) = scale.difference_error(above, below) else { return false };
                    let difference = scale.scores[above] - scale.scores[below];
                    let within = |bound: f64| normal::probability((bound - difference) / error.max(1e-300));
                    1.0 - within(0.0) >= confidence
                        || within(rules.tie_margin) - within(-rules.tie_margin) >= confidence
                };
                let order = scale.standings();
                if one_group && order.windows(2).all(|w| settled(w[0].item, w[1].item)) {
                    return Ok(Some(StopReason::OrderSettled));
                }
            }
        }
        let all_judged = !self.settings.repeats && {
            let different: HashSet<_> =
                self.pairs.comparisons().iter().map(|c| (c.a.min(c.b), c.a.max(c.b))).collect();
            different.len() == n * (n - 1) / 2
        };
        Ok(all_judged.then_some(StopReason::NoPairsLeft))
    }

    fn posterior(&self) -> Result<Posterior, StatsError> {
        let n = self.pairs.items();
        let JudgeFit { scale, judge, information } = self.fit()?;
        let covariance = match scale.inverse {
            Inverse::Dense(covariance) if n <= DENSE_LIMIT => {
                // The prior's variance of the level of each group is unknown to the comparisons and joins groups.
                let level = |i: usize| judge.prior_std.powi(2) / scale.components.size_of(i) as f64;
                let together = |i: usize, j: usize| scale.components.together(i, j);
                Covariance::Dense(DMatrix::from_fn(n, n, |i, j| {
                    covariance[(i, j)] + if together(i, j) { level(i) } else { 0.0 }
                }))
            }
            _ => {
                let mut precision = vec![judge.prior_std.powi(-2); n];
                for (c, information) in self.pairs.comparisons().iter().zip(&information) {
                    precision[c.a] += information;
                    precision[c.b] += information;
                }
                Covariance::Diagonal(precision.into_iter().map(|p| 1.0 / p).collect())
            }
        };
        Ok(Posterior { mean: scale.scores, covariance, judge })
    }

    /// Pairs worth looking at, `i < j`.
    fn candidates(&self, posterior: &Posterior) -> Vec<(usize, usize)> {
        const NEIGHBOURS: usize = 12;
        const RANDOM: usize = 12;
        let n = self.pairs.items();
        if n <= DENSE_LIMIT {
            return (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect();
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| posterior.mean[i].total_cmp(&posterior.mean[j]).then(i.cmp(&j)));
        // A stream of its own for every state of the ranking.
        let mut rng = random::generator(self.settings.seed, self.pairs.comparisons().len() as u64);
        let mut pairs: Vec<(usize, usize)> = Vec::with_capacity(n * (NEIGHBOURS + RANDOM));
        for (place, &i) in order.iter().enumerate() {
            let near = order[place + 1..].iter().take(NEIGHBOURS).copied();
            let far: Vec<usize> = (0..RANDOM).map(|_| rng.random_range(0..n)).collect();
            pairs.extend(near.chain(far).filter(|&j| j != i).map(|j| (i.min(j), i.max(j))));
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

/// Normal posterior of the scores.
struct Posterior {
    mean: Vec<f64>,
    covariance: Covariance,
    judge: Judge,
}

enum Covariance {
    Dense(DMatrix<f64>),
    Diagonal(Vec<f64>),
}

impl Posterior {
    fn variance_of_difference(&self, i: usize, j: usize) -> f64 {
        match &self.covariance {
            Covariance::Dense(c) => (c[(i, i)] + c[(j, j)] - 2.0 * c[(i, j)]).max(0.0),
            Covariance::Diagonal(v) => v[i] + v[j],
        }
    }

    /// Variance of the margin's noise, brought to the scale of true differences: `noise² / E[slope²]`.
    fn expected_noise(&self, i: usize, j: usize) -> f64 {
        /// Nodes and weights of Gauss and Hermite for the standard normal distribution.
        const NODES: [(f64, f64); 5] = [
            (-2.856_970_013_872_806, 0.011_257_411_327_720_69),
            (-1.355_626_179_974_266, 0.222_075_922_005_612_6),
            (0.0, 0.533_333_333_333_333_3),
            (1.355_626_179_974_266, 0.222_075_922_005_612_6),
            (2.856_970_013_872_806, 0.011_257_411_327_720_69),
        ];
        let d = self.mean[i] - self.mean[j];
        let std = self.variance_of_difference(i, j).sqrt();
        let slope: f64 = NODES.iter().map(|(x, w)| w * self.judge.slope(d + std * x).powi(2)).sum();
        self.judge.noise.powi(2) / slope.max(1e-12)
    }

    /// Expected loss of the sum of variances, points².
    fn gain(&self, i: usize, j: usize, noise: f64) -> f64 {
        let moved = match &self.covariance {
            Covariance::Dense(c) => (c.column(i) - c.column(j)).norm_squared(),
            Covariance::Diagonal(v) => v[i] * v[i] + v[j] * v[j],
        };
        moved / (noise + self.variance_of_difference(i, j))
    }

    /// Updates the covariance as a judgement of the pair would.
    fn judge(&mut self, i: usize, j: usize, noise: f64) {
        let total = noise + self.variance_of_difference(i, j);
        match &mut self.covariance {
            Covariance::Dense(c) => {
                let column = c.column(i) - c.column(j);
                c.ger(-1.0 / total, &column, &column, 1.0);
            }
            Covariance::Diagonal(v) => {
                // Each item learns as if the other were known no better than it is.
                let (vi, vj) = (v[i], v[j]);
                v[i] = 1.0 / (1.0 / vi + 1.0 / (noise + vj));
                v[j] = 1.0 / (1.0 / vj + 1.0 / (noise + vi));
            }
        }
    }
}

/// A pair with a (perhaps stale) gain; ordered by gain, ties to the smaller pair.
struct Candidate {
    gain: f64,
    i: usize,
    j: usize,
    noise: f64,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then_with(|| (other.i, other.j).cmp(&(self.i, self.j)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}
