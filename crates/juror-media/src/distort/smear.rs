//! Blurs with hard edges: a lens out of focus (a disc) and motion (a line).
//!
//! The disc is made of one run of pixels per row; runs are differences of running sums, so that a row of the disc costs
//! the same whatever its radius. Runs end in fractions of a pixel, so that the blur grows smoothly with the radius. The
//! line is a chain of whole pixels, one per step along its longer axis, in sixteenths of a turn. Borders are replicated.

use crate::Picture;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::blur::to_u8;

/// Blurs every picture with a disc.
#[derive(Debug)]
pub(crate) struct LensBlur {
    radius: f32,
}

impl LensBlur {
    /// `radius` in luma pixels.
    pub(crate) fn new(radius: f64) -> Self {
        Self { radius: radius as f32 }
    }

    /// Blurs all three planes in place.
    pub(crate) fn apply(&self, picture: &mut Picture) {
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        let [y, u, v] = picture.planes_mut();
        disc(y, width, self.radius);
        disc(u, chroma_width, self.radius / 2.0);
        disc(v, chroma_width, self.radius / 2.0);
    }
}

/// Half of the run of each row of a disc, from the centre row outwards. The disc ends halfway into the pixels at its rim.
fn half_runs(radius: f32) -> Vec<f32> {
    let rim = radius + 0.5;
    (0..=radius.floor() as usize).map(|row| (rim * rim - (row * row) as f32).sqrt() - 0.5).collect()
}

fn disc(plane: &mut [u8], width: usize, radius: f32) {
    let runs = half_runs(radius);
    let (height, reach) = (plane.len() / width, runs.len() - 1);
    let margin = runs[0].floor() as usize + 2;
    // sums[row][x] is the sum of the padded row before x: integers below 2^24, exact in `f32`.
    let padded = width + 2 * margin;
    let mut sums = vec![0.0f32; (padded + 1) * height];
    sums.par_chunks_exact_mut(padded + 1).zip(plane.par_chunks_exact(width)).for_each(|(sums, row)| {
        let mut sum = 0.0;
        for (x, slot) in sums.iter_mut().enumerate() {
            *slot = sum;
            sum += f32::from(row[x.saturating_sub(margin).min(width - 1)]);
        }
    });
    let area: f32 =
        runs.iter().enumerate().map(|(i, run)| (2.0 * run + 1.0) * if i == 0 { 1.0 } else { 2.0 }).sum();
    plane.par_chunks_exact_mut(width).enumerate().for_each_init(
        || vec![0.0f32; width],
        |total, (y, out)| {
            total.fill(0.0);
            for row in -(reach as isize)..=reach as isize {
                let source = (y as isize + row).clamp(0, height as isize - 1) as usize;
                let sums = &sums[source * (padded + 1)..][..padded + 1];
                let run = runs[row.unsigned_abs()];
                let (whole, part) = (run.floor() as usize, run.fract());
                let at = |offset: usize| &sums[offset..offset + width];
                let (inner_start, inner_end) = (at(margin - whole), at(margin + whole + 1));
                let (outer_start, outer_end) = (at(margin - whole - 1), at(margin + whole + 2));
                for ((((total, a), b), c), d) in
                    total.iter_mut().zip(inner_start).zip(inner_end).zip(outer_start).zip(outer_end)
                {
                    *total += (1.0 - part) * (b - a) + part * (d - c);
                }
            }
            for (sample, total) in out.iter_mut().zip(total) {
                *sample = to_u8(*total / area);
            }
        },
    );
}

/// Smears every picture along one line.
#[derive(Debug)]
pub(crate) struct MotionBlur {
    length: f64,
    /// Direction as whole steps of 1/16 turn, 0..8.
    direction: u32,
}

impl MotionBlur {
    /// `length` in luma pixels; the direction is drawn from the seed.
    pub(crate) fn new(length: f64, seed: u64) -> Self {
        Self { length, direction: ChaCha8Rng::seed_from_u64(seed).random_range(0..8) }
    }

    /// Smears all three planes in place.
    pub(crate) fn apply(&self, picture: &mut Picture) {
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        let [y, u, v] = picture.planes_mut();
        self.line(y, width, self.length);
        self.line(u, chroma_width, self.length / 2.0);
        self.line(v, chroma_width, self.length / 2.0);
    }

    /// Offsets `(columns, rows)` of the pixels of the line and their weights, which sum to 256.
    fn taps(&self, length: f64) -> Vec<(isize, isize, u16)> {
        let angle = f64::from(self.direction) * std::f64::consts::PI / 8.0;
        let (down, across) = angle.sin_cos();
        // Distance along the line from one whole step of the longer axis to the next.
        let step = 1.0 / down.abs().max(across.abs());
        let half = length / 2.0;
        let reach = (half / step).ceil() as isize;
        // Pixels at the ends count by the part of their step that the line covers.
        let share = |k: isize| ((half - k.unsigned_abs() as f64 * step) / step + 0.5).clamp(0.0, 1.0);
        let total: f64 = (-reach..=reach).map(share).sum::<f64>().max(1e-9);
        let mut taps: Vec<(isize, isize, u16)> = (-reach..=reach)
            .map(|k| {
                let along = k as f64 * step;
                let place = |part: f64| (along * part).round() as isize;
                (place(across), place(down), (256.0 * share(k) / total).round() as u16)
            })
            .filter(|tap| tap.2 > 0)
            .collect();
        // Rounding is made good in the middle, which has the most to give.
        let middle = taps.len() / 2;
        let others: u16 = taps.iter().enumerate().filter(|(i, _)| *i != middle).map(|(_, tap)| tap.2).sum();
        if let Some(tap) = taps.get_mut(middle) {
            tap.2 = 256u16.saturating_sub(others);
        }
        taps
    }

    fn line(&self, plane: &mut [u8], width: usize, length: f64) {
        let taps = self.taps(length);
        let height = plane.len() / width;
        let margin = taps.iter().map(|tap| tap.0.unsigned_abs()).max().unwrap_or(0);
        let padded = width + 2 * margin;
        let mut source = vec![0u8; padded * height];
        source.par_chunks_exact_mut(padded).zip(plane.par_chunks_exact(width)).for_each(|(padded, row)| {
            padded[..margin].fill(row[0]);
            padded[margin..margin + width].copy_from_slice(row);
            padded[margin + width..].fill(row[width - 1]);
        });
        plane.par_chunks_exact_mut(width).enumerate().for_each_init(
            || vec![0u16; width],
            |sums, (y, out)| {
                sums.fill(128);
                for &(columns, rows, weight) in &taps {
                    let row = (y as isize + rows).clamp(0, height as isize - 1) as usize;
                    let start = row * padded + (margin as isize + columns) as usize;
                    for (sum, &sample) in sums.iter_mut().zip(&source[start..start + width]) {
                        // At most 128 + 255 * 256, which is below 2^16.
                        *sum += weight * u16::from(sample);
                    }
                }
                for (sample, sum) in out.iter_mut().zip(sums) {
                    *sample = (*sum >> 8) as u8;
                }
            },
        );
    }
}
