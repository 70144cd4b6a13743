//! The loop: prompts, rollouts, rewards, advantages, then `num_iterations` optimiser steps over them.
//!
//! ```text
//! round r = step / num_iterations                      drawn from the stream (seed, r)
//!   prompts   gradient_accumulation_steps micro-batches of per_device_train_batch_size / num_generations
//!   rollouts  num_generations per prompt, by the policy as it is; rewards and advantages over the whole round
//! iteration i = step % num_iterations
//!   for each micro-batch: forward, loss, backward; gradients add up; one optimiser step
//! ```
//!
//! At iteration 0 the policy is the one that sampled, so its own detached log-probabilities are the old ones; they are
//! kept for the iterations behind. Checkpoints fall between rounds, so a resumed run samples what it would have sampled.
//! A group of equal rewards has advantages 0: it takes no part in the policy term, and is counted
//! (`frac_reward_zero_std`). A micro-batch of nothing else, without KL or coupled loss, is not run at all.
//!
//! Of several processes each samples and trains its share of the round's prompts, `gradient_accumulation_steps` micro-batches as
//! in TRL: two processes with one micro-batch do what one does with two. `scale_rewards = "batch"` and rewards that compare
//! prompts with each other see a rank's own share only; the tokens that `dapo` and `cispo` divide by are counted over all.

use super::{Advantages, GrpoConfig, Scored, advantages, completion_mask, policy_loss};
use crate::engine::{Fit, StepGradients, accumulate, scalar};
use crate::log::TOKENS;
use crate::rewards::{Table, mean, unbiased_variance};
use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use juror_nn::collective::Collective;
use juror_nn::params::Params;
use juror_nn::recompute::Tape;
use juror_nn::rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// One sampled completion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    /// Its tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// The same as text, special tokens of the format included, the stop token not.
    pub text: String,
    /// Whether a stop token ended it; else it was cut.
    pub stopped: bool,
    /// Margin in points by the head behind it, where the model has one.
    pub margin: Option<f64>,
}

/// What one forward pass over given completions yields.
pub struct Forward<'a> {
    /// Log-probabilities `[rows, longest completion]`, with gradient; places behind a completion may hold anything.
    pub logps: Tensor,
    /// Entropies of the same shape.
    pub entropies: Tensor,
    /// A loss of the actor's own, added to the policy's: scalar, mean over the micro-batch.
    pub coupled: Option<Tensor>,
    /// Its terms, for the log.
    pub terms: Vec<(&'static str, f64)>,
    /// What runs layers again in the backward pass, where their graphs were not kept.
    pub tape: Option<Tape<'a>>,
}

/// A policy with its prompts and rewards. Rollouts of a prompt stand side by side, `num_generations` each.
pub trait Actor {
    /// What is asked.
    type Prompt;

    /// Draws prompts.
    ///
    /// # Errors
    /// When the data cannot be read.
    fn prompts(&self, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Self::Prompt>>;

    /// Samples completions; all randomness from `seed` and the number of the prompt, which is `first` for the first.
    ///
    /// # Errors
    /// When tensor work fails.
    fn sample(
        &self,
        prompts: &[Self::Prompt],
        config: &GrpoConfig,
        seed: u64,
        first: usize,
    ) -> Result<Vec<Rollout>>;

    /// Rewards the completions of a rank's round. `seed` and `first` are for whatever must be sampled besides (baselines).
    ///
    /// # Errors
    /// When a reward cannot be computed.
    fn reward(
        &self,
        prompts: &[Self::Prompt],
        rollouts: &[Rollout],
        config: &GrpoConfig,
        seed: u64,
        first: usize,
    ) -> Result<Table>;

    /// Reads given completions with gradient. `advantages` are theirs, for a coupled loss.
    ///
    /// # Errors
    /// When tensor work fails.
    fn forward(
        &self,
        prompts: &[Self::Prompt],
        rollouts: &[Rollout],
        advantages: &[f64],
        temperature: f64,
    ) -> Result<Forward<'_>>;

    /// Log-probabilities under the frozen reference, `[rows, longest]`; asked for only where `beta` is above 0.
    ///
    /// # Errors
    /// When there is no reference or tensor work fails.
    fn reference(&self, prompts: &[Self::Prompt], rollouts: &[Rollout], temperature: f64) -> Result<Tensor>;

    /// Whether [`Forward::coupled`] is ever there.
    fn couples(&self) -> bool {
        false
    }

    /// What the log of rollouts says about a prompt.
    fn describe(&self, prompt: &Self::Prompt) -> serde_json::Value;
}

/// What is kept of a round for its iterations.
struct Round<P> {
    number: usize,
    prompts: Vec<P>,
    rollouts: Vec<Rollout>,
    table: Table,
    advantages: Advantages,
    /// Per micro-batch.
    old: Vec<Option<Tensor>>,
    /// Per micro-batch.
    reference: Vec<Option<Tensor>>,
    terms: Vec<(String, f64)>,
    /// Tokens that count, a mean over ranks.
    tokens: f64,
}

/// Trains the variables of `params`, which `actor` is built on; checkpoints, `log.jsonl` and `rollouts.jsonl` go to
/// `dir`, where a stopped run is resumed. Returns the averaged weights.
///
/// # Errors
/// Settings out of range; a failing actor; a loss that is no number; a full disk.
pub fn train<A: Actor>(
    name: &'static str,
    config: &GrpoConfig,
    params: &Params,
    actor: &A,
    seed: u64,
    dir: &Path,
    world: &dyn Collective,
) -> Result<BTreeMap<String, Tensor>> {
    config.check()?;
    let fit = Fit {
        name,
        steps: config.max_steps,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps,
        weight_decay: config.weight_decay,
        max_grad_norm: config.max_grad_norm,
        ema_decay: config.ema_decay,
        save_steps: config.save_steps,
    };
    let mut kept: Option<Round<A::Prompt>> = None;
    fit.run_gradients(dir, params, world, |step| {
        let number = step / config.num_iterations;
        let mut round = match kept.take() {
            Some(round) if round.number == number => round,
            _ => {
                let round = sample_round(config, actor, seed, number, world)?;
                if world.is_first()
                    && step % config.logging_steps.next_multiple_of(config.num_iterations) == 0
                {
                    log_rollouts(config, actor, &round, step, dir)?;
                }
                round
            }
        };
        let gradients = iterate(config, actor, &mut round)?;
        kept = Some(round);
        Ok(gradients)
    })
}

fn sample_round<A: Actor>(
    config: &GrpoConfig,
    actor: &A,
    seed: u64,
    number: usize,
    world: &dyn Collective,
) -> Result<Round<A::Prompt>> {
    let k = config.num_generations;
    let micro_batches = config.gradient_accumulation_steps;
    let of_round = |name| rng::derive_seed(rng::derive_named(seed, name), &[number as u64]);
    let wanted = config.prompts() * micro_batches * world.world_size();
    let mut prompts = actor.prompts(wanted, &mut rng::stream(of_round("prompts"), &[]))?;
    ensure!(prompts.len() == wanted, "{} prompts, {wanted} are needed", prompts.len());
    let share = world.share(wanted);
    let first = share.start;
    prompts.truncate(share.end);
    let prompts = prompts.split_off(first);
    let rollouts = actor.sample(&prompts, config, of_round("rollouts"), first)?;
    ensure!(rollouts.len() == prompts.len() * k, "{} rollouts of {} prompts", rollouts.len(), prompts.len());
    let table = actor.reward(&prompts, &rollouts, config, of_round("baselines"), first)?;
    let totals = table.totals();
    let advantages = advantages(&totals, k, config.scale_rewards);
    let mut terms = round_terms(&table, &advantages, &rollouts);
    let written: usize = rollouts.iter().map(|r| r.tokens.len()).sum();
    terms.push((TOKENS.into(), (written * world.world_size()) as f64 / config.num_iterations as f64));
    let reference = prompts
        .chunks(config.prompts())
        .zip(rollouts.chunks(config.prompts() * k))
        .map(|(prompts, rollouts)| {
            let wanted = config.beta > 0.0;
            wanted.then(|| actor.reference(prompts, rollouts, config.temperature)).transpose()
        })
        .collect::<Result<Vec<_>>>()?;
    let old = vec![None; reference.len()];
    let counted = rollouts.iter().filter(|r| !is_left_out(config, r)).map(|r| r.tokens.len());
    let mut tokens = [counted.sum::<usize>() as f32];
    world.all_reduce_mean(&mut tokens)?;
    let tokens = f64::from(tokens[0]);
    Ok(Round { number, prompts, rollouts, table, advantages, old, reference, terms, tokens })
}

/// Whether a completion was cut and does not count for it.
fn is_left_out(config: &GrpoConfig, rollout: &Rollout) -> bool {
    config.mask_truncated_completions && !rollout.stopped
}

/// One optimiser step's gradients.
fn iterate<A: Actor>(config: &GrpoConfig, actor: &A, round: &mut Round<A::Prompt>) -> Result<StepGradients> {
    let rows = config.prompts() * config.num_generations;
    let micro_batches = round.reference.len();
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    let (mut grads, mut total): (Option<GradStore>, f64) = (None, 0.0);
    for at in 0..micro_batches {
        let rollouts = &round.rollouts[at * rows..][..rows];
        let advantages = &round.advantages.values[at * rows..][..rows];
        if advantages.iter().all(|a| *a == 0.0) && config.beta == 0.0 && !actor.couples() {
            continue;
        }
        let prompts = &round.prompts[at * config.prompts()..][..config.prompts()];
        let forward = actor.forward(prompts, rollouts, advantages, config.temperature)?;
        let lengths: Vec<usize> = rollouts.iter().map(|r| r.tokens.len()).collect();
        let (longest, device) = (forward.logps.dim(1)?, forward.logps.device());
        let cut: Vec<bool> = rollouts.iter().map(|r| is_left_out(config, r)).collect();
        let mask = completion_mask(&lengths, longest, &cut, device)?;
        let per_row: Vec<f32> = advantages.iter().map(|a| *a as f32).collect();
        let scored = Scored {
            logps: &forward.logps,
            entropies: &forward.entropies,
            old_logps: round.old[at].as_ref(),
            ref_logps: round.reference[at].as_ref(),
            advantages: &Tensor::new(per_row, device)?,
            mask: &mask,
        };
        let policy = policy_loss(config, &scored, micro_batches, round.tokens)?;
        let mut loss = policy.loss;
        if let Some(coupled) = &forward.coupled {
            loss = (loss + (coupled / micro_batches as f64)?)?;
        }
        let value = scalar(&loss)?;
        total += value;
        for (name, value) in policy.metrics.into_iter().chain(forward.terms) {
            let sum = sums.entry(name.to_owned()).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
        }
        if !value.is_finite() {
            break;
        }
        if round.old[at].is_none() && config.num_iterations > 1 {
            round.old[at] = Some(forward.logps.detach());
        }
        accumulate(&mut grads, &loss, forward.tape)?;
    }
    let means = sums.into_iter().map(|(name, (sum, n))| (name, sum / n as f64));
    Ok(StepGradients {
        grads,
        loss: total,
        terms: means.chain(round.terms.clone()).collect(),
        batch: round.prompts.iter().map(|prompt| actor.describe(prompt).to_string()).collect(),
    })
}

/// TRL's keys that do not change between the iterations of a round.
fn round_terms(table: &Table, advantages: &Advantages, rollouts: &[Rollout]) -> Vec<(String, f64)> {
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let lengths: Vec<f64> = rollouts.iter().map(|r| r.tokens.len() as f64).collect();
    let ended: Vec<f64> = rollouts.iter().filter(|r| r.stopped).map(|r| r.tokens.len() as f64).collect();
    let equal = advantages.equal.iter().filter(|e| **e).count();
    let mut terms: Vec<(String, f64)> = vec![
        ("reward".into(), mean(&table.totals())),
        ("reward_std".into(), mean(&advantages.stds)),
        ("frac_reward_zero_std".into(), share(equal, advantages.equal.len())),
        ("completions/mean_length".into(), mean(&lengths)),
        ("completions/min_length".into(), lengths.iter().copied().fold(f64::INFINITY, f64::min)),
        ("completions/max_length".into(), lengths.iter().copied().fold(0.0, f64::max)),
        ("completions/clipped_ratio".into(), share(rollouts.len() - ended.len(), rollouts.len())),
        ("completions/mean_terminated_length".into(), mean(&ended)),
    ];
    for (column, name) in table.names.iter().enumerate() {
        let values = table.column(column);
        terms.push((format!("rewards/{name}/mean"), mean(&values)));
        terms.push((format!("rewards/{name}/std"), unbiased_variance(&values).unwrap_or(0.0).sqrt()));
    }
    terms
}

fn log_rollouts<A: Actor>(
    config: &GrpoConfig,
    actor: &A,
    round: &Round<A::Prompt>,
    step: usize,
    dir: &Path,
) -> Result<()> {
    let path = dir.join("rollouts.jsonl");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    for (row, rollout) in round.rollouts.iter().enumerate().take(config.num_completions_to_print) {
        let rewards: BTreeMap<_, _> = round.table.names.iter().zip(&round.table.rows[row]).collect();
        let line = serde_json::json!({
            "step": step,
            "prompt": actor.describe(&round.prompts[row / config.num_generations]),
            "completion": rollout.text,
            "stopped": rollout.stopped,
            "margin": rollout.margin,
            "rewards": rewards,
            "advantage": round.advantages.values[row],
        });
        writeln!(file, "{line}").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
