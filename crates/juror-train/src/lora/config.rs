//! What a run is told, from TOML files such as `configs/w2s-ranking.toml` and `configs/vqathinker-grpo.toml`. Unknown keys are
//! errors.

use crate::confidence::EntropyOver;
use crate::config::{from_zero, positive, read, share};
use crate::grpo::GrpoConfig;
use crate::rewards::{Decimals, Decision};
use anyhow::{Result, ensure};
use juror_lmm::published::{OpenOptions, Processor};
use juror_nn::collective::local_rank;
use juror_nn::lora::LoraConfig;
use juror_nn::packed::WeightPrecision;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The model that is adapted, and how videos are shown to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// Folder of a published checkpoint.
    pub checkpoint: PathBuf,
    /// Where it runs: `cpu`, `cuda:N`, or `cuda`: the GPU of the number in `LOCAL_RANK`, as `torchrun` sets it, or the first.
    #[serde(default = "cpu")]
    pub device: String,
    /// How its frozen weights are kept: f32 on CPUs; `bf16` (the default), `f16` or `f32` on GPUs. The adapter is f32.
    pub precision: Option<String>,
    /// Frames of a video; absent: as the family is published.
    pub frames: Option<usize>,
    /// Tokens of videos are kept in memory up to so many MiB.
    #[serde(default = "cache_mib")]
    pub cache_mib: usize,
    /// Whether layers are run again in the backward pass instead of keeping what they computed.
    #[serde(default)]
    pub gradient_checkpointing: bool,
}

fn cpu() -> String {
    "cpu".into()
}

fn cache_mib() -> usize {
    2048
}

/// The adapter, by PEFT's names.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// Rank of the updates.
    pub r: usize,
    /// Updates are scaled by `lora_alpha / r`, or by `lora_alpha / sqrt(r)` with `use_rslora`.
    pub lora_alpha: f64,
    /// Rank-stabilised scaling.
    #[serde(default)]
    pub use_rslora: bool,
    /// Last parts of the paths of adapted layers of the decoder.
    pub target_modules: Vec<String>,
}

impl LoraSettings {
    /// As the layers take them.
    #[must_use]
    pub fn config(&self) -> LoraConfig {
        LoraConfig {
            rank: self.r,
            alpha: self.lora_alpha,
            use_rslora: self.use_rslora,
            target_modules: self.target_modules.clone(),
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.r >= 1, "lora.r is 0, at least 1 is needed");
        ensure!(!self.target_modules.is_empty(), "lora.target_modules is empty");
        positive("lora.lora_alpha", self.lora_alpha)
    }
}

impl Student {
    /// How the checkpoint is opened.
    ///
    /// # Errors
    /// A device or precision that does not exist.
    pub fn options(&self) -> Result<OpenOptions> {
        let processor = self.processor(|name| std::env::var(name).ok())?;
        let precision = self.precision.as_deref().map(str::parse::<WeightPrecision>).transpose()?;
        Ok(OpenOptions { processor, precision, ..OpenOptions::default() })
    }

    /// The CUDA device that it runs on, if any.
    ///
    /// # Errors
    /// As [`Student::options`].
    pub fn gpu(&self) -> Result<Option<usize>> {
        Ok(match self.options()?.processor {
            Processor::Cuda(number) => Some(number),
            Processor::Cpu => None,
        })
    }

    fn processor(&self, variable: impl Fn(&'static str) -> Option<String>) -> Result<Processor> {
        if self.device == "cuda" {
            return Ok(Processor::Cuda(local_rank(variable)?));
        }
        Ok(self.device.parse()?)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.frames != Some(0), "student.frames is 0, at least 1 is needed");
        self.options().map(|_| ())
    }
}

/// Supervised training on pairs: the level of the second video against the first (LMM-PVQA).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RankingConfig {
    /// Folder of checkpoints, logs, the report and the adapter; relative to the working directory.
    pub run_dir: PathBuf,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Pairs to learn from: `pairs.jsonl` as `juror pairs` writes it, or any JSON lines with `a`, `b` and `level`.
    pub pairs: PathBuf,
    /// Pairs for the figures before and after, never trained on.
    pub validation: Option<PathBuf>,
    /// The model.
    pub student: Student,
    /// The adapter.
    pub lora: LoraSettings,
    /// Optimisation.
    pub training: RankingTraining,
}

/// Optimisation of the ranking.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankingTraining {
    /// Optimiser steps.
    pub steps: usize,
    /// Pairs that each process reads at once.
    pub per_device_train_batch_size: usize,
    /// Batches of an optimiser step.
    pub gradient_accumulation_steps: usize,
    /// Share of pairs that are asked about in the other order, with the level that belongs to it.
    pub swapped: f64,
    /// The confidence loss of W2S-VQA; absent: cross-entropy alone.
    pub confidence: Option<EntropyOver>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Decay of the weight average that is kept; 0 keeps the last weights.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub save_steps: usize,
}

impl Default for RankingTraining {
    fn default() -> Self {
        Self {
            steps: 1000,
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 1,
            swapped: 0.5,
            confidence: Some(EntropyOver::Targets),
            learning_rate: 1e-4,
            warmup_steps: 30,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            ema_decay: 0.0,
            save_steps: 100,
        }
    }
}

/// Training by rewarded scores (VQAThinker).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringConfig {
    /// Folder of checkpoints, logs, the report and the adapter; relative to the working directory.
    pub run_dir: PathBuf,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Videos to learn from: CSV or JSON lines with `video` and `mos`; files beside it, or by their whole path.
    pub ratings: PathBuf,
    /// Videos for the figures before and after, never trained on.
    pub validation: Option<PathBuf>,
    /// The ratings that become 1 and 5 points.
    #[serde(default = "five_points")]
    pub scale: [f64; 2],
    /// The model.
    pub student: Student,
    /// The adapter.
    pub lora: LoraSettings,
    /// Weights of the rewards.
    #[serde(default)]
    pub rewards: ScoringRewards,
    /// Sampling, loss and optimisation.
    #[serde(default)]
    pub grpo: GrpoConfig,
}

fn five_points() -> [f64; 2] {
    [1.0, 5.0]
}

/// Rewards of a written score; a weight of 0 leaves one out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoringRewards {
    /// Weight of the asked form.
    pub format: f64,
    /// Weight of the bell around the rating.
    pub regression: f64,
    /// Weight of the order with the other videos of a round.
    pub ranking: f64,
    /// Width of the bell, in points.
    pub sigma: f64,
    /// What counts as decimals of a score.
    pub decimals: Decimals,
    /// Whose mean decides about the temporal bonus; absent: no bonus, and no disturbed copies are shown.
    pub temporal: Option<Decision>,
}

impl Default for ScoringRewards {
    fn default() -> Self {
        Self {
            format: 1.0,
            regression: 1.0,
            ranking: 1.0,
            sigma: 0.5,
            decimals: Decimals::Written,
            temporal: Some(Decision::PerVideo),
        }
    }
}

impl RankingConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When the file is missing, has unknown or missing keys, or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        read(path, Self::check)
    }

    fn check(&self) -> Result<()> {
        self.student.check()?;
        self.lora.check()?;
        let training = &self.training;
        for (name, value) in [
            ("training.per_device_train_batch_size", training.per_device_train_batch_size),
            ("training.gradient_accumulation_steps", training.gradient_accumulation_steps),
            ("training.save_steps", training.save_steps),
        ] {
            ensure!(value >= 1, "{name} is 0, at least 1 is needed");
        }
        ensure!(
            (0.0..=1.0).contains(&training.swapped),
            "training.swapped is {}, 0 to 1 is allowed",
            training.swapped
        );
        positive("training.learning_rate", training.learning_rate)?;
        positive("training.max_grad_norm", training.max_grad_norm)?;
        from_zero("training.weight_decay", training.weight_decay)?;
        share("training.ema_decay", training.ema_decay)
    }
}

impl ScoringConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When the file is missing, has unknown or missing keys, or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        read(path, Self::check)
    }

    fn check(&self) -> Result<()> {
        self.student.check()?;
        self.lora.check()?;
        let [low, high] = self.scale;
        ensure!(
            low.is_finite() && high.is_finite() && low < high,
            "scale is [{low}, {high}], two rising numbers are needed"
        );
        let rewards = &self.rewards;
        from_zero("rewards.format", rewards.format)?;
        from_zero("rewards.regression", rewards.regression)?;
        from_zero("rewards.ranking", rewards.ranking)?;
        positive("rewards.sigma", rewards.sigma)?;
        self.grpo.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_configurations_are_read() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let ranking = RankingConfig::read(&configs.join("w2s-ranking.toml")).unwrap();
        assert_eq!(ranking.training.confidence, Some(EntropyOver::Targets));
        let scoring = ScoringConfig::read(&configs.join("vqathinker-grpo.toml")).unwrap();
        assert_eq!(scoring.rewards.temporal, Some(Decision::PerVideo));
        assert_eq!(scoring.student.gpu().unwrap(), None);
    }

    #[test]
    fn a_gpu_without_a_number_is_that_of_the_local_rank() {
        let at = |device: &str, local_rank: Option<&str>| {
            let toml = format!("checkpoint = \"model\"\ndevice = \"{device}\"");
            let student: Student = toml::from_str(&toml).unwrap();
            student.processor(|_| local_rank.map(str::to_owned))
        };
        assert_eq!(at("cuda", Some("3")).unwrap(), Processor::Cuda(3));
        assert_eq!(at("cuda", None).unwrap(), Processor::Cuda(0));
        assert_eq!(at("cuda:1", Some("3")).unwrap(), Processor::Cuda(1));
        assert_eq!(at("cpu", Some("3")).unwrap(), Processor::Cpu);
        assert!(at("cuda", Some("x")).unwrap_err().to_string().starts_with("LOCAL_RANK is `x`"));
    }
}
