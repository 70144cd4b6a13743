//! Training published checkpoints by low-rank adapters (LoRA) on their decoders; towers and all else are frozen.
//!
//! ```text
//! juror train ranking   pairs with levels            next-token loss on the level sentence (LMM-PVQA)
//! juror train grpo      videos with opinion scores   rollouts rewarded for form, score, order and temporal sense (VQAThinker)
//!
//! RUN/adapter-training/   checkpoints, log.jsonl and the same for TensorBoard, rollouts.jsonl (grpo)
//! RUN/report.json         figures on the validation set, before and after
//! RUN/adapter/            adapter_config.json, adapter_model.safetensors as PEFT names them; opens with --model; MODEL_CARD.md
//! ```
//!
//! Videos are turned to tokens once, as when they are judged, and kept in memory up to a limit. Leaves out: training of towers and
//! projectors, which LMM-PVQA's own script trains instead of the decoder.

pub mod config;
pub mod ranking;
pub mod scoring;

use anyhow::{Context, Result};
use candle_core::Tensor;
use config::{LoraSettings, Student};
use juror_lmm::WatchOptions;
use juror_lmm::decoder::Decoder;
use juror_lmm::published::{Frames, Published, VideoTokens, memory};
use juror_lmm::weights::Adapter;
use juror_media::Video;
use juror_nn::params::{Params, Precision, save_tensors};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checkpoint with an adapter under training.
pub(crate) struct Adapted {
    /// Judges as the adapter stands, without gradients.
    pub(crate) published: Published,
    /// The decoder under training.
    pub(crate) policy: Decoder,
    pub(crate) adapter: Arc<Adapter>,
    student: Student,
    seen: RefCell<Seen>,
}

/// Tokens of videos that were looked at.
#[derive(Default)]
struct Seen {
    videos: HashMap<PathBuf, VideoTokens>,
    bytes: usize,
}

impl Adapted {
    /// Opens the checkpoint and draws the adapter from `seed`; its updates begin at zero.
    pub(crate) fn open(student: &Student, lora: &LoraSettings, seed: u64) -> Result<Self> {
        let options = student.options()?;
        memory::check(&student.checkpoint, &student.checkpoint.to_string_lossy(), &options)?;
        let params = Params::seeded(seed, &options.processor.device()?);
        let adapter = Arc::new(Adapter { params, config: lora.config() });
        let (published, policy) = Published::open_to_train(&student.checkpoint, &options, adapter.clone())?;
        tracing::info!("adapter: {} parameters", adapter.params.count());
        Ok(Self { published, policy, adapter, student: student.clone(), seen: RefCell::default() })
    }

    /// The frames of a video that the model looks at.
    pub(crate) fn frames(&self, path: &Path) -> Result<Frames> {
        let context = || path.display().to_string();
        let video = Video::open(path).with_context(context)?;
        let options = WatchOptions { frames: self.student.frames, ..WatchOptions::default() };
        self.published.frames(&video, &options, &|_| ()).with_context(context)
    }

    /// The tokens of a video.
    pub(crate) fn look(&self, path: &Path) -> Result<VideoTokens> {
        if let Some(tokens) = self.seen.borrow().videos.get(path) {
            return Ok(tokens.clone());
        }
        let tokens = self.published.look(&self.frames(path)?)?;
        let parts = std::iter::once(&tokens.tokens).chain(&tokens.deepstack);
        let bytes = parts.map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum::<usize>();
        let mut seen = self.seen.borrow_mut();
        if seen.bytes + bytes <= self.student.cache_mib << 20 {
            seen.bytes += bytes;
            seen.videos.insert(path.to_owned(), tokens.clone());
        }
        Ok(tokens)
    }

    /// Writes the adapter's folder.
    pub(crate) fn write(
        &self,
        run_dir: &Path,
        weights: BTreeMap<String, Tensor>,
        card: &Card<'_, impl Serialize>,
    ) -> Result<PathBuf> {
        let folder = run_dir.join("adapter");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let checkpoint = std::path::absolute(&self.student.checkpoint)?;
        let mut config = serde_json::to_value(&self.adapter.config)?;
        config["peft_type"] = "LORA".into();
        config["task_type"] = "CAUSAL_LM".into();
        config["bias"] = "none".into();
        config["inference_mode"] = true.into();
        config["base_model_name_or_path"] = checkpoint.to_string_lossy().into();
        save_tensors(weights, &folder.join("adapter_model.safetensors"), Precision::F32)?;
        for (file, text) in [
            ("adapter_config.json", serde_json::to_string_pretty(&config)? + "\n"),
            ("MODEL_CARD.md", card.text(&checkpoint)?),
        ] {
            let path = folder.join(file);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(folder)
    }
}

/// What the adapter was made of, how, and how good it is on what it never saw.
pub(crate) struct Card<'a, C> {
    pub(crate) command: &'a str,
    pub(crate) config: &'a C,
    /// What was trained on, such as `120 pairs of pairs.jsonl`.
    pub(crate) data: String,
    pub(crate) report: &'a Report,
}

impl<C: Serialize> Card<'_, C> {
    fn text(&self, checkpoint: &Path) -> Result<String> {
        Ok(format!(
            "# A LoRA adapter of {}\n\nFor `juror --model`, or `--adapter` with its checkpoint.\n\n**Made by** `{}` of juror {} from the \
             configuration at the end of this page.\n\n**Data**: {}.\n\n## Figures\n\n{}\n## Configuration\n\n```toml\n{}```\n",
            checkpoint.display(),
            self.command,
            env!("CARGO_PKG_VERSION"),
            self.data,
            self.report.table(),
            toml::to_string(self.config)?,
        ))
    }
}

/// Figures on the validation set, before and after training, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct Report {
    /// Videos or pairs that were judged.
    pub count: usize,
    /// Of the checkpoint as it was.
    pub before: BTreeMap<String, f64>,
    /// With the adapter.
    pub after: BTreeMap<String, f64>,
}

impl Report {
    /// As a Markdown table.
    #[must_use]
    pub fn table(&self) -> String {
        if self.count == 0 {
            return "None: there was no validation set.\n".to_owned();
        }
        let mut text = format!("| on {} never trained on | before | after |\n|---|---|---|\n", self.count);
        for (name, before) in &self.before {
            let after = self.after.get(name).map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
            let _ = writeln!(text, "| {name} | {before:.3} | {after} |");
        }
        text
    }

    /// Writes `report.json` into the folder of the run and tells the table.
    fn write(&self, run_dir: &Path) -> Result<()> {
        tracing::info!("validation:\n{}", self.table());
        let path = run_dir.join("report.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Where a stage keeps its checkpoints.
fn training_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("adapter-training")
}
