//! Distortions of detail: halos by unsharp masking, squares by pixelation.

use super::blur::{Blur, to_u8};
use crate::Picture;

/// Sigma of the mask's Gaussian in luma pixels.
const HALO_SIGMA: f64 = 1.5;

/// Adds `amount` times the difference between luma and its blur: edges overshoot and get halos.
#[derive(Debug)]
pub(crate) struct Sharpen {
    amount: f32,
    blur: Blur,
}

impl Sharpen {
    pub(crate) fn new(amount: f64) -> Self {
        Self { amount: amount as f32, blur: Blur::new(HALO_SIGMA) }
    }

    /// Sharpens luma in place.
    pub(crate) fn apply(&mut self, picture: &mut Picture) {
        let amount = self.amount;
        let (width, height) = (picture.width(), picture.height());
        let [luma, ..] = picture.planes_mut();
        let blurred = self.blur.of_luma(luma, width, height);
        for (sample, &blurred) in luma.iter_mut().zip(blurred) {
            let value = f32::from(*sample);
            *sample = to_u8(value + amount * (value - blurred));
        }
    }
}

/// Every square of `side` x `side` luma pixels becomes its mean. Sides need not be whole: borders are rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixelate {
    side: f64,
}

impl Pixelate {
    /// `side` in luma pixels, at least 1.
    pub(crate) fn new(side: f64) -> Self {
        Self { side: side.max(1.0) }
    }

    /// Pixelates all three planes in place.
    pub(crate) fn apply(self, picture: &mut Picture) {
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        let [y, u, v] = picture.planes_mut();
        self.plane(y, width, self.side);
        self.plane(u, chroma_width, self.side / 2.0);
        self.plane(v, chroma_width, self.side / 2.0);
    }

    fn plane(self, plane: &mut [u8], width: usize, side: f64) {
        if side <= 1.0 {
            return;
        }
        let height = plane.len() / width;
        let (columns, rows) = (borders(width, side), borders(height, side));
        let mut sums = vec![0u32; width];
        for band in rows.windows(2) {
            let band_rows = &mut plane[band[0] * width..band[1] * width];
            sums.fill(0);
            for row in band_rows.chunks_exact(width) {
                for (sum, &sample) in sums.iter_mut().zip(row) {
                    *sum += u32::from(sample);
                }
            }
            let (first, others) = band_rows.split_at_mut(width);
            for square in columns.windows(2) {
                let count = ((square[1] - square[0]) * (band[1] - band[0])) as u32;
                let sum: u32 = sums[square[0]..square[1]].iter().sum();
                first[square[0]..square[1]].fill(((sum + count / 2) / count) as u8);
            }
            for row in others.chunks_exact_mut(width) {
                row.copy_from_slice(first);
            }
        }
    }
}

/// Where squares begin along an axis of `len` samples, and `len`.
fn borders(len: usize, side: f64) -> Vec<usize> {
    let starts = (0..).map(|i| (f64::from(i) * side).round() as usize).take_while(|&start| start < len);
    let mut borders: Vec<usize> = starts.chain([len]).collect();
    borders.dedup();
    borders
}
