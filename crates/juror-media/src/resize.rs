//! Resizing of one 8-bit plane: area average where it shrinks, Catmull-Rom bicubic where it grows, each axis by itself.
//!
//! Sample `i` of a plane covers `[i, i + 1)`; both planes cover the same field of view, so centres map by
//! `x_src = (x_dst + 0.5) * scale - 0.5`. Edges repeat. Weights have 14 fraction bits and sum to exactly one, so a flat
//! plane stays flat. Chroma planes go through the same mapping with the extent of the luma plane (half of it, which for
//! odd sizes ends inside the last sample). Deterministic: integers only after the weights.

use rayon::prelude::*;

const WEIGHT_BITS: u32 = 14;
const ONE: i32 = 1 << WEIGHT_BITS;
/// Fraction bits kept between the two passes, so that rounding happens once.
const KEPT_BITS: u32 = 4;

/// One plane: samples per row and column, tightly packed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The taps of one output sample: `first` source sample and where its weights lie.
struct Taps {
    first: usize,
    weights: std::ops::Range<usize>,
}

struct Axis {
    taps: Vec<Taps>,
    weights: Vec<i16>,
}

impl Axis {
    /// `source_len` samples become `target_len`; `scale` is source samples per target sample.
    fn new(source_len: usize, target_len: usize, scale: f64) -> Self {
        let mut axis = Self { taps: Vec::with_capacity(target_len), weights: Vec::new() };
        for i in 0..target_len {
            let raw: Vec<(i64, f64)> = if scale > 1.0 {
                let (start, end) = (i as f64 * scale, (i + 1) as f64 * scale);
                (start.floor() as i64..end.ceil() as i64)
                    .map(|j| (j, (end.min((j + 1) as f64) - start.max(j as f64)).max(0.0)))
                    .collect()
            } else {
                let centre = (i as f64 + 0.5) * scale - 0.5;
                let base = centre.floor() as i64;
                (base - 1..=base + 2).map(|j| (j, catmull_rom(centre - j as f64))).collect()
            };
            axis.push(&raw, source_len);
        }
        axis
    }

    /// Folds taps outside the plane onto its edge samples, rounds the weights and gives the rest to the largest.
    fn push(&mut self, raw: &[(i64, f64)], source_len: usize) {
        let last = source_len as i64 - 1;
        let first = raw.first().map_or(0, |tap| tap.0.clamp(0, last));
        let end = raw.last().map_or(0, |tap| tap.0.clamp(0, last));
        let mut folded = vec![0.0; (end - first + 1) as usize];
        for &(j, w) in raw {
            folded[(j.clamp(0, last) - first) as usize] += w;
        }
        let total: f64 = folded.iter().sum();
        let mut fixed: Vec<i32> =
            folded.iter().map(|w| (w / total * f64::from(ONE)).round() as i32).collect();
        let rest = ONE - fixed.iter().sum::<i32>();
        if let Some(largest) = fixed.iter_mut().max_by_key(|w| **w) {
            *largest += rest;
        }
        let from = self.weights.len();
        self.weights.extend(fixed.iter().map(|&w| w as i16));
        self.taps.push(Taps { first: first as usize, weights: from..self.weights.len() });
    }
}

/// Catmull-Rom kernel (Keys 1981, a = -1/2).
fn catmull_rom(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Resizes `source` to `width` x `height`. `scale_x` and `scale_y` are source samples per target sample.
pub(crate) fn resize(source: Plane, width: usize, height: usize, scale_x: f64, scale_y: f64) -> Vec<u8> {
    if (source.width, source.height) == (width, height) && scale_x == 1.0 && scale_y == 1.0 {
        return source.data.to_vec();
    }
    let columns = Axis::new(source.width, width, scale_x);
    let rows = Axis::new(source.height, height, scale_y);
    // Down the columns first, a target row at a time: the inner loop runs along the row and vectorises.
    let mut target = vec![0u8; width * height];
    target.par_chunks_exact_mut(width).zip(&rows.taps).for_each_init(
        || vec![0i32; source.width],
        |line, (out, taps)| {
            line.fill(1 << (WEIGHT_BITS - KEPT_BITS - 1));
            let source_rows = source.data[taps.first * source.width..].chunks_exact(source.width);
            for (&weight, row) in rows.weights[taps.weights.clone()].iter().zip(source_rows) {
                let weight = i32::from(weight);
                for (sum, &sample) in line.iter_mut().zip(row) {
                    *sum += weight * i32::from(sample);
                }
            }
            line.iter_mut().for_each(|sum| *sum >>= WEIGHT_BITS - KEPT_BITS);
            for (taps, out) in columns.taps.iter().zip(out) {
                let weights = &columns.weights[taps.weights.clone()];
                let samples = &line[taps.first..];
                let sum: i32 = weights.iter().zip(samples).map(|(&w, &s)| i32::from(w) * s).sum();
                let bits = WEIGHT_BITS + KEPT_BITS;
                *out = ((sum + (1 << (bits - 1))) >> bits).clamp(0, 255) as u8;
            }
        },
    );
    target
}
