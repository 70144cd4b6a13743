//! In-place updates of parameters: one pass over all values.

use super::buffer::CHUNK;
use super::simd::{multiversion, sum};
use rayon::prelude::*;

/// Factors of one AdamW step; see `optim::AdamW`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamWStep {
    pub beta1: f32,
    pub beta2: f32,
    /// `1 - beta`, rounded once from f64.
    pub rest1: f32,
    pub rest2: f32,
    /// `1 - lr·decay`.
    pub kept: f32,
    /// `lr / (1 - beta1ᵗ)`.
    pub rate: f32,
    /// `1 / (1 - beta2ᵗ)`.
    pub correction2: f32,
    pub eps: f32,
}

multiversion! {
    fn adamw_chunk(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: AdamWStep) {
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            *m = step.beta1.mul_add(*m, step.rest1 * g);
            *v = step.beta2.mul_add(*v, step.rest2 * g * g);
            *w = step.kept.mul_add(*w, -(step.rate * *m / ((*v * step.correction2).sqrt() + step.eps)));
        }
    }
}

/// One step on weights `w` with moments `m`, `v` and gradient `g`.
pub(crate) fn adamw(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: AdamWStep) {
    w.par_chunks_mut(CHUNK)
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK))
        .zip(g.par_chunks(CHUNK))
        .for_each(|(((w, m), v), g)| adamw_chunk(w, m, v, g, step));
}

multiversion! {
    fn lerp_chunk(a: &mut [f32], w: &[f32], decay: f32) {
        for (a, &w) in a.iter_mut().zip(w) {
            *a = decay.mul_add(*a - w, w);
        }
    }
}

/// `a = decay·a + (1 - decay)·w`.
pub(crate) fn lerp(a: &mut [f32], w: &[f32], decay: f32) {
    a.par_chunks_mut(CHUNK).zip(w.par_chunks(CHUNK)).for_each(|(a, w)| lerp_chunk(a, w, decay));
}

multiversion! {
    fn square_sum_chunk(x: &[f32]) -> f32 {
        sum(x, |x| x * x)
    }
}

/// `Σ x²`: chunks in f32, their sums in f64 in order.
pub(crate) fn square_sum(x: &[f32]) -> f64 {
    let sums: Vec<f32> = x.par_chunks(CHUNK).map(square_sum_chunk).collect();
    sums.into_iter().map(f64::from).sum()
}
