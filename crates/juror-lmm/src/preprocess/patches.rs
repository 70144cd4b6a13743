//! Sizes and patch rows of the Qwen vision towers.

use candle_core::{Device, Tensor};
use juror_media::Rgb;

use super::{Statistics, common_size};
use crate::error::{Error, Result};

/// Limits within which a picture is resized, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelLimits {
    /// Least area.
    pub min_pixels: usize,
    /// Greatest area.
    pub max_pixels: usize,
}

/// `side / factor` rounded half to even, times `factor`.
fn round_by(side: usize, factor: usize) -> usize {
    (side as f64 / factor as f64).round_ties_even() as usize * factor
}

fn check_aspect(height: usize, width: usize) -> Result<()> {
    let ratio = height.max(width) as f64 / height.min(width).max(1) as f64;
    if height == 0 || width == 0 || ratio > 200.0 {
        return Err(Error::Input(format!(
            "a picture of {width} x {height}: sides must be positive and differ by at most 200 times"
        )));
    }
    Ok(())
}

fn shrink(side: usize, beta: f64, factor: usize) -> usize {
    ((side as f64 / beta / factor as f64).floor() as usize * factor).max(factor)
}

fn grow(side: usize, beta: f64, factor: usize) -> usize {
    (side as f64 * beta / factor as f64).ceil() as usize * factor
}

/// Qwen2.5-VL: the nearest multiples of `factor` (28), shrunk or grown into the limits. Returns (height, width).
///
/// # Errors
/// Sides that differ by more than 200 times.
pub fn smart_resize(
    height: usize,
    width: usize,
    factor: usize,
    limits: PixelLimits,
) -> Result<(usize, usize)> {
    check_aspect(height, width)?;
    let (h, w) = (round_by(height, factor), round_by(width, factor));
    let area = (height * width) as f64;
    if h * w > limits.max_pixels {
        let beta = (area / limits.max_pixels as f64).sqrt();
        return Ok((shrink(height, beta, factor), shrink(width, beta, factor)));
    }
    if h * w < limits.min_pixels {
        let beta = (limits.min_pixels as f64 / area).sqrt();
        return Ok((grow(height, beta, factor), grow(width, beta, factor)));
    }
    Ok((h, w))
}

/// Qwen3-VL: the same with a `factor` of 32 and limits on the pixels of all `frames`. Returns (height, width).
///
/// # Errors
/// Fewer than two frames, a side below `factor`, sides that differ by more than 200 times.
pub fn smart_resize_video(
    frames: usize,
    height: usize,
    width: usize,
    factor: usize,
    limits: PixelLimits,
) -> Result<(usize, usize)> {
    check_aspect(height, width)?;
    if frames < FRAMES_PER_SLICE {
        return Err(Error::Input(format!("{frames} frames: at least {FRAMES_PER_SLICE} are needed")));
    }
    if height < factor || width < factor {
        return Err(Error::Input(format!(
            "a picture of {width} x {height}: both sides must be at least {factor}"
        )));
    }
    let (h, w) = (round_by(height, factor), round_by(width, factor));
    let volume = (frames * height * width) as f64;
    let rounded = round_by(frames, FRAMES_PER_SLICE) * h * w;
    if rounded > limits.max_pixels {
        let beta = (volume / limits.max_pixels as f64).sqrt();
        return Ok((shrink(height, beta, factor), shrink(width, beta, factor)));
    }
    if rounded < limits.min_pixels {
        let beta = (limits.min_pixels as f64 / volume).sqrt();
        return Ok((grow(height, beta, factor), grow(width, beta, factor)));
    }
    Ok((h, w))
}

/// Frames in one temporal slice.
pub const FRAMES_PER_SLICE: usize = 2;

/// Patches per merged cell, along each side.
const MERGE: usize = 2;

/// A video's grid: temporal slices, rows and columns of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Slices of two frames.
    pub slices: usize,
    /// Rows of patches.
    pub rows: usize,
    /// Columns of patches.
    pub columns: usize,
}

impl Grid {
    /// All patches.
    pub fn patches(&self) -> usize {
        self.slices * self.rows * self.columns
    }

    /// Tokens after merging 2 x 2 patches.
    pub fn tokens(&self) -> usize {
        self.patches() / (MERGE * MERGE)
    }
}

/// Patch rows `[patches, 3 * 2 * side * side]` of frames whose sides are multiples of `2 * side`, and their grid.
///
/// An odd last frame is repeated. Elements are (channel, frame, y, x); rows go (slice, block row, block column, row in
/// block, column in block), so that the four patches of a merged cell stand together. Normalisation is
/// `(x - 255 mean) / (255 std)` in f32.
///
/// # Errors
/// No frames, frames of different or unfit sizes.
pub fn patch_rows(
    frames: &[Rgb],
    side: usize,
    statistics: &Statistics,
    device: &Device,
) -> Result<(Tensor, Grid)> {
    let (width, height) = common_size(frames)?;
    if !width.is_multiple_of(MERGE * side) || !height.is_multiple_of(MERGE * side) {
        return Err(Error::Input(format!(
            "frames of {width} x {height}: both sides must be multiples of {}",
            MERGE * side
        )));
    }
    let grid =
        Grid { slices: frames.len().div_ceil(FRAMES_PER_SLICE), rows: height / side, columns: width / side };
    let last = frames.len() - 1;
    let tables: Vec<Vec<f32>> = (0..3)
        .map(|c| {
            let (mean, std) = (255.0 * statistics.mean[c], 255.0 * statistics.std[c]);
            (0..256).map(|x| (x as f32 - mean) / std).collect()
        })
        .collect();
    let width_of_row = 3 * FRAMES_PER_SLICE * side * side;
    let mut values = Vec::with_capacity(grid.patches() * width_of_row);
    for slice in 0..grid.slices {
        for (row, column) in merged_order(grid.rows, grid.columns) {
            for (channel, table) in tables.iter().enumerate() {
                for frame in 0..FRAMES_PER_SLICE {
                    let data = frames[(slice * FRAMES_PER_SLICE + frame).min(last)].data();
                    for y in row * side..(row + 1) * side {
                        let start = (y * width + column * side) * 3;
                        let line = data[start..start + side * 3].iter().skip(channel).step_by(3);
                        values.extend(line.map(|&x| table[usize::from(x)]));
                    }
                }
            }
        }
    }
    Ok((Tensor::from_vec(values, (grid.patches(), width_of_row), device)?, grid))
}

/// Row and column of every patch of a slice, merged cell by merged cell.
pub fn merged_order(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let cell = move |(r, c): (usize, usize)| {
        (0..MERGE * MERGE).map(move |k| (r * MERGE + k / MERGE, c * MERGE + k % MERGE))
    };
    let cells = (0..rows / MERGE).flat_map(move |r| (0..columns / MERGE).map(move |c| (r, c)));
    cells.flat_map(cell)
}
