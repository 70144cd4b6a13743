//! Periodic fractal noise: octaves of smoothly interpolated random lattices whose amplitude falls with frequency, so that the
//! spectrum falls as a power of it, as that of natural pictures does.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A square field of noise with mean about 0 and a standard deviation of about 1.
pub(super) struct Field {
    side: usize,
    values: Vec<f32>,
}

impl Field {
    /// `roughness` is the ratio of amplitudes of one octave to the one below: 0.5 is 1/f, larger is finer.
    pub(super) fn fractal(side: usize, roughness: f32, rng: &mut ChaCha8Rng) -> Self {
        let mut values = vec![0.0f32; side * side];
        let (mut cells, mut amplitude, mut power) = (3usize, 1.0f32, 0.0f32);
        while cells <= side / 2 {
            let lattice: Vec<f32> = (0..cells * cells).map(|_| rng.random_range(-1.0..1.0f32)).collect();
            add_octave(&mut values, side, &lattice, cells, amplitude);
            power += amplitude * amplitude;
            amplitude *= roughness;
            cells *= 2;
        }
        // Uniform values have a variance of 1/3; smooth interpolation in two axes leaves about half of it.
        let norm = (power / 6.0).sqrt().max(1e-6);
        values.iter_mut().for_each(|v| *v /= norm);
        Self { side, values }
    }

    /// The value at a place in pixels, which goes on periodically.
    #[inline]
    pub(super) fn at(&self, x: usize, y: usize) -> f32 {
        self.values[(y % self.side) * self.side + x % self.side]
    }
}

fn add_octave(values: &mut [f32], side: usize, lattice: &[f32], cells: usize, amplitude: f32) {
    // Cell, its right neighbour and the smoothed fraction, for every coordinate.
    let steps: Vec<(usize, usize, f32)> = (0..side)
        .map(|i| {
            let place = i as f32 * cells as f32 / side as f32;
            let (cell, t) = (place as usize % cells, place.fract());
            (cell, (cell + 1) % cells, t * t * (3.0 - 2.0 * t))
        })
        .collect();
    let mut blended = vec![0.0f32; cells];
    for (row, &(upper, lower, t)) in values.chunks_exact_mut(side).zip(&steps) {
        let (above, below) = (&lattice[upper * cells..][..cells], &lattice[lower * cells..][..cells]);
        for ((b, &a), &c) in blended.iter_mut().zip(above).zip(below) {
            *b = amplitude * (a + (c - a) * t);
        }
        for (value, &(left, right, t)) in row.iter_mut().zip(&steps) {
            *value += blended[left] + (blended[right] - blended[left]) * t;
        }
    }
}
