//! Posterior of the scores of a judge who saturates, by expectation propagation (Minka 2001).
//!
//! Where margins saturate, the likelihood of a difference is a plateau on one side, and the posterior is far from the
//! normal one at its peak: errors taken there are too small, and the peak itself is no good estimate. Here each comparison
//! `e` is stood for by a normal *site* `exp(-t d² / 2 + h d)` on its difference `d = s_a - s_b`, chosen so that mean and
//! variance of `d` are those of the true likelihood between all other sites. The noise, where it is to be found, is the one that
//! makes the expected squared residuals come true (expectation maximisation).
//!
//! Needs the dense inverse, so for few items only; sites of negative precision are held at nearly none.

use super::laplacian::Inverse;
use super::pairs::{Comparison, PairTable};
use super::response::{Judge, hessian};
use crate::error::StatsError;

/// Share of the way to its new value that a site goes in a sweep.
const DAMPING: f64 = 0.6;
const SWEEPS: usize = 200;
/// Sites are settled when none moves by more than this share of what a margin to scale would tell.
const SETTLED: f64 = 1e-3;
/// Least precision of a site, as a share of what a margin to scale would tell.
const LEAST: f64 = 1e-6;

/// What stands for the likelihood of a comparison.
#[derive(Clone, Copy)]
struct Site {
    precision: f64,
    shift: f64,
}

/// Moments of a difference and of what the judge's margin leaves unexplained.
struct Moments {
    mean: f64,
    variance: f64,
    squared_residual: f64,
}

/// The fitted scores, in each group around 0.
pub(super) struct Posterior {
    pub scores: Vec<f64>,
    pub judge: Judge,
    /// Precision of each comparison's site.
    pub information: Vec<f64>,
    pub inverse: Inverse,
}

/// Propagates from the scores `start`; finds the noise where `noise_is_told` by enough comparisons.
///
/// # Errors
/// Sites that do not settle.
pub(super) fn propagate(
    pairs: &PairTable,
    judge: Judge,
    start: &[f64],
    noise_is_told: bool,
) -> Result<Posterior, StatsError> {
    let comparisons = pairs.comparisons();
    let mut judge = judge;
    let mut sites: Vec<Site> = (comparisons.iter())
        .map(|c| {
            let d = start[c.a] - start[c.b];
            let to_scale = c.weight / judge.noise.powi(2);
            let precision = to_scale * judge.slope(d).powi(2).max(LEAST);
            Site { precision, shift: precision * d }
        })
        .collect();
    let mut moved = f64::INFINITY;
    for _ in 0..SWEEPS {
        let information: Vec<f64> = sites.iter().map(|site| site.precision).collect();
        let laplacian = hessian(pairs, &judge, &information, 0.0);
        let inverse = laplacian.inverse()?;
        let mut pull = vec![0.0; pairs.items()];
        for (c, site) in comparisons.iter().zip(&sites) {
            pull[c.a] += site.shift;
            pull[c.b] -= site.shift;
        }
        let scores = laplacian.solve(&pull)?;
        if moved <= SETTLED {
            return Ok(Posterior { scores, judge, information, inverse });
        }
        moved = 0.0;
        let mut squares = 0.0;
        for (c, site) in comparisons.iter().zip(&mut sites) {
            let covariance = inverse.covariance(c.a, c.b).unwrap_or(0.0);
            let variance = (inverse.variance(c.a) + inverse.variance(c.b) - 2.0 * covariance).max(1e-300);
            let to_scale = c.weight / judge.noise.powi(2);
            // All sites but this one.
            let precision = (1.0 / variance - site.precision).max(LEAST * to_scale);
            let mean = ((scores[c.a] - scores[c.b]) / variance - site.shift) / precision;
            let tilted = moments(&judge, c, mean, precision.sqrt().recip());
            squares += c.weight * tilted.squared_residual;
            let wanted = (1.0 / tilted.variance - precision).max(LEAST * to_scale);
            let shift = tilted.mean * (precision + wanted) - mean * precision;
            moved = moved.max((wanted - site.precision).abs() / to_scale);
            site.precision += DAMPING * (wanted - site.precision);
            site.shift += DAMPING * (shift - site.shift);
        }
        if noise_is_told {
            // Margins without any noise leave a noise that is small, not 0.
            let found = (squares / comparisons.len() as f64).sqrt().max(1e-6);
            moved = moved.max((found / judge.noise - 1.0).abs());
            judge.noise = found;
        }
    }
    let what = "expectation propagation";
    Err(StatsError::NotConverged { what, iterations: SWEEPS, residual: moved, tolerance: SETTLED })
}

/// Moments under the normal distribution (`mean`, `std`) times the likelihood of comparison `c`, by the trapezoidal rule,
/// which is exact to many digits once its step is below the width of everything that is smooth.
fn moments(judge: &Judge, c: &Comparison, mean: f64, std: f64) -> Moments {
    /// Deviations to either side.
    const REACH: f64 = 6.0;
    let width = judge.noise / c.weight.sqrt();
    let steps = (2.0 * REACH * std / (0.7 * width)).clamp(32.0, 1024.0).ceil();
    let residual = |d: f64| c.margin - judge.margin(d);
    let (mut largest, mut sums) = (f64::NEG_INFINITY, [0.0; 4]);
    for k in 0..=steps as usize {
        let z = REACH * (2.0 * k as f64 / steps - 1.0);
        let r = residual(mean + std * z);
        let log = -0.5 * (z * z + (r / width).powi(2));
        // Kept relative to the largest weight so far: no weight overflows, and not all of them vanish.
        if log > largest {
            let shrink = (largest - log).exp();
            sums = sums.map(|sum| sum * shrink);
            largest = log;
        }
        let weight = (log - largest).exp();
        for (sum, value) in sums.iter_mut().zip([1.0, z, z * z, r * r]) {
            *sum += weight * value;
        }
    }
    let [total, first, second, squared_residual] = sums;
    let z = first / total;
    let variance = (second / total - z * z).max(1e-12) * std * std;
    Moments { mean: mean + std * z, variance, squared_residual: squared_residual / total }
}
