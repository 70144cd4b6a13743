//! Published checkpoints behind the trait that every judge offers: from a video file to margins and scores.
//!
//! Published models write one score and do not tell single pictures from motion: `visual` repeats the whole, `temporal`
//! adds nothing to it. Nor do they name distortions. Their errors are not calibrated; the spread of the level
//! probabilities stands for it, and for a written score the width of VQAThinker's regression reward.

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use juror_media::{MediaError, Rgb, TimeWindow, Video};

use super::{Published, VideoTokens};
use crate::answer::Reading;
use crate::error::{Error, Result};
use crate::judge::{
    Features, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
use crate::nano::Nano;

/// Tokens of a written score with its reasons, and of the reasons of a comparison: as VQAThinker is tested.
const MAX_NEW_TOKENS: usize = 1024;

/// Videos up to this length are decoded from end to end; in longer ones every frame is sought by itself.
const DECODED_SECS: f64 = 60.0;

/// Standard deviation of a written score's error in points: the sigma of VQAThinker's bell-shaped reward.
const WRITTEN_SCORE_SD: f64 = 0.5;

/// Opens a model folder as a judge: a published checkpoint if its `config.json` names a family, else a trained nano.
///
/// # Errors
/// A family that is not supported; whatever is missing or does not fit, by name.
pub fn open_folder(folder: &Path) -> Result<Box<dyn Lmm>> {
    let config: serde_json::Value = crate::config::read(&folder.join("config.json"))?;
    if config.get("model_type").is_none() {
        return Ok(Box::new(Nano::from_folder(folder)?));
    }
    Ok(Box::new(Published::open(folder, &Device::Cpu)?))
}

/// Chosen frames at their native size and when they are shown, in seconds on the player's clock.
struct Chosen {
    pictures: Vec<Rgb>,
    clock_secs: Vec<f64>,
    pts_secs: Vec<f64>,
    warnings: Vec<String>,
}

/// Frames shown at `targets` (clock seconds, ascending).
fn gather(video: &Video, window: TimeWindow, targets: &[f64], progress: &dyn Fn(f64)) -> Result<Chosen> {
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
                    None => picture.insert(frame.to_rgb(width, height)?).clone(),
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

impl Published {
    fn video<'w>(&self, watched: &'w Watched) -> Result<&'w VideoTokens> {
        match &watched.features {
            Features::Published(tokens) => Ok(tokens),
            Features::Nano(_) => Err(Error::Input("the video was watched by another model".into())),
        }
    }

    /// Margin of A over B in points, its standard deviation and the probability that A is preferred, in one order.
    fn one_order(&self, first: &VideoTokens, second: &VideoTokens) -> Result<[f64; 3]> {
        let levels = self.compare(first, second)?;
        let margin = Self::margin(&levels);
        // Level k (inferior .. superior, of the second) is worth 4 - 2k points to the first.
        let variance =
            levels.iter().enumerate().map(|(k, p)| p * (4.0 - 2.0 * k as f64 - margin).powi(2)).sum::<f64>();
        Ok([margin, variance.sqrt(), levels[0] + levels[1] + levels[2] / 2.0])
    }
}

impl Lmm for Published {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn watch(&self, video: &mut Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Watched> {
        let started = Instant::now();
        let video = video.clone().with_threads(options.threads);
        let start = video.info().start_secs;
        let from = options.window.start_secs().unwrap_or(0.0);
        let to = options.window.end_secs().unwrap_or(f64::INFINITY);
        let times: Vec<f64> =
            video.packet_times_secs().map(|t| t - start).filter(|t| (from..to).contains(t)).collect();
        if times.is_empty() {
            let reason = "no frame starts in the window".into();
            return Err(Error::Media(MediaError::TooShort { reason, path: video.info().path.clone() }));
        }
        let indices = self.select_frames(times.len(), video.info().fps.max(1e-3), options.frames)?;
        let targets: Vec<f64> = indices.iter().map(|&i| times[i]).collect();
        let chosen = gather(&video, options.window, &targets, progress)?;
        if chosen.pictures.is_empty() {
            let reason = "no frame is shown in the window".into();
            return Err(Error::Media(MediaError::TooShort { reason, path: video.info().path.clone() }));
        }
        let decode_secs = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let tokens = self.look(&chosen.pictures, &chosen.clock_secs)?;
        let mut warnings = video.info().warnings.clone();
        warnings.extend(chosen.warnings);
        if !self.unused_tensors().is_empty() {
            let unused = self.unused_tensors();
            warnings.push(format!(
                "{} tensors of the checkpoint are not used ({}, ...)",
                unused.len(),
                unused[0]
            ));
        }
        Ok(Watched {
            frames_sampled_secs: chosen.pts_secs,
            warnings,
            decode_secs,
            vision_secs: started.elapsed().as_secs_f64(),
            codec_kind: None,
            features: Features::Published(Box::new(tokens)),
        })
    }

    fn compare(&self, a: &Watched, b: &Watched, options: &JudgeOptions) -> Result<PairJudgement> {
        let started = Instant::now();
        let (a, b) = (self.video(a)?, self.video(b)?);
        let [forward, mut sd, mut preference] = self.one_order(a, b)?;
        let (mut margin, mut order_agreement) = (forward, None);
        if !options.single_order {
            let [backward, other_sd, other] = self.one_order(b, a)?;
            margin = (forward - backward) / 2.0;
            // Two readings of one judgement, not two independent ones: the mean of their spreads.
            sd = (sd + other_sd) / 2.0;
            preference = (preference + 1.0 - other) / 2.0;
            order_agreement = Some(forward * backward <= 0.0);
        }
        let rationale =
            if options.rationale { Some(self.describe_pair(a, b, MAX_NEW_TOKENS)?) } else { None };
        Ok(PairJudgement {
            margin,
            margin_sd: sd,
            probability: preference,
            visual: margin,
            temporal: 0.0,
            distortions_a: Vec::new(),
            distortions_b: Vec::new(),
            rationale,
            order_agreement,
            language_secs: started.elapsed().as_secs_f64(),
        })
    }

    fn score(&self, video: &Watched, options: &JudgeOptions) -> Result<ScoreJudgement> {
        let started = Instant::now();
        let tokens = self.video(video)?;
        let grades = if options.rationale || self.writes_scores() { None } else { self.grade(tokens)? };
        let (score, score_sd, rationale) = match grades {
            Some(grades) => {
                let mean: f64 = grades.iter().enumerate().map(|(k, p)| p * (k as f64 + 1.0)).sum();
                let variance: f64 =
                    grades.iter().enumerate().map(|(k, p)| p * (k as f64 + 1.0 - mean).powi(2)).sum();
                (mean, variance.sqrt(), None)
            }
            None => {
                let written = Self::score(self, tokens, MAX_NEW_TOKENS, |_| ())?;
                match written.score {
                    Reading::Value(score) => {
                        (score, WRITTEN_SCORE_SD, written.rationale.or(Some(written.text)))
                    }
                    Reading::Unparsed(reason) => return Err(Error::Unparsed(reason)),
                }
            }
        };
        Ok(ScoreJudgement {
            score,
            score_sd,
            visual: score,
            temporal: score,
            distortions: Vec::new(),
            rationale: if options.rationale { rationale } else { None },
            language_secs: started.elapsed().as_secs_f64(),
        })
    }
}
