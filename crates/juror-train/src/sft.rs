//! `juror train sft`: data, bodies, overlay and its naming, decoder, and the finished model folder, each resumable.
//!
//! ```text
//! RUN/groups/*.safetensors      versions, observed
//! RUN/{body/N,overlay,naming,decoder}/  checkpoints, log.jsonl and the same for TensorBoard
//! RUN/model/                    config.json, model.safetensors (f16), tokenizer.json: opens with --model; MODEL_CARD.md
//! ```
//!
//! Bodies of finished models (`joined`) may stand before those that are trained. Every `HOLD_OUT`-th content is kept from training; the
//! sizes of margins are fitted to them (`shrink.rs`), and the errors of margins and scores on them become the model's calibration, unless only
//! what is named and written was trained. Several processes ([`Collective`]) share the run's folder: each observes its share of the
//! sources, and only the first writes the model.

use crate::card::Card;
use crate::config::{DataConfig, SftConfig};
use crate::data::groups::{self, GroupFile};
use crate::data::sources::{self, Source};
use crate::engine::{Stage, weights_of};
use crate::validate::{Report, measure_and_calibrate};
use crate::{body, decoder, overlay, shrink};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use juror_lmm::nano::{Ensemble, Nano, NanoConfig, Vision, Voice};
use juror_nn::collective::Collective;
use juror_nn::params::{Params, Precision, save_tensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One content in this many is held out.
const HOLD_OUT: usize = 16;

/// Runs all stages; returns the model's folder.
///
/// # Errors
/// When a stage fails; what it had saved is used by the next run.
pub fn run(config: &SftConfig, world: &dyn Collective) -> Result<PathBuf> {
    let joined = config.joined.iter().map(|folder| Joined::read(folder)).collect::<Result<Vec<_>>>()?;
    let own = NanoConfig { bodies: config.bodies, ..NanoConfig::default() };
    let others: usize = joined.iter().map(|other| other.config.bodies).sum();
    // What is not trained is that of the first that joins.
    let kept = match (&config.overlay, joined.first()) {
        (None, Some(other)) => Some(other),
        _ => None,
    };
    let dim = |trained: bool, own: usize, kept: Option<usize>| if trained { own } else { kept.unwrap_or(0) };
    let model = NanoConfig {
        calibration: joined.first().map_or(own.calibration, |other| other.config.calibration),
        bodies: others + own.bodies,
        temporal_gain: config.shrinkage.temporal,
        overlay_dim: dim(config.overlay.is_some(), own.overlay_dim, kept.map(|k| k.config.overlay_dim)),
        naming_dim: dim(config.naming.is_some(), own.naming_dim, kept.map(|k| k.config.naming_dim)),
        ..own.clone()
    };
    ensure!(
        model.overlay_dim > 0 || model.naming_dim == 0,
        "[naming] needs an overlay: give [overlay], or join a model that has one"
    );
    let sources = sources::list(&config.data, config.seed)?;
    let all = prepare_groups(&config.data, &model, &sources, &groups::folder(&config.run_dir), world)?;
    let (training, held_out) = hold_out(all);

    let [body_dir, overlay_dir, naming_dir, decoder_dir] =
        ["body", "overlay", "naming", "decoder"].map(|stage| config.run_dir.join(stage));
    let stage = Stage { dir: &body_dir, seed: config.seed, world, start: None };
    let mut weights = Ensemble::moved(body::train(&config.body, &own, &training, &stage)?, others);
    shrink::contrasts(config.shrinkage, &mut weights, others..model.bodies)?;
    let mut first = 0;
    for other in &joined {
        weights.extend(Ensemble::moved(weights_of(&other.weights, "body"), first));
        first += other.config.bodies;
    }
    weights.extend(kept.map(|other| weights_of(&other.weights, "overlay")).unwrap_or_default());
    if config.overlay.is_some() || config.naming.is_some() {
        let pairs = overlay::draw_pairs(&training, config.seed)?;
        if let Some(training) = &config.overlay {
            let stage = Stage { dir: &overlay_dir, ..stage };
            weights.extend(overlay::train_order(training, &model, &pairs, &stage)?);
            shrink::overlay(config.shrinkage, &mut weights)?;
        }
        if let Some(training) = &config.naming {
            let stage = Stage { dir: &naming_dir, ..stage };
            let mut given = weights_of(&weights, "overlay");
            given.retain(|name, _| !name.starts_with("overlay.faults.")); // trained anew
            weights.extend(overlay::train_faults(training, &model, given, &pairs, &stage)?);
        }
    }
    let frozen = Vision::new(&Params::from_tensors(weights.clone(), &Device::Cpu)?, &model)?;
    let library = decoder::Library::new(&frozen, &training);
    let tokenizer = match joined.first() {
        Some(other) => other.tokenizer.clone(),
        None => decoder::train_tokenizer(&library, model.vocab_size, config.seed)?,
    };
    let voice = Voice::from_bytes(tokenizer.as_bytes())?;
    let start = joined.first().map(|other| &other.weights);
    let stage = Stage { dir: &decoder_dir, start, ..stage };
    weights.extend(decoder::train(&config.language, &model, &library, &voice, &stage)?);
    shrink::correction(config.shrinkage, &mut weights)?;
    // Words alone leave margins and scores as they were.
    let words_only = config.bodies == 0 && config.overlay.is_none() && !joined.is_empty();
    let fitted_to: &[GroupFile] = if words_only { &[] } else { &held_out };
    shrink::fit_margins(&mut weights, &model, fitted_to)?;
    let folder = config.run_dir.join("model");
    if !world.is_first() {
        return Ok(folder);
    }
    let report = write_model(&folder, &model, weights, &tokenizer, fitted_to)?;
    let figures = if words_only {
        "Margins and scores are those of the model that joined.\n".to_owned()
    } else {
        report.table()
    };
    tracing::info!("on contents kept from training:\n{figures}");
    let card = Card {
        command: "juror train sft",
        config,
        data: &config.data,
        training: &training,
        held_out: &held_out,
        processes: world.world_size(),
        steps: &[
            ("body", config.body.steps),
            ("overlay", config.overlay.as_ref().map_or(0, |training| training.steps)),
            ("naming", config.naming.as_ref().map_or(0, |training| training.steps)),
            ("decoder", config.language.steps),
        ],
        figures: &figures,
    };
    card.write(&folder)?;
    Ok(folder)
}

/// A finished model whose bodies join. What `[shrinkage]` does to contrasts was done to these.
struct Joined {
    config: NanoConfig,
    weights: BTreeMap<String, Tensor>,
    tokenizer: String,
}

impl Joined {
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let config: NanoConfig = serde_json::from_str(&read("config.json")?)
            .with_context(|| format!("in {}", folder.display()))?;
        // Opened as a whole, so that what does not fit is told; then by name.
        Nano::from_folder(folder)?;
        let own = NanoConfig::default();
        let same = NanoConfig {
            bodies: own.bodies,
            temporal_gain: own.temporal_gain,
            overlay_dim: own.overlay_dim,
            naming_dim: own.naming_dim,
            calibration: own.calibration,
            ..config.clone()
        };
        ensure!(same == own, "{}: its sizes are not those of a model trained here", folder.display());
        let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
        let weights = weights.into_iter().map(|(name, t)| Ok((name, t.to_dtype(DType::F32)?)));
        Ok(Self { config, weights: weights.collect::<Result<_>>()?, tokenizer: read("tokenizer.json")? })
    }
}

/// The groups of `sources`, made where they are not in `dir` yet: each rank makes its share, then all open all.
pub(crate) fn prepare_groups(
    data: &DataConfig,
    model: &NanoConfig,
    sources: &[Source],
    dir: &Path,
    world: &dyn Collective,
) -> Result<Vec<GroupFile>> {
    let own = &sources[world.share(sources.len())];
    let made = if own.is_empty() { Vec::new() } else { groups::prepare(data, model, own, dir)? };
    if world.world_size() == 1 {
        return Ok(made);
    }
    let ids: Vec<&str> = made.iter().map(|group| group.id.as_str()).collect();
    let mut all = Vec::with_capacity(sources.len());
    for ids in world.all_gather(&serde_json::to_vec(&ids)?)? {
        for id in serde_json::from_slice::<Vec<String>>(&ids)? {
            all.push(GroupFile::open(&dir.join(format!("{id}.safetensors")))?);
        }
    }
    Ok(all)
}

/// Groups to train on, and those kept from it: all of one content in [`HOLD_OUT`].
pub(crate) fn hold_out(all: Vec<GroupFile>) -> (Vec<GroupFile>, Vec<GroupFile>) {
    let contents: BTreeSet<String> = all.iter().map(|group| group.content.clone()).collect();
    let held_out: BTreeSet<String> = contents.into_iter().skip(HOLD_OUT - 1).step_by(HOLD_OUT).collect();
    all.into_iter().partition(|group| !held_out.contains(&group.content))
}

/// Writes a model folder, calibrated on `held_out`, and gives its figures there; with no group there, `model`'s calibration stays.
pub(crate) fn write_model(
    folder: &Path,
    model: &NanoConfig,
    weights: BTreeMap<String, Tensor>,
    tokenizer: &str,
    held_out: &[GroupFile],
) -> Result<Report> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write_config = |model: &NanoConfig| -> Result<()> {
        Ok(std::fs::write(folder.join("config.json"), serde_json::to_string_pretty(model)? + "\n")?)
    };
    save_tensors(weights, &folder.join("model.safetensors"), Precision::F16)?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer)?;
    write_config(model)?;
    if held_out.is_empty() {
        return Ok(Report::default());
    }
    let (report, calibration) = measure_and_calibrate(&Nano::from_folder(folder)?, held_out)?;
    write_config(&NanoConfig { calibration, ..model.clone() })?;
    Ok(report)
}
