//! The logistic mapping of predictions to the subjective scale, fitted by least squares before PLCC and RMSE.
//!
//! Four parameters (VQEG; papers.md E2): `f(x) = b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|))`.
//! Five (Sheikh, Sabir, Bovik 2006): `f(x) = b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5`; it need not be monotone.
//!
//! Levenberg-Marquardt with analytic derivatives on standardised scores; after each step the parameters that enter
//! linearly are solved anew, which straightens the long curved valleys of these curves. The 4-parameter fit starts at the usual place and
//! at the best of a grid of centres and widths, for each of which the linear parameters are solved; the best end wins, so
//! it does not hang in the flat tails where a single start may. The 5-parameter fit has the usual start only: with its
//! linear term other starts end in steps between two neighbouring videos, a smaller sum of squares and a worse mapping.
//! Optima at infinity (data that look exponential) are followed only as far as they still pay.

use nalgebra::{Cholesky, SMatrix, SVector};
use rayon::prelude::*;
use serde::Serialize;

use super::pairs::ScorePairs;

/// A fitted mapping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", content = "parameters", rename_all = "kebab-case")]
pub enum Logistic {
    /// `b1, b2, b3, b4`, with `b4 > 0`.
    Four([f64; 4]),
    /// `b1 .. b5`.
    Five([f64; 5]),
}

impl Logistic {
    /// Fits the 4-parameter mapping. `None` for fewer than 4 videos or constant predictions.
    pub fn fit_four(scores: &ScorePairs) -> Option<Self> {
        let (units, x, y) = Units::standardise(scores)?;
        Some(units.four(search_and_descend(&x, &y)))
    }

    /// Fits the 5-parameter mapping. `None` for fewer than 5 videos or constant predictions.
    pub fn fit_five(scores: &ScorePairs) -> Option<Self> {
        if scores.len() < 5 {
            return None;
        }
        let (units, x, y) = Units::standardise(scores)?;
        let range = |v: &[f64]| {
            v.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                - v.iter().copied().fold(f64::INFINITY, f64::min)
        };
        let direction = if super::srcc(scores).unwrap_or(1.0) < 0.0 { -1.0 } else { 1.0 };
        let start = [range(&y), direction, 0.0, 0.0, 0.0];
        Some(units.five(descend::<FiveParameters, 5>(&x, &y, start, FAR).0))
    }

    /// Fits the 4-parameter mapping again to other scores, from this one on (the bootstrap's short way).
    pub(crate) fn refit_four(&self, scores: &ScorePairs) -> Option<Self> {
        let Self::Four(start) = self else { return Self::fit_four(scores) };
        let (units, x, y) = Units::standardise(scores)?;
        let (end, _) = descend::<FourParameters, 4>(&x, &y, units.four_standardised(start), NEAR);
        Some(units.four(end))
    }

    /// The mapped score.
    pub fn map(&self, x: f64) -> f64 {
        match self {
            Self::Four(b) => FourParameters::value(x, b).0,
            Self::Five(b) => FiveParameters::value(x, b).0,
        }
    }

    /// The scores with mapped predictions.
    pub fn mapped(&self, scores: &ScorePairs) -> ScorePairs {
        scores.with_predicted(scores.predicted().iter().map(|&x| self.map(x)).collect())
    }

    /// Sum of squared differences of mapped predictions and subjective scores.
    pub fn sum_of_squares(&self, scores: &ScorePairs) -> f64 {
        scores.predicted().iter().zip(scores.subjective()).map(|(&x, y)| (self.map(x) - y).powi(2)).sum()
    }
}

/// A curve with `P` parameters: value at `x` and derivatives by the parameters.
trait Curve<const P: usize> {
    /// Which parameters enter linearly.
    const LINEAR: [bool; P];
    fn value(x: f64, b: &[f64; P]) -> (f64, [f64; P]);
}

/// `1 / (1 + exp(-t))`.
fn sigmoid(t: f64) -> f64 {
    1.0 / (1.0 + (-t).exp())
}

struct FourParameters;

impl Curve<4> for FourParameters {
    const LINEAR: [bool; 4] = [true, true, false, false];

    fn value(x: f64, b: &[f64; 4]) -> (f64, [f64; 4]) {
        let t = (x - b[2]) / b[3].abs();
        let s = sigmoid(t);
        let slope = (b[0] - b[1]) * s * (1.0 - s);
        let by_width = if slope == 0.0 { 0.0 } else { -slope * t / b[3] };
        (b[1] + (b[0] - b[1]) * s, [s, 1.0 - s, -slope / b[3].abs(), by_width])
    }
}

struct FiveParameters;

impl Curve<5> for FiveParameters {
    const LINEAR: [bool; 5] = [true, false, false, true, true];

    fn value(x: f64, b: &[f64; 5]) -> (f64, [f64; 5]) {
        let s = sigmoid(b[1] * (x - b[2]));
        let slope = b[0] * s * (1.0 - s);
        (b[0] * (s - 0.5) + b[3] * x + b[4], [s - 0.5, slope * (x - b[2]), -slope * b[1], x, 1.0])
    }
}

/// Shift and scale that give both score lists mean 0 and standard deviation 1.
struct Units {
    mean_x: f64,
    std_x: f64,
    mean_y: f64,
    std_y: f64,
}

impl Units {
    fn standardise(scores: &ScorePairs) -> Option<(Self, Vec<f64>, Vec<f64>)> {
        let n = scores.len() as f64;
        let moments = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / n;
            (mean, (v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
        };
        let (x, y) = (scores.predicted(), scores.subjective());
        let ((mean_x, std_x), (mean_y, std_y)) = (moments(x), moments(y));
        if scores.len() < 4 || x.iter().all(|v| *v == x[0]) || !(std_x > 0.0 && std_x.is_finite()) {
            return None;
        }
        // Constant subjective scores are fitted by a constant.
        let std_y = if std_y > 0.0 && std_y.is_finite() { std_y } else { 1.0 };
        let standard =
            |v: &[f64], mean: f64, std: f64| v.iter().map(|v| (v - mean) / std).collect::<Vec<_>>();
        Some((Self { mean_x, std_x, mean_y, std_y }, standard(x, mean_x, std_x), standard(y, mean_y, std_y)))
    }

    fn four(&self, b: [f64; 4]) -> Logistic {
        let y = |b: f64| self.mean_y + self.std_y * b;
        Logistic::Four([y(b[0]), y(b[1]), self.mean_x + self.std_x * b[2], self.std_x * b[3].abs()])
    }

    fn four_standardised(&self, b: &[f64; 4]) -> [f64; 4] {
        let y = |b: f64| (b - self.mean_y) / self.std_y;
        [y(b[0]), y(b[1]), (b[2] - self.mean_x) / self.std_x, b[3] / self.std_x]
    }

    fn five(&self, b: [f64; 5]) -> Logistic {
        let slope = self.std_y * b[3] / self.std_x;
        Logistic::Five([
            self.std_y * b[0],
            b[1] / self.std_x,
            self.mean_x + self.std_x * b[2],
            slope,
            self.mean_y + self.std_y * b[4] - slope * self.mean_x,
        ])
    }
}

/// When a descent ends.
#[derive(Clone, Copy)]
struct Effort {
    /// Most steps.
    steps: usize,
    /// Relative gain of a step below which it counts as idle.
    no_gain: f64,
    /// Idle steps in a row that end it (valleys bend).
    patience: usize,
}

/// From anywhere.
const FAR: Effort = Effort { steps: 2000, no_gain: 1e-14, patience: 3 };
/// From anywhere, to somewhere near the optimum.
const ROUGH: Effort = Effort { steps: 200, no_gain: 1e-10, patience: 2 };
/// From the optimum of nearly the same scores.
const NEAR: Effort = Effort { steps: 100, no_gain: 1e-10, patience: 1 };
/// Above this many videos the starts are tried on as many means of neighbours in the order of their predictions: their
/// optimum is that of all videos but for the width of the bins.
const SEARCH_LIMIT: usize = 3000;

/// The best 4-parameter fit over all starts, on standardised scores.
fn search_and_descend(x: &[f64], y: &[f64]) -> [f64; 4] {
    if x.len() <= SEARCH_LIMIT {
        return search(x, y, FAR);
    }
    let order = super::order::ascending(x);
    let (few_x, few_y): (Vec<f64>, Vec<f64>) = (0..SEARCH_LIMIT)
        .map(|k| &order[k * x.len() / SEARCH_LIMIT..(k + 1) * x.len() / SEARCH_LIMIT])
        .map(|bin| {
            let mean = |of: &[f64]| bin.iter().map(|&i| of[i as usize]).sum::<f64>() / bin.len() as f64;
            (mean(x), mean(y))
        })
        .unzip();
    descend::<FourParameters, 4>(x, y, search(&few_x, &few_y, ROUGH), NEAR).0
}

fn search(x: &[f64], y: &[f64], effort: Effort) -> [f64; 4] {
    const WIDTHS: [f64; 4] = [0.25, 0.5, 1.0, 3.0];
    const CENTRES: [f64; 7] = [-2.5, -1.5, -0.7, 0.0, 0.7, 1.5, 2.5];
    const DESCENTS: usize = 4;
    let mut starts: Vec<([f64; 4], f64)> = (CENTRES.iter())
        .flat_map(|&centre| WIDTHS.iter().map(move |&width| (centre, width)))
        .map(|(centre, width)| solve_linear::<FourParameters, 4>(x, y, [0.0, 0.0, centre, width]))
        .map(|start| (start, Sums::<4>::new::<FourParameters>(x, y, &start).squares))
        .filter(|(_, squares)| squares.is_finite())
        .collect();
    starts.sort_by(|a, b| a.1.total_cmp(&b.1));
    starts.truncate(DESCENTS);
    starts.push((solve_linear::<FourParameters, 4>(x, y, [0.0, 0.0, 0.0, 0.25]), 0.0));
    (starts.into_iter())
        .map(|(start, _)| descend::<FourParameters, 4>(x, y, start, effort))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or([0.0, 0.0, 0.0, 1.0], |best| best.0)
}

/// `J^T J`, `J^T r` and `r^T r` of the residuals `r = y - f(x)`.
struct Sums<const P: usize> {
    normal: SMatrix<f64, P, P>,
    gradient: SVector<f64, P>,
    squares: f64,
}

impl<const P: usize> Sums<P> {
    /// Summed in fixed chunks, so that threads change nothing.
    fn new<C: Curve<P>>(x: &[f64], y: &[f64], b: &[f64; P]) -> Self {
        const CHUNK: usize = 1 << 14;
        let chunk = |x: &[f64], y: &[f64]| {
            let mut sums = Self { normal: SMatrix::zeros(), gradient: SVector::zeros(), squares: 0.0 };
            for (&x, y) in x.iter().zip(y) {
                let (value, by) = C::value(x, b);
                let residual = y - value;
                for i in 0..P {
                    for j in 0..=i {
                        sums.normal[(i, j)] += by[i] * by[j];
                    }
                    sums.gradient[i] += by[i] * residual;
                }
                sums.squares += residual * residual;
            }
            sums
        };
        if x.len() <= CHUNK {
            return chunk(x, y).mirrored();
        }
        let parts: Vec<Self> =
            x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)).map(|(x, y)| chunk(x, y)).collect();
        let mut total = Self { normal: SMatrix::zeros(), gradient: SVector::zeros(), squares: 0.0 };
        for part in parts {
            total.normal += part.normal;
            total.gradient += part.gradient;
            total.squares += part.squares;
        }
        total.mirrored()
    }

    fn mirrored(mut self) -> Self {
        for i in 0..P {
            for j in 0..i {
                self.normal[(j, i)] = self.normal[(i, j)];
            }
        }
        self
    }
}

/// `at` with its linear parameters at their least-squares values. Columns are scaled to one, and a touch of ridge bounds
/// what is not determined.
fn solve_linear<C: Curve<P>, const P: usize>(x: &[f64], y: &[f64], at: [f64; P]) -> [f64; P] {
    const RIDGE: f64 = 1e-13;
    let from: [f64; P] = std::array::from_fn(|i| if C::LINEAR[i] { 0.0 } else { at[i] });
    let sums = Sums::<P>::new::<C>(x, y, &from);
    let scale: [f64; P] = std::array::from_fn(|i| {
        let diagonal = sums.normal[(i, i)];
        if C::LINEAR[i] && diagonal > 0.0 { 1.0 / diagonal.sqrt() } else { 0.0 }
    });
    let normal = SMatrix::<f64, P, P>::from_fn(|i, j| {
        let diagonal = if i != j {
            0.0
        } else if scale[i] > 0.0 {
            RIDGE
        } else {
            1.0
        };
        sums.normal[(i, j)] * scale[i] * scale[j] + diagonal
    });
    let right = SVector::<f64, P>::from_fn(|i, _| sums.gradient[i] * scale[i]);
    match Cholesky::new(normal) {
        Some(factor) => {
            let solved = factor.solve(&right);
            std::array::from_fn(|i| from[i] + solved[i] * scale[i])
        }
        None => at,
    }
}

/// Levenberg-Marquardt from one start: the end and its sum of squares.
fn descend<C: Curve<P>, const P: usize>(
    x: &[f64],
    y: &[f64],
    start: [f64; P],
    effort: Effort,
) -> ([f64; P], f64) {
    let mut b = start;
    let mut sums = Sums::<P>::new::<C>(x, y, &b);
    let mut damping = 1e-3;
    let mut idle = 0;
    for _ in 0..effort.steps {
        let mut damped = sums.normal;
        for i in 0..P {
            damped[(i, i)] += damping * sums.normal[(i, i)].max(1e-12);
        }
        let step = Cholesky::new(damped).map(|factor| factor.solve(&sums.gradient));
        let trial = step.map(|step| solve_linear::<C, P>(x, y, std::array::from_fn(|i| b[i] + step[i])));
        let trial = trial.map(|trial| (trial, Sums::<P>::new::<C>(x, y, &trial)));
        match trial {
            Some((trial, better)) if better.squares < sums.squares => {
                let gain = (sums.squares - better.squares) / sums.squares;
                (b, sums) = (trial, better);
                damping = (damping * 0.2).max(1e-15);
                idle = if gain < effort.no_gain { idle + 1 } else { 0 };
            }
            _ => {
                damping *= 5.0;
                if damping > 1e12 {
                    break;
                }
            }
        }
        if idle >= effort.patience || sums.squares == 0.0 {
            break;
        }
    }
    (b, sums.squares)
}
