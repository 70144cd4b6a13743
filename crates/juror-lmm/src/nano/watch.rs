//! Watching a file: one pass over its frames gathers the profile and the moments.
//!
//! Up to `DECODED_SECS` are decoded from end to end. Of a longer window as much is watched in stretches around
//! the moments, so that hours take no longer than a minute; this is said in the warnings. Only the frames of the
//! moments are converted.

use super::fragments::{self, Offset};
use super::observation::{Moment, Observation, facts};
use super::profile::ProfileBuilder;
use crate::error::{Error, Result};
use crate::judge::WatchOptions;
use juror_media::sample::{self, SamplingPlan};
use juror_media::{MediaError, Video};

/// The most that is decoded, in seconds of video.
const DECODED_SECS: f64 = 60.0;

/// Observes `video`; the second part is what a user should know about the input.
pub(super) fn observe(
    video: &Video,
    moments: usize,
    options: &WatchOptions,
    progress: &dyn Fn(f64),
) -> Result<(Observation, Vec<String>)> {
    let video = video.clone().with_threads(options.threads);
    let info = video.info();
    let plan = SamplingPlan::evenly(moments)?
        .with_next_frame()
        .within(options.window)
        .decoding_at_most(DECODED_SECS)?;
    let stretches = plan.windows(info.duration_secs)?;
    let mut warnings = info.warnings.clone();
    if stretches.len() > 1 {
        warnings.push(format!(
            "long video: {DECODED_SECS} s of it were watched, in {} stretches; --start and --end give a closer look",
            stretches.len()
        ));
    }
    let mut sampler = plan.sampler(&video)?;
    let mut profile = ProfileBuilder::default();
    let mut seen = Vec::new();
    for (i, stretch) in stretches.iter().enumerate() {
        profile.cut();
        let from = stretch.start_secs().unwrap_or(0.0);
        let to = stretch.end_secs().unwrap_or(info.duration_secs).min(info.duration_secs);
        let mut stream = video.frames(*stretch)?;
        while let Some(frame) = stream.next_frame()? {
            profile.push(&frame.luma(), frame.clock_secs());
            gather(sampler.visit(&frame)?, &mut seen)?;
            let share = ((frame.clock_secs() - from) / (to - from).max(1e-3)).clamp(0.0, 1.0);
            progress((i as f64 + share) / stretches.len() as f64);
        }
        gather(sampler.finish_window(stream.frame_beyond().as_ref())?, &mut seen)?;
        for warning in stream.warnings() {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    if seen.is_empty() {
        let reason = "no frame is shown in the window".into();
        return Err(Error::Media(MediaError::TooShort { reason, path: info.path.clone() }));
    }
    // A damaged video may have missed some of its moments: repeat those it has, in order of time.
    let have = seen.len();
    let moments = (0..moments).map(|i| seen[i * have / moments].clone()).collect::<Vec<_>>();
    let watched_secs = {
        let from = options.window.start_secs().unwrap_or(0.0);
        options.window.end_secs().unwrap_or(f64::INFINITY).min(info.duration_secs) - from
    };
    let facts = facts(info.width, info.height, info.fps, watched_secs);
    Ok((Observation::new(moments, &profile, facts), warnings))
}

/// Cuts the fragments of a sampled moment, once for each target that it stands for.
fn gather(sampled: Option<sample::Moment>, seen: &mut Vec<Moment>) -> Result<()> {
    let Some(sampled) = sampled else { return Ok(()) };
    let first = &sampled.shown.picture;
    let second = sampled.next.as_ref().map_or(first, |next| &next.picture);
    let fragments = fragments::cut(first, second, Offset::default())?;
    let moment = Moment { pts_secs: sampled.shown.pts_secs, fragments };
    seen.extend(std::iter::repeat_n(moment, sampled.targets.len()));
    Ok(())
}

/// What compression by this codec of FFmpeg's is called among the kinds.
pub(super) fn codec_kind(codec: &str) -> Option<&'static str> {
    match codec {
        "h264" => Some("h264"),
        "hevc" => Some("hevc"),
        "vp9" => Some("vp9"),
        "av1" => Some("av1"),
        "mpeg4" => Some("mpeg4"),
        _ => None,
    }
}
