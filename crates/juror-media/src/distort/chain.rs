//! One distortion at one level, and chains of them: parsing, validation, display, application.

use super::{ClipInfo, Kind, Stage};
use crate::{Frame, MediaError};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

/// A kind at a level in `0 < level <= 5`: 1 mild, 5 severe, fractions between; below 1 milder than mild. Written
/// `kind:level`; a codec may be given an encoder's preset, `kind@preset:level`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distortion {
    kind: Kind,
    level: f64,
    preset: Option<&'static str>,
}

impl Distortion {
    /// Checks the level.
    ///
    /// # Errors
    /// [`MediaError::Invalid`] when the level is not within `0 < level <= 5`.
    pub fn new(kind: Kind, level: f64) -> Result<Self, MediaError> {
        if level > 0.0 && level <= 5.0 {
            Ok(Self { kind, level, preset: None })
        } else {
            Err(MediaError::invalid(format!(
                "level {level} of `{kind}` is out of range; levels run from 1 (mild) to 5 (severe), above 0 is allowed"
            )))
        }
    }

    /// The same with another preset of the encoder.
    ///
    /// # Errors
    /// [`MediaError::Invalid`] for a kind that is not a single encode, and a preset that its encoder does not know.
    pub fn with_preset(self, preset: &str) -> Result<Self, MediaError> {
        let presets = self.kind.presets();
        let found = presets.iter().find(|known| **known == preset).ok_or_else(|| {
            MediaError::invalid(if presets.is_empty() {
                format!("`{}` takes no preset: `{preset}`", self.kind)
            } else {
                format!("preset `{preset}` of `{}`; one of `{}` is allowed", self.kind, presets.join("`, `"))
            })
        })?;
        Ok(Self { preset: Some(found), ..self })
    }

    /// The preset of the encoder; `None`: a quick one.
    pub fn preset(self) -> Option<&'static str> {
        self.preset
    }

    /// What the next step of a chain must know about the clip.
    pub(super) fn info_after(self, info: ClipInfo) -> ClipInfo {
        match self.kind {
            Kind::FrameRate => ClipInfo { fps: info.fps * self.parameter(), ..info },
            _ => info,
        }
    }

    /// What is done.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// How strongly, `0 < level <= 5`.
    pub fn level(self) -> f64 {
        self.level
    }

    /// The kind's parameter at this level (see [`Kind`]).
    pub fn parameter(self) -> f64 {
        self.kind.parameter(self.level)
    }
}

impl fmt::Display for Distortion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.preset {
            Some(preset) => write!(f, "{}@{preset}:{}", self.kind, self.level),
            None => write!(f, "{}:{}", self.kind, self.level),
        }
    }
}

impl FromStr for Distortion {
    type Err = MediaError;

    /// Parses `kind:level` or `kind@preset:level`.
    fn from_str(text: &str) -> Result<Self, MediaError> {
        let text = text.trim();
        let Some((kind, level)) = text.split_once(':') else {
            let kind: Kind = text.parse()?;
            return Err(MediaError::invalid(format!("`{kind}` needs a level, for example `{kind}:3`")));
        };
        let (kind, preset) = kind.split_once('@').map_or((kind, None), |(kind, preset)| (kind, Some(preset)));
        let kind: Kind = kind.parse()?;
        let number: f64 = level.trim().parse().map_err(|_| {
            MediaError::invalid(format!(
                "level `{}` of `{kind}` is no number; levels run from 1 to 5",
                level.trim()
            ))
        })?;
        let distortion = Self::new(kind, number)?;
        preset.map_or(Ok(distortion), |preset| distortion.with_preset(preset.trim()))
    }
}

/// Distortions applied one after the other; an empty chain changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    distortions: Vec<Distortion>,
}

impl Chain {
    /// Distortions in the order of application.
    pub fn new(distortions: Vec<Distortion>) -> Self {
        Self { distortions }
    }

    /// The distortions in the order of application.
    pub fn distortions(&self) -> &[Distortion] {
        &self.distortions
    }

    /// All steps as one stage. Each gets its own seed, from `seed` and its place.
    pub fn stage(&self, mut info: ClipInfo, seed: u64) -> Box<dyn Stage> {
        let stage_seed = |place: usize| seed ^ (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut stages = Vec::with_capacity(self.distortions.len());
        for (place, distortion) in self.distortions.iter().enumerate() {
            stages.push(distortion.stage(info, stage_seed(place)));
            info = distortion.info_after(info);
        }
        Box::new(Series(stages))
    }

    /// What is known of a clip after the chain.
    pub(super) fn info_after(&self, info: ClipInfo) -> ClipInfo {
        self.distortions.iter().fold(info, |info, distortion| distortion.info_after(info))
    }

    /// Streams frames through the chain. Memory holds only what encoders look ahead. The iterator ends after an error.
    pub fn apply<I>(&self, frames: I, info: ClipInfo, seed: u64) -> Applied<I::IntoIter>
    where
        I: IntoIterator<Item = Result<Frame, MediaError>>,
    {
        Applied { frames: Some(frames.into_iter()), stage: self.stage(info, seed), ready: VecDeque::new() }
    }

    /// Applies the chain to a clip in memory.
    ///
    /// # Errors
    /// Those of the stages: an encoder that this FFmpeg does not have, pictures of changing size before a codec.
    pub fn apply_all(&self, frames: &[Frame], seed: u64) -> Result<Vec<Frame>, MediaError> {
        self.apply(frames.iter().cloned().map(Ok), ClipInfo::of(frames), seed).collect()
    }
}

/// Iterator over the frames of a distorted clip; see [`Chain::apply`].
pub struct Applied<I> {
    /// `None` once it has ended or failed.
    frames: Option<I>,
    stage: Box<dyn Stage>,
    ready: VecDeque<Frame>,
}

impl<I: Iterator<Item = Result<Frame, MediaError>>> Applied<I> {
    /// Takes one frame from the source, or finishes the stages, and fills `ready`.
    fn step(&mut self) -> Result<(), MediaError> {
        let mut out = Vec::new();
        match self.frames.as_mut().and_then(Iterator::next) {
            Some(frame) => self.stage.push(frame?, &mut out)?,
            None => {
                self.frames = None;
                self.stage.finish(&mut out)?;
            }
        }
        self.ready.extend(out);
        Ok(())
    }
}

/// Stages one after the other.
pub(super) struct Series(pub(super) Vec<Box<dyn Stage>>);

impl Stage for Series {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        run(&mut self.0, vec![frame], out)
    }

    fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        for place in 0..self.0.len() {
            let mut held_back = Vec::new();
            self.0[place].finish(&mut held_back)?;
            run(&mut self.0[place + 1..], held_back, out)?;
        }
        Ok(())
    }
}

/// Pushes frames through all stages.
fn run(
    stages: &mut [Box<dyn Stage>],
    mut frames: Vec<Frame>,
    out: &mut Vec<Frame>,
) -> Result<(), MediaError> {
    for stage in stages {
        let mut done = Vec::with_capacity(frames.len());
        for frame in frames {
            stage.push(frame, &mut done)?;
        }
        frames = done;
    }
    out.append(&mut frames);
    Ok(())
}

impl<I: Iterator<Item = Result<Frame, MediaError>>> Iterator for Applied<I> {
    type Item = Result<Frame, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.frames.is_some() {
            if let Err(error) = self.step() {
                self.frames = None;
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl From<Distortion> for Chain {
    fn from(distortion: Distortion) -> Self {
        Self { distortions: vec![distortion] }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, distortion) in self.distortions.iter().enumerate() {
            write!(f, "{}{distortion}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Chain {
    type Err = MediaError;

    /// Parses `kind:level,kind:level,...`.
    fn from_str(text: &str) -> Result<Self, MediaError> {
        if text.trim().is_empty() {
            return Err(MediaError::invalid("the chain is empty; write `kind:level,kind:level`".to_owned()));
        }
        Ok(Self { distortions: text.split(',').map(str::parse).collect::<Result<_, _>>()? })
    }
}
