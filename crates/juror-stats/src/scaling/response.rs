//! Margins of a judge who saturates.
//!
//! A judge with a bounded scale calls everything beyond some difference simply "superior": the margin of a true difference
//! `d` is `limit tanh(d / limit)` plus noise of equal variance everywhere, so small margins are to scale and pairs far
//! apart tell only who is better. The scores minimise
//! `sum_e w_e (m_e - g(s_a - s_b))² / (2 noise²) + sum_i s_i² / (2 prior²)`, by damped Newton steps on the comparison graph;
//! the prior `N(0, prior²)` bounds what saturated margins leave open. With an infinite limit this is least squares with a
//! prior, whose errors are exact. With a finite one the scores are the means of the posterior, and errors its deviations
//! (module `posterior`); above 400 items they are the optimum and its Gauss-Newton Hessian, whose errors are
//! too small where most margins saturate.

use serde::{Deserialize, Serialize};

use super::laplacian::{DENSE_LIMIT, Inverse, Laplacian};
use super::pairs::PairTable;
use super::posterior::propagate;
use super::scale::Scale;
use crate::error::StatsError;

/// How a judge's margins follow true differences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// Largest margin the judge gives, points; `None` for margins to scale everywhere.
    pub limit: Option<f64>,
    /// Standard deviation of a margin of weight 1, points.
    pub noise: f64,
    /// Standard deviation of true scores, points.
    pub prior_std: f64,
}

impl Default for Judge {
    fn default() -> Self {
        Self { limit: None, noise: 0.5, prior_std: 1.0 }
    }
}

impl Judge {
    /// # Errors
    /// A value that is not finite and above 0.
    pub fn check(&self) -> Result<(), StatsError> {
        let values = [
            ("limit", self.limit.unwrap_or(1.0)),
            ("noise", self.noise),
            ("prior deviation", self.prior_std),
        ];
        match values.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((name, value)) => {
                Err(StatsError::Setting { name, value, allowed: "a finite number above 0" })
            }
            None => Ok(()),
        }
    }

    /// Expected margin of a true difference.
    pub fn margin(&self, difference: f64) -> f64 {
        self.limit.map_or(difference, |limit| limit * (difference / limit).tanh())
    }

    /// Its derivative, 0..1.
    pub fn slope(&self, difference: f64) -> f64 {
        self.limit.map_or(1.0, |limit| 1.0 - (difference / limit).tanh().powi(2))
    }

    /// Its second derivative.
    fn bend(&self, difference: f64) -> f64 {
        self.limit.map_or(0.0, |limit| -2.0 / limit * (difference / limit).tanh() * self.slope(difference))
    }
}

/// Scores explained by the margins of a judge.
pub struct JudgeFit {
    /// The scores, points, in each group around 0.
    pub scale: Scale,
    /// The judge, with the noise found where the margins tell it.
    pub judge: Judge,
    /// Information of each comparison on its difference: `weight slope² / noise²` at the optimum.
    pub(crate) information: Vec<f64>,
}

/// Finds the scores. With 30 comparisons more than items, the noise is found from the residuals; until then it is taken
/// as given.
///
/// # Errors
/// A judge out of its domain; steps that do not converge.
pub fn scale_judged(pairs: &PairTable, judge: Judge) -> Result<JudgeFit, StatsError> {
    const ENOUGH: usize = 30;
    const ROUNDS: usize = 4;
    judge.check()?;
    let mut judge = judge;
    let mut scores = vec![0.0; pairs.items()];
    let told = pairs.comparisons().len() >= pairs.items() + ENOUGH;
    for _ in 0..if told { ROUNDS } else { 0 } {
        scores = optimum(pairs, &judge, scores)?;
        let found = residual_noise(pairs, &judge, &scores)?;
        let settled = (found / judge.noise - 1.0).abs() < 0.01;
        judge.noise = found;
        if settled {
            break;
        }
    }
    scores = optimum(pairs, &judge, scores)?;
    if judge.limit.is_some() && pairs.items() <= DENSE_LIMIT {
        let posterior = propagate(pairs, judge, &scores, told)?;
        return Ok(fit(pairs, posterior.judge, posterior.scores, posterior.information, posterior.inverse));
    }
    let information = information(pairs, &judge, &scores);
    let inverse = hessian(pairs, &judge, &information, 0.0).inverse()?;
    Ok(fit(pairs, judge, scores, information, inverse))
}

fn fit(
    pairs: &PairTable,
    judge: Judge,
    scores: Vec<f64>,
    information: Vec<f64>,
    inverse: Inverse,
) -> JudgeFit {
    let components = super::Components::new(pairs.items(), pairs.edges().map(|(a, b, _)| (a, b)));
    let scale = Scale { scores, components, unit_std: Some(1.0), freedom: None, inverse };
    JudgeFit { scale, judge, information }
}

/// Of each comparison at the scores: `weight slope² / noise²`.
fn information(pairs: &PairTable, judge: &Judge, scores: &[f64]) -> Vec<f64> {
    (pairs.comparisons().iter())
        .map(|c| c.weight * (judge.slope(scores[c.a] - scores[c.b]) / judge.noise).powi(2))
        .collect()
}

/// Information below this is as good as none, but keeps the graph whole.
const LEAST_INFORMATION: f64 = 1e-12;

/// The Laplacian with `information` for weights, and the prior and `damping` for ridge.
pub(super) fn hessian(pairs: &PairTable, judge: &Judge, information: &[f64], damping: f64) -> Laplacian {
    let edges: Vec<_> = pairs
        .comparisons()
        .iter()
        .zip(information)
        .map(|(c, &w)| (c.a, c.b, w.max(LEAST_INFORMATION)))
        .collect();
    Laplacian::new(pairs.items(), &edges, judge.prior_std.powi(-2) + damping)
}

fn optimum(pairs: &PairTable, judge: &Judge, start: Vec<f64>) -> Result<Vec<f64>, StatsError> {
    const STEPS: usize = 200;
    const AT_REST: f64 = 1e-9;
    let noise = judge.noise.powi(-2);
    let prior = judge.prior_std.powi(-2);
    let objective = |s: &[f64]| {
        let misfit: f64 = pairs
            .comparisons()
            .iter()
            .map(|c| c.weight * (c.margin - judge.margin(s[c.a] - s[c.b])).powi(2))
            .sum();
        0.5 * (noise * misfit + prior * s.iter().map(|s| s * s).sum::<f64>())
    };
    let mut scores = start;
    let mut value = objective(&scores);
    let mut moved = f64::INFINITY;
    let mut damping = 0.0;
    for _ in 0..STEPS {
        let mut downhill: Vec<f64> = scores.iter().map(|s| -prior * s).collect();
        let mut information = Vec::with_capacity(pairs.comparisons().len());
        for c in pairs.comparisons() {
            let d = scores[c.a] - scores[c.b];
            let (slope, residual) = (judge.slope(d), c.margin - judge.margin(d));
            let pull = c.weight * noise * slope * residual;
            downhill[c.a] += pull;
            downhill[c.b] -= pull;
            // The curvature of the response counts where it keeps the problem convex.
            let bend = (-residual * judge.bend(d)).max(0.0);
            information.push(c.weight * noise * (slope * slope + bend));
        }
        let next = loop {
            let step = hessian(pairs, judge, &information, damping).solve(&downhill)?;
            let trial: Vec<f64> = scores.iter().zip(&step).map(|(s, step)| s + step).collect();
            let trial_value = objective(&trial);
            moved = step.iter().map(|step| step.abs()).fold(0.0, f64::max);
            if trial_value < value {
                damping *= 0.2;
                break Some((trial, trial_value));
            }
            if moved <= AT_REST {
                break None;
            }
            damping = (damping * 5.0).max(prior);
        };
        let Some((trial, trial_value)) = next else { return Ok(scores) };
        let gain = value - trial_value;
        (scores, value) = (trial, trial_value);
        // A gain far below one standard error of anything (1/2 at one) is rest too: saturated margins lie on a flat floor.
        if moved <= AT_REST || gain <= 1e-9 {
            return Ok(scores);
        }
    }
    let (what, tolerance) = ("the fit of a judge", 1e-3);
    if moved <= tolerance {
        return Ok(scores);
    }
    Err(StatsError::NotConverged { what, iterations: STEPS, residual: moved, tolerance })
}

/// Standard deviation of the noise from the residuals, corrected for the degrees of freedom the scores took.
fn residual_noise(pairs: &PairTable, judge: &Judge, scores: &[f64]) -> Result<f64, StatsError> {
    let residual = |a: usize, b: usize, margin: f64| margin - judge.margin(scores[a] - scores[b]);
    let squares: f64 =
        pairs.comparisons().iter().map(|c| c.weight * residual(c.a, c.b, c.margin).powi(2)).sum();
    let information = information(pairs, judge, scores);
    // Each score takes 1 - prior precision * posterior variance degrees of freedom: the trace of the hat matrix.
    let inverse = hessian(pairs, judge, &information, 0.0).inverse()?;
    let taken: f64 = (0..pairs.items()).map(|i| 1.0 - inverse.variance(i) * judge.prior_std.powi(-2)).sum();
    let freedom = (pairs.comparisons().len() as f64 - taken).max(1.0);
    // Margins without any noise leave a noise that is small, not 0.
    Ok((squares / freedom).sqrt().max(1e-6))
}
