//! Kernels that pool tokens: mean and standard deviation over the middle dimension of `[groups, tokens, dim]`.

use super::buffer::{filled, rows_per_task};
use super::simd::multiversion;

multiversion! {
    fn pool_groups(x: &[f32], out: &mut [f32], tokens: usize, dim: usize, eps: f32) {
        let count = 1.0 / tokens as f32;
        for (x, out) in x.chunks_exact(tokens * dim).zip(out.chunks_exact_mut(2 * dim)) {
            let (mean, deviation) = out.split_at_mut(dim);
            mean.fill(0.0);
            deviation.fill(0.0);
            for row in x.chunks_exact(dim) {
                for (mean, &x) in mean.iter_mut().zip(row) {
                    *mean += x;
                }
            }
            for mean in mean.iter_mut() {
                *mean *= count;
            }
            for row in x.chunks_exact(dim) {
                for ((deviation, &mean), &x) in deviation.iter_mut().zip(mean.iter()).zip(row) {
                    *deviation = (x - mean).mul_add(x - mean, *deviation);
                }
            }
            for deviation in deviation.iter_mut() {
                *deviation = deviation.mul_add(count, eps).sqrt();
            }
        }
    }
}

/// `[groups, tokens, dim]` to `[groups, 2 dim]`: the mean, then `sqrt(variance + eps)`.
pub(crate) fn mean_and_deviation(x: &[f32], tokens: usize, dim: usize, eps: f32) -> Vec<f32> {
    let groups = rows_per_task(tokens * dim);
    filled(x.len() / tokens * 2, groups * 2 * dim, |start, out| {
        let from = start / 2 * tokens;
        pool_groups(&x[from..from + out.len() / 2 * tokens], out, tokens, dim, eps);
    })
}

multiversion! {
    /// `dx = (g_mean + g_deviation (x - mean) / deviation) / tokens`.
    fn pool_grad_groups(x: &[f32], y: &[f32], g: &[f32], out: &mut [f32], tokens: usize, dim: usize) {
        let count = 1.0 / tokens as f32;
        let groups = x.chunks_exact(tokens * dim).zip(y.chunks_exact(2 * dim)).zip(g.chunks_exact(2 * dim));
        for (((x, y), g), out) in groups.zip(out.chunks_exact_mut(tokens * dim)) {
            let ((mean, deviation), (g_mean, g_deviation)) = (y.split_at(dim), g.split_at(dim));
            for (x, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
                for (i, (out, &x)) in out.iter_mut().zip(x).enumerate() {
                    let slope = g_deviation[i] / deviation[i];
                    *out = slope.mul_add(x - mean[i], g_mean[i]) * count;
                }
            }
        }
    }
}

/// Gradient of [`mean_and_deviation`] for `x`, given its result `y` and the gradient `g` of that.
pub(crate) fn mean_and_deviation_grad(
    x: &[f32],
    y: &[f32],
    g: &[f32],
    tokens: usize,
    dim: usize,
) -> Vec<f32> {
    let size = tokens * dim;
    filled(x.len(), rows_per_task(size) * size, |start, out| {
        let pooled = start / tokens * 2..(start + out.len()) / tokens * 2;
        pool_grad_groups(&x[start..start + out.len()], &y[pooled.clone()], &g[pooled], out, tokens, dim);
    })
}
