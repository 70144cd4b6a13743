//! Distortions of colour and light over the picture: saturation, colour cast, vignette.

use crate::Picture;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::blur::to_u8;

/// A curve over the codes of each chroma plane.
#[derive(Clone, Debug)]
pub(crate) struct ChromaCurve {
    u: [u8; 256],
    v: [u8; 256],
}

fn tabulated(curve: impl Fn(f64) -> f64) -> [u8; 256] {
    std::array::from_fn(|code| curve(code as f64).round().clamp(16.0, 240.0) as u8)
}

impl ChromaCurve {
    /// Distance from neutral times `gain`.
    pub(crate) fn saturation(gain: f64) -> Self {
        let table = tabulated(|code| 128.0 + gain * (code - 128.0));
        Self { u: table, v: table }
    }

    /// A shift by `codes` in a direction drawn from the seed.
    pub(crate) fn cast(codes: f64, seed: u64) -> Self {
        let angle = std::f64::consts::TAU * ChaCha8Rng::seed_from_u64(seed).random::<f64>();
        let (v, u) = angle.sin_cos();
        Self { u: tabulated(|code| code + codes * u), v: tabulated(|code| code + codes * v) }
    }

    /// Applies the curves in place.
    pub(crate) fn apply(&self, picture: &mut Picture) {
        let [_, u, v] = picture.planes_mut();
        for (plane, table) in [(u, &self.u), (v, &self.v)] {
            for sample in plane {
                *sample = table[usize::from(*sample)];
            }
        }
    }
}

/// Light falls off with the square of the distance from the middle, to `1 - strength` in the corners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vignette {
    strength: f32,
}

impl Vignette {
    /// `strength` is the share of the (coded) light that the corners lose.
    pub(crate) fn new(strength: f64) -> Self {
        Self { strength: strength as f32 }
    }

    /// Darkens in place.
    pub(crate) fn apply(self, picture: &mut Picture) {
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        let [y, u, v] = picture.planes_mut();
        self.plane(y, width, 16.0);
        self.plane(u, chroma_width, 128.0);
        self.plane(v, chroma_width, 128.0);
    }

    fn plane(self, plane: &mut [u8], width: usize, origin: f32) {
        let height = plane.len() / width;
        let half_diagonal_squared = (width as f32 / 2.0).powi(2) + (height as f32 / 2.0).powi(2);
        let lost = |at: usize, of: usize| {
            self.strength * (at as f32 + 0.5 - of as f32 / 2.0).powi(2) / half_diagonal_squared
        };
        let columns: Vec<f32> = (0..width).map(|x| lost(x, width)).collect();
        plane.par_chunks_exact_mut(width).enumerate().for_each(|(y, row)| {
            let left = 1.0 - lost(y, height);
            for (sample, lost) in row.iter_mut().zip(&columns) {
                *sample = to_u8(origin + (f32::from(*sample) - origin) * (left - lost));
            }
        });
    }
}
