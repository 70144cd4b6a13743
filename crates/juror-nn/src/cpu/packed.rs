//! Matrix products with weights in 16, 8 or 4 bits: unpacked to f32 in the first-level cache, multiplied and added in f32.
//!
//! Layout: panels of 16 outputs, each a run of groups of 32 inputs. A group is words of 16 bits: for integers first the
//! 16 scales (bf16), then, lane by lane the 16 outputs, the values of 1 (16 bits), 2 (8 bits) or 4 (4 bits) neighbouring
//! inputs in a word, the first one lowest. What is missing at the edges is zero.
//!
//! A value is `integer · scale`, exact in f32 (8 and 8 bits), so only packing rounds. Sums run along the inputs in the
//! order of [`super::matmul`]: the same bits as a product with the unpacked weights, alone or among many rows.

use super::buffer::{Shared, for_overwrite};
use super::simd::multiversion;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rayon::prelude::*;

/// Outputs side by side.
const LANES: usize = 16;
/// Inputs that share a scale.
const GROUP: usize = 32;
/// Outputs of one task: four panels, so that four chains of multiply-adds overlap.
const WIDTH: usize = 4 * LANES;
/// Rows of one task; they share what it unpacks.
const ROWS: usize = 64;
/// Inputs whose sum starts at zero, as in [`super::matmul`].
const DEPTH: usize = 512;

/// How a weight is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Bf16,
    F16,
    Int8,
    Int4,
}

impl Format {
    /// Bits of a value.
    fn bits(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// Words in front of a group's values.
    fn scales(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 0,
            Self::Int8 | Self::Int4 => LANES,
        }
    }

    /// Words of a group.
    fn group(self) -> usize {
        self.scales() + LANES * GROUP * self.bits() / 16
    }

    /// Words of a matrix `[outputs, inputs]`.
    pub(crate) fn words(self, outputs: u64, inputs: u64) -> u64 {
        let groups = outputs.div_ceil(LANES as u64).saturating_mul(inputs.div_ceil(GROUP as u64));
        groups.saturating_mul(self.group() as u64)
    }
}

/// A packed matrix `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct Packed {
    format: Format,
    words: Vec<u16>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl Packed {
    /// Packs a row-major `[outputs, inputs]`.
    pub(crate) fn new(format: Format, weight: &[f32], outputs: usize, inputs: usize) -> Self {
        assert_eq!(weight.len(), outputs * inputs, "packed matrix [{outputs}, {inputs}]");
        assert!(inputs > 0, "packed matrix without inputs");
        let mut words = vec![0; format.words(outputs as u64, inputs as u64) as usize];
        let groups = inputs.div_ceil(GROUP);
        words.par_chunks_mut(groups * format.group()).enumerate().for_each(|(panel, words)| {
            for (g, words) in words.chunks_exact_mut(format.group()).enumerate() {
                for lane in 0..LANES.min(outputs - panel * LANES) {
                    let row = &weight[(panel * LANES + lane) * inputs..][..inputs];
                    let end = inputs.min((g + 1) * GROUP);
                    pack_lane(format, &row[g * GROUP..end], words, lane);
                }
            }
        });
        Self { format, words, outputs, inputs }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        2 * self.words.len()
    }

    /// The words of one group of one panel.
    fn group(&self, panel: usize, group: usize) -> &[u16] {
        let size = self.format.group();
        &self.words[(panel * self.inputs.div_ceil(GROUP) + group) * size..][..size]
    }

    /// Row `output` of the matrix.
    pub(crate) fn row(&self, output: usize, out: &mut [f32]) {
        let mut unpacked = [0.0; LANES * GROUP];
        for (g, out) in out.chunks_mut(GROUP).enumerate() {
            self.unpack(output / LANES, g, &mut unpacked, LANES);
            for (k, value) in out.iter_mut().enumerate() {
                *value = unpacked[k * LANES + output % LANES];
            }
        }
    }

    /// A group as f32: input `k` of lane `j` to `out[k·stride + j]`.
    fn unpack(&self, panel: usize, group: usize, out: &mut [f32], stride: usize) {
        let words = self.group(panel, group);
        match self.format {
            Format::Bf16 => unpack_bf16(words, out, stride),
            Format::F16 => {
                for (words, out) in words.chunks_exact(LANES).zip(out.chunks_mut(stride)) {
                    words.reinterpret_cast::<f16>().convert_to_f32_slice(&mut out[..LANES]);
                }
            }
            Format::Int8 => unpack_int8(words, out, stride),
            Format::Int4 => unpack_int4(words, out, stride),
        }
    }

    /// `x·Wᵀ`, plus `bias` (when not empty) on every row; `x` is row-major `[rows, inputs]`.
    pub(crate) fn product(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = x.len() / inputs;
        let mut y = for_overwrite(rows * outputs);
        let target = Shared::new(&mut y);
        let blocks = outputs.div_ceil(WIDTH);
        let task = |task: usize, buffers: &mut Buffers| {
            // Neighbouring tasks share their rows, which then stay in the cache.
            let (first, column) = (task / blocks * ROWS, task % blocks * WIDTH);
            let (count, width) = (ROWS.min(rows - first), WIDTH.min(outputs - column));
            let part = Part { x: &x[first * inputs..(first + count) * inputs], column, width };
            let sums = self.sums(&part, bias, buffers);
            for (i, sums) in sums.chunks_exact(WIDTH).enumerate() {
                // SAFETY: these columns of these rows are this task's own, and lie inside `y`.
                let place = unsafe {
                    let start = target.get().add((first + i) * outputs + column);
                    std::slice::from_raw_parts_mut(start, width)
                };
                place.copy_from_slice(&sums[..width]);
            }
        };
        let tasks = rows.div_ceil(ROWS) * blocks;
        if rows * inputs * outputs > 64 * 1024 {
            (0..tasks).into_par_iter().for_each_init(Buffers::new, |buffers, i| task(i, buffers));
        } else {
            let mut buffers = Buffers::new();
            (0..tasks).for_each(|i| task(i, &mut buffers));
        }
        y
    }

    /// The outputs `column..column + width` of some rows, `[rows, WIDTH]`.
    fn sums<'b>(&self, part: &Part, bias: &[f32], buffers: &'b mut Buffers) -> &'b [f32] {
        let inputs = self.inputs;
        let size = part.x.len() / inputs * WIDTH;
        let Buffers { weights, sums, totals } = buffers;
        let (sums, totals) = (&mut sums[..size], &mut totals[..size]);
        totals.fill(0.0);
        if !bias.is_empty() {
            let bias = &bias[part.column..part.column + part.width];
            totals.chunks_exact_mut(WIDTH).for_each(|row| row[..part.width].copy_from_slice(bias));
        }
        for start in (0..inputs).step_by(DEPTH) {
            let end = inputs.min(start + DEPTH);
            sums.fill(0.0);
            for k in (start..end).step_by(GROUP) {
                for panel in 0..part.width.div_ceil(LANES) {
                    self.unpack(part.column / LANES + panel, k / GROUP, &mut weights[panel * LANES..], WIDTH);
                }
                add_group(part.x, inputs, k, end.min(k + GROUP), weights, sums);
            }
            totals.iter_mut().zip(sums.iter()).for_each(|(total, sum)| *total += sum);
        }
        totals
    }
}

/// Some rows and some outputs of a product.
struct Part<'a> {
    x: &'a [f32],
    column: usize,
    width: usize,
}

/// What a thread works in.
struct Buffers {
    weights: Vec<f32>,
    sums: Vec<f32>,
    totals: Vec<f32>,
}

impl Buffers {
    fn new() -> Self {
        // Zeroed: lanes beyond the last panel are multiplied too, and never read.
        Self {
            weights: vec![0.0; GROUP * WIDTH],
            sums: vec![0.0; ROWS * WIDTH],
            totals: vec![0.0; ROWS * WIDTH],
        }
    }
}

/// Rounds up to 32 neighbouring inputs of one output into its lane of a group.
fn pack_lane(format: Format, values: &[f32], words: &mut [u16], lane: usize) {
    let scale = match format {
        Format::Bf16 | Format::F16 => {
            for (k, &value) in values.iter().enumerate() {
                words[k * LANES + lane] = if format == Format::Bf16 {
                    bf16::from_f32(value).to_bits()
                } else {
                    f16::from_f32(value).to_bits()
                };
            }
            return;
        }
        _ if values.iter().any(|value| !value.is_finite()) => bf16::NAN,
        Format::Int8 => bf16::from_f32(greatest(values).abs() / 127.0),
        // The greatest magnitude becomes -8, which has no positive counterpart.
        Format::Int4 => bf16::from_f32(greatest(values) / -8.0),
    };
    words[lane] = scale.to_bits();
    let bits = format.bits();
    let (low, high) = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
    let (scale, per_word) = (scale.to_f32(), 16 / bits);
    for (k, &value) in values.iter().enumerate() {
        let level =
            if scale == 0.0 { 0 } else { ((value / scale).round_ties_even() as i32).clamp(low, high) };
        let word = &mut words[LANES + k / per_word * LANES + lane];
        *word |= ((level & ((1 << bits) - 1)) as u16) << (k % per_word * bits);
    }
}

/// The value of greatest magnitude.
fn greatest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |top: f32, &value| if value.abs() > top.abs() { value } else { top })
}

/// bf16 as f32.
#[inline(always)]
fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

multiversion! {
    fn unpack_bf16(words: &[u16], out: &mut [f32], stride: usize) {
        for (words, out) in words.as_chunks::<LANES>().0.iter().zip(out.chunks_mut(stride)) {
            for (out, &word) in out[..LANES].iter_mut().zip(words) {
                *out = wide(word);
            }
        }
    }
}

/// Integers of `BITS` bits times their scales.
#[inline(always)]
fn unpack_integers<const BITS: u32>(words: &[u16], out: &mut [f32], stride: usize) {
    let (rows, _) = words.as_chunks::<LANES>();
    let scales = rows[0].map(wide);
    let per_word = (16 / BITS) as usize;
    for (words, out) in rows[1..].iter().zip(out.chunks_mut(per_word * stride)) {
        for (n, out) in (0..per_word as u32).zip(out.chunks_mut(stride)) {
            for ((out, &word), &scale) in out[..LANES].iter_mut().zip(words).zip(&scales) {
                let level = ((word << (16 - BITS - n * BITS)) as i16) >> (16 - BITS);
                *out = f32::from(level) * scale;
            }
        }
    }
}

multiversion! {
    fn unpack_int8(words: &[u16], out: &mut [f32], stride: usize) {
        unpack_integers::<8>(words, out, stride);
    }
}

multiversion! {
    fn unpack_int4(words: &[u16], out: &mut [f32], stride: usize) {
        unpack_integers::<4>(words, out, stride);
    }
}

multiversion! {
    /// Adds the products of the inputs `from..to` of every row of `x` to `sums` `[rows, WIDTH]`.
    fn add_group(x: &[f32], inputs: usize, from: usize, to: usize, weights: &[f32], sums: &mut [f32]) {
        let (sums, _) = sums.as_chunks_mut::<WIDTH>();
        let (weights, _) = weights.as_chunks::<WIDTH>();
        for (x, sums) in x.chunks_exact(inputs).zip(sums) {
            let mut chains = *sums;
            for (&x, weights) in x[from..to].iter().zip(weights) {
                for (chain, &weight) in chains.iter_mut().zip(weights) {
                    *chain = x.mul_add(weight, *chain);
                }
            }
            *sums = chains;
        }
    }
}
