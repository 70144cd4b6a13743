//! White Gaussian noise, new in every frame.
//!
//! The published levels are variances of independent noise on R, G and B in 0..=1. Under BT.709 such noise has a
//! standard deviation of 0.750 of its own on luma, and of 0.642 and 0.677 on Cb and Cr, halved by the averaging of
//! four pixels in 4:2:0; these are the gains used here, so that no conversion to RGB is needed.
//!
//! Samples come from a table of 65 536 normal deviates; every row starts at a random place in it. Drawing each
//! sample anew would cost more than encoding the frame.

use crate::Picture;
use crate::distort::blur::to_u8;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TABLE_LEN: usize = 1 << 16;
/// Row norms of the BT.709 matrix from R'G'B' to Y'CbCr in video range, relative to the 8-bit span.
const LUMA_GAIN: f64 = 0.750 * 219.0 / 255.0;
const CB_GAIN: f64 = 0.642 / 2.0 * 224.0 / 255.0;
const CR_GAIN: f64 = 0.677 / 2.0 * 224.0 / 255.0;

/// Adds noise to every picture.
#[derive(Debug)]
pub(crate) struct Noise {
    /// Standard deviations of Y, Cb and Cr in 8-bit codes.
    deviations: [f32; 3],
    table: Vec<f32>,
    rng: ChaCha8Rng,
}

impl Noise {
    /// `variance` on the 0..=1 scale of RGB.
    pub(crate) fn new(variance: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let deviation = variance.sqrt() * 255.0;
        Self {
            deviations: [LUMA_GAIN, CB_GAIN, CR_GAIN].map(|gain| (gain * deviation) as f32),
            table: normal_deviates(TABLE_LEN, &mut rng),
            rng,
        }
    }

    /// Adds fresh noise in place.
    pub(crate) fn apply(&mut self, picture: &mut Picture) {
        let widths = [picture.width(), picture.chroma_width(), picture.chroma_width()];
        for ((plane, width), deviation) in picture.planes_mut().into_iter().zip(widths).zip(self.deviations) {
            for row in plane.chunks_mut(width.min(TABLE_LEN / 2)) {
                let start = self.rng.random_range(0..TABLE_LEN - row.len());
                for (sample, &normal) in row.iter_mut().zip(&self.table[start..]) {
                    *sample = to_u8(f32::from(*sample) + deviation * normal);
                }
            }
        }
    }
}

/// `count` samples of the standard normal distribution by the method of Box and Muller.
fn normal_deviates(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut samples = Vec::with_capacity(count + 1);
    while samples.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        samples.extend([(radius * cosine) as f32, (radius * sine) as f32]);
    }
    samples.truncate(count);
    samples
}
