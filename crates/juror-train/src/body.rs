//! Training the body: ranking within a content, regression to the yardstick, attribution of distortions.
//!
//! A batch is a few groups (one source each) times some of their versions, with random moments and places of
//! each. For versions i, j of one group whose order is known, with rank logit r, score logit s and yardstick Q:
//!
//! ```text
//! rank              mean over ordered pairs of softplus(r_worse - r_better)
//! rank_regression   cross-entropy of sigmoid(r) against Q
//! score_rank, score_regression: the same of s
//! cross_rank        as rank, of s, over pairs of different groups with |Q_i - Q_j| > 0.12
//! contrast          as rank, of r moved by the contrast c (`nano/contrast.rs`); r gets no gradient from it, so that it stays as good as
//!                   it can be alone
//! cross_contrast    the same over some pairs of different groups
//! temporal_rank     as rank, of the temporal penalties of r and s, over pairs of different groups with one and the same temporal
//!                   fault: a longer hold is worse, whatever is held
//! dominant          cross-entropy of the dominant distortion, 5 % label smoothing, the n versions of one kind in
//!                   a batch weighted by 1 / sqrt(n): codecs are a third of all versions
//! severity          binary cross-entropy against level / 5 per kind
//! aspect            temporal penalties of versions without temporal fault towards 0; visual logits of versions
//!                   with temporal faults only towards their source's
//! ```
//!
//! Weights and their trade-offs: `nano.md`, section "What matters", 3.
//!
//! Of several processes each sees the groups of its share. All draw the whole batch, so that counts and class weights are those
//! of the whole batch, and the mean of the ranks' losses is the loss of one process; but `cross_rank`, `cross_contrast` and `temporal_rank`
//! see only pairs of groups of one rank, and are the mean of the ranks' means.

use crate::config::{BodyTraining, BodyWeights};
use crate::data::groups::{Example, GroupFile};
use crate::engine::{self, BatchLoss, Fit, Stage, scalar};
use anyhow::{Result, ensure};
use candle_core::{D, Device, Tensor};
use juror_lmm::nano::{
    Body, CONTEXT_PLACES, Ensemble, FRAGMENT_BYTES, Hue, KINDS, NATIVE_PLACES, NanoConfig, Numbers,
    PATCH_LEN, PATCHES, PLACES, Sides, Turn, patch_features,
};
use juror_nn::collective::Collective;
use juror_nn::ops;
use juror_nn::rng;
use rand::seq::{IndexedRandom, SliceRandom, index};
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use std::ops::Range;

/// Levels of one family closer than this are not ordered.
const LEVEL_GAP: f64 = 0.3;
/// Yardsticks of different families closer than this are not ordered.
const QUALITY_GAP: f64 = 0.1;
/// The same across contents.
const CROSS_GAP: f64 = 0.12;
/// Levels of temporal faults of different contents closer than this are not ordered.
const TEMPORAL_GAP: f64 = 0.5;

/// Places in a batch: (better, worse).
type Pairs = Vec<(usize, usize)>;

/// Ordered pairs of own videos.
#[derive(Default)]
struct Orders {
    /// Of one group.
    within: Pairs,
    /// Of different groups, by quality.
    across: Pairs,
    /// Of different groups, by the severity of one temporal fault.
    temporal: Pairs,
}

/// Trains the bodies of `model` on `groups`, one after the other; returns the averaged weights.
///
/// # Errors
/// When the data cannot be read, a checkpoint not be written, or ranks cannot share a batch.
pub fn train(
    config: &BodyTraining,
    model: &NanoConfig,
    groups: &[GroupFile],
    stage: &Stage<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let world = stage.world;
    let (drawn, ranks) = (config.groups.min(groups.len()), world.world_size());
    ensure!(
        drawn.is_multiple_of(ranks),
        "body.groups is {} of {} groups, a multiple of WORLD_SIZE ({ranks}) is needed",
        config.groups,
        groups.len()
    );
    let mut weights = BTreeMap::new();
    for index in 0..model.bodies {
        let seed = rng::derive_seed(stage.seed, &[index as u64]);
        let stage = Stage { dir: &stage.dir.join(index.to_string()), seed, ..*stage };
        weights.extend(train_one(config, model, &Ensemble::path(index), groups, &stage)?);
    }
    Ok(weights)
}

/// Trains the body whose weights lie under `path`.
fn train_one(
    config: &BodyTraining,
    model: &NanoConfig,
    path: &str,
    groups: &[GroupFile],
    stage: &Stage<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let world = stage.world;
    let params = stage.params(path)?;
    let body = Body::new(&params, path, model)?;
    params.verify()?;
    tracing::info!("{path}: {} parameters, {} groups", params.count(), groups.len());
    let fit = Fit {
        name: "body",
        steps: config.steps,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps,
        weight_decay: config.weight_decay,
        max_grad_norm: config.max_grad_norm,
        ema_decay: config.ema_decay,
        save_steps: config.save_steps,
    };
    let batches = rng::derive_named(stage.seed, "body batches");
    fit.run(stage.dir, &params, world, |step| {
        let batch = Batch::draw(config, &body, groups, world, &mut rng::stream(batches, &[step as u64]))?;
        batch.loss(&body, &config.weights)
    })
}

/// Versions of a few groups, and what is known of them. "Own" are the videos of this rank's groups.
struct Batch<'a> {
    patches: Tensor, // [own videos, moments, places, 16, 384]
    native: usize,
    numbers: Numbers,
    /// Dropout of the inputs of trunk and temporal branch, `[own videos, inputs]`.
    mask: Tensor,
    /// Group number within the batch, beside the example; those of all ranks.
    videos: Vec<(usize, &'a Example)>,
    own: Range<usize>,
    ranks: usize,
    /// The ids of own groups.
    groups: Vec<String>,
}

impl<'a> Batch<'a> {
    fn draw(
        config: &BodyTraining,
        body: &Body,
        groups: &'a [GroupFile],
        world: &dyn Collective,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let mut videos = Vec::new();
        let mut fragments = Vec::new();
        let mut own_groups = Vec::new();
        let drawn = config.groups.min(groups.len());
        let share = world.share(drawn);
        for (number, group) in index::sample(rng, groups.len(), drawn).iter().enumerate() {
            let group = &groups[group];
            let is_own = share.contains(&number);
            own_groups.extend(is_own.then(|| group.id.clone()));
            // The versions of a group are looked at in the same places, turned and coloured alike, as the contrast needs it.
            let turn = Turn { mirrored: rng.random(), upended: rng.random(), transposed: rng.random() };
            let hue = Hue { u_negated: rng.random(), v_negated: rng.random(), swapped: rng.random() };
            let mut views = Vec::new(); // (moment, place)
            for moment in index::sample(rng, group.moments, config.moments.min(group.moments)) {
                let native = index::sample(rng, NATIVE_PLACES, config.native_places);
                let context = index::sample(rng, CONTEXT_PLACES, config.context_places);
                views.extend(native.iter().map(|place| (moment, place)));
                views.extend(context.iter().map(|place| (moment, NATIVE_PLACES + place)));
            }
            for version in choose_versions(&group.examples, config.versions, rng) {
                videos.push((number, &group.examples[version]));
                for &(moment, place) in views.iter().filter(|_| is_own) {
                    let from = fragments.len();
                    let bytes = group.fragments(version, moment)?;
                    fragments.extend_from_slice(&bytes[place * 2 * FRAGMENT_BYTES..][..2 * FRAGMENT_BYTES]);
                    for fragment in fragments[from..].chunks_exact_mut(FRAGMENT_BYTES) {
                        turn.apply(fragment);
                        hue.apply(fragment);
                    }
                }
            }
        }
        let places = config.native_places + config.context_places;
        let before = |bound: usize| videos.iter().take_while(|(number, _)| *number < bound).count();
        let own = before(share.start)..before(share.end);
        let shape = (own.len(), (), places, PATCHES, PATCH_LEN);
        debug_assert!(places <= PLACES);
        Ok(Self {
            patches: Tensor::from_vec(patch_features(&fragments), shape, &Device::Cpu)?,
            native: config.native_places,
            mask: dropout(config.dropout, body.inputs(), &videos, rng)?.narrow(0, own.start, own.len())?,
            numbers: Numbers::new(videos[own.clone()].iter().map(|(_, e)| e.numbers()))?,
            videos,
            own,
            ranks: world.world_size(),
            groups: own_groups,
        })
    }

    fn own(&self) -> &[(usize, &'a Example)] {
        &self.videos[self.own.clone()]
    }

    /// What a mean over own videos counts, so that the mean over ranks is the mean over all videos.
    fn weight(&self) -> f64 {
        (self.ranks * self.own.len()) as f64 / self.videos.len() as f64
    }

    fn loss(&self, body: &Body, weights: &BodyWeights) -> Result<BatchLoss> {
        let n = self.own.len();
        let out = body.forward_masked(&self.patches, self.native, &self.numbers, Some(&self.mask))?;
        let rank = (&out.rank_visual + &out.rank_temporal)?; // [own videos]
        let score = (&out.score_visual + &out.score_temporal)?;
        let quality = self.column(|e| e.quality)?;

        let Orders { within, across, temporal } = self.orders();
        // Of all ranks' pairs.
        let each = self.ranks as f64 / self.ordered_pairs() as f64;
        let own_mean = 1.0 / across.len() as f64;
        let regression =
            |logit: &Tensor| -> Result<Tensor> { Ok((regression(logit, &quality)? * self.weight())?) };
        let terms = [
            ("rank", weights.rank, pair_loss(&rank, &within, each, n)?),
            ("rank_regression", weights.rank_regression, regression(&rank)?),
            ("score_rank", weights.score_rank, pair_loss(&score, &within, each, n)?),
            ("score_regression", weights.score_regression, regression(&score)?),
            ("cross_rank", weights.cross_rank, pair_loss(&score, &across, own_mean, n)?),
            ("contrast", weights.contrast, contrast_loss(body, &out.views.sides, &rank, &within, each)?),
            ("cross_contrast", weights.cross_contrast, {
                // As many as within the groups; there are far more.
                let stride = across.len().div_ceil(within.len().max(1)).max(1);
                let some: Pairs = across.iter().step_by(stride).copied().collect();
                contrast_loss(body, &out.views.sides, &rank, &some, 1.0 / some.len() as f64)?
            }),
            ("temporal_rank", weights.temporal_rank, {
                let each = 0.5 / temporal.len() as f64;
                (pair_loss(&out.rank_temporal, &temporal, each, n)?
                    + pair_loss(&out.score_temporal, &temporal, each, n)?)?
            }),
            ("dominant", weights.dominant, self.dominant_loss(&out.dominant)?),
            ("severity", weights.severity, (self.severity_loss(&out.severity)? * self.weight())?),
            (
                "aspect",
                weights.aspect,
                (self.aspect_loss(&[
                    (&out.rank_visual, &out.rank_temporal),
                    (&out.score_visual, &out.score_temporal),
                ])? * self.weight())?,
            ),
        ];
        let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        let mut log = Vec::with_capacity(terms.len());
        for (name, weight, term) in &terms {
            loss = (loss + (term * *weight)?)?;
            log.push((*name, scalar(term)?));
        }
        Ok(BatchLoss { loss, terms: log, batch: self.groups.clone() })
    }

    fn column(&self, value: impl Fn(&Example) -> f64) -> Result<Tensor> {
        let values: Vec<f32> = self.own().iter().map(|(_, e)| value(e) as f32).collect();
        Ok(Tensor::from_vec(values, self.own.len(), &Device::Cpu)?)
    }

    fn orders(&self) -> Orders {
        let mut orders = Orders::default();
        for (i, (group_i, a)) in self.own().iter().enumerate() {
            for (j, (group_j, b)) in self.own().iter().enumerate() {
                if group_i == group_j && a.better_than(b) {
                    orders.within.push((i, j));
                } else if group_i != group_j && a.quality - b.quality > CROSS_GAP {
                    orders.across.push((i, j));
                }
                if group_i != group_j && a.has_milder_temporal_fault(b) {
                    orders.temporal.push((i, j));
                }
            }
        }
        orders
    }

    /// Ordered pairs within the groups of all ranks.
    fn ordered_pairs(&self) -> usize {
        let groups = self.videos.chunk_by(|a, b| a.0 == b.0);
        groups.map(|g| g.iter().flat_map(|a| g.iter().filter(|b| a.1.better_than(b.1))).count()).sum()
    }

    fn dominant_loss(&self, logits: &Tensor) -> Result<Tensor> {
        let classes = 1 + KINDS.len();
        let smoothing = 0.05;
        let class: Vec<usize> =
            self.videos.iter().map(|(_, e)| e.dominant().map_or(0, |kind| kind + 1)).collect();
        let mut count = vec![0f64; classes];
        class.iter().for_each(|&c| count[c] += 1.0);
        let total: f64 = class.iter().map(|&c| count[c].sqrt().recip()).sum();
        let mut target = vec![0f32; self.own.len() * classes];
        for (&class, row) in class[self.own.clone()].iter().zip(target.chunks_exact_mut(classes)) {
            let weight = self.ranks as f64 * count[class].sqrt().recip() / total;
            row.fill((weight * smoothing / classes as f64) as f32);
            row[class] += (weight * (1.0 - smoothing)) as f32;
        }
        let target = Tensor::from_vec(target, (self.own.len(), classes), &Device::Cpu)?;
        let log_probability = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        Ok((target * log_probability)?.sum_all()?.neg()?)
    }

    fn severity_loss(&self, logits: &Tensor) -> Result<Tensor> {
        let target: Vec<f32> = self.own().iter().flat_map(|(_, e)| e.severities()).collect();
        let target = Tensor::from_vec(target, (self.own.len(), KINDS.len()), &Device::Cpu)?;
        // Cross-entropy of a sigmoid: softplus(x) - x * target.
        Ok((ops::softplus(logits)? - (logits * target)?)?.mean_all()?)
    }

    fn aspect_loss(&self, heads: &[(&Tensor, &Tensor)]) -> Result<Tensor> {
        let source_of: Vec<u32> = self
            .own()
            .iter()
            .map(|(group, _)| self.own().iter().position(|(g, e)| g == group && e.is_source()))
            .zip(0u32..)
            .map(|(source, own)| source.map_or(own, |s| s as u32))
            .collect();
        let source_of = Tensor::from_vec(source_of, self.own.len(), &Device::Cpu)?;
        let flag = |yes: bool| f64::from(u8::from(yes));
        let steady = self.column(|e| flag(!e.has_fault(true)))?;
        let only_temporal = self.column(|e| flag(e.has_fault(true) && !e.has_fault(false)))?;
        let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        for (visual, temporal) in heads {
            let source = visual.contiguous()?.index_select(&source_of, 0)?.detach();
            let drift = ((*visual - source)?.sqr()? * &only_temporal)?.mean_all()?;
            let blame = (temporal.sqr()? * &steady)?.mean_all()?;
            loss = ((loss + drift)? + blame)?;
        }
        Ok(loss)
    }
}

/// Masks of the inputs of all videos. The versions of one group lose the same
/// ones: what tells them apart must not drown in the noise, but no content may be told by few inputs.
fn dropout(rate: f64, inputs: usize, videos: &[(usize, &Example)], rng: &mut impl Rng) -> Result<Tensor> {
    let mut mask: Vec<f32> = Vec::with_capacity(videos.len() * inputs);
    for (i, (group, _)) in videos.iter().enumerate() {
        if i > 0 && videos[i - 1].0 == *group {
            mask.extend_from_within(mask.len() - inputs..);
        } else {
            mask.extend(engine::dropout(rate, inputs, rng));
        }
    }
    Ok(Tensor::from_vec(mask, (videos.len(), inputs), &Device::Cpu)?)
}

/// The source, then whole families so that severities meet, then whatever fills the number.
fn choose_versions(examples: &[Example], count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut chosen = vec![0];
    let mut rest: Vec<usize> = (1..examples.len()).collect();
    rest.shuffle(rng);
    while chosen.len() < count {
        let Some(&seed) = rest.iter().find(|i| !chosen.contains(i)) else { break };
        chosen.push(seed);
        let family = examples[seed].version.family();
        let siblings: Vec<usize> = rest
            .iter()
            .copied()
            .filter(|i| !chosen.contains(i) && family.is_some() && examples[*i].version.family() == family)
            .collect();
        let take = rng.random_range(1..=2).min(count - chosen.len());
        chosen.extend(siblings.sample(rng, take.min(siblings.len())).copied());
    }
    chosen.truncate(count);
    chosen
}

/// Sum of `each softplus(worse - better)` over the pairs.
fn pair_loss(logit: &Tensor, pairs: &[(usize, usize)], each: f64, n: usize) -> Result<Tensor> {
    if pairs.is_empty() {
        return Ok(logit.zeros_like()?.sum_all()?);
    }
    let mut weight = vec![0f32; n * n]; // [better, worse]
    for &(better, worse) in pairs {
        weight[better * n + worse] = each as f32;
    }
    let weight = Tensor::from_vec(weight, (n, n), &Device::Cpu)?;
    let lead = logit.unsqueeze(1)?.broadcast_sub(&logit.unsqueeze(0)?)?; // [better, worse]
    Ok((ops::softplus(&lead.neg()?)? * weight)?.sum_all()?)
}

/// Sum of `each softplus(worse - better)` over the pairs, their ranks moved by their contrast.
fn contrast_loss(body: &Body, sides: &Sides, rank: &Tensor, pairs: &Pairs, each: f64) -> Result<Tensor> {
    if pairs.is_empty() {
        return Ok(rank.zeros_like()?.sum_all()?);
    }
    let (better, worse): (Vec<u32>, Vec<u32>) = pairs.iter().map(|&(b, w)| (b as u32, w as u32)).unzip();
    let (better, worse) = (Tensor::new(better, &Device::Cpu)?, Tensor::new(worse, &Device::Cpu)?);
    let pick = |rows: &Tensor| sides.map(|t| t.index_select(rows, 0));
    let contrast = body.contrast(&pick(&better)?, &pick(&worse)?)?; // [pairs]
    let rank = rank.detach();
    let lead = ((rank.index_select(&better, 0)? - rank.index_select(&worse, 0)?)? + contrast)?;
    Ok((ops::softplus(&lead.neg()?)?.sum_all()? * each)?)
}

/// Cross-entropy of `sigmoid(logit)` against `quality`, less its least value: unlike a distance of the sigmoids, its
/// gradient does not vanish where the logit is far off.
fn regression(logit: &Tensor, quality: &Tensor) -> Result<Tensor> {
    let least = quality.to_vec1::<f32>()?.iter().map(|&q| entropy(f64::from(q))).sum::<f64>();
    let loss = (ops::softplus(logit)? - (logit * quality)?)?.mean_all()?;
    Ok((loss - least / quality.elem_count() as f64)?)
}

/// Entropy of a choice of probability `p`, in nats.
fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    part(p) + part(1.0 - p)
}

impl Example {
    /// Whether this version is known to look better than `other` of the same group.
    #[must_use]
    pub fn better_than(&self, other: &Self) -> bool {
        if self.same_pixels_as_source && other.same_pixels_as_source {
            return false;
        }
        if self.is_source() {
            return true;
        }
        if other.is_source() {
            return false;
        }
        match (self.version.family(), other.version.family()) {
            (Some(a), Some(b)) if a == b => {
                other.version.steps[0].level - self.version.steps[0].level > LEVEL_GAP
            }
            _ => self.quality - other.quality > QUALITY_GAP,
        }
    }

    /// Whether this version and `other`, of whatever group, have the same temporal fault and nothing else, this one the milder.
    fn has_milder_temporal_fault(&self, other: &Self) -> bool {
        let ([own], [others]) = (self.version.steps.as_slice(), other.version.steps.as_slice()) else {
            return false;
        };
        own.kind == others.kind && self.has_fault(true) && others.level - own.level > TEMPORAL_GAP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::versions::Version;
    use juror_lmm::nano::{Cadence, FACTS_LEN, PROFILE_LEN, TONE_LEN};

    #[test]
    fn versions_of_one_group_lose_the_same_inputs() {
        let example = Example {
            version: Version::source(),
            visual: 1.0,
            temporal: 1.0,
            quality: 1.0,
            same_pixels_as_source: true,
            profile: [0.0; PROFILE_LEN],
            cadence: Cadence::default(),
            tone: [0.0; TONE_LEN],
            facts: [0.0; FACTS_LEN],
        };
        let videos = [(0, &example), (0, &example), (1, &example)];
        let mask = dropout(0.25, 400, &videos, &mut rng::stream(1, &[])).unwrap();
        let rows = mask.to_vec2::<f32>().unwrap();
        assert_eq!(rows[0], rows[1]);
        assert_ne!(rows[0], rows[2]);
        let dropped = rows[0].iter().filter(|&&v| v == 0.0).count();
        assert!((70..130).contains(&dropped), "{dropped}");
        assert!(rows[0].iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    }
}
