//! JPEG's loss without its entropy coding: 8x8 DCT, quantisation by the tables of ITU-T T.81 annex K, inverse DCT.
//!
//! Quality 1..=100 scales the tables as the Independent JPEG Group's library does (continuous here). JPEG works on
//! full-range samples; steps are shrunk by 219/255 (224/255 for chroma) because pictures are in video range.
//! Each frame is coded alone, as in Motion JPEG. Pictures are extended to whole blocks by replication.

use crate::Picture;
use crate::distort::blur::to_u8;
use rayon::prelude::*;

type Block = [[f32; 8]; 8];

/// T.81 table K.1, luminance.
const LUMA_STEPS: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17,
    22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78,
    87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
/// T.81 table K.2, chrominance: its upper left 4x4 corner; every other entry is 99.
const CHROMA_CORNER: [[u8; 4]; 4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]];

/// Quantises every picture as JPEG would.
#[derive(Debug)]
pub(crate) struct Jpeg {
    /// Orthonormal DCT-II matrix, `[frequency][position]`.
    dct: Block,
    /// Its transpose.
    inverse: Block,
    luma: Block,
    chroma: Block,
}

impl Jpeg {
    /// `quality` as in the IJG library, 1..=100.
    pub(crate) fn new(quality: f64) -> Self {
        let percent =
            if quality < 50.0 { 5000.0 / quality.max(1.0) } else { 200.0 - 2.0 * quality.min(100.0) };
        let step = |base: u8, span: f64| {
            ((f64::from(base) * percent / 100.0).clamp(1.0, 255.0) * span / 255.0) as f32
        };
        let block = |entry: &dyn Fn(usize, usize) -> f32| -> Block {
            std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)))
        };
        let cosine = |frequency: usize, position: usize| {
            let scale = if frequency == 0 { 0.125f64.sqrt() } else { 0.5 };
            let angle = (2 * position + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0;
            (scale * angle.cos()) as f32
        };
        Self {
            dct: block(&cosine),
            inverse: block(&|i, j| cosine(j, i)),
            luma: block(&|i, j| step(LUMA_STEPS[8 * i + j], 219.0)),
            chroma: block(&|i, j| {
                step(CHROMA_CORNER.get(i).and_then(|row| row.get(j)).copied().unwrap_or(99), 224.0)
            }),
        }
    }

    /// Codes and decodes all planes in place.
    pub(crate) fn apply(&self, picture: &mut Picture) {
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        let [y, u, v] = picture.planes_mut();
        self.plane(y, width, &self.luma);
        self.plane(u, chroma_width, &self.chroma);
        self.plane(v, chroma_width, &self.chroma);
    }

    fn plane(&self, plane: &mut [u8], width: usize, steps: &Block) {
        plane.par_chunks_mut(8 * width).for_each(|band| {
            let height = band.len() / width;
            for left in (0..width).step_by(8) {
                let mut block: Block = std::array::from_fn(|i| {
                    let row = &band[i.min(height - 1) * width..][..width];
                    match row[left..].first_chunk::<8>() {
                        Some(pixels) => pixels.map(|p| f32::from(p) - 128.0),
                        None => std::array::from_fn(|j| f32::from(row[(left + j).min(width - 1)]) - 128.0),
                    }
                });
                self.code(&mut block, steps);
                for (row, values) in band.chunks_mut(width).zip(&block) {
                    for (pixel, &value) in row[left..].iter_mut().zip(values) {
                        *pixel = to_u8(value + 128.0);
                    }
                }
            }
        });
    }

    fn code(&self, block: &mut Block, steps: &Block) {
        let mut coefficients = product(&product(&self.dct, block), &self.inverse);
        for (row, steps) in coefficients.iter_mut().zip(steps) {
            for (coefficient, step) in row.iter_mut().zip(steps) {
                // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer without a call to libm.
                const ROUNDER: f32 = 12_582_912.0;
                *coefficient = ((*coefficient / step + ROUNDER) - ROUNDER) * step;
            }
        }
        *block = product(&product(&self.inverse, &coefficients), &self.dct);
    }
}

/// Matrix product `a b`, laid out so that the inner loop runs along a row of `b`.
#[inline(always)]
fn product(a: &Block, b: &Block) -> Block {
    let mut out = [[0.0f32; 8]; 8];
    for (out_row, a_row) in out.iter_mut().zip(a) {
        for (&factor, b_row) in a_row.iter().zip(b) {
            for (o, &value) in out_row.iter_mut().zip(b_row) {
                *o += factor * value;
            }
        }
    }
    out
}
