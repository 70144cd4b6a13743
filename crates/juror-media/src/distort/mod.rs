//! Distortion simulators: versions of a video whose order of quality is known because we made them.
//!
//! A [`Distortion`] is a [`Kind`] at a level, a [`Chain`] applies several in turn. Each becomes a [`Stage`], which takes
//! frames one by one and gives frames, so that memory does not grow with duration. Everything is a function of the frames,
//! the chain and the seed. [`Chain::apply`] streams, [`Chain::apply_all`] works on a clip in memory, and
//! [`distort_file`] goes from file to file.
//!
//! Pictures stay in planar 4:2:0: no kind goes through RGB. What each level means stands in [`Kind`].

mod blur;
mod cadence;
mod chain;
mod codec;
mod colour;
mod detail;
mod file;
mod grain;
mod jpeg;
mod kind;
mod ladder;
mod noise;
mod resample;
mod smear;
mod temporal;
mod tone;
mod transmission;

pub use chain::{Chain, Distortion};
pub use file::{DistortedFile, distort_file};
pub use kind::{Group, Kind};

pub(crate) use blur::Kernel;
pub(crate) use noise::Noise;

use crate::encode::{Codec, EncodeOptions, Rate};
use crate::{Frame, MediaError, Picture};
use chain::Series;
use resample::{Interpolation, Resampler};
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
fn rescale(interpolation: Interpolation, factor: f64) -> Box<dyn Stage> {
    let mut resamplers: Option<(usize, usize, Resampler, Resampler)> = None;
    Box::new(PerPicture(move |picture: Picture| {
        let (width, height) = (picture.width(), picture.height());
        let shrunk = |size: usize| ((size as f64 / factor).round() as usize).max(1);
        if resamplers.as_ref().is_none_or(|&(w, h, ..)| (w, h) != (width, height)) {
            let (small_width, small_height) = (shrunk(width), shrunk(height));
            let down = Resampler::resize(interpolation, width, height, small_width, small_height);
            let up = Resampler::resize(interpolation, small_width, small_height, width, height);
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
            let (small_width, small_height) = (even(width), even(height));
            let down = Resampler::resize(Interpolation::Bicubic, width, height, small_width, small_height);
            resampler = Some((width, height, down));
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
    /// The encoder and its settings, for kinds that are one encode.
    pub fn encode_options(self) -> Option<EncodeOptions> {
        let codec = self.kind().codec()?;
        let parameter = self.parameter();
        let rate =
            if self.kind().is_by_bitrate() { Rate::BitsPerPixel(parameter) } else { Rate::Crf(parameter) };
        let preset = self.preset().map(str::to_owned);
        Some(EncodeOptions { preset, ..EncodeOptions::new(codec, rate) })
    }

    /// The stage that applies this distortion.
    pub fn stage(self, info: ClipInfo, seed: u64) -> Box<dyn Stage> {
        let parameter = self.parameter();
        match self.kind() {
            Kind::GaussianBlur => {
                let mut blur = blur::Blur::new(parameter);
                in_place(move |picture| blur.apply(picture))
            }
            Kind::LensBlur => {
                let blur = smear::LensBlur::new(parameter);
                in_place(move |picture| blur.apply(picture))
            }
            Kind::MotionBlur => {
                let blur = smear::MotionBlur::new(parameter, seed);
                in_place(move |picture| blur.apply(picture))
            }
            Kind::GaussianNoise => {
                let mut noise = noise::Noise::new(parameter, seed);
                in_place(move |picture| noise.apply(picture))
            }
            Kind::ShotNoise => {
                let mut noise = grain::ShotNoise::new(parameter, seed);
                in_place(move |picture| noise.apply(picture))
            }
            Kind::ImpulseNoise => {
                let mut noise = grain::ImpulseNoise::new(parameter, seed);
                in_place(move |picture| noise.apply(picture))
            }
            Kind::Rescale => rescale(Interpolation::Bicubic, parameter),
            Kind::RescaleNearest => rescale(Interpolation::Nearest, parameter),
            Kind::RescaleBilinear => rescale(Interpolation::Bilinear, parameter),
            Kind::RescaleLanczos => rescale(Interpolation::Lanczos, parameter),
            Kind::Resolution => resolution(parameter),
            Kind::Pixelate => {
                let pixelate = detail::Pixelate::new(parameter);
                in_place(move |picture| pixelate.apply(picture))
            }
            Kind::Sharpen => {
                let mut sharpen = detail::Sharpen::new(parameter);
                in_place(move |picture| sharpen.apply(picture))
            }
            Kind::Darken => tone(ToneCurve::darken(parameter)),
            Kind::Brighten => tone(ToneCurve::brighten(parameter)),
            Kind::Contrast => tone(ToneCurve::contrast(parameter)),
            Kind::Vignette => {
                let vignette = colour::Vignette::new(parameter);
                in_place(move |picture| vignette.apply(picture))
            }
            Kind::Desaturate | Kind::Oversaturate => chroma(colour::ChromaCurve::saturation(parameter)),
            Kind::ColourCast => chroma(colour::ChromaCurve::cast(parameter, seed)),
            Kind::Banding => {
                let banding = Banding::new(parameter);
                in_place(move |picture| banding.apply(picture))
            }
            Kind::Jpeg => {
                let jpeg = jpeg::Jpeg::new(parameter);
                in_place(move |picture| jpeg.apply(picture))
            }
            Kind::H264
            | Kind::Hevc
            | Kind::Vp9
            | Kind::Av1
            | Kind::Mpeg4
            | Kind::Mpeg2
            | Kind::Mjpeg
            | Kind::H264Bitrate
            | Kind::HevcBitrate
            | Kind::Vp9Bitrate
            | Kind::Av1Bitrate
            | Kind::Mpeg2Bitrate => {
                let encodes = self.encode_options().into_iter();
                Box::new(Series(encodes.map(|options| encode(options, info)).collect()))
            }
            Kind::TwoGenerations => {
                let generation = |preset: &str| {
                    let preset = Some(preset.to_owned());
                    encode(
                        EncodeOptions { preset, ..EncodeOptions::new(Codec::H264, Rate::Crf(parameter)) },
                        info,
                    )
                };
                Box::new(Series(vec![generation("veryfast"), generation("medium")]))
            }
            Kind::AbrLadder => Box::new(ladder::AbrLadder::new(parameter, info, seed)),
            Kind::PacketLoss => Box::new(transmission::PacketLoss::new(parameter, info, seed)),
            Kind::Stutter => Box::new(temporal::Stutter::new(parameter, seed)),
            Kind::Freeze => Box::new(temporal::Freeze::new(parameter, info, seed)),
            Kind::DroppedFrames => Box::new(temporal::DroppedFrames::new(parameter, seed)),
            Kind::DuplicatedFrames => Box::new(cadence::DuplicatedFrames::new(parameter, seed)),
            Kind::BlankFrames => Box::new(cadence::BlankFrames::new(parameter, seed)),
            Kind::FrameRate => Box::new(cadence::FrameRate::new(parameter)),
            Kind::Judder => Box::new(cadence::Judder::new(parameter)),
            Kind::Interlace => Box::new(cadence::Interlace::new(parameter)),
            Kind::Shake => Box::new(temporal::Shake::new(parameter, seed)),
            Kind::Flicker => Box::new(temporal::Flicker::new(parameter, seed)),
            Kind::FrameJitter => Box::new(cadence::FrameJitter::new(parameter, seed)),
            Kind::LocalShuffle => Box::new(cadence::Reorder::local_shuffle(parameter, seed)),
            Kind::Shuffle => Box::new(cadence::Reorder::shuffle(parameter, seed)),
            Kind::Reverse => Box::new(cadence::Reorder::reverse(parameter)),
        }
    }
}

fn encode(options: EncodeOptions, info: ClipInfo) -> Box<dyn Stage> {
    Box::new(codec::Recode::new(options, info))
}

fn chroma(curve: colour::ChromaCurve) -> Box<dyn Stage> {
    in_place(move |picture| curve.apply(picture))
}

fn tone(curve: ToneCurve) -> Box<dyn Stage> {
    in_place(move |picture| curve.apply(picture))
}
