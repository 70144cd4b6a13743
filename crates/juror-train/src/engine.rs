//! The loop that every stage of training shares: gradients, clipping, schedule, weight average, checkpoints, log.
//!
//! A stage gives a function from step to loss; everything random in it must follow from the step, so that a
//! resumed run goes on to the same bits. NaN or infinite loss stops the run at the last good checkpoint.

use anyhow::{Context, Result, bail};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use juror_nn::checkpoint::{CheckpointFolder, TrainingState};
use juror_nn::optim::{AdamW, AdamWConfig, Ema, Schedule, clip_global_norm};
use juror_nn::params::Params;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Optimisation settings of one stage.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Name of the stage, shown beside the progress bar.
    pub name: &'static str,
    /// Optimiser steps.
    pub steps: usize,
    /// Peak learning rate; a cosine takes it to 1 % at the end.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Decay of the weight average.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub save_steps: usize,
}

/// The loss of one batch, and its named terms for the log.
pub struct BatchLoss {
    /// Scalar.
    pub loss: Tensor,
    /// Unweighted terms.
    pub terms: Vec<(&'static str, f64)>,
}

/// The gradients of one step, for stages that make them themselves (several backward passes to a step).
pub struct StepGradients {
    /// Summed over the step; `None` where the step has nothing to teach: the weights stay.
    pub grads: Option<GradStore>,
    /// The loss.
    pub loss: f64,
    /// Whatever else is logged.
    pub terms: Vec<(String, f64)>,
}

/// The value of a scalar tensor.
pub(crate) fn scalar(t: &Tensor) -> candle_core::Result<f64> {
    Ok(f64::from(t.to_scalar::<f32>()?))
}

/// Steps between lines of the log.
const LOG_STEPS: usize = 20;

impl Fit {
    /// Trains the variables of `params`, resuming from `dir` where a checkpoint is there; returns the averaged
    /// weights.
    ///
    /// # Errors
    /// When a batch fails, the loss is not finite, or a checkpoint cannot be written.
    pub fn run(
        &self,
        dir: &Path,
        params: &Params,
        mut batch_loss: impl FnMut(usize) -> Result<BatchLoss>,
    ) -> Result<BTreeMap<String, Tensor>> {
        self.run_gradients(dir, params, |step| {
            let BatchLoss { loss, terms } = batch_loss(step)?;
            let value = scalar(&loss)?;
            let grads = if value.is_finite() { Some(loss.backward()?) } else { None };
            let terms = terms.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Ok(StepGradients { grads, loss: value, terms })
        })
    }

    /// As [`Fit::run`], for a stage that makes its gradients itself.
    ///
    /// # Errors
    /// As [`Fit::run`].
    pub fn run_gradients(
        &self,
        dir: &Path,
        params: &Params,
        mut gradients: impl FnMut(usize) -> Result<StepGradients>,
    ) -> Result<BTreeMap<String, Tensor>> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let variables = params.variables();
        let config = AdamWConfig { weight_decay: self.weight_decay, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(variables.clone(), config)?;
        let mut average = Ema::new(&variables, self.ema_decay)?;
        let folder = CheckpointFolder::new(dir, 2);
        let mut done = 0;
        if let Some(state) = folder.load_last(&Device::Cpu)? {
            done = state.step as usize;
            params.set(&state.weights)?;
            if let Some(saved) = &state.optimizer {
                optimizer.load_state(saved)?;
            }
            if let Some(saved) = state.average {
                average = Ema::resume(saved, self.ema_decay, state.step)?;
            }
            tracing::info!("{}: resuming at step {done} of {}", self.name, self.steps);
        }
        let schedule =
            Schedule::Cosine { warmup: self.warmup_steps as u64, total: self.steps as u64, floor: 0.01 };
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log.jsonl"))?;
        let bar = self.progress(done)?;
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        let started = Instant::now();
        let first = done;
        for step in done..self.steps {
            let StepGradients { grads, loss, terms } = gradients(step)?;
            if !loss.is_finite() {
                bail!("{}: the loss of step {step} is {loss}; the last good checkpoint is kept", self.name);
            }
            let mut norm = 0.0;
            if let Some(mut grads) = grads {
                norm = clip_global_norm(&mut grads, &variables, self.max_grad_norm)?;
                optimizer.set_lr(self.learning_rate * schedule.factor(step as u64));
                optimizer.step(&grads)?;
            }
            // Also without a step, since a resumed average counts steps.
            average.update(&variables)?;
            let own = [("loss".to_owned(), loss), ("grad_norm".to_owned(), norm)];
            for (name, value) in terms.into_iter().chain(own) {
                *sums.entry(name).or_default() += value / LOG_STEPS as f64;
            }
            if (step + 1) % LOG_STEPS == 0 {
                let speed = (step + 1 - first) as f64 / started.elapsed().as_secs_f64();
                writeln!(
                    log,
                    "{}",
                    serde_json::json!({"step": step + 1, "steps_per_sec": speed, "means": sums})
                )?;
                bar.set_message(format!("loss {:.4}", sums["loss"]));
                sums.clear();
            }
            bar.inc(1);
            if (step + 1) % self.save_steps == 0 || step + 1 == self.steps {
                folder.save(&TrainingState {
                    step: step as u64 + 1,
                    weights: params.tensors(),
                    optimizer: Some(optimizer.state()?),
                    average: Some(average.tensors().clone()),
                    seeds: BTreeMap::new(),
                    metadata: serde_json::Value::Null,
                })?;
            }
        }
        bar.finish_and_clear();
        Ok(average.tensors().clone())
    }

    fn progress(&self, done: usize) -> Result<ProgressBar> {
        let style = "{prefix} [{bar:30}] {pos}/{len} {msg} {per_sec} {eta} left";
        let bar = ProgressBar::new(self.steps as u64).with_position(done as u64).with_prefix(self.name);
        bar.set_style(ProgressStyle::with_template(style)?);
        bar.reset_eta();
        Ok(bar)
    }
}
