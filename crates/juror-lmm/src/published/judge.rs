//! Published checkpoints behind the trait that every judge offers: from a video file to margins and scores.
//!
//! Published models write one score and do not tell single pictures from motion: `visual` repeats the whole, `temporal`
//! adds nothing to it. Nor do they name distortions. Their errors are not calibrated; the spread of the level
//! probabilities stands for it, and for a written score the width of VQAThinker's regression reward.

use std::path::{Path, PathBuf};
use std::time::Instant;

use juror_media::{Rgb, Video};

use super::motion::{Clips, FILE as MOTION_FILE, squeeze};
use super::{Family, OpenOptions, Published, VideoTokens, memory};
use crate::answer::Reading;
use crate::chosen::{Chosen, choose};
use crate::error::{Error, Result};
use crate::judge::{
    Features, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
use crate::levels::{self, join, weigh};
use crate::nano::Nano;

/// Tokens of a written score with its reasons, and of the reasons of a comparison: as VQAThinker is tested.
const MAX_NEW_TOKENS: usize = 1024;

/// A pixel that is about zero once it is normalised: ImageNet's mean.
const BLANK: [u8; 3] = [124, 116, 104];

/// Standard deviation of a written score's error in points: the sigma of VQAThinker's bell-shaped reward.
const WRITTEN_SCORE_SD: f64 = 0.5;

/// Opens a model folder as a judge: a published checkpoint if its `config.json` names a family, else a trained nano.
/// `name` is the folder's where it is `None`.
///
/// # Errors
/// A family that is not supported; whatever is missing or does not fit, by name; more memory than there is; options that
/// nano does not have.
pub fn open_folder(folder: &Path, name: Option<&str>, options: &OpenOptions) -> Result<Box<dyn Lmm>> {
    if let Some(base) = adapted(folder)? {
        if options.adapter.is_some() {
            return Err(Error::Input(format!("{} is an adapter already; give one only", folder.display())));
        }
        let own = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let options = OpenOptions { adapter: Some(folder.to_owned()), ..options.clone() };
        return open_folder(&base, name.or(own.as_deref()), &options);
    }
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

/// The checkpoint that an adapter's folder is for, by its `adapter_config.json`; `None` where the folder holds a whole model.
///
/// # Errors
/// A configuration that cannot be read, or does not say, or names a folder that is not there.
fn adapted(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join("adapter_config.json");
    if folder.join("config.json").exists() || !path.exists() {
        return Ok(None);
    }
    let config: serde_json::Value = crate::config::read(&path)?;
    let base = config.get("base_model_name_or_path").and_then(serde_json::Value::as_str).unwrap_or_default();
    if !Path::new(base).join("config.json").exists() {
        return Err(Error::Checkpoint {
            message: format!(
                "an adapter of `{base}`, which is no folder here: open its checkpoint, and give this as --adapter"
            ),
            path: folder.to_owned(),
        });
    }
    Ok(Some(PathBuf::from(base)))
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

/// The frames of a video that a checkpoint looks at.
pub struct Frames {
    chosen: Chosen,
    /// For W2S-VQA's motion features.
    clips: Option<(Clips, Vec<Rgb>)>,
}

impl Frames {
    /// The same frames in another order; `None` shows a blank one (VQAThinker's perturbations). W2S-VQA's motion features stay.
    #[must_use]
    pub fn reordered(&self, order: &[Option<usize>]) -> Self {
        let pictures = &self.chosen.pictures;
        let blank = |picture: &Rgb| {
            Rgb::new(picture.width(), picture.height(), BLANK.repeat(picture.width() * picture.height()))
        };
        let shown = |at: &Option<usize>| match at.and_then(|at| pictures.get(at)) {
            Some(picture) => picture.clone(),
            None => blank(&pictures[0]).unwrap_or_else(|_| pictures[0].clone()),
        };
        let chosen = Chosen { pictures: order.iter().map(shown).collect(), ..self.chosen.clone() };
        Self { chosen, clips: self.clips.clone() }
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.chosen.pictures.len()
    }
}

impl Published {
    /// Decodes the frames of a video that this checkpoint looks at.
    ///
    /// # Errors
    /// A video that cannot be decoded or is too short.
    pub fn frames(&self, video: &Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Frames> {
        let video = video.clone().with_threads(options.threads);
        let select = |total, fps| self.network.select_frames(total, fps, options.frames);
        let share = if self.network.motion_tower().is_some() { 0.5 } else { 1.0 };
        let chosen = choose(&video, options, select, &Ok, &|done| progress(share * done))?;
        let clips = match self.network.motion_tower() {
            Some(_) => Some(motion_clips(&video, options, &|done| progress(share + share * done))?),
            None => None,
        };
        Ok(Frames { chosen, clips })
    }

    /// The tokens of a video's frames.
    ///
    /// # Errors
    /// Frames that the family cannot take.
    pub fn look(&self, frames: &Frames) -> Result<VideoTokens> {
        let tokens = self.network.look(&frames.chosen.pictures, &frames.chosen.clock_secs)?;
        match &frames.clips {
            Some((clips, pictures)) => self.network.with_motion(tokens, clips, pictures),
            None => Ok(tokens),
        }
    }

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
        let frames = self.frames(video, options, progress)?;
        let decode_secs = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let tokens = self.look(&frames)?;
        let chosen = frames.chosen;
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
