//! W2S-VQA's motion features: SlowFast-R50's fast pathway, a vector for every second of a video.
//!
//! W2S-VQA's checkpoint holds the projector of these features, not the network that makes them: the frozen one that
//! pytorchvideo publishes (trained on Kinetics-400). VQAThinker's checkpoint holds the same network, so it is taken from
//! there, or from a file beside the checkpoint ([`FILE`]). The reference makes the features beforehand: of every whole
//! second 32 neighbouring frames from its first, the last frame repeated at the end of the video, squeezed to 224 x 224
//! (how is not published: bilinear as torchvision does it), mean .45, deviation .225. At least 8 vectors (the last one
//! repeated), at most 10. A video shorter than a second counts as one. The slow pathway does not reach the fast one and is left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use juror_media::Rgb;
use juror_net::hub::{Cache, MAIN, RepoId};

use crate::checkpoint::{Checkpoint, Layout, Source, describe};
use crate::error::{Error, Result};
use crate::preprocess::resize::{Arithmetic, resize};
use crate::preprocess::{Statistics, normalise};
use crate::slowfast::{Config, SlowFast};

/// The file beside a checkpoint that holds the network, in pytorchvideo's names or VQAThinker's.
pub const FILE: &str = "slowfast_r50.safetensors";
/// The checkpoint that holds the network too, by its short name.
const OTHER: &str = "vqathinker";

/// Frames of a clip.
const CLIP: usize = 32;
/// Side of its frames, pixels.
const SIDE: usize = 224;
/// Vectors of a video.
const VECTORS: std::ops::RangeInclusive<usize> = 8..=10;

/// How SlowFast sees pictures.
const KINETICS: Statistics = Statistics { mean: [0.45; 3], std: [0.225; 3] };

/// The network.
pub struct MotionTower {
    slowfast: SlowFast,
    device: Device,
}

impl MotionTower {
    /// The network for a checkpoint folder whose projector takes `width` numbers; `None` where there is none.
    ///
    /// # Errors
    /// A file that is broken or holds another network.
    pub fn find(folder: &Path, width: usize, device: &Device) -> Result<Option<Self>> {
        let file = folder.join(FILE);
        if file.exists() {
            let checkpoint = Checkpoint::open_files(std::slice::from_ref(&file))?;
            return Self::open(checkpoint, &file, width, device).map(Some);
        }
        match Cache::of_environment().find(&RepoId::parse(OTHER)?, MAIN)? {
            Some(pulled) => Self::open(Checkpoint::open(&pulled)?, &pulled, width, device).map(Some),
            None => Ok(None),
        }
    }

    fn open(checkpoint: Checkpoint, path: &Path, width: usize, device: &Device) -> Result<Self> {
        const PLACES: [(&str, Layout); 2] = [
            ("blocks.", |name| Source::Name(format!("blocks.{name}"))),
            ("slowfast_model.feature_extraction.", |name| {
                Source::Name(format!("slowfast_model.feature_extraction.{name}"))
            }),
        ];
        let wrong = |message: String| Error::Checkpoint { message, path: PathBuf::from(path) };
        let found = PLACES
            .iter()
            .find_map(|(prefix, layout)| Some((Config::of_shapes(prefix, checkpoint.shapes())?, *layout)));
        let (config, layout) = found.ok_or_else(|| wrong("no SlowFast network in it".into()))?;
        let [_, fast] = config.feature_widths();
        if fast != width {
            return Err(wrong(format!(
                "its SlowFast network gives {fast} numbers, the checkpoint's projector takes {width}"
            )));
        }
        checkpoint.require(&describe(|vb| SlowFast::load(&config, vb))?, layout)?;
        let tensors = Arc::new(checkpoint).var_builder(layout, DType::F32, device);
        Ok(Self { slowfast: SlowFast::load(&config, tensors)?, device: device.clone() })
    }

    /// Features `[vectors, width]` of a video from the frames that [`Clips::indices`] names, prepared by [`squeeze`].
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn features(&self, clips: &Clips, frames: &[Rgb]) -> Result<Tensor> {
        let mut vectors = Vec::with_capacity(*VECTORS.end());
        for clip in &clips.clips {
            let pictures: Vec<Rgb> = clip.iter().map(|&at| frames[at].clone()).collect();
            let pixels = normalise(&pictures, &KINETICS, &self.device)?;
            vectors.push(self.slowfast.fast_feature(&pixels.transpose(0, 1)?.contiguous()?.unsqueeze(0)?)?);
        }
        while let (true, Some(last)) = (vectors.len() < *VECTORS.start(), vectors.last().cloned()) {
            vectors.push(last);
        }
        Ok(Tensor::cat(&vectors, 0)?)
    }
}

/// Which frames the vectors of a video are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clips {
    /// The frames that are needed, ascending.
    pub indices: Vec<usize>,
    /// Of each clip, places in `indices`.
    clips: Vec<[usize; CLIP]>,
}

impl Clips {
    /// Of a video of `total` frames, one or more.
    pub fn of(total: usize, fps: f64) -> Self {
        let (rate, last) = ((fps.round() as usize).max(1), total.saturating_sub(1));
        let seconds = (total / rate).clamp(1, *VECTORS.end());
        let frame = |second: usize, k: usize| (second * rate + k).min(last);
        let mut indices: Vec<usize> =
            (0..seconds).flat_map(|second| (0..CLIP).map(move |k| frame(second, k))).collect();
        indices.sort_unstable();
        indices.dedup();
        let place = |index: usize| indices.partition_point(|&other| other < index);
        let clips = (0..seconds).map(|second| std::array::from_fn(|k| place(frame(second, k)))).collect();
        Self { indices, clips }
    }
}

/// A frame as the network takes it.
///
/// # Errors
/// An empty picture.
pub fn squeeze(picture: &Rgb) -> Result<Rgb> {
    resize(picture, SIDE, SIDE, Arithmetic::PilBilinear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_begins_with_every_whole_second() {
        let clips = Clips::of(95, 29.97);
        assert_eq!(clips.clips.len(), 3);
        assert_eq!(clips.indices, (0..92).collect::<Vec<_>>());
        assert_eq!((clips.clips[1][0], clips.clips[1][31]), (30, 61));
        // The last clip of three seconds lacks two frames.
        let short = Clips::of(90, 30.0);
        assert_eq!(short.clips[2][28..], [88, 89, 89, 89]);
        // Low rates read overlapping clips, high ones skip frames; long videos end after ten clips.
        assert_eq!(Clips::of(12, 4.0).indices, (0..12).collect::<Vec<_>>());
        let fast = Clips::of(12_000, 120.0);
        assert_eq!((fast.clips.len(), fast.indices.len()), (10, 320));
        assert_eq!(fast.indices[32], 120);
        assert_eq!(fast.clips[9][0], 288);
        // Less than a second is one clip.
        assert_eq!(Clips::of(5, 30.0).clips, [std::array::from_fn(|k| k.min(4))]);
    }
}
