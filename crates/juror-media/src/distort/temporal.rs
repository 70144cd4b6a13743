//! Distortions of time: which picture is shown when, how steadily and how evenly lit.
//!
//! All keep every frame's pts and the number of frames; a repeated picture is an exact copy. Random draws depend on the
//! seed and the frame's place only, never on the level, so that for one seed a higher level distorts a superset (or a
//! multiple) of what a lower level distorts.

use super::resample::{Axis, Interpolation, Resampler};
use super::tone::ToneCurve;
use super::{ClipInfo, Stage};
use crate::{Frame, MediaError, Picture};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Shows the last picture again until `advance` says that a new one is due.
#[derive(Default)]
pub(super) struct Hold {
    shown: Option<Picture>,
}

impl Hold {
    /// The picture that stands.
    pub(super) fn picture(&self) -> Option<&Picture> {
        self.shown.as_ref()
    }

    pub(super) fn show(&mut self, frame: Frame, advance: bool) -> Frame {
        match &self.shown {
            Some(picture) if !advance => Frame { picture: picture.clone(), ..frame },
            _ => {
                self.shown = Some(frame.picture.clone());
                frame
            }
        }
    }
}

/// Periodic holds: every shown picture stands for `hold` frames of at most 30 per second, that is for
/// `max(hold frames, hold / 30 s)`. At 60 frames per second a hold of 2 thus lasts 4 frames.
pub(crate) struct Stutter {
    hold_frames: f64,
    /// How much of the present hold has passed, in the same unit.
    phase: f64,
    last_pts_secs: Option<f64>,
    hold: Hold,
}

impl Stutter {
    pub(crate) fn new(hold_frames: f64, seed: u64) -> Self {
        let phase = ChaCha8Rng::seed_from_u64(seed).random::<f64>() * hold_frames;
        Self { hold_frames, phase, last_pts_secs: None, hold: Hold::default() }
    }
}

impl Stage for Stutter {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if let Some(last) = self.last_pts_secs {
            self.phase += (30.0 * (frame.pts_secs - last)).clamp(0.0, 1.0);
        }
        self.last_pts_secs = Some(frame.pts_secs);
        // A frame early by rounding of its pts is on time.
        let advance = self.phase > self.hold_frames - 1e-2;
        if advance {
            self.phase = (self.phase - self.hold_frames) % self.hold_frames;
        }
        out.push(self.hold.show(frame, advance));
        Ok(())
    }
}

/// One freeze in every cycle of about four seconds (of the whole clip when it is shorter), at a random place.
pub(crate) struct Freeze {
    share: f64,
    cycle_secs: f64,
    rng: ChaCha8Rng,
    /// Number of the present cycle and where its freeze begins, as a share of the room left for it.
    cycle: Option<(i64, f64)>,
    first_pts_secs: Option<f64>,
    hold: Hold,
}

impl Freeze {
    const CYCLE_SECS: f64 = 4.0;

    pub(crate) fn new(share: f64, info: ClipInfo, seed: u64) -> Self {
        let cycle_secs = match info.duration_secs {
            Some(duration) if duration > 0.0 => duration / (duration / Self::CYCLE_SECS).round().max(1.0),
            _ => Self::CYCLE_SECS,
        };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { share, cycle_secs, rng, cycle: None, first_pts_secs: None, hold: Hold::default() }
    }
}

impl Stage for Freeze {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let first = *self.first_pts_secs.get_or_insert(frame.pts_secs);
        let position = ((frame.pts_secs - first) / self.cycle_secs).max(0.0);
        let number = position.floor() as i64;
        let place = match self.cycle {
            Some((present, place)) if present == number => place,
            _ => {
                let place = self.rng.random::<f64>();
                self.cycle = Some((number, place));
                place
            }
        };
        let begin = place * (1.0 - self.share);
        let within = position - position.floor();
        let frozen = within > begin && within <= begin + self.share;
        out.push(self.hold.show(frame, !frozen));
        Ok(())
    }
}

/// Every frame is replaced by the one shown before it with probability `probability`.
pub(crate) struct DroppedFrames {
    probability: f64,
    rng: ChaCha8Rng,
    hold: Hold,
}

impl DroppedFrames {
    pub(crate) fn new(probability: f64, seed: u64) -> Self {
        Self { probability, rng: ChaCha8Rng::seed_from_u64(seed), hold: Hold::default() }
    }
}

impl Stage for DroppedFrames {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let dropped = self.rng.random::<f64>() < self.probability;
        out.push(self.hold.show(frame, !dropped));
        Ok(())
    }
}

/// Every frame is shifted by a random amount in both axes; the picture is cropped by the largest shift on all sides and
/// enlarged back, so that no border shows.
pub(crate) struct Shake {
    /// Largest shift as a share of the width.
    amount: f64,
    rng: ChaCha8Rng,
}

impl Shake {
    pub(crate) fn new(amount: f64, seed: u64) -> Self {
        Self { amount, rng: ChaCha8Rng::seed_from_u64(seed) }
    }
}

impl Stage for Shake {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let (width, height) = (frame.picture.width() as f64, frame.picture.height() as f64);
        let margin_x = self.amount * width;
        // The same enlargement in both axes keeps the shape of things.
        let margin_y = self.amount * height;
        let mut axis = |size: f64, margin: f64| Axis {
            start: margin * 2.0 * self.rng.random::<f64>(),
            extent: size - 2.0 * margin,
            len: size as usize,
        };
        let (horizontal, vertical) = (axis(width, margin_x), axis(height, margin_y));
        let picture = Resampler::new(Interpolation::Bicubic, horizontal, vertical).apply(&frame.picture)?;
        out.push(Frame { picture, ..frame });
        Ok(())
    }
}

/// Every frame's brightness is changed, up and down in turn, by a random share of `amplitude` (at least half of it).
pub(crate) struct Flicker {
    amplitude: f64,
    brighter: bool,
    rng: ChaCha8Rng,
}

impl Flicker {
    pub(crate) fn new(amplitude: f64, seed: u64) -> Self {
        Self { amplitude, brighter: false, rng: ChaCha8Rng::seed_from_u64(seed) }
    }
}

impl Stage for Flicker {
    fn push(&mut self, mut frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let change = self.amplitude * self.rng.random_range(0.5..1.0);
        let gain = if self.brighter { 1.0 + change } else { 1.0 - change };
        self.brighter = !self.brighter;
        ToneCurve::gain(gain).apply(&mut frame.picture);
        out.push(frame);
        Ok(())
    }
}
