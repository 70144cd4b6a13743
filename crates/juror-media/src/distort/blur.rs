//! Gaussian blur of planes, and the separable convolution beneath it.
//!
//! The kernel is KADID-10k's: side `2 * ceil(2 * sigma) + 1`, normalised, borders replicated. Luma is blurred
//! with `sigma` pixels; the chroma planes of 4:2:0 have half the resolution and therefore get `sigma / 2`.
//! Both passes run over contiguous rows in `f32`, so the compiler vectorises them; rows are shared out to threads.

use crate::Picture;
use rayon::prelude::*;

/// A normalised symmetric kernel, stored from its centre outwards: `weights[k]` is the tap at distance `k`.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    weights: Vec<f32>,
}

impl Kernel {
    /// Gaussian kernel for a standard deviation of `sigma` pixels, cut off after `ceil(2 * sigma)` pixels.
    pub(crate) fn gaussian(sigma: f64) -> Self {
        Self::gaussian_with_radius(sigma, (2.0 * sigma).ceil() as usize)
    }

    /// Gaussian kernel with `2 * radius + 1` taps.
    pub(crate) fn gaussian_with_radius(sigma: f64, radius: usize) -> Self {
        let tap = |k: usize| (-0.5 * (k as f64 / sigma.max(1e-6)).powi(2)).exp();
        let sum: f64 = tap(0) + 2.0 * (1..=radius).map(tap).sum::<f64>();
        Self { weights: (0..=radius).map(|k| (tap(k) / sum) as f32).collect() }
    }

    fn radius(&self) -> usize {
        self.weights.len() - 1
    }

    /// Convolves one row whose both ends carry `radius` extra samples into `out`.
    fn convolve_row(&self, padded: &[f32], out: &mut [f32]) {
        let (radius, width) = (self.radius(), out.len());
        let centre = &padded[radius..radius + width];
        for (o, c) in out.iter_mut().zip(centre) {
            *o = self.weights[0] * c;
        }
        for (k, &weight) in self.weights.iter().enumerate().skip(1) {
            let left = &padded[radius - k..radius - k + width];
            let right = &padded[radius + k..radius + k + width];
            for ((o, l), r) in out.iter_mut().zip(left).zip(right) {
                *o += weight * (l + r);
            }
        }
    }

    /// Convolves a `width` x `height` plane along both axes; borders are replicated. `plane` holds the result.
    pub(crate) fn convolve(&self, plane: &mut [f32], width: usize, height: usize, scratch: &mut Vec<f32>) {
        let radius = self.radius();
        if radius == 0 || width == 0 || height == 0 {
            return;
        }
        scratch.resize(width * height, 0.0);
        let rows = &mut scratch[..width * height];
        rows.par_chunks_exact_mut(width).zip(plane.par_chunks_exact(width)).for_each_init(
            || vec![0.0; width + 2 * radius],
            |padded, (out, row)| {
                padded[..radius].fill(row[0]);
                padded[radius..radius + width].copy_from_slice(row);
                padded[radius + width..].fill(row[width - 1]);
                self.convolve_row(padded, out);
            },
        );
        let row_at = |y: usize| &rows[y * width..(y + 1) * width];
        plane.par_chunks_exact_mut(width).enumerate().for_each(|(y, out)| {
            for (o, c) in out.iter_mut().zip(row_at(y)) {
                *o = self.weights[0] * c;
            }
            for (k, &weight) in self.weights.iter().enumerate().skip(1) {
                let above = row_at(y.saturating_sub(k));
                let below = row_at((y + k).min(height - 1));
                for ((o, a), b) in out.iter_mut().zip(above).zip(below) {
                    *o += weight * (a + b);
                }
            }
        });
    }
}

/// Rounds and clamps to eight bits.
#[inline]
pub(crate) fn to_u8(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as i32 as u8
}

/// Blurs every picture with one Gaussian.
#[derive(Debug)]
pub(crate) struct Blur {
    luma: Kernel,
    chroma: Kernel,
    plane: Vec<f32>,
    scratch: Vec<f32>,
}

impl Blur {
    /// `sigma` in luma pixels.
    pub(crate) fn new(sigma: f64) -> Self {
        Self {
            luma: Kernel::gaussian(sigma),
            chroma: Kernel::gaussian(sigma / 2.0),
            plane: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The blur of a luma plane, not rounded.
    pub(crate) fn of_luma(&mut self, luma: &[u8], width: usize, height: usize) -> &[f32] {
        self.plane.clear();
        self.plane.extend(luma.iter().map(|&b| f32::from(b)));
        self.luma.convolve(&mut self.plane, width, height, &mut self.scratch);
        &self.plane
    }

    /// Blurs all three planes in place.
    pub(crate) fn apply(&mut self, picture: &mut Picture) {
        let (chroma_width, chroma_height) = (picture.chroma_width(), picture.chroma_height());
        let kernels = [
            (&self.luma, picture.width(), picture.height()),
            (&self.chroma, chroma_width, chroma_height),
            (&self.chroma, chroma_width, chroma_height),
        ];
        for (bytes, (kernel, width, height)) in picture.planes_mut().into_iter().zip(kernels) {
            self.plane.clear();
            self.plane.extend(bytes.iter().map(|&b| f32::from(b)));
            kernel.convolve(&mut self.plane, width, height, &mut self.scratch);
            for (b, &v) in bytes.iter_mut().zip(&self.plane) {
                *b = to_u8(v);
            }
        }
    }
}
