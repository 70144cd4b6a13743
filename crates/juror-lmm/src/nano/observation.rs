//! What `nano` keeps of a video: a few moments' fragments and their tone, the temporal profile, and the viewing
//! facts.
//!
//! About 190 kB a moment, whatever the size or duration of the video.

use super::body::FACTS_LEN;
use super::cadence::Cadence;
use super::fragments::{self, Offset};
use super::profile::{PROFILE_LEN, ProfileBuilder};
use super::tone::{TONE_LEN, tone};
use juror_media::{Frame, Luma, Picture, Range, Result};

/// Two neighbouring frames, cut into fragments.
#[derive(Clone, Debug)]
pub struct Moment {
    /// When the first of the two is shown.
    pub pts_secs: f64,
    /// `[PLACES, 2, FRAGMENT_BYTES]`.
    pub fragments: Vec<u8>,
}

/// Everything the body reads.
#[derive(Clone, Debug)]
pub struct Observation {
    /// In order of time.
    pub moments: Vec<Moment>,
    /// Of every frame of the watched stretch.
    pub profile: [f32; PROFILE_LEN],
    /// What it is held beside another video by.
    pub cadence: Cadence,
    /// Of the moments' samples.
    pub tone: [f32; TONE_LEN],
    /// How the video is delivered.
    pub facts: [f32; FACTS_LEN],
}

impl Observation {
    /// Puts together what was gathered; the tone follows from the moments.
    #[must_use]
    pub fn new(moments: Vec<Moment>, profile: &ProfileBuilder, facts: [f32; FACTS_LEN]) -> Self {
        Self {
            tone: tone(&moments),
            moments,
            profile: profile.finish(),
            cadence: Cadence::of(profile),
            facts,
        }
    }
}

/// The viewing facts as the body reads them, each of order one: size, shape, frame rate, duration, and whether
/// it moves at all.
#[must_use]
pub fn facts(width: usize, height: usize, fps: f64, duration_secs: f64) -> [f32; FACTS_LEN] {
    let (short, long) = (width.min(height).max(1) as f64, width.max(height).max(1) as f64);
    let moving = fps > 0.0 && duration_secs > 0.0;
    let fps = if moving { fps } else { 30.0 };
    [
        (short / 480.0).ln() as f32,
        (long / short - 1.5) as f32,
        (fps / 30.0).ln() as f32,
        ((duration_secs.max(0.0) + 1.0).ln() - 1.5) as f32,
        f32::from(u8::from(moving)),
        if width >= height { 0.5 } else { -0.5 },
    ]
}

/// Indices of the first frames of `moments` evenly spread moments among `n` frames; the second is the next one
/// where there is one.
#[must_use]
pub fn moment_frames(n: usize, moments: usize) -> Vec<(usize, usize)> {
    (0..moments)
        .map(|k| {
            let first = ((2 * k + 1) * n / (2 * moments)).min(n.saturating_sub(2));
            (first, (first + 1).min(n.saturating_sub(1)))
        })
        .collect()
}

/// Observes frames held in memory, as training does.
///
/// # Errors
/// Only where a picture cannot be resized.
pub fn observe_frames(frames: &[Frame], moments: usize, offset: Offset) -> Result<Observation> {
    let mut profile = ProfileBuilder::default();
    for frame in frames {
        profile.push(&luma(&frame.picture), frame.pts_secs);
    }
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
        return Err(juror_media::MediaError::invalid("an empty list of frames"));
    };
    let span_secs = last.pts_secs - first.pts_secs;
    let fps = if span_secs > 0.0 { (frames.len() - 1) as f64 / span_secs } else { 0.0 };
    let moments = moment_frames(frames.len(), moments)
        .into_iter()
        .map(|(a, b)| {
            let fragments = fragments::cut(&frames[a].picture, &frames[b].picture, offset)?;
            Ok(Moment { pts_secs: frames[a].pts_secs, fragments })
        })
        .collect::<Result<Vec<_>>>()?;
    let duration_secs = if fps > 0.0 { span_secs + 1.0 / fps } else { 0.0 };
    let facts = facts(first.picture.width(), first.picture.height(), fps, duration_secs);
    Ok(Observation::new(moments, &profile, facts))
}

fn luma(picture: &Picture) -> Luma<'_> {
    Luma {
        data: picture.y(),
        stride: picture.width(),
        width: picture.width(),
        height: picture.height(),
        bits: 8,
        range: Range::Limited,
    }
}
