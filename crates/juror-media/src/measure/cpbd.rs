//! Sharpness by the cumulative probability of blur detection: Narvekar and Karam, "A no-reference image blur metric based
//! on the cumulative probability of blur detection (CPBD)" (2011).
//!
//! The width of every vertical edge is measured as Marziliano et al. do (from the extremum left of it to the one right
//! of it), compared with the width that is just noticeable at the contrast of its 64 x 64 block, and turned into a
//! probability of seeing blur: `1 - exp(-(width / just noticeable)^3.6)`. CPBD is the share of edges at or below 63 %.
//!
//! As in the authors' program and its Python port `cpbd`, edges are found by Sobel's filter with the threshold and the thinning
//! of Octave's `edge`. These look at which blocks Canny's detector finds edges in, which with its thresholds leaves
//! out hardly any that hold a Sobel edge: blocks are not filtered here, and the golden test states what that makes.

use super::Grey;

const BLOCK: usize = 64;
const BETA: f32 = 3.6;
/// Steps looked at on each side of an edge.
const REACH: usize = 101;
/// Greatest percentage at which blur goes unseen.
const UNSEEN_PERCENT: f32 = 63.0;

/// Share of edges whose blur is not seen, 0..=1: larger is sharper. `None` where no edge is found, as in a flat picture
/// or one under 64 x 64.
pub fn cpbd(grey: &Grey) -> Option<f64> {
    let (width, height) = (grey.width(), grey.height());
    if width < BLOCK || height < BLOCK {
        return None;
    }
    // The published thresholds count in whole codes.
    let image: Vec<f32> = grey.data.iter().map(|v| v.round().clamp(0.0, 255.0)).collect();
    let strength = gradient_energy(&image, width, height);
    let mean = strength.iter().map(|&s| f64::from(s)).sum::<f64>() / strength.len() as f64;
    // Sic: the square root of the mean is compared with squares, as in Octave.
    let threshold = 2.0 * mean.sqrt() as f32;
    let at = |x: usize, y: usize| {
        let value = strength[y * width + x];
        if value > threshold { value } else { 0.0 }
    };
    let (mut edges, mut unseen) = (0u64, 0u64);
    for top in (0..=height - BLOCK).step_by(BLOCK) {
        for left in (0..=width - BLOCK).step_by(BLOCK) {
            let just_noticeable = just_noticeable_width(&image, width, left, top);
            // No edge is measured in the outermost rows and columns of the picture.
            for y in top.max(1)..(top + BLOCK).min(height - 1) {
                for x in left.max(1)..(left + BLOCK).min(width - 1) {
                    let here = at(x, y);
                    let is_ridge = (here > at(x - 1, y) && here > at(x + 1, y))
                        || (here > at(x, y - 1) && here > at(x, y + 1));
                    if !is_ridge {
                        continue;
                    }
                    let Some(edge_width) = edge_width(&image, width, x, y) else { continue };
                    let probability = 1.0 - (-(edge_width as f32 / just_noticeable).powf(BETA)).exp();
                    edges += 1;
                    unseen += u64::from((100.0 * probability).round_ties_even() <= UNSEEN_PERCENT);
                }
            }
        }
    }
    (edges > 0).then(|| unseen as f64 / edges as f64)
}

/// Square of Sobel's horizontal derivative, normalised by 8; borders are mirrored, edge included.
fn gradient_energy(image: &[f32], width: usize, height: usize) -> Vec<f32> {
    let row = |y: usize| &image[y * width..][..width];
    let mut energy = Vec::with_capacity(image.len());
    let mut line = vec![0.0f32; width + 2];
    for y in 0..height {
        let (above, here, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1)));
        for (((sum, a), h), b) in line[1..=width].iter_mut().zip(above).zip(here).zip(below) {
            *sum = a + 2.0 * h + b;
        }
        (line[0], line[width + 1]) = (line[1], line[width]);
        energy.extend(line.windows(3).map(|w| ((w[2] - w[0]) / 8.0).powi(2)));
    }
    energy
}

/// Width in pixels that is just noticeable in a block: 5 at a contrast up to 50, else 3.
fn just_noticeable_width(image: &[f32], width: usize, left: usize, top: usize) -> f32 {
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    for y in top..top + BLOCK {
        for &value in &image[y * width + left..][..BLOCK] {
            low = low.min(value);
            high = high.max(value);
        }
    }
    if high - low <= 50.0 { 5.0 } else { 3.0 }
}

/// Distance between the extrema on both sides of the edge at an inner pixel, along the row. `None` where the gradient's
/// direction, rounded to 45 degrees, is not horizontal.
fn edge_width(image: &[f32], width: usize, x: usize, y: usize) -> Option<usize> {
    let row = &image[y * width..][..width];
    let across = row[x + 1] - row[x - 1];
    let down = image[(y + 1) * width + x] - image[(y - 1) * width + x];
    // Without a horizontal gradient the published program leaves the angle at 0, which counts as rising.
    let tangent = (std::f32::consts::PI / 8.0).tan();
    if across != 0.0 && down.abs() > tangent * across.abs() {
        return None;
    }
    let sign = if across < 0.0 { -1.0 } else { 1.0 };
    let left = (0..REACH).find(|&margin| {
        let Some(outer) = x.checked_sub(margin + 2) else { return true };
        sign * (row[outer] - row[outer + 1]) >= 0.0
    });
    let right = (0..REACH).find(|&margin| {
        let outer = x + margin + 2;
        outer >= width || sign * (row[outer] - row[outer - 1]) <= 0.0
    });
    Some(left.unwrap_or(REACH - 1) + right.unwrap_or(REACH - 1) + 2)
}
