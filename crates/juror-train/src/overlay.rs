//! Training the overlay: which of two videos of one content looks better, and what ails them, laid over each other (`juror_lmm::nano`,
//! `overlay.rs`).
//!
//! From every group `PAIRS_PER_GROUP` pairs of one size are drawn and laid over each other once; what is left of them is small. With the
//! order z of A, the visual qualities V of both, and the logits g of the dominant kind among those that pictures of one size show,
//!
//! ```text
//! order   mean of w softplus(-z sign(VA - VB)),    w = min(|VA - VB| / FULL, 1), times WITHIN for versions of one kind or the source
//! tie     mean of |z| where only motion was disturbed
//! order's loss    order + tie TIE
//! naming's loss   mean over A and B of the cross-entropy of softmax(g + ln share of each kind), and of that of the dominant kind's severity
//! ```
//!
//! So g holds what the pictures tell, not how common a kind is. The numbers are scaled by their means and deviations over the
//! pairs. Leaves out: motion (`nano/cadence.rs` needs no training), and pairs of different contents, which are not laid over each other.

use crate::config::OverlayTraining;
use crate::data::groups::{Example, GroupFile};
use crate::engine::{BatchLoss, Fit, Stage, dropout, scalar};
use anyhow::{Result, bail, ensure};
use candle_core::{D, DType, Device, Tensor};
use juror_lmm::nano::{COMMON, DIFFERENCES, Evidence, LAID_KINDS, NanoConfig, Overlay, Spectra};
use juror_nn::params::Params;
use juror_nn::{ops, rng};
use rand::seq::index;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Pairs of a group.
const PAIRS_PER_GROUP: usize = 200;
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
pub struct Pair {
    evidence: Evidence,
    /// Whether A looks better (1) or worse (-1), times its weight; 0 where their order is not known.
    order: f32,
    /// 1 where only motion differs.
    tie: f32,
    /// What ails the pictures of A and of B most.
    faults: [Fault; 2],
}

/// What ails the pictures of a version most, among what the overlay tells.
#[derive(Clone, Copy)]
struct Fault {
    /// 0 for nothing, else one more than its place in `KINDS`.
    kind: u32,
    /// 0..1.
    severity: f32,
}

impl Fault {
    fn of(version: &Example) -> Self {
        let kind = version.dominant_among(0..LAID_KINDS);
        Self {
            kind: kind.map_or(0, |kind| 1 + kind as u32),
            severity: kind.map_or(0.0, |kind| version.severities()[kind].min(1.0)),
        }
    }
}

impl Pair {
    fn new(a: &Example, b: &Example, evidence: Evidence) -> Self {
        let (visual, temporal) = (a.visual - b.visual, a.temporal - b.temporal);
        let family = a.version.family();
        let within = a.is_source() || b.is_source() || (family.is_some() && family == b.version.family());
        let weight = (visual.abs() / FULL).min(1.0) * if within { WITHIN } else { 1.0 };
        let tie = visual.abs() < EQUAL && temporal.abs() > DISTURBED;
        let faults = [a, b].map(Fault::of);
        Self { evidence, order: (weight * visual.signum()) as f32, tie: f32::from(u8::from(tie)), faults }
    }
}

fn spectra(group: &GroupFile) -> Result<Vec<Spectra>> {
    (0..group.examples.len()).map(|version| Ok(Spectra::of(&group.observation(version)?))).collect()
}

/// Draws pairs from every group, for both networks.
///
/// # Errors
/// When the data cannot be read, or no two versions can be laid over each other.
pub fn draw_pairs(groups: &[GroupFile], seed: u64) -> Result<Vec<Pair>> {
    let seed = rng::derive_named(seed, "overlay pairs");
    let drawn = groups.par_iter().enumerate();
    let drawn = drawn.map(|(index, group)| draw(group, &mut rng::stream(seed, &[index as u64])));
    let pairs: Vec<Pair> = drawn.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    ensure!(!pairs.is_empty(), "no group has two versions of one size to lay over each other");
    Ok(pairs)
}

/// Trains who looks better, and scales the numbers; returns the averaged weights.
///
/// # Errors
/// When a checkpoint cannot be written.
pub fn train_order(
    config: &OverlayTraining,
    model: &NanoConfig,
    pairs: &[Pair],
    stage: &Stage<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let model = NanoConfig { naming_dim: 0, ..model.clone() };
    // Given and frozen; the other weights are drawn.
    let scales = scales(pairs)?;
    let part = Part { name: "overlay", rows: 2, width: model.overlay_dim };
    let mut weights = fit(&part, config, &model, scales.clone(), pairs, stage, order_loss)?;
    weights.extend(scales);
    Ok(weights)
}

/// Trains what ails whom and how much, beside `overlay`, which has been trained; returns the averaged weights.
///
/// # Errors
/// As [`train_order`].
pub fn train_faults(
    config: &OverlayTraining,
    model: &NanoConfig,
    overlay: BTreeMap<String, Tensor>,
    pairs: &[Pair],
    stage: &Stage<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let prior = prior(pairs)?;
    let loss = |overlay: &Overlay, pairs: &[&Pair], masks: &[Tensor; 2], weight| {
        faults_loss(overlay, &prior, pairs, masks, weight)
    };
    let part = Part { name: "naming", rows: 3, width: model.naming_dim };
    fit(&part, config, model, overlay, pairs, stage, loss)
}

/// One of the two networks.
struct Part {
    name: &'static str,
    /// Rows that it reads of a pair.
    rows: usize,
    /// Of its hidden layers.
    width: usize,
}

/// Trains what is not `given` of an overlay.
fn fit(
    part: &Part,
    config: &OverlayTraining,
    model: &NanoConfig,
    given: BTreeMap<String, Tensor>,
    pairs: &[Pair],
    stage: &Stage<'_>,
    loss: impl Fn(&Overlay, &[&Pair], &[Tensor; 2], f64) -> Result<BatchLoss>,
) -> Result<BTreeMap<String, Tensor>> {
    let &Part { name, rows, width } = part;
    let frozen: Vec<String> = given.keys().cloned().collect();
    let params = Params::tensors_for_training(given, rng::derive_named(stage.seed, name), &Device::Cpu)?;
    frozen.iter().for_each(|name| params.freeze(name));
    let overlay = Overlay::new(&params, model)?;
    tracing::info!("{name}: {} parameters, {} pairs", params.count(), pairs.len());
    let fit = Fit {
        name,
        steps: config.steps,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps,
        weight_decay: config.weight_decay,
        max_grad_norm: config.max_grad_norm,
        ema_decay: config.ema_decay,
        save_steps: config.save_steps,
    };
    let batches = rng::derive_named(stage.seed, "overlay batches");
    fit.run(stage.dir, &params, stage.world, |step| {
        let mut rng = rng::stream(batches, &[step as u64]);
        // All ranks draw the whole batch, and each sees its share.
        let drawn: Vec<&Pair> = (0..config.batch).map(|_| &pairs[rng.random_range(0..pairs.len())]).collect();
        let own = stage.world.share(config.batch);
        let mut mask = || {
            let mask = dropout(config.dropout, rows * config.batch * width, &mut rng).collect::<Vec<f32>>();
            let mask = Tensor::from_vec(mask, (rows, config.batch, width), &Device::Cpu)?;
            mask.narrow(1, own.start, own.len())?.reshape(((), width))
        };
        let masks = [mask()?, mask()?];
        let weight = (stage.world.world_size() * own.len()) as f64 / config.batch as f64;
        loss(&overlay, &drawn[own], &masks, weight)
    })
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

/// What the networks read of pairs: differences and common numbers, a row each.
fn evidence(pairs: &[&Pair]) -> Result<(Tensor, Tensor)> {
    let rows = |len: usize, of: fn(&Evidence) -> &[f32]| {
        let values: Vec<f32> = pairs.iter().flat_map(|pair| of(&pair.evidence)).copied().collect();
        Tensor::from_vec(values, (pairs.len(), len), &Device::Cpu)
    };
    Ok((rows(DIFFERENCES, |e| &e.differences)?, rows(COMMON, |e| &e.common)?))
}

/// Of one rank's pairs, whose mean counts `weight`: who looks better.
fn order_loss(overlay: &Overlay, pairs: &[&Pair], masks: &[Tensor; 2], weight: f64) -> Result<BatchLoss> {
    let column = |of: fn(&Pair) -> f32| {
        Tensor::new(pairs.iter().map(|pair| of(pair)).collect::<Vec<f32>>(), &Device::Cpu)
    };
    let (differences, common) = evidence(pairs)?;
    let found = overlay.order(&differences, &common, Some(masks))?;
    let order = column(|pair| pair.order)?;
    let wrong = ops::softplus(&(&found * order.sign()?)?.neg()?)?;
    let order = ((wrong * order.abs()?)?.mean_all()? * weight)?;
    let tie = ((found.abs()? * column(|pair| pair.tie)?)?.mean_all()? * weight)?;
    let terms = vec![("order", scalar(&order)?), ("tie", scalar(&tie)?)];
    Ok(BatchLoss { loss: (order + (tie * TIE)?)?, terms, batch: Vec::new() })
}

/// The same: what ails A, what B, and how much.
fn faults_loss(
    overlay: &Overlay,
    prior: &Tensor,
    pairs: &[&Pair],
    masks: &[Tensor; 2],
    weight: f64,
) -> Result<BatchLoss> {
    let (differences, common) = evidence(pairs)?;
    let Some((found, severities)) = overlay.faults(&differences, &common, Some(masks))? else {
        bail!("the overlay has no network that names (naming_dim is 0)");
    };
    let of = |side: usize| pairs.iter().map(move |pair| pair.faults[side]);
    let faults: Vec<Fault> = of(0).chain(of(1)).collect(); // [2 pairs]
    let kinds = Tensor::new(faults.iter().map(|f| f.kind).collect::<Vec<u32>>(), &Device::Cpu)?;
    let naming = (ops::cross_entropy(&found.broadcast_add(prior)?, &kinds, None)? * weight)?;
    let right = found.argmax(D::Minus1)?.eq(&kinds)?.to_dtype(DType::F32)?.mean_all()?;
    // Of what ails nobody, any column will do: it counts nothing.
    let column =
        |of: fn(&Fault) -> f32| Tensor::new(faults.iter().map(of).collect::<Vec<f32>>(), &Device::Cpu);
    let at =
        Tensor::new(faults.iter().map(|f| f.kind.saturating_sub(1)).collect::<Vec<u32>>(), &Device::Cpu)?;
    let logit = severities.contiguous()?.gather(&at.unsqueeze(1)?, 1)?.squeeze(1)?;
    let entropy = (ops::softplus(&logit)? - (logit * column(|f| f.severity)?)?)?;
    let ailing = column(|f| f32::from(u8::from(f.kind > 0)))?;
    let severity = ((entropy * ailing)?.mean_all()? * weight)?;
    let terms = vec![
        ("naming", scalar(&naming)?),
        ("severity", scalar(&severity)?),
        ("named_right", scalar(&right)?),
    ];
    Ok(BatchLoss { loss: (naming + severity)?, terms, batch: Vec::new() })
}

/// Logarithms of the kinds' shares of the pairs' videos, `[1 + LAID_KINDS]`; each at least one video.
fn prior(pairs: &[Pair]) -> Result<Tensor> {
    let mut counts = [1f32; 1 + LAID_KINDS];
    pairs.iter().flat_map(|pair| pair.faults).for_each(|fault| counts[fault.kind as usize] += 1.0);
    let all: f32 = counts.iter().sum();
    Ok(Tensor::new(counts.map(|count| (count / all).ln()).to_vec(), &Device::Cpu)?)
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
    use juror_lmm::nano::Faults;
    use juror_nn::collective::Single;

    #[test]
    fn who_looks_better_and_what_ails_whom_is_learnt_from_rendered_scenes() {
        let dir = tempfile::tempdir().unwrap();
        let data: DataConfig = toml::from_str(
            "scenes = 6\nshort_sides = [96]\nmax_frames = 16\nversions = 9\n\
             held_out_codecs = [\"av1\", \"vp9\", \"hevc\"]\nyardstick = \"ms-ssim\"",
        )
        .unwrap();
        let model = NanoConfig { moments: 2, overlay_dim: 16, naming_dim: 16, ..NanoConfig::default() };
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
        let pairs = draw_pairs(&groups, 1).unwrap();
        let stage = Stage { dir: &dir.path().join("overlay"), seed: 1, world: &Single, start: None };
        let order = train_order(&config, &model, &pairs, &stage).unwrap();
        let stage = Stage { dir: &dir.path().join("naming"), ..stage };
        let mut weights = train_faults(&config, &model, order.clone(), &pairs, &stage).unwrap();
        assert!(weights.keys().all(|name| name.starts_with("overlay.faults.")), "the order stays as it is");
        weights.extend(order);
        let overlay = Overlay::new(&Params::from_tensors(weights, &Device::Cpu).unwrap(), &model).unwrap();

        let (mut right, mut all, mut named, mut ailing, mut off) = (0, 0, 0, 0, 0.0);
        for group in &groups {
            let spectra = spectra(group).unwrap();
            let n = group.examples.len();
            for (a, b) in (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))) {
                let over = overlay.over(&spectra[a], &spectra[b]).unwrap();
                let [a, b] = [a, b].map(|at| &group.examples[at]);
                let better = a.visual - b.visual;
                if over.lead != 0.0 && better.abs() > FULL && a.temporal == b.temporal {
                    all += 1;
                    right += usize::from((better > 0.0) == (over.lead > 0.0));
                }
                for (video, Faults { kinds: logits, severities }) in [a, b].into_iter().zip(over.faults) {
                    if let (true, Some(kind)) = (over.lead != 0.0, video.dominant_among(0..LAID_KINDS)) {
                        let best = (0..LAID_KINDS).max_by(|&i, &j| logits[i].total_cmp(&logits[j]));
                        ailing += 1;
                        named += usize::from(best == Some(kind));
                        let found = 1.0 / (1.0 + (-severities[kind]).exp());
                        off += f64::from((found - video.severities()[kind].min(1.0)).abs());
                    }
                }
            }
        }
        assert!(all > 60 && right * 20 > all * 19, "{right} of {all}");
        assert!(ailing > 60 && named * 10 > ailing * 9, "{named} of {ailing}");
        assert!(off < 0.15 * ailing as f64, "severities are off by {}", off / ailing as f64);
    }
}
