//! From fragments to the body's input: per 8 x 8 patch, samples and log-magnitude DCT side by side.
//!
//! A patch holds Y 8 x 8, U 4 x 4 and V 4 x 4 of the moment's first frame, `(x - 128) / 64`, and the same of
//! the second frame as a difference, `4 (x1 - x0) / 64`. Beside these 192 values stand 192 more,
//! `ln(1 + 64 |DCT|) - 1` with the orthonormal DCT-II of each block: compression, banding and noise are
//! plain there, and a small network does not learn the transform by itself.

use super::fragments::{FRAGMENT_BYTES, SIDE};
use rayon::prelude::*;
use std::sync::LazyLock;

/// Patches of a fragment (4 x 4).
pub const PATCHES: usize = 16;
/// Values of a patch: 192 samples, 192 DCT magnitudes.
pub const PATCH_LEN: usize = 384;

/// Side of a block of luma.
pub(super) const LUMA: usize = 8;
const CHROMA: usize = 4;
/// Values of one frame of a patch: Y, U, V.
const FRAME_LEN: usize = LUMA * LUMA + 2 * CHROMA * CHROMA;

/// Turns fragments `[n, 2, FRAGMENT_BYTES]` into `[n, PATCHES, PATCH_LEN]`.
#[must_use]
pub fn features(fragments: &[u8]) -> Vec<f32> {
    let n = fragments.len() / (2 * FRAGMENT_BYTES);
    let mut out = vec![0f32; n * PATCHES * PATCH_LEN];
    out.par_chunks_exact_mut(PATCHES * PATCH_LEN)
        .zip(fragments.par_chunks_exact(2 * FRAGMENT_BYTES))
        .for_each(|(out, fragment)| {
            let (first, second) = fragment.split_at(FRAGMENT_BYTES);
            for (index, patch) in out.chunks_exact_mut(PATCH_LEN).enumerate() {
                patch_features(first, second, index / 4, index % 4, patch);
            }
        });
    out
}

fn patch_features(first: &[u8], second: &[u8], row: usize, column: usize, out: &mut [f32]) {
    let half = SIDE / 2;
    // (start of the plane, its width, side of the block, start in the patch)
    let blocks = [
        (0, SIDE, LUMA, 0),
        (SIDE * SIDE, half, CHROMA, LUMA * LUMA),
        (SIDE * SIDE + half * half, half, CHROMA, LUMA * LUMA + CHROMA * CHROMA),
    ];
    let (samples, spectrum) = out.split_at_mut(2 * FRAME_LEN);
    let (still, change) = samples.split_at_mut(FRAME_LEN);
    for (plane, stride, side, at) in blocks {
        for y in 0..side {
            let from = plane + (row * side + y) * stride + column * side;
            for x in 0..side {
                let (a, b) = (f32::from(first[from + x]), f32::from(second[from + x]));
                still[at + y * side + x] = (a - 128.0) / 64.0;
                change[at + y * side + x] = (b - a) / 16.0;
            }
        }
        for (frame, samples) in [&*still, &*change].into_iter().enumerate() {
            let to = &mut spectrum[frame * FRAME_LEN + at..][..side * side];
            let block = &samples[at..at + side * side];
            if side == LUMA { dct::<LUMA>(block, &BASIS_8, to) } else { dct::<CHROMA>(block, &BASIS_4, to) }
        }
    }
    for value in spectrum {
        *value = ln(1.0 + 64.0 * value.abs()) - 1.0;
    }
}

pub(super) static BASIS_8: LazyLock<[[f32; 8]; 8]> = LazyLock::new(basis);
static BASIS_4: LazyLock<[[f32; 4]; 4]> = LazyLock::new(basis);

/// Orthonormal DCT-II: row `k` is the cosine of frequency `k`.
fn basis<const N: usize>() -> [[f32; N]; N] {
    std::array::from_fn(|k| {
        let scale = (if k == 0 { 1.0 } else { 2.0 } / N as f64).sqrt();
        std::array::from_fn(|x| {
            let angle = std::f64::consts::PI * (x as f64 + 0.5) * k as f64 / N as f64;
            (scale * angle.cos()) as f32
        })
    })
}

/// Two-dimensional DCT of an N x N block: basis, block, basis transposed.
pub(super) fn dct<const N: usize>(block: &[f32], basis: &[[f32; N]; N], out: &mut [f32]) {
    let mut rows = [[0f32; N]; N]; // [frequency down, x]
    for (row, weights) in rows.iter_mut().zip(basis) {
        for (line, &weight) in block.chunks_exact(N).zip(weights) {
            for (sum, &value) in row.iter_mut().zip(line) {
                *sum += weight * value;
            }
        }
    }
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(N)) {
        for (value, weights) in out.iter_mut().zip(basis) {
            *value = row.iter().zip(weights).map(|(a, b)| a * b).sum();
        }
    }
}

/// Natural logarithm for `x >= 1`, to 2e-6 absolute: exponent and an odd series in `(m - 1) / (m + 1)`. It
/// vectorises, which `f32::ln` does not, and gives the same bits on every machine.
pub(super) fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)), so that the series converges fast.
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32) >> 23;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let t2 = t * t;
    let series = 2.0 * t * (1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_close_to_the_library_one() {
        for i in 0..200_000 {
            let x = 1.0 + i as f32 * 0.37;
            assert!((ln(x) - x.ln()).abs() < 3e-6 * x.ln().max(1.0), "{x}: {} against {}", ln(x), x.ln());
        }
    }

    #[test]
    fn dct_keeps_energy_and_a_flat_block_has_only_dc() {
        let block: Vec<f32> = (0..64).map(|i| ((i * 37) % 61) as f32 / 61.0 - 0.5).collect();
        let mut out = [0f32; 64];
        dct::<8>(&block, &BASIS_8, &mut out);
        let energy = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>();
        assert!((energy(&block) - energy(&out)).abs() < 1e-4);
        dct::<8>(&[0.25; 64], &BASIS_8, &mut out);
        assert!((out[0] - 2.0).abs() < 1e-5);
        assert!(out[1..].iter().all(|v| v.abs() < 1e-5));
    }

    #[test]
    fn equal_frames_have_no_change() {
        let fragment: Vec<u8> = (0..FRAGMENT_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        let features = features(&[fragment.clone(), fragment].concat());
        for patch in features.chunks_exact(PATCH_LEN) {
            assert!(patch[FRAME_LEN..2 * FRAME_LEN].iter().all(|&v| v == 0.0));
            assert!(patch[3 * FRAME_LEN..].iter().all(|&v| v == -1.0));
        }
    }
}
