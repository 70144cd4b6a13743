//! From pictures to the tensors the towers see, exactly as the published preprocessors make them.
//!
//! Which frames ([`frames`]), which size ([`patches::smart_resize`], squares, [`tiles`]), how to resample ([`resize`]),
//! and normalisation. Colour conversion and decoding belong to `juror-media`; pictures here are full-range 8-bit RGB.

pub mod frames;
pub mod patches;
pub mod resize;
pub mod tiles;

use candle_core::{Device, Tensor};
use juror_media::Rgb;

use crate::error::{Error, Result};

/// Mean and standard deviation per channel, on a scale of 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// Mean of red, green, blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green, blue.
    pub std: [f32; 3],
}

impl Statistics {
    /// ImageNet's, for InternVL and VQAThinker's SlowFast.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// CLIP's, for Qwen2.5-VL.
    pub const CLIP: Self = Self {
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
    };
    /// A half, for SigLIP and Qwen3-VL.
    pub const HALF: Self = Self { mean: [0.5; 3], std: [0.5; 3] };
    /// Kinetics', for the SlowFast of W2S-VQA.
    pub const KINETICS: Self = Self { mean: [0.45; 3], std: [0.225; 3] };
}

/// Frames of one size as `[frames, 3, height, width]` f32, `(x / 255 - mean) / std`.
///
/// # Errors
/// No frames, or frames of different sizes.
pub fn normalise(frames: &[Rgb], statistics: &Statistics, device: &Device) -> Result<Tensor> {
    let (width, height) = common_size(frames)?;
    let pixels = width * height;
    let mut values = vec![0f32; frames.len() * 3 * pixels];
    for (frame, planes) in frames.iter().zip(values.chunks_exact_mut(3 * pixels)) {
        for (channel, plane) in planes.chunks_exact_mut(pixels).enumerate() {
            // 256 possible values: the table keeps the reference's order of operations and its rounding.
            let (mean, std) = (statistics.mean[channel], statistics.std[channel]);
            let table: Vec<f32> = (0..256).map(|x| (x as f32 / 255.0 - mean) / std).collect();
            for (value, pixel) in plane.iter_mut().zip(frame.data().chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
    Ok(Tensor::from_vec(values, (frames.len(), 3, height, width), device)?)
}

/// Width and height that all frames share.
///
/// # Errors
/// No frames, or frames of different sizes.
pub fn common_size(frames: &[Rgb]) -> Result<(usize, usize)> {
    let first = frames.first().ok_or_else(|| Error::Input("a video without frames".into()))?;
    let size = (first.width(), first.height());
    match frames.iter().find(|f| (f.width(), f.height()) != size) {
        None => Ok(size),
        Some(other) => Err(Error::Input(format!(
            "frames of {} x {} and {} x {} in one video",
            size.0,
            size.1,
            other.width(),
            other.height()
        ))),
    }
}

/// A picture of known size; the sizes here are always consistent.
fn picture(width: usize, height: usize, data: Vec<u8>) -> Result<Rgb> {
    Rgb::new(width, height, data).map_err(|e| Error::Input(e.to_string()))
}
