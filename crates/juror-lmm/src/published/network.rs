//! The towers and the decoder of a checkpoint: from pictures to visual tokens, from prompts to what the decoder reads.

use candle_core::{DType, Device, Tensor};
use juror_media::Rgb;

use super::Family;
use super::motion::{Clips, MotionTower};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::internvl3::InternVl3;
use crate::llava_onevision::LlavaOneVision;
use crate::preprocess::frames::{self, Count};
use crate::preprocess::patches::{Grid, PixelLimits, patch_rows, smart_resize, smart_resize_video};
use crate::preprocess::resize::{Arithmetic, resize};
use crate::preprocess::{Statistics, common_size, normalise};
use crate::qwen2_5_vl::{Qwen25Vl, Videos};
use crate::qwen3_vision::Tokens;
use crate::qwen3_vl::Qwen3Vl;
use crate::sequence::{Batch, Prefill};

pub(super) enum Model {
    InternVl3 { model: InternVl3, side: usize },
    Llava { model: LlavaOneVision, side: usize, motion: Option<MotionTower> },
    Qwen25 { model: Qwen25Vl, patch: usize },
    Qwen3 { model: Qwen3Vl, patch: usize },
}

/// A video's tokens: made once, judged as often as wanted.
#[derive(Debug, Clone)]
pub struct VideoTokens {
    /// `[tokens, hidden]`, in the order of the placeholders.
    pub tokens: Tensor,
    /// Added to the decoder's stream after layer 0, 1, ... (Qwen3-VL; else empty).
    pub deepstack: Vec<Tensor>,
    /// Frames looked at.
    pub frames: usize,
    /// The grid of patches (Qwen).
    pub grid: Option<Grid>,
    /// Middle of each slice of two frames, in seconds (Qwen).
    pub slice_seconds: Vec<f64>,
}

/// The networks of a checkpoint, without the words around them.
pub struct Network {
    pub(super) family: Family,
    pub(super) model: Model,
    pub(super) device: Device,
    pub(super) dtype: DType,
}

impl Network {
    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        match &self.model {
            Model::InternVl3 { model, .. } => &model.language_model,
            Model::Llava { model, .. } => &model.language_model,
            Model::Qwen25 { model, .. } => &model.language_model,
            Model::Qwen3 { model, .. } => &model.language_model,
        }
    }

    pub(super) fn set_decoder(&mut self, decoder: Decoder) {
        match &mut self.model {
            Model::InternVl3 { model, .. } => model.language_model = decoder,
            Model::Llava { model, .. } => model.language_model = decoder,
            Model::Qwen25 { model, .. } => model.language_model = decoder,
            Model::Qwen3 { model, .. } => model.language_model = decoder,
        }
    }

    /// Unbroken runs of places that a video takes in a prompt: Qwen3-VL tells the time before every slice.
    pub fn runs(&self, video: &VideoTokens) -> usize {
        match self.model {
            Model::Qwen3 { .. } => video.slice_seconds.len().max(1),
            _ => 1,
        }
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Which of `total` frames at `fps` the family looks at; `count` overrides the published number.
    ///
    /// # Errors
    /// A video without frames.
    pub fn select_frames(&self, total: usize, fps: f64, count: Option<usize>) -> Result<Vec<usize>> {
        if total == 0 {
            return Err(Error::Input("a video without frames".into()));
        }
        let last = total - 1;
        let indices = match &self.model {
            // The motion tower needs a multiple of four, and as many as its pools reach over.
            Model::InternVl3 { model, .. } if model.has_motion() => {
                frames::internvl(last, count.map_or(12, |n| n.max(8).next_multiple_of(4)), fps, None)?
            }
            Model::InternVl3 { .. } => frames::internvl(last, count.unwrap_or(8), fps, None)?,
            Model::Llava { .. } => match count {
                Some(n) => frames::internvl(last, n, fps, None)?,
                None => frames::one_per_second(total, fps.max(0.5))?,
            },
            // Too short for the published rules: every frame, the last one repeated to make a slice.
            Model::Qwen25 { .. } | Model::Qwen3 { .. } if total < 4 => (0..total.max(2)).collect(),
            Model::Qwen25 { .. } => frames::qwen_vl_utils(
                total,
                fps,
                count.map_or(Count::Rate(2.0), |n| Count::Frames(n.clamp(2, total))),
            )?,
            Model::Qwen3 { .. } => {
                let count = count.map_or(Count::Rate(2.0), |n| Count::Frames(n.clamp(2, total)));
                frames::transformers_qwen3(total, fps, count)?
            }
        };
        Ok(indices.into_iter().map(|i| i.min(last)).collect())
    }

    /// Tokens of a video's chosen frames at their native size, with the time of each in seconds from the start.
    ///
    /// # Errors
    /// Frames that the family cannot take.
    pub fn look(&self, pictures: &[Rgb], seconds: &[f64]) -> Result<VideoTokens> {
        let (width, height) = common_size(pictures)?;
        let all = |h: usize, w: usize, how: Arithmetic| -> Result<Vec<Rgb>> {
            pictures.iter().map(|picture| resize(picture, w, h, how)).collect()
        };
        let plain = |tokens: Tensor| VideoTokens {
            tokens,
            deepstack: Vec::new(),
            frames: pictures.len(),
            grid: None,
            slice_seconds: Vec::new(),
        };
        let mean = |pair: &[f64]| pair.iter().sum::<f64>() / pair.len().max(1) as f64;
        let slices: Vec<f64> = seconds.chunks(2).map(mean).collect();
        match &self.model {
            Model::InternVl3 { model, side } => {
                let frames = all(*side, *side, Arithmetic::Pil)?;
                let pixels = normalise(&frames, &Statistics::IMAGENET, &self.device)?.to_dtype(self.dtype)?;
                Ok(plain(model.video_tokens(&pixels)?))
            }
            Model::Llava { model, side, .. } => {
                let frames = all(*side, *side, Arithmetic::Pil)?;
                let pixels = normalise(&frames, &Statistics::HALF, &self.device)?.to_dtype(self.dtype)?;
                Ok(plain(model.video_tokens(&pixels)?))
            }
            Model::Qwen25 { model, patch } => {
                let cell = (2 * patch).pow(2);
                let limits = PixelLimits { min_pixels: 128 * cell, max_pixels: 768 * cell };
                let (h, w) = smart_resize(height, width, 2 * patch, limits)?;
                let frames = all(h, w, Arithmetic::TorchFloat)?;
                let (rows, grid) = patch_rows(&frames, *patch, &Statistics::CLIP, &self.device)?;
                let videos =
                    Videos { rows: rows.to_dtype(self.dtype)?, grids: vec![grid], slice_seconds: None };
                let tokens = model.video_tokens(&videos)?;
                Ok(VideoTokens { grid: Some(grid), slice_seconds: slices, ..plain(tokens) })
            }
            Model::Qwen3 { model, patch } => {
                let limits = PixelLimits { min_pixels: 4096, max_pixels: 25_165_824 };
                let count = pictures.len().max(2);
                let factor = 2 * patch;
                let (h, w) =
                    smart_resize_video(count, height.max(factor), width.max(factor), factor, limits)?;
                let frames = all(h, w, Arithmetic::TorchFixed)?;
                let (rows, grid) = patch_rows(&frames, *patch, &Statistics::HALF, &self.device)?;
                let tokens = model.visual.forward(&rows.to_dtype(self.dtype)?, &[grid], |_, _| ())?;
                let Tokens { embeds, deepstack } = tokens;
                Ok(VideoTokens { deepstack, grid: Some(grid), slice_seconds: slices, ..plain(embeds) })
            }
        }
    }

    /// The network of W2S-VQA's motion features.
    pub(super) fn motion_tower(&self) -> Option<&MotionTower> {
        match &self.model {
            Model::Llava { motion, .. } => motion.as_ref(),
            _ => None,
        }
    }

    /// Whether the checkpoint takes motion features whose network is not here.
    pub(super) fn lacks_motion(&self) -> bool {
        matches!(&self.model, Model::Llava { model, motion: None, .. } if model.takes_motion())
    }

    /// A video's tokens with its motion tokens behind them, of the frames that `clips` names.
    pub(super) fn with_motion(
        &self,
        video: VideoTokens,
        clips: &Clips,
        frames: &[Rgb],
    ) -> Result<VideoTokens> {
        let Model::Llava { model, motion: Some(tower), .. } = &self.model else { return Ok(video) };
        let features = tower.features(clips, frames)?.to_dtype(self.dtype)?;
        let tokens = Tensor::cat(&[&video.tokens, &model.motion_tokens(&features)?], 0)?;
        Ok(VideoTokens { tokens, ..video })
    }

    /// What the decoder reads: prompts in whose placeholders the tokens of the videos stand, in order over the batch.
    /// (Qwen's families have placeholders of their own, told by their configuration.)
    ///
    /// # Errors
    /// Placeholders and tokens that differ in number.
    pub fn prefill(&self, batch: &Batch, placeholder: u32, videos: &[&VideoTokens]) -> Result<Prefill> {
        let parts: Vec<&Tensor> = videos.iter().map(|v| &v.tokens).collect();
        let tokens = Tensor::cat(&parts, 0)?;
        let grids: Vec<Grid> = videos.iter().filter_map(|v| v.grid).collect();
        match &self.model {
            Model::InternVl3 { .. } | Model::Llava { .. } => {
                Prefill::plain(self.decoder(), batch, placeholder, Some(&tokens), &self.device)
            }
            Model::Qwen25 { model, .. } => {
                // Seconds per slice: the distance of the first two.
                let seconds = |v: &&VideoTokens| match v.slice_seconds[..] {
                    [a, b, ..] => (b - a) as f32,
                    _ => 1.0,
                };
                let slice_seconds = Some(videos.iter().map(seconds).collect());
                let videos = Videos { rows: tokens.clone(), grids, slice_seconds };
                model.prefill(batch, &tokens, &videos, &self.device)
            }
            Model::Qwen3 { model, .. } => {
                let layers = videos.iter().map(|v| v.deepstack.len()).min().unwrap_or(0);
                let layer =
                    |k: usize| Tensor::cat(&videos.iter().map(|v| &v.deepstack[k]).collect::<Vec<_>>(), 0);
                let deepstack = (0..layers).map(layer).collect::<candle_core::Result<Vec<_>>>()?;
                model.prefill(batch, &Tokens { embeds: tokens, deepstack }, &grids, &self.device)
            }
        }
    }
}
