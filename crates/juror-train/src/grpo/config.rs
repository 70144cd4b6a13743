//! Settings under TRL's names. Keys that are not here are errors.

use anyhow::{Result, ensure};
use juror_nn::sampling::Sampling;
use serde::{Deserialize, Serialize};

/// How per-token losses become one number; B sequences, mask m, per-token loss l.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over sequences of the mean over tokens (arXiv 2402.03300).
    #[default]
    Grpo,
    /// Sum over all tokens by their number in the micro-batch.
    Bnpo,
    /// Sum by `B max_completion_length`, a constant (arXiv 2503.20783).
    DrGrpo,
    /// Sum by the tokens of the whole accumulated batch (arXiv 2503.14476).
    Dapo,
    /// As `dapo`, of `-min(ratio, epsilon_high) A logp` with the ratio detached (arXiv 2506.13585).
    Cispo,
    /// As `grpo`, with a sigmoid in place of the clip (arXiv 2511.20347).
    Sapo,
    /// Mean over sequences of the loss times the length.
    Luspo,
}

/// By what advantages are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    /// The group's standard deviation.
    #[default]
    Group,
    /// The batch's.
    Batch,
    /// Nothing.
    None,
}

/// Whether ratios are per token or per sequence (GSPO, arXiv 2507.18071).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceSampling {
    /// Per token.
    #[default]
    Token,
    /// Exponential of the sequence's mean log-ratio.
    Sequence,
}

/// All settings; every key may be left out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// Optimiser steps.
    pub max_steps: usize,
    /// Completions of a micro-batch; a multiple of `num_generations`.
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimiser step.
    pub gradient_accumulation_steps: usize,
    /// Completions of a prompt.
    pub num_generations: usize,
    /// Optimiser steps over the same completions.
    pub num_iterations: usize,
    /// Tokens at which a completion is cut.
    pub max_completion_length: usize,
    /// Sampling temperature, also of the log-probabilities that are trained.
    pub temperature: f64,
    /// Only the likeliest tokens that hold this much mass.
    pub top_p: f64,
    /// Only so many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Of tokens written before; 1 means none.
    pub repetition_penalty: f64,
    /// Weight of the KL divergence from the reference; 0 does without a reference.
    pub beta: f64,
    /// Lower clip of the ratio: `1 - epsilon`.
    pub epsilon: f64,
    /// Upper clip `1 + epsilon_high`; absent: as `epsilon`. With `cispo` the bound itself.
    pub epsilon_high: Option<f64>,
    /// Cap of the unclipped ratio (two-sided clipping, arXiv 2505.07291).
    pub delta: Option<f64>,
    /// How the loss is averaged.
    pub loss_type: LossType,
    /// By what advantages are divided.
    pub scale_rewards: ScaleRewards,
    /// Ratios per token or per sequence.
    pub importance_sampling_level: ImportanceSampling,
    /// Whether the KL divergence is weighted by the ratio, which makes its gradient unbiased off policy.
    pub use_bias_correction_kl: bool,
    /// Whether completions that were cut are left out of the loss.
    pub mask_truncated_completions: bool,
    /// Sigmoid temperature of `sapo` for positive advantages.
    pub sapo_temperature_pos: f64,
    /// The same for others.
    pub sapo_temperature_neg: f64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Decay of the weight average that is kept; 0 keeps the last weights. (Not TRL's.)
    pub ema_decay: f64,
    /// Steps between checkpoints; a multiple of `num_iterations`.
    pub save_steps: usize,
    /// Steps between logged completions.
    pub logging_steps: usize,
    /// How many completions are logged each time.
    pub num_completions_to_print: usize,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            max_steps: 100,
            per_device_train_batch_size: 32,
            gradient_accumulation_steps: 1,
            num_generations: 8,
            num_iterations: 1,
            max_completion_length: 128,
            temperature: 1.0,
            top_p: 1.0,
            top_k: None,
            repetition_penalty: 1.0,
            beta: 0.04,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            loss_type: LossType::Grpo,
            scale_rewards: ScaleRewards::Group,
            importance_sampling_level: ImportanceSampling::Token,
            use_bias_correction_kl: false,
            mask_truncated_completions: false,
            sapo_temperature_pos: 1.0,
            sapo_temperature_neg: 1.05,
            learning_rate: 1e-6,
            warmup_steps: 0,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            ema_decay: 0.0,
            save_steps: 50,
            logging_steps: 10,
            num_completions_to_print: 4,
        }
    }
}

impl GrpoConfig {
    /// The upper clip: `epsilon_high`, else `epsilon`.
    #[must_use]
    pub fn epsilon_high(&self) -> f64 {
        self.epsilon_high.unwrap_or(self.epsilon)
    }

    /// Prompts of a micro-batch.
    #[must_use]
    pub fn prompts(&self) -> usize {
        self.per_device_train_batch_size / self.num_generations.max(1)
    }

    /// How tokens are drawn.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: (self.top_p < 1.0).then_some(self.top_p),
            repetition_penalty: self.repetition_penalty,
        }
    }

    /// Says which value cannot be.
    ///
    /// # Errors
    /// The first key out of range, with its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [
            ("max_steps", self.max_steps),
            ("per_device_train_batch_size", self.per_device_train_batch_size),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps),
            ("num_iterations", self.num_iterations),
            ("max_completion_length", self.max_completion_length),
            ("save_steps", self.save_steps),
            ("logging_steps", self.logging_steps),
        ] {
            ensure!(value >= 1, "{name} is 0, at least 1 is needed");
        }
        let k = self.num_generations;
        ensure!(k >= 2, "num_generations is {k}, at least 2 are needed: advantages compare them");
        let batch = self.per_device_train_batch_size;
        ensure!(
            batch.is_multiple_of(k),
            "per_device_train_batch_size is {batch}, a multiple of num_generations ({k}) is needed"
        );
        for (name, steps) in [("save_steps", self.save_steps), ("max_steps", self.max_steps)] {
            let inner = self.num_iterations;
            ensure!(
                steps.is_multiple_of(inner),
                "{name} is {steps}, a multiple of num_iterations ({inner}) is needed: a resumed run samples anew"
            );
        }
        self.sampling().validate()?;
        ensure!(self.top_p > 0.0 && self.top_p <= 1.0, "top_p is {}, above 0 up to 1 is allowed", self.top_p);
        for (name, value) in [
            ("temperature", self.temperature),
            ("learning_rate", self.learning_rate),
            ("max_grad_norm", self.max_grad_norm),
            ("sapo_temperature_pos", self.sapo_temperature_pos),
            ("sapo_temperature_neg", self.sapo_temperature_neg),
        ] {
            ensure!(value.is_finite() && value > 0.0, "{name} is {value}, a positive number is needed");
        }
        for (name, value) in [
            ("beta", self.beta),
            ("epsilon", self.epsilon),
            ("epsilon_high", self.epsilon_high()),
            ("weight_decay", self.weight_decay),
        ] {
            ensure!(value.is_finite() && value >= 0.0, "{name} is {value}, a number from 0 is needed");
        }
        ensure!(self.epsilon < 1.0, "epsilon is {}, below 1 is allowed", self.epsilon);
        if let Some(delta) = self.delta {
            let bound = 1.0 + self.epsilon_high();
            ensure!(
                delta.is_finite() && delta > bound,
                "delta is {delta}, above 1 + epsilon_high ({bound}) is needed"
            );
        }
        ensure!(
            (0.0..1.0).contains(&self.ema_decay),
            "ema_decay is {}, 0 up to 1 (not included) is allowed",
            self.ema_decay
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_name_their_key() {
        GrpoConfig::default().check().unwrap();
        let fails = |text: &str, key: &str| {
            let config: GrpoConfig = toml::from_str(text).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        };
        fails("num_generations = 1", "num_generations");
        fails("per_device_train_batch_size = 12", "num_generations");
        fails("save_steps = 25\nnum_iterations = 2", "save_steps");
        fails("temperature = 0.0", "temperature");
        fails("top_p = 0.0", "top_p");
        fails("delta = 1.1", "delta");
        fails("beta = -0.1", "beta");
        fails("ema_decay = 1.0", "ema_decay");
        let unknown = toml::from_str::<GrpoConfig>("num_generation = 8").unwrap_err().to_string();
        assert!(unknown.contains("num_generation") && unknown.contains("num_generations"), "{unknown}");
    }
}
