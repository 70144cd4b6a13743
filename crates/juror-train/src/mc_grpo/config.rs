//! What a run is told, from a TOML file such as `configs/nano-mc-grpo.toml`. Unknown keys are errors.

use crate::config::{self, DataConfig};
use crate::grpo::GrpoConfig;
use crate::rewards::Side;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct McGrpoConfig {
    /// Folder of checkpoints, logs, the report and the finished model; relative to the working directory.
    pub run_dir: PathBuf,
    /// Every random choice follows from it; with the seed of `sft`, the same groups are held out.
    pub seed: u64,
    /// Folder of the model to start from, as `juror train sft` writes it.
    pub model: PathBuf,
    /// Folder of observed groups; what is missing there is made. Absent: `run_dir/groups`.
    pub groups_dir: Option<PathBuf>,
    /// Where the groups come from, as for `sft`.
    pub data: DataConfig,
    /// Clips whose pairs tell what is gained, none of them in `data`. Absent: contents of `data` that are held out.
    pub validation: Option<DataConfig>,
    /// Folder of their observed groups; what is missing there is made. Absent: `run_dir/validation`.
    pub validation_dir: Option<PathBuf>,
    /// Sampling, loss and optimisation.
    #[serde(default)]
    pub grpo: GrpoConfig,
    /// Weights and widths of the rewards.
    #[serde(default)]
    pub rewards: RewardConfig,
    /// The regression and antisymmetry terms.
    #[serde(default)]
    pub coupling: Coupling,
    /// Which pairs are drawn.
    #[serde(default)]
    pub pairs: PairConfig,
}

/// Rewards of a comparison; a weight of 0 leaves one out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// Weight of the asked form.
    pub format: f64,
    /// Weight of the right side.
    pub preference: f64,
    /// Weight of the margin's bell.
    pub margin: f64,
    /// Weight of the right distortions.
    pub attribution: f64,
    /// Width of the bell, in points.
    pub sigma: f64,
    /// Margins below this, in points, are ties.
    pub tie: f64,
    /// Where the side taken is read.
    pub side: Side,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self {
            format: 1.0,
            preference: 1.0,
            margin: 1.0,
            attribution: 1.0,
            sigma: 0.5,
            tie: 0.25,
            side: Side::Written,
        }
    }
}

/// By what the regression of a rollout's margin is weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutWeights {
    /// Softmax of the advantages.
    #[default]
    Advantage,
    /// `1 / K`: uncoupled from this side.
    Uniform,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trained {
    /// The whole decoder, its projector and head.
    #[default]
    Decoder,
    /// The margin head alone; what is written stays as it is.
    Head,
}

/// The terms that join numbers to reasons; see `docs/mc-grpo.md`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coupling {
    /// Weight of the regression behind the reasons (lambda).
    pub regression: f64,
    /// Weight of the antisymmetry (mu).
    pub antisymmetry: f64,
    /// Weight of regression and antisymmetry right after the question (nu): the path that judges without reasons.
    pub question: f64,
    /// By what rollouts are weighted.
    pub weights: RolloutWeights,
    /// Temperature of the softmax of advantages (tau).
    pub temperature: f64,
    /// Where the Huber loss turns from square to linear, in points.
    pub huber: f64,
    /// What is trained.
    pub trained: Trained,
}

impl Default for Coupling {
    fn default() -> Self {
        Self {
            regression: 1.0,
            antisymmetry: 0.1,
            question: 0.5,
            weights: RolloutWeights::Advantage,
            temperature: 1.0,
            huber: 0.25,
            trained: Trained::Decoder,
        }
    }
}

/// Which pairs are drawn.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairConfig {
    /// Bounds between the strata of |margin|, in points, rising; each stratum is drawn as often.
    pub strata: Vec<f64>,
    /// Pairs of held-out groups, or of `validation`, on which the model is measured before and after.
    pub held_out: usize,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self { strata: vec![0.25, 0.5, 1.0, 2.0], held_out: 128 }
    }
}

impl McGrpoConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When the file is missing, has unknown or missing keys, or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        config::read(path, Self::check)
    }

    /// Says which value cannot be.
    ///
    /// # Errors
    /// The first key out of range.
    pub fn check(&self) -> Result<()> {
        self.grpo.check().context("grpo")?;
        let (rewards, coupling) = (&self.rewards, &self.coupling);
        let prompts = self.grpo.prompts();
        ensure!(
            prompts.is_multiple_of(2),
            "grpo.per_device_train_batch_size holds {prompts} prompts, an even number is needed: every pair is asked \
             about in both orders"
        );
        self.data.check()?;
        self.validation.iter().try_for_each(DataConfig::check).context("validation")?;
        for (name, value) in [
            ("rewards.format", rewards.format),
            ("rewards.preference", rewards.preference),
            ("rewards.margin", rewards.margin),
            ("rewards.attribution", rewards.attribution),
            ("rewards.tie", rewards.tie),
            ("coupling.regression", coupling.regression),
            ("coupling.antisymmetry", coupling.antisymmetry),
            ("coupling.question", coupling.question),
        ] {
            ensure!(value.is_finite() && value >= 0.0, "{name} is {value}, a number from 0 is needed");
        }
        for (name, value) in [
            ("rewards.sigma", rewards.sigma),
            ("coupling.temperature", coupling.temperature),
            ("coupling.huber", coupling.huber),
        ] {
            ensure!(value.is_finite() && value > 0.0, "{name} is {value}, a positive number is needed");
        }
        let weights = [rewards.format, rewards.preference, rewards.margin, rewards.attribution];
        ensure!(weights.iter().any(|w| *w > 0.0), "all weights of rewards are 0: nothing is rewarded");
        let strata = &self.pairs.strata;
        ensure!(
            strata.iter().all(|b| *b > 0.0 && *b < 4.0) && strata.is_sorted_by(|a, b| a < b),
            "pairs.strata is {strata:?}, rising bounds above 0 and below 4 are needed"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "run_dir = 'r'\nseed = 1\nmodel = 'm'\n[data]\nscenes = 1\n\
        short_sides = [240]\nmax_frames = 8\nversions = 4\nheld_out_codecs = []\nyardstick = 'ms-ssim'\n";

    #[test]
    fn the_committed_configurations_are_valid() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        McGrpoConfig::read(&configs.join("nano-mc-grpo.toml")).unwrap();
        crate::config::SftConfig::read(&configs.join("nano.toml")).unwrap();
        crate::improve::ImproveConfig::read(&configs.join("nano-improve.toml")).unwrap();
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        let read =
            |more: &str| -> Result<()> { toml::from_str::<McGrpoConfig>(&format!("{PLAIN}{more}"))?.check() };
        read("").unwrap();
        for (more, key) in [
            ("[pairs]\nstrata = [1.0, 0.5]", "pairs.strata"),
            ("[pairs]\nstrata = [5.0]", "pairs.strata"),
            ("[grpo]\nper_device_train_batch_size = 8", "per_device_train_batch_size"),
            ("[rewards]\nsigma = 0.0", "rewards.sigma"),
            ("[rewards]\nformat = 0\npreference = 0\nmargin = 0\nattribution = 0", "rewards"),
            ("[coupling]\nhuber = -1.0", "coupling.huber"),
            ("[coupling]\nregresion = 1.0", "regresion"),
        ] {
            let message = format!("{:#}", read(more).unwrap_err());
            assert!(message.contains(key), "{more}: {message}");
        }
    }
}
