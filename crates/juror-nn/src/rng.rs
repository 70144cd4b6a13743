//! Seeds derived from seeds: every random draw belongs to a named stream, so no draw depends on how many came before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Mixes a seed with further keys (step, example, rollout, ...) by the SplitMix64 finaliser (Steele et al. 2014).
pub fn derive_seed(seed: u64, keys: &[u64]) -> u64 {
    keys.iter().fold(mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15)), |state, &key| {
        mix(state ^ mix(key.wrapping_add(0x9E37_79B9_7F4A_7C15)).rotate_left(17))
    })
}

/// Mixes a seed with a name (FNV-1a of its bytes).
pub fn derive_named(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    derive_seed(seed, &[hash])
}

/// A generator for one stream.
pub fn stream(seed: u64, keys: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive_seed(seed, keys))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
