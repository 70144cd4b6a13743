//! What a run is told, from a TOML file such as `configs/nano-improve.toml`. Unknown keys are errors.

use crate::config::{self, BodyTraining, DataConfig, LanguageTraining};
use crate::pairs::mining::Search;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImproveConfig {
    /// Folder of all stages and the best model; relative to the working directory.
    pub run_dir: PathBuf,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Folder of the model to start from, as `juror train sft` writes it. Every stage trains from it anew.
    pub model: PathBuf,
    /// Stages at most.
    pub stages: usize,
    /// A stage whose gain in pair accuracy on the validation groups is below this is the last one.
    pub min_gain: f64,
    /// Share of the start's bodies in those of each stage's model, weight by weight (WiSE-FT): what a stage learns on the clips that it knows
    /// costs less elsewhere. 0: the trained ones.
    #[serde(default)]
    pub start_share: f64,
    /// Folder of observed groups of `data`; what is missing there is made. Absent: `run_dir/groups`.
    pub groups_dir: Option<PathBuf>,
    /// What the start model was trained on.
    pub data: DataConfig,
    /// Where the videos come from that the student labels; each stage makes other versions of them.
    pub pool: DataConfig,
    /// What decides; none of its clips may be in `data` or `pool`.
    pub validation: DataConfig,
    /// How labels are made.
    #[serde(default)]
    pub label: LabelConfig,
    /// How hard pairs are found and used.
    #[serde(default)]
    pub mining: MiningConfig,
    /// Training of the body, from the start model's.
    pub body: BodyTraining,
    /// Training of the decoder, from the start model's.
    pub language: LanguageTraining,
}

/// Errors of those who label, in points; a label weighs both by their inverse squares.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelConfig {
    /// Of the student, beside the posterior of its scale: what more comparisons do not lessen.
    pub student_sd: f64,
    /// Of the full-reference yardstick.
    pub yardstick_sd: f64,
}

impl Default for LabelConfig {
    fn default() -> Self {
        Self { student_sd: 0.5, yardstick_sd: 0.4 }
    }
}

/// gMAD between student and yardstick, both as attacker.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiningConfig {
    /// Levels of equal numbers of videos.
    pub levels: usize,
    /// What one takes for alike, points.
    pub tolerance: f64,
    /// Pairs of each level and role.
    pub pairs_per_level: usize,
    /// Share of the decoder's pairs that are hard ones.
    pub share: f64,
}

impl Default for MiningConfig {
    fn default() -> Self {
        Self { levels: 8, tolerance: 0.25, pairs_per_level: 25, share: 0.25 }
    }
}

impl MiningConfig {
    pub(super) fn search(self) -> Search {
        let Self { levels, tolerance, pairs_per_level, .. } = self;
        Search { levels, tolerance, pairs_per_level }
    }
}

impl ImproveConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When the file is missing, has unknown or missing keys, or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        config::read(path, Self::check)
    }

    fn check(&self) -> Result<()> {
        self.data.check()?;
        self.pool.check().context("pool")?;
        self.validation.check().context("validation")?;
        self.body.check()?;
        self.language.check()?;
        ensure!(self.stages >= 1, "stages is 0, at least 1 is needed");
        let (label, mining) = (&self.label, &self.mining);
        ensure!(
            (-1.0..=1.0).contains(&self.min_gain),
            "min_gain is {}, a share from -1 to 1 is allowed",
            self.min_gain
        );
        config::share("start_share", self.start_share)?;
        for (name, value) in [
            ("label.student_sd", label.student_sd),
            ("label.yardstick_sd", label.yardstick_sd),
            ("mining.tolerance", mining.tolerance),
        ] {
            ensure!(value.is_finite() && value > 0.0, "{name} is {value}, a positive number is needed");
        }
        for (name, value) in
            [("mining.levels", mining.levels), ("mining.pairs_per_level", mining.pairs_per_level)]
        {
            ensure!(value >= 1, "{name} is 0, at least 1 is needed");
        }
        ensure!(
            (0.0..=1.0).contains(&mining.share),
            "mining.share is {}, 0 up to 1 is allowed",
            mining.share
        );
        Ok(())
    }
}
