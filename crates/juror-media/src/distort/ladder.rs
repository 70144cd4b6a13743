//! Adaptive streaming: every two seconds the player may switch to another rung, with its own size, rate and frame rate.
//!
//! A segment of scale s (of both sides, between the lowest and 1) is encoded by itself, H.264 at CRF 23 and up to 8 more at
//! the lowest scales, decoded and enlarged back; rungs under 0.4 carry every second frame. Good and bad segments take turns, how good
//! and bad depends on the seed.

use super::codec::Recode;
use super::resample::{Interpolation, Resampler};
use super::temporal::Hold;
use super::{ClipInfo, Stage};
use crate::encode::{Codec, EncodeOptions, Rate};
use crate::{Frame, MediaError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

const SEGMENT_SECS: f64 = 2.0;
/// Rungs below this scale are sent at half the frame rate.
const HALF_RATE_SCALE: f64 = 0.4;

/// Sends a clip over a ladder.
pub(crate) struct AbrLadder {
    lowest: f64,
    info: ClipInfo,
    rng: ChaCha8Rng,
    /// Number of the segment of the last frame.
    number: i64,
    segment: Option<Segment>,
    first_pts_secs: Option<f64>,
}

struct Segment {
    full_size: (usize, usize),
    /// To and from the size of the rung; `None` at full size.
    resamplers: Option<(Resampler, Resampler)>,
    recode: Recode,
    half_rate: bool,
    frames: usize,
    /// Times of the frames that the rung does not carry, and of those that it does, oldest first.
    pts_secs: VecDeque<(f64, bool)>,
    hold: Hold,
}

impl AbrLadder {
    pub(crate) fn new(lowest: f64, info: ClipInfo, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { lowest, info, rng, number: 0, segment: None, first_pts_secs: None }
    }

    fn open(&mut self, frame: &Frame) -> Segment {
        // Good, bad, good, bad; the draws do not depend on the level.
        let draw: f64 = self.rng.random();
        let depth = if self.number % 2 == 0 { 0.3 * draw } else { 0.7 + 0.3 * draw };
        let scale = 1.0 - depth * (1.0 - self.lowest);
        let full_size = (frame.picture.width(), frame.picture.height());
        let even = |size: usize| (2 * (size as f64 * scale / 2.0).round() as usize).max(2);
        let size = (even(full_size.0), even(full_size.1));
        let resamplers = (scale < 1.0 && size != full_size).then(|| {
            let resize = |from: (usize, usize), to: (usize, usize)| {
                Resampler::resize(Interpolation::Bicubic, from.0, from.1, to.0, to.1)
            };
            (resize(full_size, size), resize(size, full_size))
        });
        let options = EncodeOptions {
            preset: Some("veryfast".to_owned()),
            ..EncodeOptions::new(Codec::H264, Rate::Crf(23.0 + 8.0 * (1.0 - scale)))
        };
        Segment {
            full_size,
            resamplers,
            recode: Recode::new(options, self.info),
            half_rate: scale < HALF_RATE_SCALE,
            frames: 0,
            pts_secs: VecDeque::new(),
            hold: Hold::default(),
        }
    }
}

impl Segment {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let carried = !self.half_rate || self.frames.is_multiple_of(2);
        self.frames += 1;
        self.pts_secs.push_back((frame.pts_secs, carried));
        if !carried {
            return Ok(());
        }
        let picture = match &self.resamplers {
            Some((down, _)) => down.apply(&frame.picture)?,
            None => frame.picture,
        };
        let mut decoded = Vec::new();
        self.recode.push(Frame { picture, ..frame }, &mut decoded)?;
        self.show(decoded, out)
    }

    fn finish(mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let mut decoded = Vec::new();
        self.recode.finish(&mut decoded)?;
        self.show(decoded, out)?;
        self.show_held(out);
        Ok(())
    }

    fn show(&mut self, decoded: Vec<Frame>, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        for frame in decoded {
            self.show_held(out);
            self.pts_secs.pop_front();
            let picture = match &self.resamplers {
                Some((_, up)) => up.apply(&frame.picture)?,
                None => frame.picture,
            };
            debug_assert_eq!((picture.width(), picture.height()), self.full_size);
            out.push(self.hold.show(Frame { picture, ..frame }, true));
        }
        Ok(())
    }

    /// Shows the picture before in place of frames that the rung does not carry.
    fn show_held(&mut self, out: &mut Vec<Frame>) {
        while let Some(&(pts_secs, false)) = self.pts_secs.front() {
            self.pts_secs.pop_front();
            out.extend(self.hold.picture().map(|picture| Frame { picture: picture.clone(), pts_secs }));
        }
    }
}

impl Stage for AbrLadder {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let first = *self.first_pts_secs.get_or_insert(frame.pts_secs);
        let number = ((frame.pts_secs - first) / SEGMENT_SECS + 1e-6).floor() as i64;
        let size = (frame.picture.width(), frame.picture.height());
        let goes_on =
            number == self.number && self.segment.as_ref().is_some_and(|segment| segment.full_size == size);
        if !goes_on {
            self.finish(out)?;
            self.number = number;
            self.segment = Some(self.open(&frame));
        }
        match &mut self.segment {
            Some(segment) => segment.push(frame, out),
            None => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        self.segment.take().map_or(Ok(()), |segment| segment.finish(out))
    }
}
