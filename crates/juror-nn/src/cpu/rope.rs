//! Rotation of channel pairs by an angle per token.

use super::buffer::{filled, rows_per_task};
use super::simd::multiversion;

/// Sizes of a rotation and how its angles are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rope {
    pub heads: usize,
    pub tokens: usize,
    pub dim: usize,
    /// Angles differ by batch row.
    pub per_batch: bool,
    /// Pairs `(2i, 2i + 1)` instead of `(i, i + dim/2)`.
    pub interleaved: bool,
}

multiversion! {
    fn halves(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) {
        let half = cos.len();
        let ((x_low, x_high), (y_low, y_high)) = (x.split_at(half), y.split_at_mut(half));
        for i in 0..half {
            let (c, s) = (cos[i], sin[i] * sign);
            y_low[i] = x_low[i].mul_add(c, -(x_high[i] * s));
            y_high[i] = x_low[i].mul_add(s, x_high[i] * c);
        }
    }
}

multiversion! {
    fn pairs(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) {
        for (((x, y), &c), &s) in x.chunks_exact(2).zip(y.chunks_exact_mut(2)).zip(cos).zip(sin) {
            let s = s * sign;
            y[0] = x[0].mul_add(c, -(x[1] * s));
            y[1] = x[0].mul_add(s, x[1] * c);
        }
    }
}

/// Turns `x [batch, heads, tokens, dim]`; backwards for `sign` -1.
pub(crate) fn turn(rope: Rope, x: &[f32], cos: &[f32], sin: &[f32], sign: f32) -> Vec<f32> {
    let Rope { heads, tokens, dim, .. } = rope;
    let half = dim / 2;
    let kernel = if rope.interleaved { pairs } else { halves };
    filled(x.len(), rows_per_task(dim) * dim, |start, y| {
        for (i, y) in y.chunks_exact_mut(dim).enumerate() {
            let row = start / dim + i;
            let token = row % tokens + if rope.per_batch { row / (heads * tokens) * tokens } else { 0 };
            let (cos, sin) = (&cos[token * half..(token + 1) * half], &sin[token * half..(token + 1) * half]);
            kernel(&x[row * dim..(row + 1) * dim], cos, sin, sign, y);
        }
    })
}
