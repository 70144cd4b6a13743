//! What a training run is told, from a TOML file such as `configs/nano.toml`. Unknown keys are errors.

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    /// Ranking, regression and attribution by the body.
    pub body: BodyTraining,
    /// Written comparisons by the decoder.
    pub language: LanguageTraining,
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
    /// Which distortion dominates.
    pub dominant: f64,
    /// How severe each distortion is.
    pub severity: f64,
    /// Visual and temporal parts each blame only their own.
    pub aspect: f64,
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
    let config = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    check(&config).with_context(|| format!("in {}", path.display()))?;
    Ok(config)
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
        let (data, body, language) = (&self.data, &self.body, &self.language);
        ensure!(data.max_frames >= 2, "data.max_frames is {}, at least 2 are needed", data.max_frames);
        ensure!(data.versions >= 2, "data.versions is {}, at least 2 are needed", data.versions);
        ensure!(!data.short_sides.is_empty(), "data.short_sides is empty");
        ensure!(
            !data.clips.is_empty() || data.scenes > 0,
            "no source: give data.clips or data.scenes above 0"
        );
        ensure!(body.versions >= 2, "body.versions is {}, at least 2 are needed", body.versions);
        ensure!(body.groups >= 1, "body.groups is 0, at least 1 is needed");
        for (name, value) in [
            ("body.moments", body.moments),
            ("body.native_places", body.native_places),
            ("body.context_places", body.context_places),
            ("body.save_steps", body.save_steps),
            ("language.save_steps", language.save_steps),
        ] {
            ensure!(value >= 1, "{name} is 0, at least 1 is needed");
        }
        ensure!(language.batch >= 2, "language.batch is {}, at least 2 are needed", language.batch);
        for (name, rate) in
            [("body.learning_rate", body.learning_rate), ("language.learning_rate", language.learning_rate)]
        {
            ensure!(rate.is_finite() && rate > 0.0, "{name} is {rate}, a positive number is needed");
        }
        for (name, share) in [
            ("body.dropout", body.dropout),
            ("body.ema_decay", body.ema_decay),
            ("language.ema_decay", language.ema_decay),
        ] {
            ensure!((0.0..1.0).contains(&share), "{name} is {share}, 0 up to 1 (not included) is allowed");
        }
        Ok(())
    }
}
