//! Training the overlay: which of two videos of one content looks better, laid over each other (`juror_lmm::nano`, `overlay.rs`).
//!
//! From every group `PAIRS_PER_GROUP` pairs of one size are drawn and laid over each other once; what is left of them is small. With the
//! order z of A and the visual qualities V of both,
//!
//! ```text
//! order   mean of w softplus(-z sign(VA - VB)),    w = min(|VA - VB| / FULL, 1), times WITHIN for versions of one kind or the source
//! tie     mean of |z| where only motion was disturbed
//! loss    = order + tie TIE
//! ```
//!
//! The numbers are scaled by their means and deviations over the pairs. Leaves out: motion (`nano/cadence.rs` needs no training), and pairs
//! of different contents, which are not laid over each other.

use crate::config::OverlayTraining;
use crate::data::groups::{Example, GroupFile};
use crate::engine::{BatchLoss, Fit, Stage, dropout, scalar};
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use juror_lmm::nano::{COMMON, DIFFERENCES, Evidence, NanoConfig, Overlay, Spectra};
use juror_nn::params::Params;
use juror_nn::{ops, rng};
use rand::seq::index;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Pairs of a group.
const PAIRS_PER_GROUP: usize = 60;
/// Visual qualities that differ by as much order a pair at full weight.
const FULL: f64 = 0.05;
/// Weight of pairs of one kind, or with the source.
const WITHIN: f64 = 2.0;
/// Weight of the ties.
const TIE: f64 = 0.3;
/// Visual qualities that differ by less are equal.
const EQUAL: f64 = 0.005;
/// Temporal qualities that differ by more are not.
const DISTURBED: f64 = 0.02;
/// Added to deviations, so that numbers that hardly ever differ are not blown up.
const LEAST_SCALE: f64 = 1e-3;

/// Two versions of one group laid over each other.
struct Pair {
    evidence: Evidence,
    /// Whether A looks better (1) or worse (-1), times its weight; 0 where their order is not known.
    order: f32,
    /// 1 where only motion differs.
    tie: f32,
}

impl Pair {
    fn new(a: &Example, b: &Example, evidence: Evidence) -> Self {
        let (visual, temporal) = (a.visual - b.visual, a.temporal - b.temporal);
        let family = a.version.family();
        let within = a.is_source() || b.is_source() || (family.is_some() && family == b.version.family());
        let weight = (visual.abs() / FULL).min(1.0) * if within { WITHIN } else { 1.0 };
        let tie = visual.abs() < EQUAL && temporal.abs() > DISTURBED;
        Self { evidence, order: (weight * visual.signum()) as f32, tie: f32::from(u8::from(tie)) }
    }
}

/// Leads of all pairs `(a, b)` with `a < b` of a group, by `overlay`; 0 where two cannot be laid over each other.
///
/// # Errors
/// When the group cannot be read.
pub(crate) fn leads(overlay: &Overlay, group: &GroupFile) -> Result<Vec<f64>> {
    let spectra = spectra(group)?;
    let all = (0..spectra.len()).flat_map(|a| (a + 1..spectra.len()).map(move |b| (a, b)));
    let all: Vec<_> = all.collect();
    let leads = all.into_par_iter().map(|(a, b)| Ok(overlay.lead(&spectra[a], &spectra[b])?));
    leads.collect()
}

fn spectra(group: &GroupFile) -> Result<Vec<Spectra>> {
    (0..group.examples.len()).map(|version| Ok(Spectra::of(&group.observation(version)?))).collect()
}

/// Trains the overlay of `model` on `groups`; returns the averaged weights.
///
/// # Errors
/// When the data cannot be read, or a checkpoint not be written.
pub fn train(
    config: &OverlayTraining,
    model: &NanoConfig,
    groups: &[GroupFile],
    stage: &Stage<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let seed = rng::derive_named(stage.seed, "overlay pairs");
    let pairs = groups
        .par_iter()
        .enumerate()
        .map(|(index, group)| draw(group, &mut rng::stream(seed, &[index as u64])));
    let pairs: Vec<Pair> = pairs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    ensure!(!pairs.is_empty(), "no group has two versions of one size to lay over each other");
    // Given and frozen; the other weights are drawn.
    let scales = scales(&pairs)?;
    let seed = rng::derive_named(stage.seed, "overlay");
    let params = Params::tensors_for_training(scales.clone(), seed, &Device::Cpu)?;
    scales.keys().for_each(|name| params.freeze(name));
    let overlay = Overlay::new(&params, model.overlay_dim)?;
    tracing::info!("overlay: {} parameters, {} pairs", params.count(), pairs.len());
    let fit = Fit {
        name: "overlay",
        steps: config.steps,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps,
        weight_decay: config.weight_decay,
        max_grad_norm: config.max_grad_norm,
        ema_decay: config.ema_decay,
        save_steps: config.save_steps,
    };
    let batches = rng::derive_named(stage.seed, "overlay batches");
    let mut weights = fit.run(stage.dir, &params, stage.world, |step| {
        let mut rng = rng::stream(batches, &[step as u64]);
        // All ranks draw the whole batch, and each sees its share.
        let drawn: Vec<&Pair> = (0..config.batch).map(|_| &pairs[rng.random_range(0..pairs.len())]).collect();
        let own = stage.world.share(config.batch);
        // A row for each pair and one for it turned round.
        let (rows, width) = (2 * config.batch, model.overlay_dim);
        let mut mask = || {
            let mask = dropout(config.dropout, rows * width, &mut rng).collect::<Vec<f32>>();
            Tensor::from_vec(mask, (rows, width), &Device::Cpu)?.narrow(0, 2 * own.start, 2 * own.len())
        };
        let masks = [mask()?, mask()?];
        let weight = (stage.world.world_size() * own.len()) as f64 / config.batch as f64;
        loss(&overlay, &drawn[own], &masks, weight)
    })?;
    weights.extend(scales);
    Ok(weights)
}

/// Some pairs of a group.
fn draw(group: &GroupFile, rng: &mut impl Rng) -> Result<Vec<Pair>> {
    let examples = &group.examples;
    let spectra = spectra(group)?;
    let all: Vec<_> = (0..examples.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let mut pairs = Vec::new();
    for chosen in index::sample(rng, all.len(), PAIRS_PER_GROUP.min(all.len())) {
        let (a, b) = all[chosen];
        pairs.extend(
            spectra[a].over(&spectra[b]).map(|evidence| Pair::new(&examples[a], &examples[b], evidence)),
        );
    }
    Ok(pairs)
}

/// Of one rank's pairs, whose mean counts `weight`.
fn loss(overlay: &Overlay, pairs: &[&Pair], masks: &[Tensor; 2], weight: f64) -> Result<BatchLoss> {
    let n = pairs.len();
    let rows = |len: usize, of: fn(&Evidence) -> &[f32]| {
        let values: Vec<f32> = pairs.iter().flat_map(|pair| of(&pair.evidence)).copied().collect();
        Tensor::from_vec(values, (n, len), &Device::Cpu)
    };
    let column = |of: fn(&Pair) -> f32| {
        Tensor::from_vec(pairs.iter().map(|pair| of(pair)).collect::<Vec<f32>>(), n, &Device::Cpu)
    };
    let (differences, common) = (rows(DIFFERENCES, |e| &e.differences)?, rows(COMMON, |e| &e.common)?);
    let found = overlay.order(&differences, &common, Some(masks))?;
    let order = column(|pair| pair.order)?;
    let wrong = ops::softplus(&(&found * order.sign()?)?.neg()?)?;
    let order = ((wrong * order.abs()?)?.mean_all()? * weight)?;
    let tie = ((found.abs()? * column(|pair| pair.tie)?)?.mean_all()? * weight)?;
    let terms = vec![("order", scalar(&order)?), ("tie", scalar(&tie)?)];
    Ok(BatchLoss { loss: (order + (tie * TIE)?)?, terms, batch: Vec::new() })
}

/// Deviations of the differences, means and deviations of what is common, over the pairs; by their names among the weights.
fn scales(pairs: &[Pair]) -> Result<BTreeMap<String, Tensor>> {
    let moments = |at: usize, of: fn(&Evidence) -> &[f32]| {
        let n = pairs.len() as f64;
        let values = || pairs.iter().map(|pair| f64::from(of(&pair.evidence)[at]));
        let mean = values().sum::<f64>() / n;
        let deviation = (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        (mean as f32, (deviation + LEAST_SCALE) as f32)
    };
    let differences = (0..DIFFERENCES).into_par_iter().map(|at| moments(at, |e| &e.differences));
    let common = (0..COMMON).into_par_iter().map(|at| moments(at, |e| &e.common));
    let (_, difference_scale): (Vec<_>, Vec<_>) = differences.unzip();
    let (common_mean, common_scale): (Vec<_>, Vec<_>) = common.unzip();
    let rows = [
        ("overlay.difference_scale", difference_scale),
        ("overlay.common_mean", common_mean),
        ("overlay.common_scale", common_scale),
    ];
    rows.into_iter().map(|(name, row)| Ok((name.to_owned(), Tensor::new(row, &Device::Cpu)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{groups, sources};
    use juror_nn::collective::Single;

    #[test]
    fn who_looks_better_is_learnt_from_rendered_scenes() {
        let dir = tempfile::tempdir().unwrap();
        let data: DataConfig = toml::from_str(
            "scenes = 6\nshort_sides = [96]\nmax_frames = 16\nversions = 9\n\
             held_out_codecs = [\"av1\", \"vp9\", \"hevc\"]\nyardstick = \"ms-ssim\"",
        )
        .unwrap();
        let model = NanoConfig { moments: 2, overlay_dim: 16, ..NanoConfig::default() };
        let sources = sources::list(&data, 3).unwrap();
        let groups = groups::prepare(&data, &model, &sources, &dir.path().join("groups")).unwrap();
        let config = OverlayTraining {
            steps: 400,
            batch: 32,
            dropout: 0.0,
            learning_rate: 3e-3,
            warmup_steps: 10,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            ema_decay: 0.9,
            save_steps: 400,
        };
        let stage = Stage { dir: &dir.path().join("overlay"), seed: 1, world: &Single, start: None };
        let weights = train(&config, &model, &groups, &stage).unwrap();
        let overlay = model.overlay(&Params::from_tensors(weights, &Device::Cpu).unwrap()).unwrap().unwrap();

        let (mut right, mut all) = (0, 0);
        for group in &groups {
            let n = group.examples.len();
            let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
            for ((a, b), lead) in pairs.zip(leads(&overlay, group).unwrap()) {
                let [a, b] = [a, b].map(|at| &group.examples[at]);
                let better = a.visual - b.visual;
                if lead != 0.0 && better.abs() > FULL && a.temporal == b.temporal {
                    all += 1;
                    right += usize::from((better > 0.0) == (lead > 0.0));
                }
            }
        }
        assert!(all > 60 && right * 20 > all * 19, "{right} of {all}");
    }
}
