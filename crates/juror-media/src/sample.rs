//! Which moments of a video are looked at, and their pictures, chosen by timestamp in one pass over the decoded frames.
//!
//! A [`SamplingPlan`] says how many moments, where, and how much may be decoded for them. Its targets are the centres of
//! equal parts of the time window, so the same times are met whatever the frame rate. At a target the *shown* frame is
//! taken: the one with the largest timestamp at or before it. A [`Sampler`] picks them as frames pass by, so a caller which
//! wants every frame for something else (a temporal profile) decodes once; [`Video::moments`] is the pass for those who
//! do not.

use std::collections::VecDeque;
use std::ops::Range;

use crate::decode::{DecodedFrame, FrameStream};
use crate::error::{MediaError, Result};
use crate::picture::Frame;
use crate::video::Video;
use crate::window::TimeWindow;

/// The most moments a plan may ask for.
pub const MAX_MOMENTS: usize = 1 << 20;

/// How many moments are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Density {
    Count(usize),
    PerSecond(f64),
}

/// Which moments of a video to look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingPlan {
    density: Density,
    with_next: bool,
    window: TimeWindow,
    decoded_secs: Option<f64>,
}

/// A sampled moment: one shown frame, standing for one or more targets (more where frames are few).
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Which targets, as indices into [`SamplingPlan::targets_secs`].
    pub targets: Range<usize>,
    /// The frame shown at these targets.
    pub shown: Frame,
    /// The frame after it, if the plan asks for it and there is one.
    pub next: Option<Frame>,
}

impl SamplingPlan {
    /// `count` moments spread evenly: the centres of `count` equal parts. Allowed: 1 to [`MAX_MOMENTS`].
    pub fn evenly(count: usize) -> Result<Self> {
        if !(1..=MAX_MOMENTS).contains(&count) {
            return Err(MediaError::invalid(format!("{count} moments: 1 to {MAX_MOMENTS} are allowed")));
        }
        Ok(Self::of(Density::Count(count)))
    }

    /// `rate` moments per second, at least one in all. Allowed: above 0, to 1000.
    pub fn per_second(rate: f64) -> Result<Self> {
        if !(rate > 0.0 && rate <= 1000.0) {
            return Err(MediaError::invalid(format!(
                "{rate} moments per second: above 0 to 1000 are allowed"
            )));
        }
        Ok(Self::of(Density::PerSecond(rate)))
    }

    fn of(density: Density) -> Self {
        Self { density, with_next: false, window: TimeWindow::ALL, decoded_secs: None }
    }

    /// Also gives the frame after each shown one.
    pub fn with_next_frame(mut self) -> Self {
        self.with_next = true;
        self
    }

    /// Looks at a part of the video only.
    pub fn within(mut self, window: TimeWindow) -> Self {
        self.window = window;
        self
    }

    /// Decodes at most about `secs` seconds of video (and what a decoder needs before them): long videos are seen in
    /// parts of equal length, one around each target. Allowed: above 0.
    pub fn decoding_at_most(mut self, secs: f64) -> Result<Self> {
        if !(secs > 0.0 && secs.is_finite()) {
            return Err(MediaError::invalid(format!("decoding at most {secs} s: above 0 is allowed")));
        }
        self.decoded_secs = Some(secs);
        Ok(self)
    }

    /// The targets for a video of `duration_secs`, ascending, in seconds since its first frame.
    ///
    /// # Errors
    /// [`MediaError::Invalid`] where a rate asks for more than [`MAX_MOMENTS`].
    pub fn targets_secs(&self, duration_secs: f64) -> Result<Vec<f64>> {
        let (start, end) = self.window.clamped(duration_secs);
        let length = (end - start).max(0.0);
        let (count, step) = match self.density {
            Density::Count(count) => (count, length / count as f64),
            Density::PerSecond(rate) => {
                // A whole number of parts, allowing for a duration that misses it by rounding.
                let count = (length * rate + 1e-6).floor().max(1.0);
                if count > MAX_MOMENTS as f64 {
                    return Err(MediaError::invalid(format!(
                        "{rate} moments per second over {length} s: {MAX_MOMENTS} moments in all are allowed"
                    )));
                }
                (count as usize, length.min(1.0 / rate))
            }
        };
        Ok((0..count).map(|i| start + (i as f64 + 0.5) * step).collect())
    }

    /// The parts of a video of `duration_secs` to decode: one with everything asked for, or several around the targets where
    /// [`SamplingPlan::decoding_at_most`] allows no more. They do not touch each other.
    pub fn windows(&self, duration_secs: f64) -> Result<Vec<TimeWindow>> {
        let (start, end) = self.window.clamped(duration_secs);
        let Some(budget) = self.decoded_secs.filter(|&budget| budget < end - start) else {
            return Ok(vec![self.window]);
        };
        let targets = self.targets_secs(duration_secs)?;
        let half = budget / targets.len() as f64 / 2.0;
        let mut parts: Vec<(f64, f64)> = Vec::new();
        for target in targets {
            let (from, to) = ((target - half).max(start), (target + half).min(end));
            match parts.last_mut() {
                Some(last) if last.1 >= from => last.1 = to,
                _ => parts.push((from, to)),
            }
        }
        parts.into_iter().map(|(from, to)| TimeWindow::new(Some(from), Some(to))).collect()
    }

    /// A sampler of this plan for `video`, to be shown the frames of [`SamplingPlan::windows`] in their order.
    pub fn sampler(&self, video: &Video) -> Result<Sampler> {
        let targets = self.targets_secs(video.info().duration_secs)?;
        Ok(Sampler::new(targets, self.with_next))
    }
}

/// What a sampler wants with a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Wanted {
    /// Targets at which the frame is shown.
    shown_at: Range<usize>,
    /// Whether the frame before it waits for its next.
    is_next: bool,
}

/// Picks the frames of a plan's moments as all frames pass by.
#[derive(Debug)]
pub struct Sampler {
    targets_secs: Vec<f64>,
    with_next: bool,
    /// Targets before this one are served.
    served: usize,
    waiting: Option<Moment>,
}

impl Sampler {
    fn new(targets_secs: Vec<f64>, with_next: bool) -> Self {
        Self { targets_secs, with_next, served: 0, waiting: None }
    }

    /// The targets, in seconds since the first frame of the video.
    pub fn targets_secs(&self) -> &[f64] {
        &self.targets_secs
    }

    /// Whether all targets are served: no further frame is needed.
    pub fn is_done(&self) -> bool {
        self.served == self.targets_secs.len() && self.waiting.is_none()
    }

    /// Shows a frame to the sampler; gives the moment which it completes, if any. Only wanted frames are converted, once.
    pub fn visit(&mut self, frame: &DecodedFrame<'_>) -> Result<Option<Moment>> {
        let until_secs = if frame.is_last() { f64::INFINITY } else { frame.clock_until_secs() };
        let wanted = self.wanted(until_secs);
        if !wanted.is_next && wanted.shown_at.is_empty() {
            return Ok(None);
        }
        Ok(self.take(wanted, frame.to_frame()?))
    }

    /// The moment still waiting for its next frame when a window ends; `beyond` is [`FrameStream::frame_beyond`].
    pub fn finish_window(&mut self, beyond: Option<&DecodedFrame<'_>>) -> Result<Option<Moment>> {
        let Some(mut moment) = self.waiting.take() else { return Ok(None) };
        moment.next = beyond.map(DecodedFrame::to_frame).transpose()?;
        Ok(Some(moment))
    }

    /// What to do with the frame shown until `until_secs`.
    fn wanted(&self, until_secs: f64) -> Wanted {
        let end = self.served + self.targets_secs[self.served..].partition_point(|&t| t < until_secs);
        Wanted { shown_at: self.served..end, is_next: self.waiting.is_some() }
    }

    fn take(&mut self, wanted: Wanted, frame: Frame) -> Option<Moment> {
        let mut complete = self.waiting.take();
        let shown = (!wanted.shown_at.is_empty()).then(|| Moment {
            targets: wanted.shown_at.clone(),
            shown: frame.clone(),
            next: None,
        });
        if let Some(moment) = &mut complete {
            moment.next = Some(frame);
        }
        self.served = wanted.shown_at.end;
        if self.with_next {
            self.waiting = shown;
            complete
        } else {
            shown
        }
    }
}

impl Video {
    /// The moments of a plan, in their order, in one pass; parts nobody wants are skipped by seeking where the plan limits
    /// what is decoded.
    pub fn moments(&self, plan: &SamplingPlan) -> Result<Moments> {
        let windows = plan.windows(self.info().duration_secs)?.into();
        Ok(Moments {
            video: self.clone(),
            sampler: plan.sampler(self)?,
            windows,
            frames: None,
            warnings: Vec::new(),
        })
    }
}

/// The moments of a video: see [`Video::moments`]. Call [`Moments::next_moment`] until `None`.
pub struct Moments {
    video: Video,
    sampler: Sampler,
    windows: VecDeque<TimeWindow>,
    frames: Option<FrameStream>,
    warnings: Vec<String>,
}

impl Moments {
    /// The next moment, or `None` after the last.
    pub fn next_moment(&mut self) -> Result<Option<Moment>> {
        while !self.sampler.is_done() {
            let Some(frames) = &mut self.frames else {
                match self.windows.pop_front() {
                    Some(window) => self.frames = Some(self.video.frames(window)?),
                    None => break,
                }
                continue;
            };
            match frames.next_frame()? {
                Some(frame) => {
                    if let Some(moment) = self.sampler.visit(&frame)? {
                        return Ok(Some(moment));
                    }
                }
                None => {
                    let moment = self.sampler.finish_window(frames.frame_beyond().as_ref())?;
                    self.warnings.extend(frames.warnings());
                    self.frames = None;
                    if moment.is_some() {
                        return Ok(moment);
                    }
                }
            }
        }
        Ok(None)
    }

    /// What went wrong while decoding so far (see [`FrameStream::warnings`]).
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.frames.iter().flat_map(FrameStream::warnings));
        warnings
    }
}
