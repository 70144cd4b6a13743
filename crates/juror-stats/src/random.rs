//! Seeded random numbers. Every independent piece of work draws from its own stream, derived from `(seed, stream)`, so
//! results do not depend on the number of threads.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::normal;

/// The generator of one stream.
pub(crate) fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(seed, stream))
}

/// Mixes a seed and a stream number into a new seed (SplitMix64's finaliser).
pub(crate) fn derive(seed: u64, stream: u64) -> u64 {
    let mut z = seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `n` random signs, each 1 or -1.
pub(crate) fn signs(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect()
}

/// A uniform number in the open interval (0, 1).
pub(crate) fn open_unit(rng: &mut impl Rng) -> f64 {
    (rng.random::<u64>() >> 11) as f64 * f64::exp2(-53.0) + f64::exp2(-54.0)
}

/// A standard normal number, by inversion.
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    normal::quantile(open_unit(rng))
}

/// A number of the gamma distribution with this shape and scale 1 (Marsaglia and Tsang 2000).
pub(crate) fn gamma(rng: &mut impl Rng, shape: f64) -> f64 {
    if shape < 1.0 {
        return gamma(rng, shape + 1.0) * open_unit(rng).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open_unit(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// A number of the exponential distribution with mean 1.
pub(crate) fn exponential(rng: &mut impl Rng) -> f64 {
    -open_unit(rng).ln()
}
