//! Training the decoder: written comparisons and descriptions over what the frozen bodies and overlay see.
//!
//! The features of a version are computed once, when it is first drawn. A batch is pairs, mostly of one group, each in both orders;
//! every `SINGLE_EVERY`-th batch describes single videos instead. Loss: next-piece cross-entropy of the text after
//! the question, plus, for the margins m read at the question and at the last piece,
//!
//! ```text
//! margin        smooth-L1 distance of m from 4 (Q_A - Q_B) points
//! order         mean softplus(-4 m) over pairs of one group whose better is known to be A; likewise for B
//! antisymmetry  mean (m_AB + m_BA)^2
//! ```
//!
//! Of several processes each reads its share of the pairs, both orders of a pair together. All draw the whole batch and
//! write its texts, so that every mean counts the whole batch's pieces and orders: the mean of the ranks' losses is the loss
//! of one process.

use crate::config::LanguageTraining;
use crate::data::groups::{Example, GroupFile};
use crate::engine::{BatchLoss, Fit, Stage, scalar};
use crate::language::{self, Known};
use crate::log::TOKENS;
use anyhow::{Context, Result, ensure};
use candle_core::{D, Device, IndexOp, Tensor};
use juror_lmm::nano::{
    COMPARE, DESCRIBE, Decoder, END, NanoConfig, Observation, Overlaid, Overlay, PairFeatures, Sides,
    Spectra, VideoFeatures, Vision, Voice, look,
};
use juror_nn::collective::Collective;
use juror_nn::ops;
use juror_nn::rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::{AddedToken, TokenizerBuilder, models::TrainerWrapper};

/// One batch in this many describes single videos.
const SINGLE_EVERY: usize = 4;
/// Share of pairs whose two videos show different content.
const CROSS_SHARE: f64 = 0.15;
/// Pieces at which a written text is cut, to bound a batch; none comes near.
const MAX_TEXT: usize = 180;

/// All versions of all groups, as a model sees them.
pub struct Library<'a> {
    vision: &'a Vision,
    files: &'a [GroupFile],
    /// Of each example that was drawn before.
    features: Vec<OnceLock<VideoFeatures>>,
    /// Of the pairs of rows of one group that were drawn before, the lower row first.
    overlaid: Mutex<HashMap<(usize, usize), Overlaid>>,
    pub(crate) examples: Vec<&'a Example>,
    /// Range of each group's examples.
    groups: Vec<std::ops::Range<usize>>,
    /// Rows that are hard to tell apart.
    hard: Vec<(usize, usize)>,
    /// Share of the pairs that are drawn from them.
    hard_share: f64,
}

impl<'a> Library<'a> {
    /// The versions of `files`.
    #[must_use]
    pub fn new(vision: &'a Vision, files: &'a [GroupFile]) -> Self {
        let (mut examples, mut groups) = (Vec::new(), Vec::with_capacity(files.len()));
        for file in files {
            groups.push(examples.len()..examples.len() + file.examples.len());
            examples.extend(&file.examples);
        }
        let features = examples.iter().map(|_| OnceLock::new()).collect();
        let overlaid = Mutex::default();
        Self { vision, files, features, overlaid, examples, groups, hard: Vec::new(), hard_share: 0.0 }
    }

    fn group(&self, row: usize) -> usize {
        self.groups.partition_point(|range| range.end <= row)
    }

    /// The group and the place in it of a version.
    pub(crate) fn name(&self, row: usize) -> String {
        let group = self.group(row);
        format!("{}#{}", self.files[group].id, row - self.groups[group].start)
    }

    /// What a version shows.
    pub(crate) fn content(&self, row: usize) -> &str {
        &self.files[self.group(row)].content
    }

    fn features(&self, row: usize) -> Result<&VideoFeatures> {
        if let Some(seen) = self.features[row].get() {
            return Ok(seen);
        }
        let seen = look(&self.vision.bodies, &self.observation(row)?)?;
        Ok(self.features[row].get_or_init(|| seen))
    }

    fn observation(&self, row: usize) -> Result<Observation> {
        let group = self.group(row);
        self.files[group].observation(row - self.groups[group].start)
    }

    /// Draws a share of the pairs from these, each twice a group and a version in it.
    #[must_use]
    pub fn with_hard_pairs(mut self, pairs: &[[(usize, usize); 2]], share: f64) -> Self {
        let row = |(group, version): (usize, usize)| self.groups[group].start + version;
        self.hard = pairs.iter().map(|[a, b]| (row(*a), row(*b))).collect();
        self.hard_share = share;
        self
    }

    pub(crate) fn select(&self, rows: &[usize]) -> Result<VideoFeatures> {
        let seen = rows.par_iter().map(|&row| self.features(row)).collect::<Result<Vec<_>>>()?;
        let cat = |part: fn(&VideoFeatures) -> &Tensor| {
            Tensor::cat(&seen.iter().map(|features| part(features)).collect::<Vec<_>>(), 0)
        };
        Ok(VideoFeatures {
            moments: cat(|f| &f.moments)?,
            regions: cat(|f| &f.regions)?,
            temporal: cat(|f| &f.temporal)?,
            trunk: cat(|f| &f.trunk)?,
            verdict: cat(|f| &f.verdict)?,
            sides: Sides { places: cat(|f| &f.sides.places)?, whole: cat(|f| &f.sides.whole)? },
            cadence: cat(|f| &f.cadence)?,
        })
    }

    /// Pairs of rows, each beside the other.
    pub(crate) fn pair(&self, pairs: &[(usize, usize)]) -> Result<PairFeatures> {
        let (a, b): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
        Ok(self.vision.pair(&self.select(&a)?, &self.select(&b)?, &self.overlaid(pairs)?)?)
    }

    /// What is told by laying over each other the rows of each pair; nothing of two groups.
    fn overlaid(&self, pairs: &[(usize, usize)]) -> Result<Vec<Overlaid>> {
        let Some(overlay) = &self.vision.overlay else { return Ok(vec![Overlaid::default(); pairs.len()]) };
        let sorted = |(a, b): (usize, usize)| (a.min(b), a.max(b));
        let known = || self.overlaid.lock().unwrap_or_else(PoisonError::into_inner);
        let new: BTreeSet<(usize, usize)> = {
            let known = known();
            let new = pairs.iter().map(|&pair| sorted(pair));
            new.filter(|pair| self.group(pair.0) == self.group(pair.1) && !known.contains_key(pair)).collect()
        };
        known().extend(self.lay(overlay, &new)?);
        let known = known();
        let overlaid = pairs.iter().map(|&(a, b)| {
            let found = known.get(&sorted((a, b))).copied().unwrap_or_default();
            if a <= b { found } else { found.swapped() }
        });
        Ok(overlaid.collect())
    }

    /// Lays each of these pairs over each other, whose spectra are kept no longer than that takes.
    fn lay(
        &self,
        overlay: &Overlay,
        pairs: &BTreeSet<(usize, usize)>,
    ) -> Result<Vec<((usize, usize), Overlaid)>> {
        let rows: BTreeSet<usize> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
        let spectra = rows.into_par_iter().map(|row| Ok((row, Spectra::of(&self.observation(row)?))));
        let spectra = spectra.collect::<Result<HashMap<_, _>>>()?;
        let lay = |&(a, b): &(usize, usize)| Ok(((a, b), overlay.over(&spectra[&a], &spectra[&b])?));
        pairs.par_iter().map(lay).collect()
    }

    pub(crate) fn known(&self, row: usize) -> Known<'a> {
        let example = self.examples[row];
        Known {
            version: &example.version,
            hold_centre: example.profile[juror_lmm::nano::HOLD_CENTRE],
            visual: example.visual,
            temporal: example.temporal,
        }
    }

    /// Margin of `a` over `b` in points.
    pub(crate) fn margin(&self, a: usize, b: usize) -> f64 {
        4.0 * (self.examples[a].quality - self.examples[b].quality)
    }

    /// 1 where `a` is known to look better than `b`, -1 for worse, 0 where the order is not known.
    fn order(&self, a: usize, b: usize) -> f32 {
        let together = self.groups.iter().any(|group| group.contains(&a) && group.contains(&b));
        let better = |a: usize, b: usize| together && self.examples[a].better_than(self.examples[b]);
        f32::from(i8::from(better(a, b)) - i8::from(better(b, a)))
    }

    pub(crate) fn draw_pair(&self, rng: &mut impl Rng) -> Result<(usize, usize)> {
        if !self.hard.is_empty() && rng.random::<f64>() < self.hard_share {
            return self.hard.choose(rng).copied().context("no hard pair");
        }
        let group = self.groups.choose(rng).context("no group")?.clone();
        let other = if rng.random::<f64>() < CROSS_SHARE {
            self.groups.choose(rng).context("no group")?.clone()
        } else {
            group.clone()
        };
        Ok((rng.random_range(group), rng.random_range(other)))
    }
}

/// A byte-level BPE tokenizer trained on the language of `crate::language`, as `tokenizer.json`.
///
/// # Errors
/// When the library is empty.
pub fn train_tokenizer(library: &Library<'_>, vocab_size: usize, seed: u64) -> Result<String> {
    let mut rng = rng::stream(rng::derive_named(seed, "tokenizer"), &[]);
    let mut texts = Vec::new();
    for _ in 0..4000 {
        let (a, b) = library.draw_pair(&mut rng)?;
        texts.push(language::comparison(
            &library.known(a),
            &library.known(b),
            library.margin(a, b),
            &mut rng,
        ));
        let score = 1.0 + 4.0 * library.examples[a].quality;
        texts.push(language::description(&library.known(a), score, &mut rng));
    }
    let mut specials: Vec<AddedToken> = Vec::new();
    for piece in [END, COMPARE, DESCRIBE, "<think>", "</think>", "<answer>", "</answer>"] {
        specials.push(AddedToken::from(piece, true));
    }
    let mut trainer: TrainerWrapper = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(0)
        .special_tokens(specials)
        .initial_alphabet(tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect())
        .build()
        .into();
    let byte_level = tokenizers::pre_tokenizers::byte_level::ByteLevel::new(false, true, true);
    let mut tokenizer =
        TokenizerBuilder::<_, tokenizers::NormalizerWrapper, _, tokenizers::PostProcessorWrapper, _>::new()
            .with_model(tokenizers::ModelWrapper::BPE(BPE::default()))
            .with_normalizer(None)
            .with_pre_tokenizer(Some(tokenizers::PreTokenizerWrapper::ByteLevel(byte_level)))
            .with_post_processor(None)
            .with_decoder(Some(tokenizers::DecoderWrapper::ByteLevel(byte_level)))
            .build()
            .map_err(|e| anyhow::anyhow!("tokenizer: {e}"))?;
    tokenizer
        .train(&mut trainer, texts.iter().map(String::as_str))
        .map_err(|e| anyhow::anyhow!("tokenizer: {e}"))?;
    tokenizer.to_string(false).map_err(|e| anyhow::anyhow!("tokenizer: {e}"))
}

/// Trains a decoder over `library`; returns the averaged weights.
///
/// # Errors
/// When a checkpoint cannot be written, a batch fails, or ranks cannot share it.
pub fn train(
    config: &LanguageTraining,
    model: &NanoConfig,
    library: &Library<'_>,
    voice: &Voice,
    stage: &Stage<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let world = stage.world;
    let ranks = world.world_size();
    ensure!(
        (config.batch / 2).is_multiple_of(ranks),
        "language.batch is {}, a multiple of 2 WORLD_SIZE ({}) is needed",
        config.batch,
        2 * ranks
    );
    let params = stage.params("decoder")?;
    let decoder = Decoder::new(&params, model)?;
    params.verify()?;
    tracing::info!("decoder: {} parameters, {} videos", params.count(), library.examples.len());
    let fit = Fit {
        name: "decoder",
        steps: config.steps,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps,
        weight_decay: config.weight_decay,
        max_grad_norm: config.max_grad_norm,
        ema_decay: config.ema_decay,
        save_steps: config.save_steps,
    };
    let batches = rng::derive_named(stage.seed, "decoder batches");
    fit.run(stage.dir, &params, world, |step| {
        let mut rng = rng::stream(batches, &[step as u64]);
        if step % SINGLE_EVERY == SINGLE_EVERY - 1 {
            singles(config, &decoder, library, voice, world, &mut rng)
        } else {
            pairs(config, &decoder, library, voice, world, &mut rng)
        }
    })
}

fn pairs(
    config: &LanguageTraining,
    decoder: &Decoder,
    library: &Library<'_>,
    voice: &Voice,
    world: &dyn Collective,
    rng: &mut impl Rng,
) -> Result<BatchLoss> {
    let half = config.batch / 2;
    let mut pairs = (0..half).map(|_| library.draw_pair(rng)).collect::<Result<Vec<_>>>()?;
    pairs.extend(pairs.clone().into_iter().map(|(a, b)| (b, a)));
    let texts = pairs
        .iter()
        .map(|&(a, b)| language::comparison(&library.known(a), &library.known(b), library.margin(a, b), rng))
        .map(|text| encode(voice, COMPARE, &text))
        .collect::<Result<Vec<_>>>()?;
    let known = pairs.iter().filter(|&&(a, b)| library.order(a, b) != 0.0).count();

    // Of this rank: A-B, then B-A.
    let share = world.share(half);
    let own = |row: &usize| share.contains(&(row % half));
    let (pieces, weight) = pieces_and_weight(&texts, own, world);
    let texts: Vec<Vec<u32>> = (0..texts.len()).filter(own).map(|row| texts[row].clone()).collect();
    let pairs: Vec<(usize, usize)> = (0..pairs.len()).filter(own).map(|row| pairs[row]).collect();
    let known = known as f64 / world.world_size() as f64;
    let margins: Vec<f32> = pairs.iter().map(|&(a, b)| library.margin(a, b) as f32).collect();
    let orders: Vec<f32> = pairs.iter().map(|&(a, b)| library.order(a, b)).collect();
    let features = library.pair(&pairs)?;
    let videos = decoder.project_pair(&features)?;
    let read = read(decoder, &videos, &texts, weight)?;
    let target = Tensor::new(margins, &Device::Cpu)?;
    let order = Tensor::new(orders, &Device::Cpu)?;
    let mut loss = read.text_loss.clone();
    let mut terms = vec![("text", scalar(&read.text_loss)?), (TOKENS, pieces as f64)];
    for (names, hidden) in [
        (["margin", "order", "antisymmetry"], &read.question),
        (["late_margin", "late_order", "late_antisymmetry"], &read.last),
    ] {
        let margin = decoder.margin(hidden, &features.rank_a, &features.rank_b)?; // [pairs], A-B then B-A
        let half = pairs.len() / 2;
        if names[0] == "late_margin" {
            terms.push(("margin_error", scalar(&(&margin - &target)?.abs()?.mean_all()?)?));
        }
        let parts = [
            (config.margin_weight, smooth_l1(&margin, &target)?),
            (config.order_weight, order_loss(&margin, &order, known)?),
            (
                config.antisymmetry_weight,
                (margin.narrow(0, 0, half)? + margin.narrow(0, half, half)?)?.sqr()?.mean_all()?,
            ),
        ];
        for (name, (weight, part)) in names.into_iter().zip(parts) {
            terms.push((name, scalar(&part)?));
            loss = (loss + (part * (0.5 * weight))?)?;
        }
    }
    let batch = pairs[..pairs.len() / 2].iter();
    let batch = batch.map(|&(a, b)| format!("{} against {}", library.name(a), library.name(b))).collect();
    Ok(BatchLoss { terms, loss, batch })
}

/// Sum of `softplus(-4 order margin)` where the order (1: A is better, -1: B) is known, by `known` of them.
fn order_loss(margin: &Tensor, order: &Tensor, known: f64) -> Result<Tensor> {
    let lead = ((margin * order)? * -4.0)?;
    let sum = (ops::softplus(&lead)? * order.abs()?)?.sum_all()?;
    Ok((sum / if known > 0.0 { known } else { 1.0 })?)
}

fn singles(
    config: &LanguageTraining,
    decoder: &Decoder,
    library: &Library<'_>,
    voice: &Voice,
    world: &dyn Collective,
    rng: &mut impl Rng,
) -> Result<BatchLoss> {
    let rows: Vec<usize> = (0..config.batch).map(|_| rng.random_range(0..library.examples.len())).collect();
    let texts = rows
        .iter()
        .map(|&r| language::description(&library.known(r), 1.0 + 4.0 * library.examples[r].quality, rng))
        .map(|text| encode(voice, DESCRIBE, &text))
        .collect::<Result<Vec<_>>>()?;
    let share = world.share(config.batch);
    let (pieces, weight) = pieces_and_weight(&texts, |row| share.contains(row), world);
    let own = &rows[share.clone()];
    let videos = decoder.project(&library.select(own)?, 0)?;
    let read = read(decoder, &videos, &texts[share], weight)?;
    let terms = vec![("description", scalar(&read.text_loss)?), (TOKENS, pieces as f64)];
    let batch = own.iter().map(|&row| library.name(row)).collect();
    Ok(BatchLoss { terms, loss: read.text_loss, batch })
}

/// The pieces of `[question][text][end]`.
fn encode(voice: &Voice, question: &str, text: &str) -> Result<Vec<u32>> {
    let mut ids = voice.encode(&format!("{question}{text}{END}"))?;
    ids.truncate(MAX_TEXT);
    Ok(ids)
}

/// Pieces that are predicted in all texts, and what a mean over those of own texts counts, so that the mean over ranks is the
/// mean over all.
fn pieces_and_weight(
    texts: &[Vec<u32>],
    own: impl Fn(&usize) -> bool,
    world: &dyn Collective,
) -> (usize, f64) {
    // The question is given, not predicted.
    let count = |rows: &mut dyn Iterator<Item = usize>| rows.map(|row| texts[row].len() - 1).sum::<usize>();
    let (all, own) = (count(&mut (0..texts.len())), count(&mut (0..texts.len()).filter(own)));
    (all, (world.world_size() * own) as f64 / all as f64)
}

struct Read {
    text_loss: Tensor,
    question: Tensor, // [batch, hidden]
    last: Tensor,     // [batch, hidden], at the last piece before the end
}

/// Reads `[videos][question][text][end]`, padded on the right, and scores the text; `rows` are the pieces behind the videos.
fn read(decoder: &Decoder, videos: &Tensor, rows: &[Vec<u32>], text_weight: f64) -> Result<Read> {
    let (batch, prefix, hidden_size) = videos.dims3()?;
    let longest = rows.iter().map(Vec::len).max().context("an empty batch")?;
    ensure!(prefix + longest <= decoder.max_len(), "{prefix} video tokens and {longest} pieces are too many");
    let padded = |from: usize, fill: u32| -> Vec<u32> {
        rows.iter()
            .flat_map(|r| (from..from + longest - 1).map(move |i| r.get(i).copied().unwrap_or(fill)))
            .collect()
    };
    let inputs = Tensor::from_vec(padded(0, 0), (batch, longest - 1), &Device::Cpu)?;
    let targets = Tensor::from_vec(padded(1, IGNORED), batch * (longest - 1), &Device::Cpu)?;
    let x = Tensor::cat(&[videos, &decoder.embed(&inputs)?], 1)?;
    let hidden = decoder.forward(&x, None)?.narrow(1, prefix, longest - 1)?.contiguous()?; // [batch, text, hidden]
    let logits = decoder.logits(&hidden)?.reshape((batch * (longest - 1), ()))?;
    let text_loss = (ops::cross_entropy(&logits, &targets, Some(IGNORED))? * text_weight)?;
    let question = hidden.i((.., 0))?.contiguous()?;
    let at: Vec<u32> =
        rows.iter().enumerate().map(|(i, r)| (i * (longest - 1) + r.len() - 2) as u32).collect();
    let last = hidden
        .reshape((batch * (longest - 1), hidden_size))?
        .index_select(&Tensor::new(at, &Device::Cpu)?, 0)?;
    Ok(Read { text_loss, question, last })
}

/// Target of padding.
const IGNORED: u32 = u32::MAX;

/// Mean smooth-L1 distance, beta 0.25 points.
fn smooth_l1(value: &Tensor, target: &Tensor) -> Result<Tensor> {
    let beta = 0.25;
    let error = (value - target)?.abs()?;
    let inside = error.minimum(beta)?;
    Ok(((inside.sqr()? / (2.0 * beta))? + (error - inside)?)?.mean(D::Minus1)?)
}
