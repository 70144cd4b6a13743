//! Kernels over rows of a matrix `[rows, dim]`: softmax, layer norm, RMS norm, sums over rows.

use super::buffer::{filled, for_overwrite, rows_per_task};
use super::simd::{exp, max, multiversion, sum, sum2};
use rayon::prelude::*;

multiversion! {
    fn softmax_rows(x: &[f32], y: &mut [f32], dim: usize) {
        for (x, y) in x.chunks_exact(dim).zip(y.chunks_exact_mut(dim)) {
            let top = max(x);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = exp(x - top);
            }
            let scale = 1.0 / sum(y, |value| value);
            for y in y.iter_mut() {
                *y *= scale;
            }
        }
    }
}

/// Softmax of each row.
pub(crate) fn softmax(x: &[f32], dim: usize) -> Vec<f32> {
    let dim = dim.max(1);
    filled(x.len(), rows_per_task(dim) * dim, |start, y| softmax_rows(&x[start..start + y.len()], y, dim))
}

multiversion! {
    fn softmax_grad_rows(y: &[f32], g: &[f32], out: &mut [f32], dim: usize) {
        for ((y, g), out) in y.chunks_exact(dim).zip(g.chunks_exact(dim)).zip(out.chunks_exact_mut(dim)) {
            let dot = sum2(y, g, |y, g| y * g);
            for ((out, &y), &g) in out.iter_mut().zip(y).zip(g) {
                *out = y * (g - dot);
            }
        }
    }
}

/// `y·(g - Σ y·g)` for each row.
pub(crate) fn softmax_grad(y: &[f32], g: &[f32], dim: usize) -> Vec<f32> {
    let dim = dim.max(1);
    filled(y.len(), rows_per_task(dim) * dim, |start, out| {
        let part = start..start + out.len();
        softmax_grad_rows(&y[part.clone()], &g[part], out, dim);
    })
}

/// Mean (0 without `centred`) and `1/sqrt(variance + eps)` of a row.
#[inline(always)]
fn moments(x: &[f32], centred: bool, eps: f32) -> (f32, f32) {
    let scale = 1.0 / x.len() as f32;
    let mean = if centred { sum(x, |x| x) * scale } else { 0.0 };
    let variance = sum(x, |x| (x - mean) * (x - mean)) * scale;
    (mean, 1.0 / (variance + eps).sqrt())
}

multiversion! {
    fn norm_rows(x: &[f32], y: &mut [f32], weight: &[f32], bias: &[f32], centred: bool, eps: f32) {
        let dim = weight.len();
        for (x, y) in x.chunks_exact(dim).zip(y.chunks_exact_mut(dim)) {
            let (mean, scale) = moments(x, centred, eps);
            if bias.is_empty() {
                for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                    *y = (x - mean) * scale * w;
                }
            } else {
                for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                    *y = ((x - mean) * scale).mul_add(w, b);
                }
            }
        }
    }
}

/// Layer norm (`centred`) or RMS norm of each row; an empty `bias` is none.
pub(crate) fn norm(x: &[f32], weight: &[f32], bias: &[f32], centred: bool, eps: f32) -> Vec<f32> {
    let dim = weight.len();
    filled(x.len(), rows_per_task(dim) * dim, |start, y| {
        norm_rows(&x[start..start + y.len()], y, weight, bias, centred, eps);
    })
}

multiversion! {
    /// Adds the parts of these rows to `weight_grad`, `bias_grad`; writes `x_grad` unless it is empty.
    ///
    /// With `n = (x - mean)·s`, `h = g·w`: `dx = s·(h - mean(h) - n·mean(h·n))`, without `mean(h)` for RMS norm.
    fn norm_grad_rows(
        x: &[f32], g: &[f32], weight: &[f32], centred: bool, eps: f32,
        x_grad: &mut [f32], weight_grad: &mut [f32], bias_grad: &mut [f32],
    ) {
        let dim = weight.len();
        let count = 1.0 / dim as f32;
        for (row, (x, g)) in x.chunks_exact(dim).zip(g.chunks_exact(dim)).enumerate() {
            let (mean, scale) = moments(x, centred, eps);
            for ((dw, &x), &g) in weight_grad.iter_mut().zip(x).zip(g) {
                *dw = ((x - mean) * scale).mul_add(g, *dw);
            }
            for (db, &g) in bias_grad.iter_mut().zip(g) {
                *db += g;
            }
            if x_grad.is_empty() {
                continue;
            }
            let out = &mut x_grad[row * dim..(row + 1) * dim];
            for ((out, &g), &w) in out.iter_mut().zip(g).zip(weight) {
                *out = g * w;
            }
            let h_mean = if centred { sum(out, |h| h) * count } else { 0.0 };
            let hn_mean = sum2(out, x, |h, x| h * (x - mean)) * scale * count;
            for (out, &x) in out.iter_mut().zip(x) {
                *out = scale * (*out - h_mean - (x - mean) * scale * hn_mean);
            }
        }
    }
}

/// Gradients of [`norm`] for `x` (when asked), `weight` and `bias`.
pub(crate) fn norm_grad(
    x: &[f32],
    g: &[f32],
    weight: &[f32],
    centred: bool,
    eps: f32,
    want_x: bool,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let dim = weight.len();
    let part = rows_per_task(dim) * dim;
    let tasks = x.len().div_ceil(part.max(1));
    let mut x_grad = for_overwrite(if want_x { x.len() } else { 0 });
    let mut partial = vec![0.0; tasks * 2 * dim];
    let run = |task: usize, x_grad: &mut [f32], sums: &mut [f32]| {
        let (from, to) = (task * part, ((task + 1) * part).min(x.len()));
        let (weight_grad, bias_grad) = sums.split_at_mut(dim);
        norm_grad_rows(&x[from..to], &g[from..to], weight, centred, eps, x_grad, weight_grad, bias_grad);
    };
    if want_x {
        x_grad
            .par_chunks_mut(part.max(1))
            .zip(partial.par_chunks_mut((2 * dim).max(1)))
            .enumerate()
            .for_each(|(task, (x_grad, sums))| run(task, x_grad, sums));
    } else {
        partial
            .par_chunks_mut((2 * dim).max(1))
            .enumerate()
            .for_each(|(task, sums)| run(task, &mut [], sums));
    }
    let sums = sum_rows(&partial, 2 * dim);
    (x_grad, sums[..dim].to_vec(), sums[dim..].to_vec())
}

multiversion! {
    fn add_rows(x: &[f32], out: &mut [f32]) {
        for row in x.chunks_exact(out.len()) {
            for (out, &x) in out.iter_mut().zip(row) {
                *out += x;
            }
        }
    }
}

/// Rows that one task adds up.
const ROWS: usize = 64;

/// `Σ` over rows, `[rows, dim]` to `[dim]`: 64 rows at a time, then these sums.
pub(crate) fn sum_rows(x: &[f32], dim: usize) -> Vec<f32> {
    if dim == 0 || x.len() <= ROWS * dim {
        let mut out = vec![0.0; dim];
        if dim > 0 {
            add_rows(x, &mut out);
        }
        return out;
    }
    let mut partial = vec![0.0; x.len().div_ceil(ROWS * dim) * dim];
    partial.par_chunks_mut(dim).zip(x.par_chunks(ROWS * dim)).for_each(|(out, x)| add_rows(x, out));
    sum_rows(&partial, dim)
}
