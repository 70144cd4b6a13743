//! Published checkpoints behind the trait that every judge offers: from a video file to margins and scores.
//!
//! Published models write one score and do not tell single pictures from motion: `visual` repeats the whole, `temporal`
//! adds nothing to it. Nor do they name distortions. Their errors are not calibrated; the spread of the level
//! probabilities stands for it, and for a written score the width of VQAThinker's regression reward.

use std::path::Path;
use std::time::Instant;

use juror_media::{Rgb, Video};

use super::motion::{Clips, FILE as MOTION_FILE, squeeze};
use super::{Family, OpenOptions, Published, VideoTokens, memory};
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
/// `name` is the folder's where it is `None`.
///
/// # Errors
/// A family that is not supported; whatever is missing or does not fit, by name; more memory than there is; options that
/// nano does not have.
pub fn open_folder(folder: &Path, name: Option<&str>, options: &OpenOptions) -> Result<Box<dyn Lmm>> {
    if family(folder)?.is_none() {
        options.check_nano()?;
        return Ok(Box::new(Nano::from_folder(folder)?));
    }
    let own = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or(&own);
    memory::check(folder, name, options)?;
    let mut published = Published::open(folder, options)?;
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

/// The frames behind the motion features of a video.
fn motion_clips(video: &Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<(Clips, Vec<Rgb>)> {
    let mut clips = None;
    let select = |total, fps| Ok(clips.insert(Clips::of(total, fps)).indices.clone());
    let chosen = choose(video, options, select, &|picture| squeeze(&picture), progress)?;
    let clips = clips.ok_or_else(|| Error::Input("a video without frames".into()))?;
    Ok((clips, chosen.pictures))
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

    fn device(&self) -> &str {
        &self.processor
    }

    fn watch(&self, video: &mut Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Watched> {
        let started = Instant::now();
        let video = video.clone().with_threads(options.threads);
        let select = |total, fps| self.network.select_frames(total, fps, options.frames);
        let share = if self.network.motion_tower().is_some() { 0.5 } else { 1.0 };
        let chosen = choose(&video, options, select, &Ok, &|done| progress(share * done))?;
        let clips = match self.network.motion_tower() {
            Some(_) => Some(motion_clips(&video, options, &|done| progress(share + share * done))?),
            None => None,
        };
        let decode_secs = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut tokens = self.network.look(&chosen.pictures, &chosen.clock_secs)?;
        if let Some((clips, frames)) = clips {
            tokens = self.network.with_motion(tokens, &clips, &frames)?;
        }
        let mut warnings = video.info().warnings.clone();
        warnings.extend(chosen.warnings);
        if self.network.lacks_motion() {
            warnings.push(format!(
                "judged without motion features: their network is neither in {MOTION_FILE} beside the checkpoint nor in a pulled vqathinker"
            ));
        }
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
        self.compare_aloud(a, b, options, &|_| ())
    }

    fn score(&self, video: &Watched, options: &JudgeOptions) -> Result<ScoreJudgement> {
        self.score_aloud(video, options, &|_| ())
    }

    fn compare_aloud(
        &self,
        a: &Watched,
        b: &Watched,
        options: &JudgeOptions,
        say: &dyn Fn(&str),
    ) -> Result<PairJudgement> {
        let started = Instant::now();
        let (a, b) = (self.video(a)?, self.video(b)?);
        let forward = weigh(&self.compare(a, b)?);
        let backward = if options.single_order { None } else { Some(weigh(&self.compare(b, a)?)) };
        let (judged, order_agreement) = join(forward, backward);
        let rationale =
            if options.rationale { Some(self.describe_pair(a, b, MAX_NEW_TOKENS, say)?) } else { None };
        Ok(judged.judgement(order_agreement, rationale, started))
    }

    fn score_aloud(
        &self,
        video: &Watched,
        options: &JudgeOptions,
        say: &dyn Fn(&str),
    ) -> Result<ScoreJudgement> {
        let started = Instant::now();
        let tokens = self.video(video)?;
        let grades = if options.rationale || self.writes_scores() { None } else { self.grade(tokens)? };
        let (score, score_sd, rationale) = match grades {
            Some(grades) => {
                let (mean, sd) = levels::grade(&grades);
                (mean, sd, None)
            }
            None => {
                let written = Self::score(self, tokens, MAX_NEW_TOKENS, say)?;
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
