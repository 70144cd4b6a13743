//! The spectra that two videos are laid over each other by (`overlay.rs`).
//!
//! All native fragments of a video, in 8 x 8 blocks under the orthonormal DCT-II: 16 of luma and 8 of chroma (U and V alike) a
//! fragment and frame, coefficients in 8-bit codes. Coefficients are sorted into bands by `row + column`, eight for luma and three for
//! chroma, the first being the mean. Energies are means of squared coefficients. What does not depend on the other video is computed
//! once: the log energy of every block, and the totals of each band.
//!
//! About 5 MB a video of eight moments. Leaves out: context places, which are shrunk.

use super::fragments::{FRAGMENT_BYTES, NATIVE_PLACES, SIDE};
use super::observation::Observation;
use super::patches::{BASIS_8, LUMA as BLOCK, dct, ln};
use super::tone::TONE_LEN;

/// Coefficients of a block.
pub(super) const COEFFICIENTS: usize = BLOCK * BLOCK;
/// First `row + column` of each band, and one beyond the last.
const LUMA_BANDS: [usize; 9] = [0, 1, 2, 3, 5, 7, 9, 11, 15];
const CHROMA_BANDS: [usize; 4] = [0, 1, 5, 15];
/// Bands of luma and chroma.
pub(super) const BANDS: usize = LUMA_BANDS.len() + CHROMA_BANDS.len() - 2;
/// A block is empty in a band that has less energy than this.
const EMPTY: f32 = 0.1;

/// Everything that is known of one video when it is laid over another.
pub struct Spectra {
    pub(super) luma: Plane,
    pub(super) chroma: Plane,
    /// See `tone.rs`.
    pub(super) tone: [f32; TONE_LEN],
    /// Size and shape, from the viewing facts: only pictures of one size can be laid over each other.
    pub(super) size: [f32; 3],
}

/// The blocks of luma, or of both chroma planes.
pub(super) struct Plane {
    /// Coefficients `[blocks, 2 frames, 64]`, band after band; the first band less its mean over the video.
    pub(super) coefficients: Vec<f32>,
    /// `ln(1 + 2 energy)`, `[blocks, 2 frames, bands]`; the mean is part of the first.
    pub(super) levels: Vec<f32>,
    pub(super) bands: Vec<Band>,
}

/// One band of one video.
pub(super) struct Band {
    /// Where its coefficients lie in a block.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Mean energy.
    pub(super) energy: f64,
    /// Mean energy of the change from a moment's first frame to its second.
    pub(super) change: f64,
    /// Mean of the blocks' levels.
    pub(super) level: f64,
    /// Share of blocks that are empty.
    pub(super) empty: f64,
}

impl Spectra {
    /// Of the native fragments of `observation`.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        let half = SIDE / 2;
        let (y, u) = (SIDE * SIDE, SIDE * SIDE + half * half);
        let [short, shape, .., turned] = observation.facts;
        Self {
            luma: Plane::of(observation, &[(0, SIDE)], &LUMA_BANDS),
            chroma: Plane::of(observation, &[(y, half), (u, half)], &CHROMA_BANDS),
            tone: observation.tone,
            size: [short, shape, turned],
        }
    }
}

impl Plane {
    /// Of the planes that begin at these bytes of a fragment, with these sides.
    fn of(observation: &Observation, planes: &[(usize, usize)], bounds: &[usize]) -> Self {
        let order = order();
        let mut coefficients = Vec::new();
        let places = observation.moments.iter().flat_map(|moment| {
            moment.fragments.chunks_exact(2 * FRAGMENT_BYTES).take(NATIVE_PLACES) // both frames
        });
        for place in places {
            for &(start, side) in planes {
                let starts = || (0..side).step_by(BLOCK);
                for (row, column) in starts().flat_map(|row| starts().map(move |column| (row, column))) {
                    for frame in place.chunks_exact(FRAGMENT_BYTES) {
                        let plane = &frame[start..start + side * side];
                        let samples: [f32; COEFFICIENTS] = std::array::from_fn(|i| {
                            f32::from(plane[(row + i / BLOCK) * side + column + i % BLOCK])
                        });
                        let mut block = [0f32; COEFFICIENTS];
                        dct::<BLOCK>(&samples, &BASIS_8, &mut block);
                        coefficients.extend(order.iter().map(|&i| block[i]));
                    }
                }
            }
        }
        let ends: Vec<usize> = bounds
            .iter()
            .map(|&sum| (0..COEFFICIENTS).filter(|&i| row_plus_column(i) < sum).count())
            .collect();
        let ranges: Vec<_> = ends.windows(2).map(|w| w[0]..w[1]).collect();
        let level = |block: &[f32]| ln(1.0 + 2.0 * mean_square(block));
        let levels: Vec<f32> = coefficients
            .chunks_exact(COEFFICIENTS)
            .flat_map(|block| ranges.iter().map(|range| level(&block[range.clone()])))
            .collect();
        let n = (coefficients.len() / COEFFICIENTS).max(1) as f64;
        let mean = (coefficients.iter().step_by(COEFFICIENTS).map(|&c| f64::from(c)).sum::<f64>() / n) as f32;
        coefficients.iter_mut().step_by(COEFFICIENTS).for_each(|c| *c -= mean);
        let bands = ranges.iter().enumerate().map(|(band, range)| {
            let mut sums =
                Band { from: range.start, to: range.end, energy: 0.0, change: 0.0, level: 0.0, empty: 0.0 };
            for pair in coefficients.chunks_exact(2 * COEFFICIENTS) {
                let (first, second) = pair.split_at(COEFFICIENTS);
                let (first, second) = (&first[range.clone()], &second[range.clone()]);
                sums.energy += f64::from(mean_square(first) + mean_square(second)) / n;
                sums.change += f64::from(mean_square_difference(first, second)) / (n / 2.0);
            }
            for &level in levels.iter().skip(band).step_by(ranges.len()) {
                sums.level += f64::from(level) / n;
                sums.empty += f64::from(u8::from(level < ln(1.0 + 2.0 * EMPTY))) / n;
            }
            sums
        });
        let bands = bands.collect();
        Self { coefficients, levels, bands }
    }

    /// Both frames of every block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        self.coefficients.chunks_exact(2 * COEFFICIENTS).map(|pair| pair.split_at(COEFFICIENTS))
    }
}

fn row_plus_column(i: usize) -> usize {
    i / BLOCK + i % BLOCK
}

/// Places of a block's coefficients, band after band.
fn order() -> [usize; COEFFICIENTS] {
    let mut order = std::array::from_fn(|i| i);
    order.sort_by_key(|&i| row_plus_column(i));
    order
}

pub(super) fn mean_square(values: &[f32]) -> f32 {
    values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32
}

fn mean_square_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / a.len() as f32
}
