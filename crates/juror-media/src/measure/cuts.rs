//! Scene cuts from thumbnails of every frame.
//!
//! `d(t)` is the mean `|difference|` of the luma thumbnails (48 x 27) of frames t - 1 and t. There is a cut before frame t when
//! `d(t)` is at least 10 codes of 255 and four times the median of `d` over the twelve frames on each side (a fast pan
//! changes as much in every frame), and when both frame t + 1 from frame t - 1 and frame t from frame t - 2 are at least
//! 0.6 `d(t)` away (a flash of one frame goes back). Fades and dissolves are no cuts. Kept per frame: two numbers.

use super::full_range;
use crate::{Luma, Picture, Range};

/// Columns and rows of a thumbnail.
const COLUMNS: usize = 48;
const ROWS: usize = 27;
/// Samples per cell and axis that are averaged, at most.
const SAMPLES: usize = 6;

const LEAST_CHANGE: f32 = 10.0;
const OVER_NEIGHBOURS: f32 = 4.0;
const NEIGHBOURS: usize = 12;
const STAYS: f32 = 0.6;

/// A tiny luma picture, full range.
#[derive(Clone, Debug)]
pub(super) struct Thumbnail(Vec<f32>);

impl Thumbnail {
    /// Of a decoded plane, whatever its depth and range.
    pub(super) fn of_luma(luma: &Luma) -> Self {
        let bytes = if luma.bits > 8 { 2 } else { 1 };
        let scale = f32::from(1u16 << (luma.bits.clamp(8, 16) - 8).min(15));
        Self::sampled(luma.width, luma.height, |x, y| {
            let at = y * luma.stride + x * bytes;
            let code = match luma.data.get(at..at + bytes) {
                Some(&[low, high]) => f32::from(u16::from_le_bytes([low, high])) / scale,
                Some(&[code]) => f32::from(code),
                _ => 0.0,
            };
            match luma.range {
                Range::Full => code,
                Range::Limited => (code - 16.0) * (255.0 / 219.0),
            }
        })
    }

    /// Of a picture.
    pub(super) fn of_picture(picture: &Picture) -> Self {
        let width = picture.width();
        Self::sampled(width, picture.height(), |x, y| full_range(picture.y()[y * width + x]))
    }

    /// Means of up to [`SAMPLES`]² evenly spread samples per cell.
    fn sampled(width: usize, height: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        if width == 0 || height == 0 {
            return Self(vec![0.0; COLUMNS * ROWS]);
        }
        let places = |cell: usize, cells: usize, len: usize| -> Vec<usize> {
            let (start, end) = (cell * len / cells, ((cell + 1) * len / cells).max(cell * len / cells + 1));
            let count = (end - start).min(SAMPLES);
            (0..count).map(|i| (start + (2 * i + 1) * (end - start) / (2 * count)).min(len - 1)).collect()
        };
        let columns: Vec<Vec<usize>> = (0..COLUMNS).map(|c| places(c, COLUMNS, width)).collect();
        let mut cells = Vec::with_capacity(COLUMNS * ROWS);
        for row in 0..ROWS {
            let rows = places(row, ROWS, height);
            for columns in &columns {
                let sum: f32 = rows
                    .iter()
                    .flat_map(|&y| columns.iter().map(move |&x| (x, y)))
                    .map(|(x, y)| at(x, y))
                    .sum();
                cells.push(sum / (rows.len() * columns.len()) as f32);
            }
        }
        Self(cells)
    }

    fn difference(&self, other: &Self) -> f32 {
        let sum: f32 = self.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs()).sum();
        sum / self.0.len() as f32
    }
}

/// Collects the changes from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Changes {
    before_last: Option<Thumbnail>,
    last: Option<Thumbnail>,
    /// Clock of each frame but the first, `d(t)`, and the change over two frames that ends one frame later.
    frames: Vec<(f64, f32, f32)>,
}

impl Changes {
    /// Takes the next frame.
    pub(super) fn push(&mut self, clock_secs: f64, thumbnail: Thumbnail) {
        if let (Some(before_last), Some(newest)) = (&self.before_last, self.frames.last_mut()) {
            newest.2 = before_last.difference(&thumbnail);
        }
        if let Some(last) = &self.last {
            // Until a next frame says otherwise, the change stays.
            let change = last.difference(&thumbnail);
            self.frames.push((clock_secs, change, change));
        }
        self.before_last = self.last.replace(thumbnail);
    }

    /// The largest change from one frame to the next, in codes.
    pub(super) fn largest(&self) -> f64 {
        self.frames.iter().map(|f| f64::from(f.1)).fold(0.0, f64::max)
    }

    /// When the cuts are.
    pub(super) fn cuts_secs(&self) -> Vec<f64> {
        let is_cut = |&at: &usize| {
            let (_, change, over_two) = self.frames[at];
            let came_from = if at > 0 { self.frames[at - 1].2 } else { change };
            if change < LEAST_CHANGE || over_two.min(came_from) < STAYS * change {
                return false;
            }
            let around = at.saturating_sub(NEIGHBOURS)..(at + 1 + NEIGHBOURS).min(self.frames.len());
            let mut others: Vec<f32> = around.filter(|&i| i != at).map(|i| self.frames[i].1).collect();
            others.sort_by(f32::total_cmp);
            others.get(others.len() / 2).is_none_or(|&median| change >= OVER_NEIGHBOURS * median)
        };
        (0..self.frames.len()).filter(is_cut).map(|at| self.frames[at].0).collect()
    }
}
