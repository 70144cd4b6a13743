//! Judges that compare a video with its pristine source: PSNR of every frame; SSIM, MS-SSIM and VMAF at a few moments.
//!
//! Frames are matched by time: at the time of each frame of the source, the last frame that the other shows by then.
//! A picture of another size is brought to the source's first, as a player would. New measures of a picture against
//! its source are one line in [`Measure::named`].

use super::{Failure, Judge, Subject};
use crate::config::YardstickConfig;
use crate::data::yardstick;
use anyhow::{Context, bail};
use juror_media::{Frame, MediaError, Picture, TimeWindow, Video, quality};
use std::borrow::Cow;
use std::path::Path;

/// Moments at which the costly measures look.
const MOMENTS: usize = 8;
/// PSNR of equal pictures, dB: it would be infinite, and more than this no one sees.
const PSNR_CAP_DB: f64 = 60.0;
/// Longest stretch that is compared, frames; clips of a set are far shorter.
const MAX_FRAMES: usize = 1200;

type OfPictures = fn(&Picture, &Picture) -> Result<f64, MediaError>;

enum Method {
    /// Mean over matched frames, all of them or [`MOMENTS`].
    Pictures { measure: OfPictures, every_frame: bool },
    /// By a program.
    Vmaf(YardstickConfig),
}

/// A full-reference measure as a judge.
pub struct Measure {
    name: &'static str,
    method: Method,
}

impl Measure {
    /// The measure of this name; `None` where no measure is called so.
    ///
    /// # Errors
    /// VMAF without a program that has it.
    pub fn named(name: &str, vmaf_program: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let few = |name, measure| Self { name, method: Method::Pictures { measure, every_frame: false } };
        Ok(Some(match name {
            "psnr" => {
                Self { name: "psnr", method: Method::Pictures { measure: capped_psnr, every_frame: true } }
            }
            "ssim" => few("ssim", quality::ssim),
            "ms-ssim" => few("ms-ssim", quality::ms_ssim),
            "vmaf" => {
                let Some(program) = vmaf_program else {
                    bail!("judge `vmaf` needs an FFmpeg program that has libvmaf: panel.vmaf_program");
                };
                Self {
                    name: "vmaf",
                    method: Method::Vmaf(YardstickConfig::Vmaf { program: program.to_owned() }),
                }
            }
            _ => return Ok(None),
        }))
    }

    fn measure(&self, video: &Path, reference: &Path) -> anyhow::Result<f64> {
        if video == reference {
            // The source against itself, without decoding it twice.
            return match &self.method {
                Method::Pictures { measure, .. } => {
                    let picture = Picture::filled(64, 64, [128; 3])?;
                    Ok(measure(&picture, &picture)?)
                }
                Method::Vmaf(_) => Ok(1.0),
            };
        }
        let source = frames(reference)?;
        let shown = frames(video)?;
        match &self.method {
            Method::Pictures { measure, every_frame } => {
                let pairs = matched(&source, &shown, if *every_frame { source.len() } else { MOMENTS });
                let mut sum = 0.0;
                for (source, shown) in &pairs {
                    sum += measure(source, &*fitted(shown, source)?)?;
                }
                Ok(sum / pairs.len().max(1) as f64)
            }
            Method::Vmaf(config) => {
                let (source, shown): (Vec<_>, Vec<_>) = matched(&source, &shown, MOMENTS).into_iter().unzip();
                yardstick::quality(config, &source, &shown)
            }
        }
    }
}

impl Judge for Measure {
    fn name(&self) -> &str {
        self.name
    }

    fn identity(&self) -> String {
        format!("measure {}", self.name)
    }

    fn needs_reference(&self) -> bool {
        true
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<f64, Failure> {
        let Some(reference) = subject.reference else {
            return Err(Failure::Video("it has no pristine source".into()));
        };
        self.measure(subject.video, reference).map_err(|error| match self.method {
            Method::Vmaf(_) => Failure::Judge(format!("{error:#}")),
            Method::Pictures { .. } => Failure::Video(format!("{error:#}")),
        })
    }
}

fn capped_psnr(reference: &Picture, distorted: &Picture) -> Result<f64, MediaError> {
    Ok(quality::psnr(reference, distorted)?.min(PSNR_CAP_DB))
}

fn fitted<'a>(picture: &'a Picture, like: &Picture) -> Result<Cow<'a, Picture>, MediaError> {
    let fits = (picture.width(), picture.height()) == (like.width(), like.height());
    Ok(if fits { Cow::Borrowed(picture) } else { Cow::Owned(picture.resized(like.width(), like.height())?) })
}

fn frames(path: &Path) -> anyhow::Result<Vec<Frame>> {
    let video = Video::open(path)?.with_threads(1);
    let mut stream = video.frames(TimeWindow::ALL)?;
    let mut frames = Vec::new();
    while let Some(frame) = stream.next_frame()? {
        if frames.len() == MAX_FRAMES {
            break;
        }
        frames.push(frame.to_frame()?);
    }
    frames.first().context("it has no frame")?;
    Ok(frames)
}

/// `count` frames of the source, spread evenly, each with what the other shows at its time.
fn matched<'a>(source: &'a [Frame], shown: &'a [Frame], count: usize) -> Vec<(&'a Picture, &'a Picture)> {
    let count = count.min(source.len());
    let (source_start, shown_start) = (source[0].pts_secs, shown[0].pts_secs);
    (0..count)
        .map(|moment| {
            let frame = &source[(2 * moment + 1) * source.len() / (2 * count)];
            // Half a millisecond against the rounding of containers.
            let clock_secs = frame.pts_secs - source_start + 5e-4;
            let by_then = shown.partition_point(|other| other.pts_secs - shown_start <= clock_secs);
            (&frame.picture, &shown[by_then.saturating_sub(1)].picture)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(times_secs: &[f64]) -> Vec<Frame> {
        let picture = |i: usize| Picture::filled(16, 16, [16 + i as u8, 128, 128]).expect("a picture");
        times_secs.iter().enumerate().map(|(i, &pts_secs)| Frame { picture: picture(i), pts_secs }).collect()
    }

    #[test]
    fn frames_meet_by_time() {
        let source = clip(&[0.0, 0.1, 0.2, 0.3]);
        let shown = clip(&[5.0, 5.1996]); // begins later, half the rate, rounded
        let pairs = matched(&source, &shown, 4);
        let luma: Vec<(u8, u8)> = pairs.iter().map(|(a, b)| (a.y()[0], b.y()[0])).collect();
        assert_eq!(luma, [(16, 16), (17, 16), (18, 17), (19, 17)]);
        assert_eq!(matched(&source, &shown, 2).len(), 2);
    }

    #[test]
    fn measures_have_their_names() {
        for name in ["psnr", "ssim", "ms-ssim"] {
            let measure = Measure::named(name, None).expect("known").expect("a measure");
            assert_eq!(measure.name(), name);
        }
        assert!(Measure::named("vmaf", None).is_err(), "no program");
        assert!(Measure::named("nano", None).expect("no measure").is_none());
    }
}
