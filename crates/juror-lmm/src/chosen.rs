//! Chosen frames of a video, for the models that look at pictures and not at every frame.

use juror_media::{MediaError, Rgb, TimeWindow, Video};

use crate::error::{Error, Result};
use crate::judge::WatchOptions;

/// Videos up to this length are decoded from end to end; in longer ones every frame is sought by itself.
const DECODED_SECS: f64 = 60.0;

/// Chosen frames and when they are shown.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) pictures: Vec<Rgb>,
    /// Seconds on the player's clock.
    pub(crate) clock_secs: Vec<f64>,
    /// Seconds as the file states them.
    pub(crate) pts_secs: Vec<f64>,
    pub(crate) warnings: Vec<String>,
}

/// The frames of the window that `select` names, given how many there are and their rate, each made by `shape` from a
/// frame at its native size. Never empty.
pub(crate) fn choose(
    video: &Video,
    options: &WatchOptions,
    select: impl FnOnce(usize, f64) -> Result<Vec<usize>>,
    shape: &dyn Fn(Rgb) -> Result<Rgb>,
    progress: &dyn Fn(f64),
) -> Result<Chosen> {
    let too_short = |reason: &str| {
        let path = video.info().path.clone();
        Err(Error::Media(MediaError::TooShort { reason: reason.into(), path }))
    };
    let start = video.info().start_secs;
    let from = options.window.start_secs().unwrap_or(0.0);
    let to = options.window.end_secs().unwrap_or(f64::INFINITY);
    let times: Vec<f64> =
        video.packet_times_secs().map(|t| t - start).filter(|t| (from..to).contains(t)).collect();
    if times.is_empty() {
        return too_short("no frame starts in the window");
    }
    let indices = select(times.len(), video.info().fps.max(1e-3))?;
    let targets: Vec<f64> = indices.iter().map(|&i| times[i.min(times.len() - 1)]).collect();
    let chosen = gather(video, options.window, &targets, shape, progress)?;
    if chosen.pictures.is_empty() {
        return too_short("no frame is shown in the window");
    }
    Ok(chosen)
}

/// Frames shown at `targets` (clock seconds, ascending).
fn gather(
    video: &Video,
    window: TimeWindow,
    targets: &[f64],
    shape: &dyn Fn(Rgb) -> Result<Rgb>,
    progress: &dyn Fn(f64),
) -> Result<Chosen> {
    let (width, height) = (video.info().width, video.info().height);
    let mut chosen =
        Chosen { pictures: Vec::new(), clock_secs: Vec::new(), pts_secs: Vec::new(), warnings: Vec::new() };
    let span = targets.last().unwrap_or(&0.0) - targets.first().unwrap_or(&0.0);
    let stretches: Vec<TimeWindow> = if span <= DECODED_SECS {
        vec![window]
    } else {
        targets
            .iter()
            .map(|&t| Ok(TimeWindow::new(Some(t.max(0.0)), Some(t.max(0.0) + 1e-3))?))
            .collect::<Result<_>>()?
    };
    for stretch in &stretches {
        let mut stream = video.frames(*stretch)?;
        while let Some(frame) = stream.next_frame()? {
            // A target may lie on a rounding error before its frame.
            let shown = |t: f64| t + 1e-4 < frame.clock_until_secs() || frame.is_last();
            let mut picture = None;
            while chosen.pictures.len() < targets.len() && shown(targets[chosen.pictures.len()]) {
                let rgb = match &picture {
                    Some(rgb) => Rgb::clone(rgb),
                    None => picture.insert(shape(frame.to_rgb(width, height)?)?).clone(),
                };
                chosen.pictures.push(rgb);
                chosen.clock_secs.push(frame.clock_secs());
                chosen.pts_secs.push(frame.pts_secs());
                progress(chosen.pictures.len() as f64 / targets.len() as f64);
                if stretches.len() > 1 {
                    break;
                }
            }
            if chosen.pictures.len() == targets.len() {
                break;
            }
        }
        for warning in stream.warnings() {
            if !chosen.warnings.contains(&warning) {
                chosen.warnings.push(warning);
            }
        }
    }
    // A damaged video may lack its last frames: repeat what there is.
    while let (true, Some(last)) = (chosen.pictures.len() < targets.len(), chosen.pictures.last().cloned()) {
        chosen.pictures.push(last);
        chosen.clock_secs.extend(chosen.clock_secs.last().copied());
        chosen.pts_secs.extend(chosen.pts_secs.last().copied());
    }
    Ok(chosen)
}
