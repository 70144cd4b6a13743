//! Rotary position tables of the decoders: plain, in three axes (time, row, column), and their long-context scaling.
//!
//! A head of width `d` has `d / 2` frequencies `base^(-2i/d)`. Plain models turn all of them by the token's index;
//! Qwen2.5-VL lets runs of frequencies follow time, row and column; Qwen3-VL interleaves the axes.

use candle_core::{DType, Device, Result, Tensor};

/// One position per token: time, row, column. Text has the same number on all three.
pub type Position = [u32; 3];

/// Positions of a padded batch, row by row, all rows of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// `[batch][tokens]`.
    pub rows: Vec<Vec<Position>>,
}

impl Positions {
    /// Text counting up from 0 after `pads[row]` padded places (which hold 1, as in the reference).
    pub fn text(pads: &[usize], tokens: usize) -> Self {
        let place = |pad: usize, i: usize| if i < pad { [1; 3] } else { [(i - pad) as u32; 3] };
        Self { rows: pads.iter().map(|&pad| (0..tokens).map(|i| place(pad, i)).collect()).collect() }
    }

    /// One token per row, at the same place on all axes.
    pub fn single(places: &[u32]) -> Self {
        Self { rows: places.iter().map(|&p| vec![[p; 3]]).collect() }
    }

    /// Per row the first free position after it.
    pub fn next(&self) -> Vec<u32> {
        self.rows.iter().map(|row| row.iter().flatten().max().map_or(0, |m| m + 1)).collect()
    }
}

/// Which axis a frequency follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axes {
    /// All three are equal: text only.
    Plain,
    /// Runs of frequencies: the first `s[0]` follow time, the next `s[1]` the row, the last `s[2]` the column.
    Sections([usize; 3]),
    /// Numbers 1, 4, ... below `3 s[1]` follow the row, 2, 5, ... below `3 s[2]` the column, all others time.
    Interleaved([usize; 3]),
}

impl Axes {
    fn of(&self, frequency: usize) -> usize {
        match self {
            Self::Plain => 0,
            Self::Sections([time, row, _]) => {
                usize::from(frequency >= *time) + usize::from(frequency >= time + row)
            }
            Self::Interleaved([_, row, column]) => match frequency % 3 {
                1 if frequency < 3 * row => 1,
                2 if frequency < 3 * column => 2,
                _ => 0,
            },
        }
    }
}

/// NTK scaling beyond the trained length ("dynamic"): the base grows with the sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynamicScaling {
    /// The factor of the configuration.
    pub factor: f64,
    /// `max_position_embeddings`: up to here nothing changes.
    pub trained_tokens: usize,
}

/// Makes cosine and sine tables.
#[derive(Debug, Clone)]
pub struct Rotary {
    head_dim: usize,
    base: f64,
    axes: Axes,
    dynamic: Option<DynamicScaling>,
}

impl Rotary {
    /// For heads of width `head_dim` (even).
    pub fn new(head_dim: usize, base: f64, axes: Axes, dynamic: Option<DynamicScaling>) -> Self {
        Self { head_dim, base, axes, dynamic }
    }

    /// Inverse frequencies for a sequence of `tokens`, `[head_dim / 2]`.
    pub fn inverse_frequencies(&self, tokens: usize) -> Vec<f32> {
        let dim = self.head_dim as f64;
        let base = match self.dynamic {
            Some(s) if tokens > s.trained_tokens => {
                let growth = s.factor * tokens as f64 / s.trained_tokens as f64 - (s.factor - 1.0);
                self.base * growth.powf(dim / (dim - 2.0))
            }
            _ => self.base,
        };
        inverse_frequencies(self.head_dim, base)
    }

    /// Cosines and sines, each `[batch, tokens, head_dim / 2]`; angles are computed in f32, then converted.
    pub fn tables(&self, positions: &Positions, dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        let half = self.head_dim / 2;
        let batch = positions.rows.len();
        let tokens = positions.rows.first().map_or(0, Vec::len);
        let longest = positions.next().into_iter().max().unwrap_or(0) as usize;
        let frequencies = self.inverse_frequencies(longest);
        let axes: Vec<usize> = (0..half).map(|i| self.axes.of(i)).collect();
        let angles: Vec<f32> = positions
            .rows
            .iter()
            .flatten()
            .flat_map(|position| frequencies.iter().zip(&axes).map(|(f, &axis)| position[axis] as f32 * f))
            .collect();
        angle_tables(&angles, (batch, tokens, half), dtype, device)
    }
}

/// `base^(-2i / dim)` for `i` in `0..dim / 2`.
pub fn inverse_frequencies(dim: usize, base: f64) -> Vec<f32> {
    (0..dim / 2).map(|i| 1.0 / (base as f32).powf((2 * i) as f32 / dim as f32)).collect()
}

/// Cosine and sine of angles in the given shape.
pub fn angle_tables<S: Into<candle_core::Shape>>(
    angles: &[f32],
    shape: S,
    dtype: DType,
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let shape = shape.into();
    let make = |f: fn(f32) -> f32| {
        Tensor::from_vec(angles.iter().map(|&a| f(a)).collect(), shape.clone(), device)?.to_dtype(dtype)
    };
    Ok((make(f32::cos)?, make(f32::sin)?))
}
