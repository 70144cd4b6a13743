//! Measurements of pictures and videos without a reference: what the data engine selects sources by, and the classical
//! no-reference measures that sit on a panel of judges.
//!
//! - One picture: [`blockiness`], [`contrast`], [`noise`], [`colourfulness`], [`luminance`], [`spatial_information`],
//!   [`cpbd`]; two neighbouring pictures: [`temporal_information`], [`flicker`].
//! - A whole source: [`measure_source`] decodes once and gives the nine [`Measurements`], scene cuts, a perceptual
//!   [`VideoHash`] and the reasons to reject it.
//! - Statistics of natural scenes: [`brisque_features`] and [`NaturalModel`], the distance of NIQE.
//!
//! All work on 8-bit pictures as displayed. Luma is stretched from video range to 0..=255 first ([`Grey`]), so numbers are
//! comparable with implementations that read full-range grey pictures. Each function states its formula.

mod cpbd;
mod cuts;
mod hash;
mod natural;
mod picture;
mod source;

pub use cpbd::cpbd;
pub use hash::{PictureHash, VideoHash};
pub use natural::{BRISQUE_FEATURES, NIQE_FEATURES, NaturalModel, brisque_features};
pub use picture::{
    blockiness, colourfulness, contrast, flicker, luminance, noise, spatial_information, temporal_information,
};
pub use source::{Measurements, Reject, RejectRules, SourceReport, measure_frames, measure_source};

use crate::{MediaError, Picture, Result};

/// A luma plane in full range: black 0, white 255 (not clamped: footroom is below 0), `[height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grey {
    width: usize,
    height: usize,
    data: Vec<f32>,
}

/// From a video-range luma code to full range.
fn full_range(code: u8) -> f32 {
    (f32::from(code) - 16.0) * (255.0 / 219.0)
}

impl Grey {
    /// Values `[height, width]` in full range.
    ///
    /// # Errors
    /// [`MediaError::Invalid`] where their number does not fit the size, or is 0.
    pub fn new(width: usize, height: usize, data: Vec<f32>) -> Result<Self> {
        if data.is_empty() || width.checked_mul(height) != Some(data.len()) {
            let count = data.len();
            return Err(MediaError::invalid(format!(
                "a grey picture of {width}x{height} with {count} values"
            )));
        }
        Ok(Self { width, height, data })
    }

    /// The luma of a picture.
    pub fn of(picture: &Picture) -> Self {
        let table: [f32; 256] = std::array::from_fn(|code| full_range(code as u8));
        let data = picture.y().iter().map(|&code| table[usize::from(code)]).collect();
        Self { width: picture.width(), height: picture.height(), data }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Row `y`.
    fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width..][..self.width]
    }
}

/// Mean and standard deviation (of the population) of values; zeros where there are none. Summed in a fixed order.
fn mean_and_deviation(values: impl Iterator<Item = f32>) -> (f64, f64) {
    let (mut count, mut sum, mut squares) = (0u64, 0.0f64, 0.0f64);
    for value in values {
        let value = f64::from(value);
        count += 1;
        sum += value;
        squares += value * value;
    }
    let count = count.max(1) as f64;
    let mean = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}
