//! Histogram matching: the subset of a pool whose low-level measurements are spread as wanted.
//!
//! After Vonikakis et al. (2017), as W2S-VQA chose its sources (arXiv 2505.03631, appendix A): each of the nine measurements is
//! cut into ten bins, and the sum over all bins of |count - wanted count| is to be least. They solve that by mixed-integer
//! programming; here sources are taken one by one, always the one that helps most, and then exchanged for others as long
//! as that helps. The result has no exchange of two that would improve it, and depends on the order of the pool only in ties.

use juror_media::measure::Measurements;

/// Bins of each measurement.
const BINS: usize = 10;
const MEASURES: usize = Measurements::NAMES.len();
/// Share of the values at either end that do not widen the range.
const OUTLIERS: f64 = 0.01;
/// Rounds of exchanges; a few are enough.
const ROUNDS: usize = 30;

/// What is chosen, and how well it fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    /// Places in the pool, ascending.
    pub chosen: Vec<usize>,
    /// Share of the chosen that would have to lie in other bins, mean over the measurements: 0 fits exactly.
    pub misfit: f64,
    /// The same of the first `chosen.len()` of the pool, to compare.
    pub misfit_of_first: f64,
}

/// Chooses `count` of `pool`. The wanted distribution is that of `like`; without one it is flat over the range of the pool.
#[must_use]
pub fn choose(pool: &[Measurements], like: Option<&[Measurements]>, count: usize) -> Matched {
    let count = count.min(pool.len());
    let edges = Edges::of(like.unwrap_or(pool));
    let bins: Vec<[usize; MEASURES]> = pool.iter().map(|m| edges.bins(m)).collect();
    let wanted = match like {
        Some(like) => {
            let mut table = Table::default();
            like.iter().for_each(|m| table.add(&edges.bins(m), 1.0));
            table.scaled(count as f64 / like.len().max(1) as f64)
        }
        None => Table([[count as f64 / BINS as f64; BINS]; MEASURES]),
    };
    let mut have = Table::default();
    let mut taken = vec![false; pool.len()];
    // Of those not taken yet the one of the least `distance`, the first of equal ones.
    let cheapest = |taken: &[bool], distance: &dyn Fn(usize) -> f64| {
        (0..bins.len()).filter(|&i| !taken[i]).min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
    };
    for _ in 0..count {
        let Some(best) = cheapest(&taken, &|i| have.cost_of(&wanted, &bins[i])) else { break };
        taken[best] = true;
        have.add(&bins[best], 1.0);
    }
    for _ in 0..ROUNDS {
        let mut changed = false;
        for out in 0..pool.len() {
            if !taken[out] {
                continue;
            }
            let before = have.distance(&wanted);
            have.add(&bins[out], -1.0);
            let without = have.distance(&wanted);
            let distance = |i: usize| without + have.cost_of(&wanted, &bins[i]);
            match cheapest(&taken, &distance) {
                Some(best) if distance(best) < before - 1e-9 => {
                    (taken[out], taken[best]) = (false, true);
                    have.add(&bins[best], 1.0);
                    changed = true;
                }
                _ => have.add(&bins[out], 1.0),
            }
        }
        if !changed {
            break;
        }
    }
    let misfit = |have: &Table| have.distance(&wanted) / (2 * MEASURES * count.max(1)) as f64;
    let mut first = Table::default();
    bins.iter().take(count).for_each(|bins| first.add(bins, 1.0));
    Matched {
        chosen: (0..pool.len()).filter(|&i| taken[i]).collect(),
        misfit: misfit(&have),
        misfit_of_first: misfit(&first),
    }
}

/// Inner edges of the bins of each measurement, evenly spaced; what lies beyond belongs to the outer bins.
struct Edges([[f64; BINS - 1]; MEASURES]);

impl Edges {
    fn of(values: &[Measurements]) -> Self {
        Self(std::array::from_fn(|measure| {
            let mut sorted: Vec<f64> = values.iter().map(|m| m.values()[measure]).collect();
            sorted.sort_by(f64::total_cmp);
            let at = |share: f64| {
                let place = (sorted.len().saturating_sub(1)) as f64 * share;
                sorted.get(place.round() as usize).copied().unwrap_or(0.0)
            };
            let (low, high) = (at(OUTLIERS), at(1.0 - OUTLIERS));
            std::array::from_fn(|edge| low + (high - low) * (edge + 1) as f64 / BINS as f64)
        }))
    }

    fn bins(&self, measurements: &Measurements) -> [usize; MEASURES] {
        let values = measurements.values();
        std::array::from_fn(|measure| self.0[measure].partition_point(|&edge| edge < values[measure]))
    }
}

/// Counts per measurement and bin.
#[derive(Clone, Default)]
struct Table([[f64; BINS]; MEASURES]);

impl Table {
    fn add(&mut self, bins: &[usize; MEASURES], weight: f64) {
        for (row, &bin) in self.0.iter_mut().zip(bins) {
            row[bin] += weight;
        }
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.0.iter_mut().flatten().for_each(|count| *count *= factor);
        self
    }

    fn distance(&self, wanted: &Self) -> f64 {
        self.0.iter().flatten().zip(wanted.0.iter().flatten()).map(|(have, want)| (have - want).abs()).sum()
    }

    /// How the distance would change by one more source in these bins.
    fn cost_of(&self, wanted: &Self, bins: &[usize; MEASURES]) -> f64 {
        let change = |(measure, &bin): (usize, &usize)| {
            let (have, want) = (self.0[measure][bin], wanted.0[measure][bin]);
            (have + 1.0 - want).abs() - (have - want).abs()
        };
        bins.iter().enumerate().map(change).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Measurements whose luminance and contrast are as given; the rest is noise of the seed.
    fn pool(luminance: impl Fn(f64) -> f64, n: usize) -> Vec<Measurements> {
        let mut rng = juror_nn::rng::stream(7, &[n as u64]);
        let mut draw = || rng.random::<f64>();
        (0..n)
            .map(|_| Measurements {
                blockiness: 1.0 + draw(),
                sharpness: draw(),
                contrast: 60.0 * draw(),
                noise: draw(),
                flicker: draw(),
                colourfulness: 80.0 * draw(),
                luminance: luminance(draw()),
                spatial_information: 100.0 * draw(),
                temporal_information: 40.0 * draw(),
            })
            .collect()
    }

    fn mean_luminance(pool: &[Measurements]) -> f64 {
        pool.iter().map(|m| m.luminance).sum::<f64>() / pool.len() as f64
    }

    #[test]
    fn a_dark_pool_gives_a_flat_choice() {
        let pool = pool(|u| 255.0 * u * u * u, 600); // mean 64
        let matched = choose(&pool, None, 100);
        let chosen: Vec<Measurements> = matched.chosen.iter().map(|&i| pool[i]).collect();
        assert_eq!(chosen.len(), 100);
        let mean = mean_luminance(&chosen);
        assert!((mean - 127.0).abs() < 20.0, "flat would be 127, the pool has 64: {mean}");
        assert!(matched.misfit < 0.5 * matched.misfit_of_first, "{matched:?}");
    }

    #[test]
    fn a_choice_follows_what_it_shall_be_like() {
        let (pool, like) = (pool(|u| 255.0 * u, 600), pool(|u| 60.0 + 255.0 * 0.2 * u, 90));
        let matched = choose(&pool, Some(&like), 60);
        let chosen: Vec<Measurements> = matched.chosen.iter().map(|&i| pool[i]).collect();
        let (mean, wanted) = (mean_luminance(&chosen), mean_luminance(&like));
        assert!((mean - wanted).abs() < 8.0, "{mean} {wanted}");
        assert_eq!(choose(&pool, Some(&like), 60), matched, "the same again");
    }

    #[test]
    fn more_than_there_is_takes_all() {
        let pool = pool(|u| u, 5);
        assert_eq!(choose(&pool, None, 9).chosen, [0, 1, 2, 3, 4]);
        assert_eq!(choose(&[], None, 9).chosen, [0usize; 0]);
    }
}
