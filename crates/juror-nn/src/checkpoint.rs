//! Training states on disk: weights, optimiser moments, weight average, step, seeds and free JSON, in one
//! safetensors file per step. Written atomically; a run resumed from one goes on to the same bits.
//!
//! Tensor names: `weights.*`, `average.*`, `optimizer.m.*`, `optimizer.v.*`; everything else is the JSON metadata.

use crate::optim::AdamWState;
use crate::tensor_file::TensorFile;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All that a training run is.
#[derive(Debug, Clone, Default)]
pub struct TrainingState {
    /// Optimiser steps done.
    pub step: u64,
    /// Parameters by name.
    pub weights: BTreeMap<String, Tensor>,
    /// Moments of the optimiser.
    pub optimizer: Option<AdamWState>,
    /// Averaged parameters by name.
    pub average: Option<BTreeMap<String, Tensor>>,
    /// Seeds by purpose (`data`, `rollout`, ...).
    pub seeds: BTreeMap<String, u64>,
    /// Whatever else the run wants to know: configuration, best score, position in the data.
    pub metadata: serde_json::Value,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    format: u32,
    step: u64,
    optimizer_step: Option<u64>,
    has_average: bool,
    seeds: BTreeMap<String, u64>,
    metadata: serde_json::Value,
}

const FORMAT: u32 = 1;

impl TrainingState {
    /// Writes the state to one file.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = BTreeMap::new();
        let mut add = |prefix: &str, group: &BTreeMap<String, Tensor>| {
            tensors.extend(group.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.detach())));
        };
        add("weights.", &self.weights);
        if let Some(average) = &self.average {
            add("average.", average);
        }
        if let Some(optimizer) = &self.optimizer {
            add("optimizer.m.", &optimizer.first_moments);
            add("optimizer.v.", &optimizer.second_moments);
        }
        let header = Header {
            format: FORMAT,
            step: self.step,
            optimizer_step: self.optimizer.as_ref().map(|optimizer| optimizer.step),
            has_average: self.average.is_some(),
            seeds: self.seeds.clone(),
            metadata: self.metadata.clone(),
        };
        let metadata = serde_json::to_string(&header).map_err(|error| Error::Format {
            what: format!("metadata is no JSON ({error})"),
            path: path.into(),
        })?;
        TensorFile { tensors, metadata: Some(metadata) }.write(path)
    }

    /// Reads a state back, bit for bit.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let file = TensorFile::read(path, device)?;
        let broken = |what: String| Error::Format { what, path: path.to_owned() };
        let header: Header = file
            .metadata
            .as_deref()
            .ok_or_else(|| broken("no training state (its header is missing)".into()))
            .and_then(|json| {
                serde_json::from_str(json).map_err(|error| broken(format!("no training state ({error})")))
            })?;
        if header.format != FORMAT {
            return Err(broken(format!("training state of format {}, known: {FORMAT}", header.format)));
        }
        let mut groups: BTreeMap<&str, BTreeMap<String, Tensor>> = BTreeMap::new();
        for (name, tensor) in file.tensors {
            let prefix = ["weights.", "average.", "optimizer.m.", "optimizer.v."]
                .into_iter()
                .find(|prefix| name.starts_with(prefix))
                .ok_or_else(|| broken(format!("tensor {name} belongs to no part of a training state")))?;
            groups.entry(prefix).or_default().insert(name[prefix.len()..].to_owned(), tensor);
        }
        let mut take = |prefix| groups.remove(prefix).unwrap_or_default();
        let optimizer = header.optimizer_step.map(|step| AdamWState {
            step,
            first_moments: take("optimizer.m."),
            second_moments: take("optimizer.v."),
        });
        Ok(Self {
            step: header.step,
            weights: take("weights."),
            optimizer,
            average: header.has_average.then(|| take("average.")),
            seeds: header.seeds,
            metadata: header.metadata,
        })
    }
}

/// A folder of states, the last few of which are kept.
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    folder: PathBuf,
    keep_last: usize,
}

impl CheckpointFolder {
    /// Keeps the `keep_last` newest states (at least one) in `folder`.
    pub fn new(folder: impl Into<PathBuf>, keep_last: usize) -> Self {
        Self { folder: folder.into(), keep_last: keep_last.max(1) }
    }

    /// Saves under the state's step, then removes what is too old. Returns the path.
    pub fn save(&self, state: &TrainingState) -> Result<PathBuf> {
        let path = self.folder.join(format!("step-{:08}.safetensors", state.step));
        state.save(&path)?;
        let saved = self.steps()?;
        for (_, old) in saved.iter().rev().skip(self.keep_last).filter(|(_, old)| old != &path) {
            std::fs::remove_file(old).map_err(Error::io(old))?;
        }
        Ok(path)
    }

    /// The newest state, `None` when there is none.
    pub fn load_last(&self, device: &Device) -> Result<Option<TrainingState>> {
        self.steps()?.last().map(|(_, path)| TrainingState::load(path, device)).transpose()
    }

    /// Saved steps and their files, oldest first.
    pub fn steps(&self) -> Result<Vec<(u64, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(&self.folder)(error)),
        };
        let mut steps = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io(&self.folder))?.path();
            let step = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok());
            if let Some(step) = step {
                steps.push((step, path));
            }
        }
        steps.sort();
        Ok(steps)
    }
}
