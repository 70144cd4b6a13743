//! Attention in blocks: the scores of 64 queries against 512 keys at a time, never the whole matrix.
//!
//! Forward: online softmax (Milakov & Gimelshein 2018; Dao et al. 2022) over blocks of keys. Backward: scores are
//! made again from the saved `log Σ exp`, as in FlashAttention: with `P = exp(S - lse)`, `D = Σ dO·O` per query,
//! ```text
//! dV = Pᵀ·dO     dP = dO·Vᵀ     dS = scale · P ∘ (dP - D)     dQ = dS·K     dK = dSᵀ·Q
//! ```
//! One task computes 64 queries of a head (forward) or all of a key head (backward).

use super::buffer::{Shared, for_overwrite};
use super::matmul::{View, matmul, rows};
use super::simd::{exp, max, multiversion, sum, sum2};
use rayon::prelude::*;

/// Queries per block.
const QUERIES: usize = 64;
/// Keys per block.
const KEYS: usize = 512;

/// Sizes of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dims {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub q_len: usize,
    pub k_len: usize,
    pub dim: usize,
}

/// Distances between neighbours along batch, head and token; channels lie side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub batch: usize,
    pub head: usize,
    pub token: usize,
}

impl Strides {
    /// Of a contiguous `[batch, heads, tokens, dim]`.
    pub(crate) fn contiguous(heads: usize, tokens: usize, dim: usize) -> Self {
        Self { batch: heads * tokens * dim, head: tokens * dim, token: dim }
    }

    fn at(self, batch: usize, head: usize, token: usize) -> usize {
        batch * self.batch + head * self.head + token * self.token
    }

    /// Elements from the first to behind the last.
    fn reach(self, batch: usize, heads: usize, tokens: usize, dim: usize) -> usize {
        if batch * heads * tokens * dim == 0 { 0 } else { self.at(batch - 1, heads - 1, tokens - 1) + dim }
    }
}

/// Strided values to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub data: &'a [f32],
    pub strides: Strides,
}

impl Input<'_> {
    fn row(&self, batch: usize, head: usize, token: usize) -> *const f32 {
        self.data[self.strides.at(batch, head, token)..].as_ptr()
    }

    fn check(&self, batch: usize, heads: usize, tokens: usize, dim: usize) {
        assert!(
            self.data.len() >= self.strides.reach(batch, heads, tokens, dim),
            "attention input too short"
        );
    }
}

/// Strided values to write.
pub(crate) struct Output<'a> {
    pub data: &'a mut [f32],
    pub strides: Strides,
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mask<'a> {
    None,
    Causal,
    /// Values and their strides along batch, head, query and key (0 where they repeat).
    Additive(&'a [f32], [usize; 4]),
    Lengths(&'a [usize]),
}

impl Mask<'_> {
    /// Number of keys the queries below `q_end` of this batch row may see.
    fn limit(&self, dims: &Dims, batch: usize, q_end: usize) -> usize {
        match self {
            Self::None | Self::Additive(..) => dims.k_len,
            Self::Causal => (q_end + dims.k_len).saturating_sub(dims.q_len).min(dims.k_len),
            Self::Lengths(lengths) => lengths[batch].min(dims.k_len),
        }
    }

    /// Applies the mask to the scores of query `q` against the keys from `first` on.
    fn apply(&self, dims: &Dims, [batch, head, q, first]: [usize; 4], scores: &mut [f32]) {
        match self {
            Self::None | Self::Lengths(_) => {}
            Self::Causal => {
                let seen = (q + 1 + dims.k_len).saturating_sub(dims.q_len + first).min(scores.len());
                scores[seen..].fill(f32::NEG_INFINITY);
            }
            Self::Additive(values, strides) => {
                let start = batch * strides[0] + head * strides[1] + q * strides[2];
                for (j, score) in scores.iter_mut().enumerate() {
                    *score += values[start + (first + j) * strides[3]];
                }
            }
        }
    }
}

/// Running state of one query: greatest score so far and sum of exponentials.
#[derive(Debug, Clone, Copy)]
struct Running {
    top: f32,
    total: f32,
}

multiversion! {
    /// Turns scores into exponentials below the new maximum, rescales what `out` holds.
    fn online_softmax(scores: &mut [f32], state: &mut Running, out: &mut [f32]) {
        let top = max(scores);
        let top = if top > state.top { top } else { state.top };
        if top == f32::NEG_INFINITY {
            scores.fill(0.0);
            return;
        }
        for score in scores.iter_mut() {
            *score = exp(*score - top);
        }
        let keep = exp(state.top - top);
        state.total = state.total.mul_add(keep, sum(scores, |p| p));
        state.top = top;
        if keep != 1.0 {
            for value in out.iter_mut() {
                *value *= keep;
            }
        }
    }
}

multiversion! {
    fn scaled(from: &[f32], scale: f32, to: &mut [f32]) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = from * scale;
        }
    }
}

/// `out [batch, heads, q_len, dim]` (strided) and `lse [batch, heads, q_len]`: `log Σ exp`, `+inf` where nothing is seen.
pub(crate) fn forward(
    dims: &Dims,
    q: Input,
    k: Input,
    v: Input,
    scale: f32,
    mask: Mask,
    out: Output,
) -> Vec<f32> {
    if dims.q_len == 1 && dims.heads > dims.kv_heads {
        return forward_groups(dims, q, k, v, scale, mask, out);
    }
    let Dims { batch, heads, kv_heads, q_len, k_len, dim } = *dims;
    q.check(batch, heads, q_len, dim);
    k.check(batch, kv_heads, k_len, dim);
    v.check(batch, kv_heads, k_len, dim);
    assert!(out.data.len() >= out.strides.reach(batch, heads, q_len, dim), "attention output too short");
    let mut lse = for_overwrite(batch * heads * q_len);
    let (out_strides, out, lse_shared) = (out.strides, Shared::new(out.data), Shared::new(&mut lse));
    let blocks = q_len.div_ceil(QUERIES);
    let scratch = || (for_overwrite(QUERIES * KEYS), for_overwrite(QUERIES * dim));
    (0..batch * heads * blocks).into_par_iter().for_each_init(scratch, |(scores, sums), task| {
        let (b, h, first) = (task / (heads * blocks), task / blocks % heads, task % blocks * QUERIES);
        let g = h / (heads / kv_heads);
        let count = QUERIES.min(q_len - first);
        let mut states = [Running { top: f32::NEG_INFINITY, total: 0.0 }; QUERIES];
        sums[..count * dim].fill(0.0);
        let limit = mask.limit(dims, b, first + count);
        for start in (0..limit).step_by(KEYS) {
            let width = KEYS.min(limit - start);
            // SAFETY: inputs were checked to hold these rows; `scores` is this task's own.
            unsafe {
                matmul(
                    [count, width, dim],
                    View {
                        start: q.row(b, h, first),
                        row_stride: q.strides.token as isize,
                        column_stride: 1,
                    },
                    View {
                        start: k.row(b, g, start),
                        row_stride: 1,
                        column_stride: k.strides.token as isize,
                    },
                    rows(scores.as_mut_ptr(), width),
                    false,
                    scale,
                    false,
                );
            }
            for i in 0..count {
                let row = &mut scores[i * width..(i + 1) * width];
                mask.apply(dims, [b, h, first + i, start], row);
                online_softmax(row, &mut states[i], &mut sums[i * dim..(i + 1) * dim]);
            }
            // SAFETY: as above.
            unsafe {
                matmul(
                    [count, dim, width],
                    rows(scores.as_ptr(), width),
                    View {
                        start: v.row(b, g, start),
                        row_stride: v.strides.token as isize,
                        column_stride: 1,
                    },
                    rows(sums.as_mut_ptr(), dim),
                    start > 0,
                    1.0,
                    false,
                );
            }
        }
        for (i, state) in states[..count].iter().enumerate() {
            let seen = state.total > 0.0;
            // SAFETY: each task writes the rows of its own queries; their places were checked above.
            let (row, lse) = unsafe {
                let row = out.get().add(out_strides.at(b, h, first + i));
                let lse = lse_shared.get().add((b * heads + h) * q_len + first + i);
                (std::slice::from_raw_parts_mut(row, dim), &mut *lse)
            };
            *lse = if seen { state.top + state.total.ln() } else { f32::INFINITY };
            scaled(&sums[i * dim..(i + 1) * dim], if seen { 1.0 / state.total } else { 0.0 }, row);
        }
    });
    lse
}

/// [`forward`] of one query a head (writing token by token): the query heads of a key head are taken as queries of one
/// head, so that keys and values are read once for all of them.
fn forward_groups(
    dims: &Dims,
    q: Input,
    k: Input,
    v: Input,
    scale: f32,
    mask: Mask,
    out: Output,
) -> Vec<f32> {
    let group = dims.heads / dims.kv_heads;
    let grouped = |strides: Strides| Strides { head: group * strides.head, token: strides.head, ..strides };
    let mask = match mask {
        // The only query sees all keys.
        Mask::Causal => Mask::None,
        Mask::Additive(values, [batch, head, _, key]) => {
            Mask::Additive(values, [batch, group * head, head, key])
        }
        same => same,
    };
    let dims = Dims { heads: dims.kv_heads, q_len: group, ..*dims };
    let q = Input { strides: grouped(q.strides), ..q };
    let out = Output { strides: grouped(out.strides), ..out };
    forward(&dims, q, k, v, scale, mask, out)
}

multiversion! {
    fn probabilities(scores: &mut [f32], lse: f32) {
        for score in scores.iter_mut() {
            *score = exp(*score - lse);
        }
    }
}

multiversion! {
    fn score_grads(p: &[f32], dp: &mut [f32], d: f32, scale: f32) {
        for (dp, &p) in dp.iter_mut().zip(p) {
            *dp = scale * p * (*dp - d);
        }
    }
}

multiversion! {
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        sum2(a, b, |a, b| a * b)
    }
}

/// What the backward pass reads: forward arguments, output, its `lse`, and the gradient of the output.
pub(crate) struct Saved<'a> {
    pub q: Input<'a>,
    pub k: Input<'a>,
    pub v: Input<'a>,
    pub out: Input<'a>,
    pub grad: Input<'a>,
    pub lse: &'a [f32],
}

/// Gradients of q, k and v, written to strided places (which may lie in one buffer, each element its own).
pub(crate) fn backward(
    dims: &Dims,
    saved: &Saved,
    scale: f32,
    mask: Mask,
    buffers: [Shared; 3],
    [q_strides, k_strides, v_strides]: [Strides; 3],
) {
    let Dims { batch, heads, kv_heads, q_len, k_len, dim } = *dims;
    let Saved { q, k, v, out, grad, lse } = saved;
    q.check(batch, heads, q_len, dim);
    k.check(batch, kv_heads, k_len, dim);
    v.check(batch, kv_heads, k_len, dim);
    out.check(batch, heads, q_len, dim);
    grad.check(batch, heads, q_len, dim);
    assert_eq!(lse.len(), batch * heads * q_len, "attention: saved sums");
    let [q_grad, k_grad, v_grad] = buffers;
    let group = heads / kv_heads;
    let scratch = || (for_overwrite(QUERIES * KEYS), for_overwrite(QUERIES * KEYS));
    let read = |input: &Input, b, h, t| View {
        start: input.row(b, h, t),
        row_stride: input.strides.token as isize,
        column_stride: 1,
    };
    (0..batch * kv_heads).into_par_iter().for_each_init(scratch, |(p, dp), task| {
        let (b, g) = (task / kv_heads, task % kv_heads);
        let write = |buffer: Shared, strides: Strides, h: usize, t: usize| View {
            // SAFETY: the caller gives buffers that hold all places of these strides.
            start: unsafe { buffer.get().add(strides.at(b, h, t)) },
            row_stride: strides.token as isize,
            column_stride: 1,
        };
        let clear = |buffer: Shared, strides: Strides, h: usize, tokens: usize| {
            for t in 0..tokens {
                // SAFETY: as above, and only this task touches the rows of (b, g) and of its query heads.
                unsafe { std::slice::from_raw_parts_mut(write(buffer, strides, h, t).start, dim) }.fill(0.0);
            }
        };
        clear(k_grad, k_strides, g, k_len);
        clear(v_grad, v_strides, g, k_len);
        for h in g * group..(g + 1) * group {
            clear(q_grad, q_strides, h, q_len);
            for first in (0..q_len).step_by(QUERIES) {
                let count = QUERIES.min(q_len - first);
                let mut ds = [0.0; QUERIES];
                for (i, d) in ds[..count].iter_mut().enumerate() {
                    let (out, grad) = (
                        &out.data[out.strides.at(b, h, first + i)..],
                        &grad.data[grad.strides.at(b, h, first + i)..],
                    );
                    *d = dot(&out[..dim], &grad[..dim]);
                }
                let limit = mask.limit(dims, b, first + count);
                for start in (0..limit).step_by(KEYS) {
                    let width = KEYS.min(limit - start);
                    let (q, dy) = (read(q, b, h, first), read(grad, b, h, first));
                    let (k, v) = (read(k, b, g, start), read(v, b, g, start));
                    // SAFETY: inputs were checked; `p` and `dp` are this task's own.
                    unsafe {
                        matmul(
                            [count, width, dim],
                            q,
                            k.t(),
                            rows(p.as_mut_ptr(), width),
                            false,
                            scale,
                            false,
                        );
                        matmul(
                            [count, width, dim],
                            dy,
                            v.t(),
                            rows(dp.as_mut_ptr(), width),
                            false,
                            1.0,
                            false,
                        );
                    }
                    for i in 0..count {
                        let (p, dp) =
                            (&mut p[i * width..(i + 1) * width], &mut dp[i * width..(i + 1) * width]);
                        mask.apply(dims, [b, h, first + i, start], p);
                        probabilities(p, lse[(b * heads + h) * q_len + first + i]);
                        score_grads(p, dp, ds[i], scale);
                    }
                    let (p, ds) = (rows(p.as_ptr(), width), rows(dp.as_ptr(), width));
                    // SAFETY: only this task writes the rows of key head (b, g) and of its query heads.
                    unsafe {
                        matmul(
                            [width, dim, count],
                            p.t(),
                            dy,
                            write(v_grad, v_strides, g, start),
                            true,
                            1.0,
                            false,
                        );
                        matmul(
                            [count, dim, width],
                            ds,
                            k,
                            write(q_grad, q_strides, h, first),
                            true,
                            1.0,
                            false,
                        );
                        matmul(
                            [width, dim, count],
                            ds.t(),
                            q,
                            write(k_grad, k_strides, g, start),
                            true,
                            1.0,
                            false,
                        );
                    }
                }
            }
        }
    });
}
