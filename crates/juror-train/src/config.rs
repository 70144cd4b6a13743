//! What a training run is told, from a TOML file such as `configs/nano.toml`. Unknown keys are errors.

use anyhow::{Context, Result, ensure};
use juror_lmm::nano::{CONTEXT_PLACES, NATIVE_PLACES};
use juror_media::distort::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The most bodies of one model.
const MOST_BODIES: usize = 8;

/// A whole run: data, then the body, then the decoder.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SftConfig {
    /// Folder of data, checkpoints, logs and the finished model; relative to the working directory.
    pub run_dir: PathBuf,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Where the distorted versions come from.
    pub data: DataConfig,
    /// Folders of finished models whose bodies join those that are trained, before them; the first gives the decoder that is trained
    /// on, and the tokenizer.
    #[serde(default)]
    pub joined: Vec<PathBuf>,
    /// Bodies trained apart, from seeds of their own; the model is the mean of all. None are needed beside those that join.
    #[serde(default = "one")]
    pub bodies: usize,
    /// Ranking, regression and attribution by each body.
    pub body: BodyTraining,
    /// Pairs laid over each other; without it the first of `joined` gives its overlay, if it has one.
    #[serde(default)]
    pub overlay: Option<OverlayTraining>,
    /// What ails either of a pair laid over each other; without it the first of `joined` gives that, if it has it and its overlay is kept.
    #[serde(default)]
    pub naming: Option<OverlayTraining>,
    /// Written comparisons by the decoder.
    pub language: LanguageTraining,
    /// What the finished weights keep of parts that are too sure of themselves.
    #[serde(default)]
    pub shrinkage: Shrinkage,
}

fn one() -> usize {
    1
}

/// Factors on parts of the margin that training makes larger than contents it has not seen bear out; 1 leaves them as they are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shrinkage {
    /// On the contrast of two videos (`juror_lmm::nano`).
    pub contrast: f64,
    /// On the lead that two videos laid over each other give.
    #[serde(default = "whole")]
    pub overlay: f64,
    /// On the decoder's correction of the margin, one that joined included.
    pub correction: f64,
    /// On the temporal penalties.
    #[serde(default = "whole")]
    pub temporal: f64,
}

fn whole() -> f64 {
    1.0
}

impl Default for Shrinkage {
    fn default() -> Self {
        Self { contrast: 1.0, overlay: whole(), correction: 1.0, temporal: whole() }
    }
}

/// Sources and their versions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folders of source clips; none: procedural scenes only.
    #[serde(default)]
    pub clips: Vec<ClipFolder>,
    /// Groups made of procedural scenes.
    pub scenes: usize,
    /// Short sides, in pixels, that groups are drawn from.
    pub short_sides: Vec<usize>,
    /// Longest stretch of a source, in frames.
    pub max_frames: usize,
    /// Versions of a group, the source included.
    pub versions: usize,
    /// Codecs never trained on, to measure what the model does with unknown ones.
    pub held_out_codecs: Vec<String>,
    /// Full-reference yardstick for magnitudes.
    pub yardstick: YardstickConfig,
}

/// A folder of source clips, and how many groups (one source at one size) are made of each clip.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClipFolder {
    /// The folder, with a table `FOLDER.csv` beside it (columns `file` and `quality`).
    pub folder: PathBuf,
    /// Groups of the clip as it is.
    pub groups: usize,
    /// Groups of the clip varied: turned, recoloured, sped up, cropped, softened (`crate::data::vary`).
    #[serde(default)]
    pub varied: usize,
}

/// How far a version is from its source.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum YardstickConfig {
    /// VMAF v0.6.1 by this FFmpeg program (built with libvmaf).
    Vmaf {
        /// Name or path of the program.
        program: PathBuf,
    },
    /// Multi-scale SSIM by juror itself, stretched to VMAF's range.
    MsSsim,
}

/// Optimisation of the body.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BodyTraining {
    /// Optimiser steps.
    pub steps: usize,
    /// Groups of a batch.
    pub groups: usize,
    /// Versions taken from each group.
    pub versions: usize,
    /// Moments taken from each version.
    pub moments: usize,
    /// Native places taken from each moment.
    pub native_places: usize,
    /// Context places taken from each moment.
    pub context_places: usize,
    /// Share of the trunk's inputs that each group of a batch goes without.
    #[serde(default)]
    pub dropout: f64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Decay of the weight average that is kept.
    pub ema_decay: f64,
    /// Weights of the terms of the loss.
    pub weights: BodyWeights,
    /// Steps between checkpoints.
    pub save_steps: usize,
}

/// Weights of the body's loss terms; see `crate::body`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BodyWeights {
    /// Pairwise ranking of the rank logit inside a group.
    pub rank: f64,
    /// Regression of the rank logit to the yardstick.
    pub rank_regression: f64,
    /// Pairwise ranking of the score logit inside a group.
    pub score_rank: f64,
    /// Regression of the score logit to the yardstick.
    pub score_regression: f64,
    /// Pairwise ranking of the score logit across groups.
    pub cross_rank: f64,
    /// The order within a content, videos laid over each other.
    pub contrast: f64,
    /// The same across contents.
    pub cross_contrast: f64,
    /// Temporal penalties by severity, across groups.
    pub temporal_rank: f64,
    /// Which distortion dominates.
    pub dominant: f64,
    /// How severe each distortion is.
    pub severity: f64,
    /// Visual and temporal parts each blame only their own.
    pub aspect: f64,
}

/// Optimisation of one of the overlay's networks.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayTraining {
    /// Optimiser steps.
    pub steps: usize,
    /// Pairs of a batch.
    pub batch: usize,
    /// Share of the hidden values that each pair goes without.
    pub dropout: f64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Decay of the weight average that is kept.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub save_steps: usize,
}

/// Optimisation of the decoder.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageTraining {
    /// Optimiser steps.
    pub steps: usize,
    /// Pairs of a batch, half of them the other half in the other order.
    pub batch: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Weight of the margin's regression beside the text's cross-entropy.
    pub margin_weight: f64,
    /// Weight of the margin's sign where the order is known.
    pub order_weight: f64,
    /// Weight of the margins of both orders cancelling.
    pub antisymmetry_weight: f64,
    /// Decay of the weight average that is kept.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub save_steps: usize,
}

/// Reads a configuration and checks it.
///
/// # Errors
/// When the file is missing, has unknown or missing keys, or `check` refuses a value.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, check: impl Fn(&T) -> Result<()>) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let context = || format!("in {}", path.display());
    let config = toml::from_str(&text).map_err(|error| explained(&error, &text)).with_context(context)?;
    check(&config).with_context(context)?;
    Ok(config)
}

/// The error with, for a key that does not exist, the nearest that does.
fn explained(error: &toml::de::Error, text: &str) -> anyhow::Error {
    let line = error.span().map(|span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
    let place = line.map_or_else(String::new, |line| format!("line {line}: "));
    let message = error.message();
    // "unknown field `x`, expected one of `a`, `b`", "unknown field `x`, expected `a` or `b`"
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (true, [unknown, known @ ..]) = (message.starts_with("unknown field"), &names[..])
        && let Some(nearest) = known.iter().min_by_key(|name| distance(unknown, name))
    {
        return anyhow::anyhow!(
            "{place}unknown key `{unknown}`; did you mean `{nearest}`? The keys here: {}",
            known.join(", ")
        );
    }
    anyhow::anyhow!("{place}{message}")
}

/// Letters to insert, remove or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j].min(diagonal) + 1);
        }
    }
    row[b.len()]
}

impl SftConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When the file is missing, has unknown or missing keys, or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        read(path, Self::check)
    }

    fn check(&self) -> Result<()> {
        self.data.check()?;
        self.body.check()?;
        self.language.check()?;
        for (table, training) in [("overlay", &self.overlay), ("naming", &self.naming)] {
            if let Some(training) = training {
                training.check(table)?;
            }
        }
        let least = usize::from(self.joined.is_empty());
        ensure!(
            (least..=MOST_BODIES).contains(&self.bodies),
            "bodies is {}, {least} to {MOST_BODIES} are allowed",
            self.bodies
        );
        from_zero("shrinkage.contrast", self.shrinkage.contrast)?;
        from_zero("shrinkage.temporal", self.shrinkage.temporal)?;
        from_zero("shrinkage.correction", self.shrinkage.correction)
    }
}

impl DataConfig {
    /// Says which value cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.max_frames >= 2, "data.max_frames is {}, at least 2 are needed", self.max_frames);
        ensure!(self.versions >= 2, "data.versions is {}, at least 2 are needed", self.versions);
        ensure!(!self.short_sides.is_empty(), "data.short_sides is empty");
        for side in &self.short_sides {
            ensure!((16..=4320).contains(side), "data.short_sides has {side}, 16 to 4320 pixels are allowed");
        }
        for codec in &self.held_out_codecs {
            let known = codec.parse::<Kind>().is_ok_and(Kind::is_codec);
            ensure!(known, "data.held_out_codecs has `{codec}`, which is no codec");
        }
        ensure!(
            !self.clips.is_empty() || self.scenes > 0,
            "no source: give data.clips or data.scenes above 0"
        );
        Ok(())
    }
}

impl BodyTraining {
    /// Says which value cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.versions >= 2, "body.versions is {}, at least 2 are needed", self.versions);
        ensure!(self.groups >= 1, "body.groups is 0, at least 1 is needed");
        for (name, value, most) in [
            ("body.moments", self.moments, usize::MAX),
            ("body.native_places", self.native_places, NATIVE_PLACES),
            ("body.context_places", self.context_places, CONTEXT_PLACES),
            ("body.save_steps", self.save_steps, usize::MAX),
        ] {
            ensure!(value >= 1, "{name} is 0, at least 1 is needed");
            ensure!(value <= most, "{name} is {value}, at most {most} are there");
        }
        let weights = &self.weights;
        for (name, value) in [
            ("body.weights.rank", weights.rank),
            ("body.weights.rank_regression", weights.rank_regression),
            ("body.weights.score_rank", weights.score_rank),
            ("body.weights.score_regression", weights.score_regression),
            ("body.weights.cross_rank", weights.cross_rank),
            ("body.weights.contrast", weights.contrast),
            ("body.weights.cross_contrast", weights.cross_contrast),
            ("body.weights.temporal_rank", weights.temporal_rank),
            ("body.weights.dominant", weights.dominant),
            ("body.weights.severity", weights.severity),
            ("body.weights.aspect", weights.aspect),
            ("body.weight_decay", self.weight_decay),
        ] {
            from_zero(name, value)?;
        }
        positive("body.learning_rate", self.learning_rate)?;
        positive("body.max_grad_norm", self.max_grad_norm)?;
        share("body.dropout", self.dropout)?;
        share("body.ema_decay", self.ema_decay)
    }
}

impl OverlayTraining {
    fn check(&self, table: &str) -> Result<()> {
        let name = |key: &str| format!("{table}.{key}");
        ensure!(self.batch >= 1, "{table}.batch is 0, at least 1 is needed");
        ensure!(self.save_steps >= 1, "{table}.save_steps is 0, at least 1 is needed");
        from_zero(&name("weight_decay"), self.weight_decay)?;
        share(&name("dropout"), self.dropout)?;
        share(&name("ema_decay"), self.ema_decay)?;
        positive(&name("learning_rate"), self.learning_rate)?;
        positive(&name("max_grad_norm"), self.max_grad_norm)
    }
}

impl LanguageTraining {
    /// Says which value cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.save_steps >= 1, "language.save_steps is 0, at least 1 is needed");
        ensure!(self.batch >= 2, "language.batch is {}, at least 2 are needed", self.batch);
        for (name, value) in [
            ("language.margin_weight", self.margin_weight),
            ("language.order_weight", self.order_weight),
            ("language.antisymmetry_weight", self.antisymmetry_weight),
            ("language.weight_decay", self.weight_decay),
        ] {
            from_zero(name, value)?;
        }
        positive("language.learning_rate", self.learning_rate)?;
        positive("language.max_grad_norm", self.max_grad_norm)?;
        share("language.ema_decay", self.ema_decay)
    }
}

pub(crate) fn positive(name: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value > 0.0, "{name} is {value}, a positive number is needed");
    Ok(())
}

pub(crate) fn from_zero(name: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value >= 0.0, "{name} is {value}, a number from 0 is needed");
    Ok(())
}

pub(crate) fn share(name: &str, value: f64) -> Result<()> {
    ensure!((0.0..1.0).contains(&value), "{name} is {value}, 0 up to 1 (not included) is allowed");
    Ok(())
}
