//! Cross entropy over rows of logits.

use super::buffer::{filled, rows_per_task};
use super::simd::{exp, max, multiversion, sum};
use rayon::prelude::*;

multiversion! {
    /// `log Σ exp` of a row.
    fn log_sum_exp(x: &[f32]) -> f32 {
        let top = max(x);
        top + sum(x, |x| exp(x - top)).ln()
    }
}

/// `log Σ exp` of each row of `x [rows, dim]`.
pub(crate) fn log_sums(x: &[f32], dim: usize) -> Vec<f32> {
    x.par_chunks_exact(dim.max(1)).with_min_len(rows_per_task(dim)).map(log_sum_exp).collect()
}

multiversion! {
    fn grad_row(x: &[f32], log_sum: f32, scale: f32, out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = scale * exp(x - log_sum);
        }
    }
}

/// `scale·(softmax(x) - one_hot(target))`, 0 in rows without target.
pub(crate) fn grad(x: &[f32], dim: usize, log_sums: &[f32], targets: &[Option<u32>], scale: f32) -> Vec<f32> {
    filled(x.len(), rows_per_task(dim) * dim, |start, out| {
        for (i, out) in out.chunks_exact_mut(dim).enumerate() {
            let row = start / dim + i;
            let Some(target) = targets[row] else {
                out.fill(0.0);
                continue;
            };
            grad_row(&x[row * dim..(row + 1) * dim], log_sums[row], scale, out);
            out[target as usize] -= scale;
        }
    })
}
