//! The model card that training writes beside every model: what it was made of, how, and how good it is on what it never saw.
//!
//! Holds nothing of when or where it was made: equal runs have equal cards. Figures are Markdown that the caller measured.

use crate::config::DataConfig;
use crate::data::groups::GroupFile;
use crate::pairs::hex;
use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a card tells.
pub struct Card<'a, C> {
    /// Command that trained the model, such as `juror train sft`.
    pub command: &'a str,
    /// Its whole configuration, as it was read.
    pub config: &'a C,
    /// Where the videos came from.
    pub data: &'a DataConfig,
    /// Groups trained on.
    pub training: &'a [GroupFile],
    /// Groups kept from training.
    pub held_out: &'a [GroupFile],
    /// Processes that trained together.
    pub processes: usize,
    /// Stages and their steps.
    pub steps: &'a [(&'a str, usize)],
    /// Figures on the groups kept from training, Markdown.
    pub figures: &'a str,
}

impl<C: Serialize> Card<'_, C> {
    /// Writes `MODEL_CARD.md` into the folder of a model.
    ///
    /// # Errors
    /// When the table of a folder of clips cannot be read, or the card not be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("MODEL_CARD.md");
        std::fs::write(&path, self.text(folder)?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self, folder: &Path) -> Result<String> {
        let weights = folder.join("model.safetensors");
        let bytes = std::fs::read(&weights).with_context(|| format!("cannot read {}", weights.display()))?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let name = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let steps: Vec<String> = self.steps.iter().map(|(stage, n)| format!("{stage} {n} steps")).collect();
        let processes = if self.processes == 1 { "process" } else { "processes" };
        let versions: usize = self.training.iter().map(|group| group.examples.len()).sum();
        let (trained, kept) = (contents(self.training), contents(self.held_out));
        let kept_names: Vec<&str> = kept.iter().copied().collect();
        let kept_names = if kept.is_empty() { "none".to_owned() } else { kept_names.join(", ") };
        let codecs = &self.data.held_out_codecs;
        let codecs = if codecs.is_empty() { "none".to_owned() } else { codecs.join(", ") };
        let figures = if self.held_out.is_empty() {
            "None: no content was kept from training.".to_owned()
        } else {
            self.figures.trim_end().to_owned()
        };
        Ok(format!(
            "# {name}\n\nA judge of video quality for `juror --model`. Weights: {} bytes, SHA-256 `{sha256}`.\n\n\
             **Made by** `{}` of juror {} from the configuration at the end of this page: {}; {} {processes}.\n\n\
             **Data**: {versions} versions in {} groups of {} contents. {}Codecs never trained on: {codecs}. \
             Contents kept from training ({}): {kept_names}.\n\n\
             ## Figures\n\nOn the contents kept from training:\n\n{figures}\n\n\
             ## Configuration\n\n```toml\n{}```\n",
            bytes.len(),
            self.command,
            env!("CARGO_PKG_VERSION"),
            steps.join(", "),
            self.processes,
            self.training.len(),
            trained.len(),
            self.origins()?,
            kept.len(),
            toml::to_string(self.config)?,
        ))
    }

    /// Clips by folder with the licences that their tables name, and scenes.
    fn origins(&self) -> Result<String> {
        let mut text = String::new();
        for clips in &self.data.clips {
            let table = clips.folder.with_extension("csv");
            let context = || format!("cannot read {}", table.display());
            let mut reader = csv::Reader::from_path(&table).with_context(context)?;
            let column = reader.headers().with_context(context)?.iter().position(|name| name == "licence");
            let mut licences: BTreeMap<String, usize> = BTreeMap::new();
            for row in reader.records() {
                let row = row.with_context(context)?;
                let licence =
                    column.and_then(|at| row.get(at)).map(str::trim).filter(|text| !text.is_empty());
                *licences.entry(licence.unwrap_or("licence not told").to_owned()).or_default() += 1;
            }
            let count: usize = licences.values().sum();
            let listed: Vec<String> = licences.iter().map(|(name, n)| format!("{name} {n}")).collect();
            text += &format!("Clips of {}: {count} ({}). ", clips.folder.display(), listed.join(", "));
        }
        if self.data.scenes > 0 {
            text += &format!("Rendered scenes: {}. ", self.data.scenes);
        }
        Ok(text)
    }
}

fn contents(groups: &[GroupFile]) -> BTreeSet<&str> {
    groups.iter().map(|group| group.content.as_str()).collect()
}
