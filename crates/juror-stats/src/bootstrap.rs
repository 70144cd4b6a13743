//! Bootstrap intervals: seeded, and the same whatever the number of threads.
//!
//! Lists of videos are resampled with replacement. Comparisons get random exponential weights instead (the Bayesian
//! bootstrap, Rubin 1981): resampling would drop comparisons and let the graph fall apart. Intervals are percentiles.

use rand::RngExt;
use rayon::prelude::*;

use crate::error::StatsError;
use crate::interval::{CONFIDENCE, Interval};
use crate::random;
use crate::scaling::choices::optimum;
use crate::scaling::least_squares::{MarginFit, scores_weighted};
use crate::scaling::{ChoiceModel, ChoiceTable, Choices, PairTable};

/// How many replicates, from which seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of replicates; 1000 gives the ends of a 95 % interval to a few per cent of its width.
    pub replicates: usize,
    /// Seed; replicate `r` draws from the stream `(seed, r)`.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { replicates: 1000, seed: 0 }
    }
}

impl Bootstrap {
    /// Evaluates `statistic` on resamples of the places `0..n`, in the order of the replicates. Resamples where it does
    /// not exist are left out.
    pub fn resample<T: Send>(&self, n: usize, statistic: impl Fn(&[usize]) -> Option<T> + Sync) -> Vec<T> {
        (0..self.replicates)
            .into_par_iter()
            .map(|replicate| {
                let mut rng = random::generator(self.seed, replicate as u64);
                let places: Vec<usize> = (0..n).map(|_| rng.random_range(0..n)).collect();
                statistic(&places)
            })
            .collect::<Vec<_>>()
            .into_iter()
            .flatten()
            .collect()
    }

    /// 95 % intervals of least-squares scores, each against the mean of its group. Unlike those of
    /// [`crate::scaling::Scale::interval`] they do not suppose equal noise in all comparisons. `None` for an item alone,
    /// and for all when the comparisons form a tree.
    ///
    /// # Errors
    /// A solver that does not converge.
    pub fn margin_intervals(
        &self,
        pairs: &PairTable,
        fit: &MarginFit,
    ) -> Result<Vec<Option<Interval>>, StatsError> {
        let judged = pairs.comparisons().len() as f64;
        let surplus = judged + fit.scale.components.count() as f64 - pairs.items() as f64;
        if surplus <= 0.0 {
            return Ok(vec![None; pairs.items()]);
        }
        // The residuals are smaller than the noise by the degrees of freedom that the scores took.
        let inflate = (judged / surplus).sqrt();
        let centre = &fit.scale.scores;
        let replicates = self.weighted(|rng| {
            let weights: Vec<f64> =
                pairs.comparisons().iter().map(|c| c.weight * random::exponential(rng)).collect();
            let scores = scores_weighted(pairs, &weights)?;
            Ok(scores.iter().zip(centre).map(|(s, centre)| centre + inflate * (s - centre)).collect())
        })?;
        Ok(self.per_item(&replicates, &fit.scale.components))
    }

    /// 95 % intervals of Thurstone or Bradley-Terry scores: every choice gets a random exponential weight. `None` for an
    /// item alone in its group. They describe the spread of the *penalised* scores, so a strong prior narrows them.
    ///
    /// # Errors
    /// As [`crate::scaling::scale_choices`].
    pub fn choice_intervals(
        &self,
        table: &ChoiceTable,
        model: ChoiceModel,
        prior_precision: f64,
    ) -> Result<Vec<Option<Interval>>, StatsError> {
        let components = crate::scaling::scale_choices(table, model, prior_precision)?.scale.components;
        let replicates = self.weighted(|rng| {
            let mut weigh = |count: f64| if count > 0.0 { random::gamma(rng, count) } else { 0.0 };
            let counts = table.recounted(|c| Choices {
                a_preferred: weigh(c.a_preferred),
                b_preferred: weigh(c.b_preferred),
                ..*c
            });
            Ok(optimum(&counts, model, prior_precision)?.0)
        })?;
        Ok(self.per_item(&replicates, &components))
    }

    fn weighted(
        &self,
        scores: impl Fn(&mut rand_chacha::ChaCha8Rng) -> Result<Vec<f64>, StatsError> + Sync,
    ) -> Result<Vec<Vec<f64>>, StatsError> {
        (0..self.replicates)
            .into_par_iter()
            .map(|replicate| scores(&mut random::generator(self.seed, replicate as u64)))
            .collect()
    }

    fn per_item(
        &self,
        replicates: &[Vec<f64>],
        components: &crate::scaling::Components,
    ) -> Vec<Option<Interval>> {
        (0..components.of_item.len())
            .map(|item| {
                let values = replicates.iter().map(|scores| scores[item]).collect();
                (components.size_of(item) > 1).then(|| percentile_interval(values)).flatten()
            })
            .collect()
    }
}

/// The central 95 % of the values; `None` for fewer than 20, which have no such tails.
pub fn percentile_interval(mut values: Vec<f64>) -> Option<Interval> {
    const FEWEST: usize = 20;
    if values.len() < FEWEST {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Interval { lo: quantile_sorted(&values, tail), hi: quantile_sorted(&values, 1.0 - tail) })
}

/// Quantile of ascending values (at least one), with linear interpolation between them.
pub(crate) fn quantile_sorted(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let (below, share) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + share * (sorted[above] - sorted[below])
}
