//! `juror improve`: a judge labels new versions, learns from where it and the yardstick disagree, and goes on while that helps.
//!
//! ```text
//! stage k   pool       new versions of the pool's sources (seed, k)
//!           labels     by the model of stage k - 1 and the yardstick (`label`)
//!           pairs      hard ones: gMAD between the two (`crate::pairs::mining`)
//!           training   from the start model, on its own data and the labelled groups of hard pairs of stages 1..k
//!           figures    on the validation groups; too small a gain ends the run, and the best model so far is the result
//!
//! RUN/validation/             groups that decide
//! RUN/stage-K/groups/         the stage's pool
//! RUN/stage-K/labels.jsonl, pairs.jsonl
//! RUN/stage-K/body/N/, decoder/, model/
//! RUN/stage-K/figures.json    last: the stage is done
//! RUN/start.json              figures of the start
//! RUN/figures.json            of the start and of every stage
//! RUN/model/                  the best
//! ```
//!
//! After the iterative scheme of LMM-PVQA and W2S-VQA (arXiv 2505.03631): weak labels, hard samples by gMAD, retraining on the union. The
//! trained bodies are averaged with the start's weight by weight (`start_share`; WiSE-FT, arXiv 2109.01903). A
//! stopped run goes on where it was. Left out: judges beside student and yardstick (`juror pairs` has panels).

mod config;
mod label;
mod measure;

pub use config::{ImproveConfig, LabelConfig, MiningConfig};
pub use label::{HardPair, Label};
pub use measure::Figures;

use crate::body;
use crate::card::Card;
use crate::data::groups::{self, GroupFile};
use crate::data::sources::{self, Source};
use crate::decoder::{self, Library};
use crate::engine::{Stage, weights_of};
use crate::sft::{hold_out, prepare_groups, write_model};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use juror_lmm::nano::{Nano, NanoConfig, Vision, Voice};
use juror_nn::collective::Collective;
use juror_nn::params::Params;
use juror_nn::rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The model that every stage starts from.
struct Start {
    config: NanoConfig,
    tokenizer: String,
    weights: BTreeMap<String, Tensor>,
}

impl Start {
    fn open(folder: &Path) -> Result<Self> {
        // Refuses whatever is no whole model.
        let config = Nano::from_folder(folder)?.config().clone();
        let path = folder.join("tokenizer.json");
        let tokenizer =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = folder.join("model.safetensors");
        let weights = candle_core::safetensors::load(&path, &Device::Cpu)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { config, tokenizer, weights: weights.into_iter().collect() })
    }
}

/// What a stage adds to the training data.
struct Mined {
    groups: Vec<GroupFile>,
    /// Group within `groups` and version, twice.
    pairs: Vec<[(usize, usize); 2]>,
}

/// Runs stages; returns the folder of the best model.
///
/// # Errors
/// When data or model cannot be read or a stage fails; what was done is used by the next run.
pub fn run(config: &ImproveConfig, world: &dyn Collective) -> Result<PathBuf> {
    let start = Start::open(&config.model)?;
    let pool = |stage: u64| {
        let seed = rng::derive_seed(rng::derive_named(config.seed, "pool"), &[stage]);
        sources::list(&config.pool, seed)
    };
    let base_sources = sources::list(&config.data, config.seed)?;
    let validation_seed = rng::derive_named(config.seed, "validation");
    let validation_sources = sources::list(&config.validation, validation_seed)?;
    sources::apart(&validation_sources, &base_sources).context("data")?;
    sources::apart(&validation_sources, &pool(1)?).context("pool")?;

    let prepare =
        |data, sources: &[Source], folder: &Path| prepare_groups(data, &start.config, sources, folder, world);
    let base_dir = config.groups_dir.clone().unwrap_or_else(|| groups::folder(&config.run_dir));
    let (base, held_out) = hold_out(prepare(&config.data, &base_sources, &base_dir)?);
    let validation = prepare(&config.validation, &validation_sources, &config.run_dir.join("validation"))?;

    let mut best = (
        config.model.clone(),
        judged(&config.model, &config.run_dir.join("start.json"), &validation, world)?,
    );
    let mut history = vec![best.1.clone()];
    tracing::info!("start: {:?}", best.1);
    let mut student = config.model.clone();
    let mut union = base;
    let mut hard: Vec<[(usize, usize); 2]> = Vec::new();
    for stage in 1..=config.stages {
        let dir = config.run_dir.join(format!("stage-{stage}"));
        let groups = prepare(&config.pool, &pool(stage as u64)?, &dir.join("groups"))?;
        let mined = mine(config, &student, groups, &dir, world)?;
        tracing::info!("stage {stage}: {} hard pairs of {} groups", mined.pairs.len(), mined.groups.len());
        let before = union.len();
        hard.extend(mined.pairs.iter().map(|pair| pair.map(|(group, version)| (before + group, version))));
        union.extend(mined.groups);
        let figures_path = dir.join("figures.json");
        if !figures_path.exists() {
            train(config, &start, &union, &hard, &held_out, &dir, world)?;
        }
        student = dir.join("model");
        let figures = judged(&student, &figures_path, &validation, world)?;
        tracing::info!("stage {stage}: {figures:?}");
        history.push(figures.clone());
        let gain = figures.pair_accuracy - best.1.pair_accuracy;
        if gain > 0.0 {
            best = (student.clone(), figures);
        }
        if gain < config.min_gain {
            tracing::info!(
                "stage {stage} gained {gain:+.4} in pair accuracy, {} is needed: done",
                config.min_gain
            );
            break;
        }
    }
    let folder = config.run_dir.join("model");
    if world.is_first() {
        write_json(&config.run_dir.join("figures.json"), &history)?;
        copy_model(&best.0, &folder)?;
        let union_of = union.len();
        let card = Card {
            command: "juror improve",
            config,
            data: &config.data,
            training: &union,
            held_out: &validation,
            processes: world.world_size(),
            steps: &[("body", config.body.steps), ("decoder", config.language.steps)],
            figures: &format!(
                "{}\nThe model is that of {}; the last stage trained on {union_of} groups.\n",
                table(&history),
                best.0.display()
            ),
        };
        card.write(&folder)?;
    }
    world.barrier()?;
    Ok(folder)
}

/// Labels and hard pairs of a stage, made by the first rank where they are not there yet; gives the groups of hard pairs, labelled.
fn mine(
    config: &ImproveConfig,
    student: &Path,
    groups: Vec<GroupFile>,
    dir: &Path,
    world: &dyn Collective,
) -> Result<Mined> {
    let (labels_path, pairs_path) = (dir.join("labels.jsonl"), dir.join("pairs.jsonl"));
    if world.is_first() && !pairs_path.exists() {
        let labels = label::label(&Nano::from_folder(student)?, &groups, &config.label)?;
        write_lines(&labels_path, &labels)?;
        write_lines(&pairs_path, &label::mine(&labels, &config.mining))?;
    }
    world.barrier()?;
    let labels: Vec<Label> = read_lines(&labels_path)?;
    let pairs: Vec<HardPair> = read_lines(&pairs_path)?;
    let found = pairs.iter().flat_map(|pair| [pair.a, pair.b]).filter_map(|at| labels.get(at));
    let wanted: BTreeSet<&str> = found.map(|label| label.group.as_str()).collect();
    let mut kept: Vec<GroupFile> =
        groups.into_iter().filter(|group| wanted.contains(group.id.as_str())).collect();
    let places: HashMap<String, usize> =
        kept.iter().enumerate().map(|(at, group)| (group.id.clone(), at)).collect();
    for label in &labels {
        if let Some(at) = places.get(&label.group)
            && let Some(example) = kept[*at].examples.get_mut(label.version)
        {
            example.quality = (label.label - 1.0) / 4.0;
        }
    }
    let place = |at: usize| -> Result<(usize, usize)> {
        let label = labels.get(at).with_context(|| format!("{} names no label", pairs_path.display()))?;
        let group = places.get(&label.group).with_context(|| format!("group {} is missing", label.group))?;
        Ok((*group, label.version))
    };
    let pairs = pairs.iter().map(|pair| Ok([place(pair.a)?, place(pair.b)?])).collect::<Result<_>>()?;
    Ok(Mined { groups: kept, pairs })
}

/// Trains body and decoder of the start model on `groups`, and writes the stage's model.
fn train(
    config: &ImproveConfig,
    start: &Start,
    groups: &[GroupFile],
    hard: &[[(usize, usize); 2]],
    held_out: &[GroupFile],
    dir: &Path,
    world: &dyn Collective,
) -> Result<()> {
    let (body_dir, decoder_dir) = (dir.join("body"), dir.join("decoder"));
    let stage = Stage { dir: &body_dir, seed: config.seed, world, start: Some(&start.weights) };
    let trained = body::train(&config.body, &start.config, groups, &stage)?;
    let mut weights = blended(&start.weights, trained, config.start_share)?;
    weights.extend(weights_of(&start.weights, "overlay")); // stays as it is
    let frozen = Vision::new(&Params::from_tensors(weights.clone(), &Device::Cpu)?, &start.config)?;
    let library = Library::new(&frozen, groups).with_hard_pairs(hard, config.mining.share);
    let voice = Voice::from_bytes(start.tokenizer.as_bytes())?;
    let stage = Stage { dir: &decoder_dir, ..stage };
    weights.extend(decoder::train(&config.language, &start.config, &library, &voice, &stage)?);
    if world.is_first() {
        write_model(&dir.join("model"), &start.config, weights, &start.tokenizer, held_out)?;
    }
    world.barrier()?;
    Ok(())
}

/// `trained` with a share of what each weight was at the start.
fn blended(
    start: &BTreeMap<String, Tensor>,
    trained: BTreeMap<String, Tensor>,
    share: f64,
) -> Result<BTreeMap<String, Tensor>> {
    let blend = |(name, weight): (String, Tensor)| {
        let before = start.get(&name).with_context(|| format!("the start model has no `{name}`"))?;
        let before = before.to_dtype(weight.dtype())?;
        Ok((name, ((before * share)? + (weight * (1.0 - share))?)?))
    };
    trained.into_iter().map(blend).collect()
}

/// Figures of a model on the validation groups, from the file at `path` where it is there.
fn judged(model: &Path, path: &Path, validation: &[GroupFile], world: &dyn Collective) -> Result<Figures> {
    if world.is_first() && !path.exists() {
        write_json(path, &measure::measure(&Nano::from_folder(model)?, validation)?)?;
    }
    world.barrier()?;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// The history as a Markdown table.
fn table(history: &[Figures]) -> String {
    let mut table = String::from(
        "| model | pairs of known order | told right | RMSE of margins (points) | SRCC of scores |\n|---|---|---|---|---|\n",
    );
    for (stage, figures) in history.iter().enumerate() {
        let name = if stage == 0 { "start".to_owned() } else { format!("stage {stage}") };
        let srcc = figures.score_srcc.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        table += &format!(
            "| {name} | {} | {:.4} | {:.3} | {srcc} |\n",
            figures.pairs, figures.pair_accuracy, figures.margin_rmse
        );
    }
    table
}

fn copy_model(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let (from, to) = (from.join(name), to.join(name));
        std::fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Writes beside `path`, then renames: what is there is whole.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_whole(path, &(serde_json::to_string_pretty(value)? + "\n"))
}

fn write_lines<T: Serialize>(path: &Path, values: &[T]) -> Result<()> {
    let lines = values.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?;
    write_whole(path, &lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let context = || format!("in {}", path.display());
    let text = std::fs::read_to_string(path).with_context(context)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(context)).collect()
}
