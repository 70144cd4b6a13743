//! Perceptual hashes: near duplicates have nearly equal bits, whatever their size, codec or bitrate.
//!
//! A [`PictureHash`] is the 64-bit `pHash` of Krawetz ("Looks like it", 2011), as `imagehash.phash` computes it: luma shrunk
//! to 32 x 32 by area averaging, DCT-II, the 8 x 8 lowest frequencies, one bit each for being above their median. A
//! [`VideoHash`] is one such hash per second. Mirrored, turned and heavily cropped copies are not found.

use crate::{Picture, Result};
use serde::{Deserialize, Serialize};

/// Side of the shrunken picture, and of the corner of low frequencies.
const SIDE: usize = 32;
const KEPT: usize = 8;
/// Least share of the shorter video that must overlap when two are laid over each other.
const LEAST_OVERLAP: f64 = 0.5;

/// 64 bits of one picture, row by row of frequencies; the first bit (the mean) is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PictureHash(pub u64);

impl PictureHash {
    /// Hashes a picture.
    ///
    /// # Errors
    /// None for pictures that exist; the type is that of resizing.
    pub fn of(picture: &Picture) -> Result<Self> {
        let small = picture.resized(SIDE, SIDE)?;
        let cosine: [[f32; SIDE]; KEPT] = std::array::from_fn(|frequency| {
            std::array::from_fn(|at| {
                let angle = (2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * SIDE) as f64;
                angle.cos() as f32
            })
        });
        // Along rows, then down the columns.
        let rows: Vec<[f32; KEPT]> = small
            .y()
            .chunks_exact(SIDE)
            .map(|row| cosine.map(|wave| wave.iter().zip(row).map(|(c, &y)| c * f32::from(y)).sum()))
            .collect();
        let mut frequencies = [0.0f32; KEPT * KEPT];
        for (row, wave) in cosine.iter().enumerate() {
            for column in 0..KEPT {
                frequencies[row * KEPT + column] = wave.iter().zip(&rows).map(|(c, r)| c * r[column]).sum();
            }
        }
        let mut sorted = frequencies;
        sorted.sort_by(f32::total_cmp);
        let median = (sorted[31] + sorted[32]) / 2.0;
        Ok(Self(frequencies.iter().fold(0, |bits, &f| bits << 1 | u64::from(f > median))))
    }

    /// Share of bits that differ, 0..=1; unrelated pictures lie about 0.5 apart.
    pub fn distance(self, other: Self) -> f64 {
        f64::from((self.0 ^ other.0).count_ones()) / 64.0
    }
}

/// The hashes of a video, one a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VideoHash(pub Vec<PictureHash>);

impl VideoHash {
    /// At or below this distance, two videos are near duplicates: ten of 64 bits, as is usual for the picture hash.
    pub const NEAR_DUPLICATE: f64 = 10.0 / 64.0;

    /// Mean distance of pictures at the best of all shifts by whole seconds at which at least half of the shorter video
    /// overlaps the other; 1 where one of them is empty.
    pub fn distance(&self, other: &Self) -> f64 {
        let (a, b) = (&self.0, &other.0);
        if a.is_empty() || b.is_empty() {
            return 1.0;
        }
        let least = ((a.len().min(b.len()) as f64 * LEAST_OVERLAP).ceil() as usize).max(1);
        let at_shift = |shift: isize| {
            let (a, b) = (&a[shift.max(0) as usize..], &b[(-shift).max(0) as usize..]);
            let overlap = a.len().min(b.len());
            let sum: f64 = a.iter().zip(b).map(|(a, b)| a.distance(*b)).sum();
            (overlap >= least).then(|| sum / overlap as f64)
        };
        let (first, last) = (1 - b.len() as isize, a.len() as isize - 1);
        (first..=last).filter_map(at_shift).fold(1.0, f64::min)
    }

    /// Whether two videos show the same, to the eye.
    pub fn is_near_duplicate(&self, other: &Self) -> bool {
        self.distance(other) <= Self::NEAR_DUPLICATE
    }
}
