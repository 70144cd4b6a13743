//! Margin-Coupled GRPO for `nano`: reasons and margins of a comparison trained together (`docs/mc-grpo.md`).
//!
//! `juror train mc-grpo` starts from a model folder. K sampled rollouts reason about a pair in each order; each ends in a
//! margin, in points, read by the head from the state behind the reasons. Rewards (form, side, margin, distortions)
//! make advantages; the policy loss trains the words, and a regression of the margins, weighted by the same advantages,
//! trains head and states; so the reward sees the margin and the margin sees the reasons. Bodies and overlay are frozen.
//!
//! The idea is VersusQ's (arXiv 2605.21130), whose published part is no more than that; the equations are ours.
//!
//! ```text
//! RUN/decoder/         checkpoints, log.jsonl and the same for TensorBoard, rollouts.jsonl
//! RUN/report.json      figures on pairs kept from training, before and after
//! RUN/model/           opens with --model; MODEL_CARD.md
//! ```
//!
//! Left out: gradients into the body.

mod actor;
mod config;
mod loss;
mod measure;
mod pairs;
#[cfg(test)]
mod tests;

pub use config::{Coupling, McGrpoConfig, PairConfig, RewardConfig, RolloutWeights, Trained};
pub use measure::Figures;
pub use pairs::Pair;

use crate::card::Card;
use crate::data::groups::{self, GroupFile};
use crate::data::sources;
use crate::decoder::Library;
use crate::grpo;
use crate::rewards::{Attribution, Format, MarginBell, Preference, Rewards};
use crate::sft::{hold_out, prepare_groups, write_model};
use actor::{NanoActor, Speech};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use juror_lmm::nano::{Decoder, NanoConfig, Vision};
use juror_nn::collective::Collective;
use juror_nn::params::Params;
use juror_nn::rng;
use juror_stats::Interval;
use measure::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// The start model on pairs kept from training; `null` where there are none.
    pub before: Option<Figures>,
    /// The trained one on the same pairs.
    pub after: Option<Figures>,
    /// 95 % intervals of `after` less `before`, in the order of [`Figures::named`].
    pub gains_ci95: Vec<Option<Interval>>,
}

/// A model folder, read.
struct Start {
    config: NanoConfig,
    tokenizer: String,
    params: Params,
    vision: Vision,
}

impl Start {
    /// The model and, on its variables, the policy.
    fn open(folder: &Path, trained: Trained, seed: u64) -> Result<(Self, Decoder)> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let context = || format!("in {}", folder.display());
        let config: NanoConfig =
            serde_json::from_str(&read("config.json")?).context("config.json").with_context(context)?;
        config.check().with_context(context)?;
        let tokenizer = read("tokenizer.json")?;
        let params = Params::load_for_training(&folder.join("model.safetensors"), seed, &Device::Cpu)?;
        params.freeze("body.");
        params.freeze("overlay.");
        if trained == Trained::Head {
            let parts =
                ["projector", "slot", "owner", "video_norm", "embedding", "position", "blocks", "norm"];
            parts.iter().for_each(|part| params.freeze(&format!("decoder.{part}")));
        }
        let vision = Vision::new(&params, &config)?;
        let policy = Decoder::new(&params, &config)?;
        params.verify().with_context(context)?;
        Ok((Self { config, tokenizer, params, vision }, policy))
    }

    /// A decoder without gradient on these weights.
    fn frozen(&self, weights: BTreeMap<String, Tensor>) -> Result<Decoder> {
        Ok(Decoder::new(&Params::from_tensors(weights, &Device::Cpu)?, &self.config)?)
    }
}

/// Runs the training; returns the model's folder.
///
/// # Errors
/// When data or model cannot be read or a step fails; what was saved is used by the next run.
pub fn run(config: &McGrpoConfig, world: &dyn Collective) -> Result<PathBuf> {
    config.check()?;
    let (start, policy) = Start::open(&config.model, config.coupling.trained, config.seed)?;
    let sources = sources::list(&config.data, config.seed)?;
    let prepare =
        |data, sources: &[_], folder: &Path| prepare_groups(data, &start.config, sources, folder, world);
    let folder = config.groups_dir.clone().unwrap_or_else(|| groups::folder(&config.run_dir));
    let (training, held_out) = hold_out(prepare(&config.data, &sources, &folder)?);
    let validation = match &config.validation {
        Some(data) => {
            let others = sources::list(data, rng::derive_named(config.seed, "validation"))?;
            sources::apart(&others, &sources).context("data")?;
            let folder = config.validation_dir.clone();
            Some(prepare(data, &others, &folder.unwrap_or_else(|| config.run_dir.join("validation")))?)
        }
        None => None,
    };

    // Copies: the variables' own memory changes under training.
    let copied = start.params.tensors().into_iter().map(|(name, t)| Ok((name, t.copy()?)));
    let copied = copied.collect::<Result<BTreeMap<_, _>>>()?;
    let rewards = &config.rewards;
    let actor = NanoActor {
        policy,
        sampler: start.frozen(start.params.tensors())?,
        reference: start.frozen(copied.clone())?,
        speech: Speech::from_bytes(start.tokenizer.as_bytes())?,
        library: Library::new(&start.vision, &training),
        strata: config.pairs.strata.clone(),
        rewards: Rewards::default()
            .with(rewards.format, Format)
            .with(rewards.preference, Preference { tie: rewards.tie, side: rewards.side })
            .with(rewards.margin, MarginBell { sigma: rewards.sigma })
            .with(rewards.attribution, Attribution),
        coupling: config.coupling.clone(),
    };
    let trained = grpo::train(
        "mc-grpo",
        &config.grpo,
        &start.params,
        &actor,
        config.seed,
        &config.run_dir.join("decoder"),
        world,
    )?;
    if !world.is_first() {
        return Ok(config.run_dir.join("model"));
    }
    let mut weights = copied;
    weights.extend(trained);

    let report = report(config, &start, &actor, validation.as_deref().unwrap_or(&held_out), &weights)?;
    tracing::info!("pairs kept from training:\n{}", report.table());
    let path = config.run_dir.join("report.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    let folder = config.run_dir.join("model");
    let ladders = write_model(&folder, &start.config, weights, &start.tokenizer, &held_out)?.table();
    let card = Card {
        command: "juror train mc-grpo",
        config,
        data: &config.data,
        training: &training,
        held_out: &held_out,
        processes: world.world_size(),
        steps: &[("rollouts", config.grpo.max_steps)],
        figures: &format!("{}\n{ladders}", report.table()),
    };
    card.write(&folder)?;
    Ok(folder)
}

impl Report {
    /// The figures as a Markdown table.
    #[must_use]
    pub fn table(&self) -> String {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return "No pairs were drawn.\n".to_owned();
        };
        let mut table = format!(
            "| greedy, both orders, {} pairs | before | after | gain, 95 % |\n|---|---|---|---|\n",
            before.pairs
        );
        let rows = before.named().into_iter().zip(after.named()).zip(&self.gains_ci95);
        for (((name, before), (_, after)), gain) in rows {
            let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
            let gain = gain.map_or_else(|| "-".to_owned(), |i| format!("{:+.3} to {:+.3}", i.lo, i.hi));
            table += &format!("| {name} | {} | {} | {gain} |\n", cell(before), cell(after));
        }
        table
    }
}

/// Figures on pairs of groups that were kept from training, before and after.
fn report(
    config: &McGrpoConfig,
    start: &Start,
    actor: &NanoActor<'_>,
    unseen: &[GroupFile],
    weights: &BTreeMap<String, Tensor>,
) -> Result<Report> {
    if unseen.is_empty() || config.pairs.held_out == 0 {
        return Ok(Report { before: None, after: None, gains_ci95: Vec::new() });
    }
    let library = Library::new(&start.vision, unseen);
    let mut rng = rng::stream(rng::derive_named(config.seed, "held-out pairs"), &[]);
    let prompts = pairs::draw(&library, &config.pairs.strata, 2 * config.pairs.held_out, &mut rng)?;
    let outcome = |decoder: &Decoder| {
        let longest = config.grpo.max_completion_length;
        Outcome::of(&library, decoder, &actor.speech, &prompts, &config.rewards, longest)
    };
    let (before, after) = (outcome(&actor.reference)?, outcome(&start.frozen(weights.clone())?)?);
    Ok(Report {
        before: Some(before.figures()),
        after: Some(after.figures()),
        gains_ci95: before.gains(&after),
    })
}
