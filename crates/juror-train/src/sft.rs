//! `juror train sft`: data, body, decoder, and the finished model folder, each resumable.
//!
//! ```text
//! RUN/groups/*.safetensors      versions, observed
//! RUN/body/, RUN/decoder/       checkpoints and log.jsonl
//! RUN/model/                    config.json, model.safetensors (f16), tokenizer.json: opens with --model
//! ```
//!
//! Every `HOLD_OUT`-th group is kept from training; the errors of margins and scores on them become the
//! model's calibration.

use crate::config::SftConfig;
use crate::data::groups::GroupFile;
use crate::data::{groups, sources};
use crate::{body, decoder};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use juror_lmm::nano::{Body, Calibration, NanoConfig, Voice};
use juror_nn::params::{Params, Precision, save_tensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One group in this many is held out.
pub(crate) const HOLD_OUT: usize = 16;

/// Runs all stages; returns the model's folder.
///
/// # Errors
/// When a stage fails; what it had saved is used by the next run.
pub fn run(config: &SftConfig) -> Result<PathBuf> {
    let model = NanoConfig::default();
    let sources = sources::list(&config.data, config.seed)?;
    let all = groups::prepare(&config.data, &model, &sources, &groups::folder(&config.run_dir))?;
    let (held_out, training): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(i, _)| i % HOLD_OUT == HOLD_OUT - 1);
    let strip = |groups: Vec<(usize, GroupFile)>| groups.into_iter().map(|(_, g)| g).collect::<Vec<_>>();
    let (held_out, training) = (strip(held_out), strip(training));

    let mut weights =
        body::train(&config.body, &model, &training, config.seed, &config.run_dir.join("body"))?;
    let frozen = Body::new(&Params::from_tensors(weights.clone(), &Device::Cpu)?, &model)?;
    let library = decoder::Library::new(&frozen, &training)?;
    let tokenizer = decoder::train_tokenizer(&library, model.vocab_size, config.seed)?;
    let voice = Voice::from_bytes(tokenizer.as_bytes())?;
    let language = decoder::train(
        &config.language,
        &model,
        &library,
        &voice,
        config.seed,
        &config.run_dir.join("decoder"),
    )?;
    weights.extend(language);
    let calibration = calibrate(&frozen, &held_out)?;
    let folder = config.run_dir.join("model");
    write_model(&folder, &NanoConfig { calibration, ..model }, weights, &tokenizer)?;
    Ok(folder)
}

pub(crate) fn write_model(
    folder: &Path,
    model: &NanoConfig,
    weights: BTreeMap<String, Tensor>,
    tokenizer: &str,
) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    save_tensors(weights, &folder.join("model.safetensors"), Precision::F16)?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer)?;
    std::fs::write(folder.join("config.json"), serde_json::to_string_pretty(model)? + "\n")?;
    Ok(())
}

/// Root-mean-square errors, in points, of margins and scores on groups the body never saw.
fn calibrate(body: &Body, groups: &[GroupFile]) -> Result<Calibration> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut margin, mut pairs, mut score, mut videos) = (0.0, 0.0, 0.0, 0.0);
    for group in groups {
        let mut rows = Vec::new();
        for (version, example) in group.examples.iter().enumerate() {
            let v: Vec<f32> = decoder::features(body, group, version, example)?.verdict.get(0)?.to_vec1()?;
            let (rank, absolute) = (sigmoid(f64::from(v[0] + v[1])), sigmoid(f64::from(v[2] + v[3])));
            score += (4.0 * (absolute - example.quality)).powi(2);
            videos += 1.0;
            rows.push((rank, example.quality));
        }
        for (i, a) in rows.iter().enumerate() {
            for b in &rows[..i] {
                margin += (4.0 * ((a.0 - b.0) - (a.1 - b.1))).powi(2);
                pairs += 1.0;
            }
        }
    }
    let rms = |sum: f64, n: f64, fallback: f64| if n > 0.0 { (sum / n).sqrt() } else { fallback };
    Ok(Calibration { margin_sd: rms(margin, pairs, 0.5), score_sd: rms(score, videos, 0.5) })
}
