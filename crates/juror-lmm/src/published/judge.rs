//! Published checkpoints behind the trait that every judge offers: from a video file to margins and scores.
//!
//! Published models write one score and do not tell single pictures from motion: `visual` repeats the whole, `temporal`
//! adds nothing to it. Nor do they name distortions. Their errors are not calibrated; the spread of the level
//! probabilities stands for it, and for a written score the width of VQAThinker's regression reward.

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use juror_media::Video;

use super::{Family, Published, VideoTokens, memory};
use crate::answer::Reading;
use crate::chosen::choose;
use crate::error::{Error, Result};
use crate::judge::{
    Features, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
use crate::levels::{self, join, weigh};
use crate::nano::Nano;

/// Tokens of a written score with its reasons, and of the reasons of a comparison: as VQAThinker is tested.
const MAX_NEW_TOKENS: usize = 1024;

/// Standard deviation of a written score's error in points: the sigma of VQAThinker's bell-shaped reward.
const WRITTEN_SCORE_SD: f64 = 0.5;

/// Opens a model folder as a judge: a published checkpoint if its `config.json` names a family, else a trained nano.
///
/// # Errors
/// A family that is not supported; whatever is missing or does not fit, by name.
pub fn open_folder(folder: &Path) -> Result<Box<dyn Lmm>> {
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    open_named(folder, &name)
}

/// [`open_folder`] under another name than the folder's, for folders with names that say nothing.
///
/// # Errors
/// As [`open_folder`].
pub fn open_named(folder: &Path, name: &str) -> Result<Box<dyn Lmm>> {
    if family(folder)?.is_none() {
        return Ok(Box::new(Nano::from_folder(folder)?));
    }
    memory::check(folder, name)?;
    let mut published = Published::open(folder, &Device::Cpu)?;
    name.clone_into(&mut published.info.name);
    Ok(Box::new(published))
}

/// The published family of a folder; `None` for a trained nano.
///
/// # Errors
/// No `config.json`, or a family that is not supported.
pub fn family(folder: &Path) -> Result<Option<Family>> {
    let config: serde_json::Value = crate::config::read(&folder.join("config.json"))?;
    match config.get("model_type").and_then(serde_json::Value::as_str) {
        Some("nano") => Ok(None),
        _ => Family::detect(folder).map(Some),
    }
}

impl Published {
    fn video<'w>(&self, watched: &'w Watched) -> Result<&'w VideoTokens> {
        match &watched.features {
            Features::Published(tokens) => Ok(tokens),
            _ => Err(Error::Input("the video was watched by another model".into())),
        }
    }
}

impl Lmm for Published {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn watch(&self, video: &mut Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Watched> {
        let started = Instant::now();
        let video = video.clone().with_threads(options.threads);
        let select = |total, fps| self.select_frames(total, fps, options.frames);
        let chosen = choose(&video, options, select, progress)?;
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
        let forward = weigh(&self.compare(a, b)?);
        let backward = if options.single_order { None } else { Some(weigh(&self.compare(b, a)?)) };
        let (judged, order_agreement) = join(forward, backward);
        let rationale =
            if options.rationale { Some(self.describe_pair(a, b, MAX_NEW_TOKENS)?) } else { None };
        Ok(judged.judgement(order_agreement, rationale, started))
    }

    fn score(&self, video: &Watched, options: &JudgeOptions) -> Result<ScoreJudgement> {
        let started = Instant::now();
        let tokens = self.video(video)?;
        let grades = if options.rationale || self.writes_scores() { None } else { self.grade(tokens)? };
        let (score, score_sd, rationale) = match grades {
            Some(grades) => {
                let (mean, sd) = levels::grade(&grades);
                (mean, sd, None)
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
