//! Noise that is not Gaussian: photons (Poisson) and dead or hot pixels (impulses). Luma only.

use crate::Picture;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::blur::to_u8;

/// Random bytes; every row starts at a random place among them, as [`super::Noise`] does with its deviates.
const TABLE_LEN: usize = 1 << 16;
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// Poisson noise: a pixel of value x (0..=1 of video range, as it is coded) counts a random number of photons around
/// `x / variance`, new in every frame.
pub(crate) struct ShotNoise {
    /// For every luma code, 256 equally likely outcomes in order.
    outcomes: Vec<[u8; 256]>,
    bytes: Vec<u8>,
    rng: ChaCha8Rng,
}

impl ShotNoise {
    /// `variance` at white, on a 0..=1 scale: one over the photons that white counts.
    pub(crate) fn new(variance: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let outcomes = (0..=255u8).map(|code| poisson_outcomes(code, 1.0 / variance.max(1e-9))).collect();
        let bytes = (0..TABLE_LEN).map(|_| rng.random()).collect();
        Self { outcomes, bytes, rng }
    }

    /// Adds fresh noise in place.
    pub(crate) fn apply(&mut self, picture: &mut Picture) {
        let width = picture.width();
        let [luma, ..] = picture.planes_mut();
        for row in luma.chunks_mut(width.min(TABLE_LEN / 2)) {
            let start = self.rng.random_range(0..TABLE_LEN - row.len());
            for (sample, &byte) in row.iter_mut().zip(&self.bytes[start..]) {
                *sample = self.outcomes[usize::from(*sample)][usize::from(byte)];
            }
        }
    }
}

/// The quantiles (i + 1/2) / 256 of what a luma code becomes where white counts `photons`.
fn poisson_outcomes(code: u8, photons: f64) -> [u8; 256] {
    let expected = (f64::from(code) - f64::from(BLACK)) / 219.0 * photons;
    // Below black there is no light to count.
    if expected <= 0.0 {
        return [code; 256];
    }
    // Ten deviations below the mean nothing is left of the distribution.
    let mut count = (expected - 10.0 * expected.sqrt()).floor().max(0.0);
    let mut log_probability = count * expected.ln() - expected - libm::lgamma(count + 1.0);
    let mut cumulative = log_probability.exp();
    let last = expected + 10.0 * expected.sqrt() + 20.0;
    std::array::from_fn(|i| {
        while cumulative < (i as f64 + 0.5) / 256.0 && count < last {
            count += 1.0;
            log_probability += expected.ln() - count.ln();
            cumulative += log_probability.exp();
        }
        to_u8((f64::from(BLACK) + 219.0 * count / photons) as f32)
    })
}

/// Random pixels are black or white, others in every frame.
pub(crate) struct ImpulseNoise {
    /// Share of the pixels.
    density: f64,
    rng: ChaCha8Rng,
}

impl ImpulseNoise {
    /// `density` is the share of the pixels.
    pub(crate) fn new(density: f64, seed: u64) -> Self {
        Self { density, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Hits fresh pixels in place.
    pub(crate) fn apply(&mut self, picture: &mut Picture) {
        let [luma, ..] = picture.planes_mut();
        // Gaps between hits are geometric: one draw per hit, not per pixel.
        let gap = (1.0 - self.density).ln();
        let mut at = 0usize;
        loop {
            let draw: f64 = 1.0 - self.rng.random::<f64>();
            at = at.saturating_add((draw.ln() / gap) as usize);
            let Some(sample) = luma.get_mut(at) else { return };
            *sample = if self.rng.random() { BLACK } else { WHITE };
            at += 1;
        }
    }
}
