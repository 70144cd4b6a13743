//! Distortion simulators: versions of a video whose order of quality is known because we made them.
//!
//! A [`Distortion`] is a [`Kind`] at a level, a [`Chain`] applies several in turn. Each becomes a [`Stage`], which takes
//! frames one by one and gives frames, so that memory does not grow with duration. Everything is a function of the frames,
//! the chain and the seed. [`Chain::apply`] streams, [`Chain::apply_all`] works on a clip in memory, and
//! [`distort_file`] goes from file to file.
//!
//! Pictures stay in planar 4:2:0: no kind goes through RGB. What each level means stands in [`Kind`].

mod blur;
mod chain;
mod codec;
mod file;
mod jpeg;
mod kind;
mod noise;
mod resample;
mod temporal;
mod tone;

pub use chain::{Chain, Distortion};
pub use file::{DistortedFile, distort_file};
pub use kind::{Group, Kind};

pub(crate) use blur::Kernel;
pub(crate) use noise::Noise;

use crate::encode::{Codec, EncodeOptions};
use crate::{Frame, MediaError, Picture};
use resample::Resampler;
use tone::{Banding, ToneCurve};

/// What a stage must know about a clip beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipInfo {
    /// Nominal frames per second (rate control of encoders depends on it).
    pub fps: f64,
    /// Duration in seconds, where known (freezes are placed by it).
    pub duration_secs: Option<f64>,
}

impl ClipInfo {
    /// Measured on a clip in memory: the mean frame rate, and the duration with the last frame shown for one mean interval.
    pub fn of(frames: &[Frame]) -> Self {
        let span_secs = match frames {
            [first, .., last] => last.pts_secs - first.pts_secs,
            _ => 0.0,
        };
        if span_secs > 0.0 {
            let interval_secs = span_secs / (frames.len() - 1) as f64;
            Self { fps: 1.0 / interval_secs, duration_secs: Some(span_secs + interval_secs) }
        } else {
            Self { fps: 30.0, duration_secs: None }
        }
    }
}

/// One step of a chain. Frames go in and come out in order of time; a stage may hold some back until it has seen more.
pub trait Stage: Send {
    /// Takes the next frame and appends those that are ready to `out`.
    ///
    /// # Errors
    /// Whatever the step meets; the stage is not to be used afterwards.
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError>;

    /// Appends the frames still held back. Called once, after the last `push`.
    ///
    /// # Errors
    /// Whatever the step meets.
    fn finish(&mut self, _out: &mut Vec<Frame>) -> Result<(), MediaError> {
        Ok(())
    }
}

/// A stage that works on each picture alone.
struct PerPicture<F>(F);

impl<F: FnMut(Picture) -> Result<Picture, MediaError> + Send> Stage for PerPicture<F> {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let picture = (self.0)(frame.picture)?;
        out.push(Frame { picture, ..frame });
        Ok(())
    }
}

/// A stage that changes pictures in place.
fn in_place(mut change: impl FnMut(&mut Picture) + Send + 'static) -> Box<dyn Stage> {
    Box::new(PerPicture(move |mut picture: Picture| {
        change(&mut picture);
        Ok(picture)
    }))
}

/// Shrinks by `factor` and enlarges back.
fn rescale(factor: f64) -> Box<dyn Stage> {
    let mut resamplers: Option<(usize, usize, Resampler, Resampler)> = None;
    Box::new(PerPicture(move |picture: Picture| {
        let (width, height) = (picture.width(), picture.height());
        let shrunk = |size: usize| ((size as f64 / factor).round() as usize).max(1);
        if resamplers.as_ref().is_none_or(|&(w, h, ..)| (w, h) != (width, height)) {
            let (small_width, small_height) = (shrunk(width), shrunk(height));
            let down = Resampler::resize(width, height, small_width, small_height);
            let up = Resampler::resize(small_width, small_height, width, height);
            resamplers = Some((width, height, down, up));
        }
        match &resamplers {
            Some((.., down, up)) => up.apply(&down.apply(&picture)?),
            None => Ok(picture),
        }
    }))
}

/// Shrinks to `scale` of the size, rounded to even numbers, and leaves it so.
fn resolution(scale: f64) -> Box<dyn Stage> {
    let mut resampler: Option<(usize, usize, Resampler)> = None;
    Box::new(PerPicture(move |picture: Picture| {
        let (width, height) = (picture.width(), picture.height());
        let even = |size: usize| (2 * (size as f64 * scale / 2.0).round() as usize).max(2);
        if resampler.as_ref().is_none_or(|&(w, h, _)| (w, h) != (width, height)) {
            resampler = Some((width, height, Resampler::resize(width, height, even(width), even(height))));
        }
        match &resampler {
            Some((.., resampler)) => resampler.apply(&picture),
            None => Ok(picture),
        }
    }))
}

/// Encodes a clip in memory and decodes it again; for presets and rates that no level stands for.
///
/// # Errors
/// An encoder that this FFmpeg does not have, pictures of changing size.
pub fn recode(frames: &[Frame], options: EncodeOptions) -> Result<Vec<Frame>, MediaError> {
    let mut stage = codec::Recode::new(options, ClipInfo::of(frames));
    let mut out = Vec::with_capacity(frames.len());
    for frame in frames {
        stage.push(frame.clone(), &mut out)?;
    }
    stage.finish(&mut out)?;
    Ok(out)
}

impl Distortion {
    /// The encoder and its settings, for the codec kinds.
    pub fn encode_options(self) -> Option<EncodeOptions> {
        let codec = match self.kind() {
            Kind::H264 => Codec::H264,
            Kind::Hevc => Codec::Hevc,
            Kind::Vp9 => Codec::Vp9,
            Kind::Av1 => Codec::Av1,
            Kind::Mpeg4 => Codec::Mpeg4,
            _ => return None,
        };
        Some(codec::options(codec, self.parameter()))
    }

    /// The stage that applies this distortion.
    pub fn stage(self, info: ClipInfo, seed: u64) -> Box<dyn Stage> {
        let parameter = self.parameter();
        if let Some(options) = self.encode_options() {
            return Box::new(codec::Recode::new(options, info));
        }
        match self.kind() {
            Kind::GaussianBlur => {
                let mut blur = blur::Blur::new(parameter);
                in_place(move |picture| blur.apply(picture))
            }
            Kind::GaussianNoise => {
                let mut noise = noise::Noise::new(parameter, seed);
                in_place(move |picture| noise.apply(picture))
            }
            Kind::Rescale => rescale(parameter),
            Kind::Resolution => resolution(parameter),
            Kind::Darken => tone(ToneCurve::darken(parameter)),
            Kind::Brighten => tone(ToneCurve::brighten(parameter)),
            Kind::Contrast => tone(ToneCurve::contrast(parameter)),
            Kind::Banding => {
                let banding = Banding::new(parameter);
                in_place(move |picture| banding.apply(picture))
            }
            Kind::Jpeg => {
                let jpeg = jpeg::Jpeg::new(parameter);
                in_place(move |picture| jpeg.apply(picture))
            }
            Kind::Stutter => Box::new(temporal::Stutter::new(parameter, seed)),
            Kind::Freeze => Box::new(temporal::Freeze::new(parameter, info, seed)),
            Kind::DroppedFrames => Box::new(temporal::DroppedFrames::new(parameter, seed)),
            Kind::Shake => Box::new(temporal::Shake::new(parameter, seed)),
            Kind::Flicker => Box::new(temporal::Flicker::new(parameter, seed)),
            Kind::H264 | Kind::Hevc | Kind::Vp9 | Kind::Av1 | Kind::Mpeg4 => in_place(|_| ()),
        }
    }
}

fn tone(curve: ToneCurve) -> Box<dyn Stage> {
    in_place(move |picture| curve.apply(picture))
}
