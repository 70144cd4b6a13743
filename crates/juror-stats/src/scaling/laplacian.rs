//! The weighted graph Laplacian plus a ridge, `A = L + ridge * I`, and what scaling needs of its inverse.
//!
//! `L = sum_e w_e (u_a - u_b)(u_a - u_b)^T`. The constant of each connected group is an eigenvector of `A` with the ridge
//! as its eigenvalue: no comparison sees it. Everything here happens in the rest of the space, where vectors sum to 0 in
//! each group: right-hand sides must (margins always do), solutions do, and "inverse" means the inverse there.
//! Small systems are inverted densely, large ones solved by conjugate gradients with a Jacobi preconditioner; the
//! diagonal of a large inverse is estimated with random signs (Bekas, Kokiopoulou, Saad 2007). Everything runs in a
//! fixed order, so results do not depend on the number of threads.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rayon::prelude::*;

use super::graph::Components;
use crate::error::StatsError;
use crate::random;

/// Up to this many items the inverse is dense (n³ work, n² memory).
pub(crate) const DENSE_LIMIT: usize = 400;
/// Relative residual at which conjugate gradients stop.
const CG_TOLERANCE: f64 = 1e-13;
/// Random sign vectors of the diagonal estimate; its relative error is about `sqrt(2 / PROBES)` of the off-diagonal share.
const PROBES: usize = 64;
const PROBE_SEED: u64 = 0x6469_6167;

/// `L + ridge * I` in compressed rows.
pub(crate) struct Laplacian {
    components: Components,
    ridge: f64,
    /// Diagonal of `L` (weighted degree), without the ridge.
    degree: Vec<f64>,
    row_start: Vec<usize>,
    column: Vec<u32>,
    weight: Vec<f64>,
}

/// What is known of the inverse: all of it, or its diagonal.
pub(crate) enum Inverse {
    /// Dense inverse `[items, items]`.
    Dense(DMatrix<f64>),
    /// Estimated diagonal `[items]`.
    Diagonal(Vec<f64>),
}

impl Inverse {
    /// Entry `(i, i)`.
    pub fn variance(&self, i: usize) -> f64 {
        match self {
            Self::Dense(m) => m[(i, i)].max(0.0),
            Self::Diagonal(d) => d[i],
        }
    }

    /// Entry `(i, j)`, where it is known.
    pub fn covariance(&self, i: usize, j: usize) -> Option<f64> {
        match self {
            Self::Dense(m) => Some(m[(i, j)]),
            Self::Diagonal(_) => None,
        }
    }
}

impl Laplacian {
    /// From weighted edges; edges of weight 0 join nothing. Repeated edges add up.
    pub fn new(items: usize, edges: &[(usize, usize, f64)], ridge: f64) -> Self {
        let edges = || edges.iter().filter(|e| e.2 > 0.0);
        let components = Components::new(items, edges().map(|e| (e.0, e.1)));
        let mut row_start = vec![0usize; items + 1];
        for e in edges() {
            row_start[e.0 + 1] += 1;
            row_start[e.1 + 1] += 1;
        }
        for i in 0..items {
            row_start[i + 1] += row_start[i];
        }
        let mut next = row_start.clone();
        let mut column = vec![0u32; row_start[items]];
        let mut weight = vec![0.0; row_start[items]];
        let mut degree = vec![0.0; items];
        for &(a, b, w) in edges() {
            for (from, to) in [(a, b), (b, a)] {
                column[next[from]] = to as u32;
                weight[next[from]] = w;
                next[from] += 1;
                degree[from] += w;
            }
        }
        Self { components, ridge, degree, row_start, column, weight }
    }

    fn items(&self) -> usize {
        self.degree.len()
    }

    /// The connected groups.
    pub fn components(&self) -> &Components {
        &self.components
    }

    fn multiply(&self, x: &[f64], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            let row = self.row_start[i]..self.row_start[i + 1];
            let mut sum = (self.degree[i] + self.ridge) * x[i];
            for (&j, &w) in self.column[row.clone()].iter().zip(&self.weight[row]) {
                sum -= w * x[j as usize];
            }
            *out = sum;
        }
    }

    /// Solves `A x = b`, where `b` sums to 0 in each group, and so does `x`.
    ///
    /// # Errors
    /// Conjugate gradients that do not converge (a very badly conditioned graph).
    pub fn solve(&self, b: &[f64]) -> Result<Vec<f64>, StatsError> {
        if self.items() <= DENSE_LIMIT
            && let Some((factor, _)) = self.dense_factor()
        {
            let mut x = factor.solve(&DVector::from_column_slice(b)).as_slice().to_vec();
            self.components.centre(&mut x);
            return Ok(x);
        }
        self.conjugate_gradients(b)
    }

    fn conjugate_gradients(&self, b: &[f64]) -> Result<Vec<f64>, StatsError> {
        let n = self.items();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        // An item without edges has an empty row; its pivot of 1 leaves the zero it starts from.
        let pivot: Vec<f64> =
            self.degree.iter().map(|d| d + self.ridge).map(|d| if d > 0.0 { 1.0 / d } else { 1.0 }).collect();
        let precondition = |r: &[f64], z: &mut [f64]| {
            for ((z, r), p) in z.iter_mut().zip(r).zip(&pivot) {
                *z = r * p;
            }
        };
        let mut x = vec![0.0; n];
        let mut r = b.to_vec();
        self.components.centre(&mut r);
        let mut z = vec![0.0; n];
        precondition(&r, &mut z);
        let mut p = z.clone();
        let mut ap = vec![0.0; n];
        let mut rz = dot(&r, &z);
        let tolerance = CG_TOLERANCE * dot(b, b).sqrt();
        let max_steps = 4 * n + 100;
        for _ in 0..max_steps {
            if dot(&r, &r).sqrt() <= tolerance {
                self.components.centre(&mut x);
                return Ok(x);
            }
            self.multiply(&p, &mut ap);
            let alpha = rz / dot(&p, &ap);
            for i in 0..n {
                x[i] += alpha * p[i];
                r[i] -= alpha * ap[i];
            }
            precondition(&r, &mut z);
            let rz_next = dot(&r, &z);
            let beta = rz_next / rz;
            rz = rz_next;
            for (p, z) in p.iter_mut().zip(&z) {
                *p = z + beta * *p;
            }
        }
        let residual = dot(&r, &r).sqrt();
        Err(StatsError::NotConverged {
            what: "conjugate gradients",
            iterations: max_steps,
            residual,
            tolerance,
        })
    }

    /// The inverse, dense for small systems, its diagonal for large ones.
    ///
    /// # Errors
    /// As [`Laplacian::solve`].
    pub fn inverse(&self) -> Result<Inverse, StatsError> {
        if self.items() <= DENSE_LIMIT
            && let Some(inverse) = self.dense_inverse()
        {
            return Ok(Inverse::Dense(inverse));
        }
        Ok(Inverse::Diagonal(self.estimated_diagonal()?))
    }

    /// Cholesky factor of `A + c sum_g 1_g 1_g^T / size_g` over the groups `g`, and this `c`: the same as `A` on vectors
    /// that sum to 0 in each group, and well conditioned whatever the ridge.
    fn dense_factor(&self) -> Option<(Cholesky<f64, Dyn>, f64)> {
        let n = self.items();
        let mut a = DMatrix::zeros(n, n);
        for i in 0..n {
            a[(i, i)] += self.degree[i] + self.ridge;
            for k in self.row_start[i]..self.row_start[i + 1] {
                a[(i, self.column[k] as usize)] -= self.weight[k];
            }
        }
        // A constant of the size of the degrees keeps the matrix well conditioned.
        let total: f64 = self.degree.iter().sum();
        let c = if total > 0.0 { total / n as f64 } else { 1.0 };
        for members in self.components.members() {
            for &i in &members {
                for &j in &members {
                    a[(i, j)] += c / members.len() as f64;
                }
            }
        }
        Some((a.cholesky()?, c))
    }

    /// The inverse of what [`Self::dense_factor`] takes, less the part of the constants, `1_g 1_g^T / ((ridge + c) size_g)`.
    fn dense_inverse(&self) -> Option<DMatrix<f64>> {
        let (factor, c) = self.dense_factor()?;
        let mut inverse = factor.inverse();
        for members in self.components.members() {
            for &i in &members {
                for &j in &members {
                    inverse[(i, j)] -= 1.0 / ((self.ridge + c) * members.len() as f64);
                }
            }
        }
        Some(inverse)
    }

    /// `diag(A^-1)` as the mean of `v * (A^-1 v - D^-1 W D^-1 v)` over random sign vectors `v` (`v * v = 1`). `D` is the
    /// diagonal of `A` and `W` its off-diagonal part, whose first-order term has an empty diagonal: taking it out adds
    /// no bias and removes most of the noise.
    fn estimated_diagonal(&self) -> Result<Vec<f64>, StatsError> {
        let n = self.items();
        let pivot: Vec<f64> =
            self.degree.iter().map(|d| d + self.ridge).map(|d| if d > 0.0 { 1.0 / d } else { 0.0 }).collect();
        let probes = (0..PROBES)
            .into_par_iter()
            .map(|probe| {
                let v = random::signs(random::derive(PROBE_SEED, probe as u64), n);
                let mut x = self.conjugate_gradients(&v)?;
                for i in 0..n {
                    let row = self.row_start[i]..self.row_start[i + 1];
                    let first_order: f64 = (self.column[row.clone()].iter().zip(&self.weight[row]))
                        .map(|(&j, &w)| w * pivot[j as usize] * v[j as usize])
                        .sum();
                    x[i] = v[i] * (x[i] - pivot[i] * first_order);
                }
                Ok(x)
            })
            .collect::<Result<Vec<_>, StatsError>>()?;
        Ok((0..n)
            .map(|i| {
                let mean = probes.iter().map(|p| p[i]).sum::<f64>() / PROBES as f64;
                // Never below the inverse of the diagonal, less what fixing the constant of the group takes away.
                let fixed = 1.0 / self.components.size_of(i) as f64;
                mean.max(pivot[i] * (1.0 - fixed).powi(2))
            })
            .collect())
    }
}
