//! `juror train ranking`: an adapter learns to say how the second video compares with the first (LMM-PVQA, arXiv 2505.03631).
//!
//! The prompt is the one that comparisons are judged by; the answer, of which every token counts and no token before it,
//!
//! ```text
//! The quality of the second video is {inferior | worse | similar | better | superior}.<|im_end|>
//! ```
//!
//! Loss: next-token cross-entropy, mixed with the entropy of the predictions as W2S-VQA does (`crate::confidence`) where the
//! configuration says so. A pair is asked about in either order. Figures: the share of validation pairs whose side is told right, in
//! both orders together, and the mean error of margins.

use super::config::RankingConfig;
use super::{Adapted, Card, Report, training_dir};
use crate::confidence::{EntropyOver, confidence_loss};
use crate::engine::{Fit, StepGradients, accumulate, scalar};
use crate::log::TOKENS;
use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use juror::verdict::Level;
use juror_lmm::generate::training_logits;
use juror_lmm::prompt::{LEVELS, W2S_ANSWER_PREFIX};
use juror_lmm::published::Published;
use juror_nn::collective::Collective;
use juror_nn::ops;
use juror_nn::recompute::Tape;
use juror_nn::rng;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A label that no token has: places that do not count.
const IGNORED: u32 = u32::MAX;

/// A pair to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Video A.
    pub a: PathBuf,
    /// Video B.
    pub b: PathBuf,
    /// A against B.
    pub level: Level,
    /// How many points A is better, where it is known.
    pub margin: Option<f64>,
}

#[derive(Deserialize)]
struct Row {
    a: PathBuf,
    b: PathBuf,
    level: Level,
    margin: Option<f64>,
}

/// Reads JSON lines with `a`, `b` (by their whole path, or relative to the file), `level` of A against B, and perhaps `margin`.
///
/// # Errors
/// A line that is no such pair, or a video that is not there: with the number of the line. No pair at all.
pub fn read_pairs(path: &Path) -> Result<Vec<Pair>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let context = || format!("line {} of {}", number + 1, path.display());
        let row: Row = serde_json::from_str(line).with_context(context)?;
        let [a, b] = [row.a, row.b].map(|video| folder.join(video));
        for video in [&a, &b] {
            ensure!(video.is_file(), "{}: the video {} is not there", context(), video.display());
        }
        pairs.push(Pair { a, b, level: row.level, margin: row.margin });
    }
    ensure!(!pairs.is_empty(), "{} holds no pair", path.display());
    Ok(pairs)
}

/// Trains an adapter; returns its folder.
///
/// # Errors
/// When pairs, videos or the checkpoint cannot be read, or a step fails; what was saved is used by the next run.
pub fn run(config: &RankingConfig, world: &dyn Collective) -> Result<PathBuf> {
    let pairs = read_pairs(&config.pairs)?;
    let validation = config.validation.as_deref().map(read_pairs).transpose()?.unwrap_or_default();
    let adapted = Adapted::open(&config.student, &config.lora, config.seed)?;
    let training = &config.training;
    let fit = Fit {
        name: "ranking",
        steps: training.steps,
        learning_rate: training.learning_rate,
        warmup_steps: training.warmup_steps,
        weight_decay: training.weight_decay,
        max_grad_norm: training.max_grad_norm,
        ema_decay: training.ema_decay,
        save_steps: training.save_steps,
    };
    let before = figures(&adapted, &validation)?;
    let batches = rng::derive_named(config.seed, "ranking batches");
    let dir = training_dir(&config.run_dir);
    let weights = fit.run_gradients(&dir, &adapted.adapter.params, world, |step| {
        gradients(config, &adapted, &pairs, step, world, &mut rng::stream(batches, &[step as u64]))
    })?;
    let folder = config.run_dir.join("adapter");
    if !world.is_first() {
        return Ok(folder);
    }
    adapted.adapter.params.set(&weights)?;
    let report = Report { count: validation.len(), before, after: figures(&adapted, &validation)? };
    report.write(&config.run_dir)?;
    let data = format!("{} pairs of {}", pairs.len(), config.pairs.display());
    adapted.write(
        &config.run_dir,
        weights,
        &Card { command: "juror train ranking", config, data, report: &report },
    )
}

/// The gradients of one step: of every process its share of the batch.
fn gradients(
    config: &RankingConfig,
    adapted: &Adapted,
    pairs: &[Pair],
    step: usize,
    world: &dyn Collective,
    rng: &mut ChaCha8Rng,
) -> Result<StepGradients> {
    let training = &config.training;
    let own = training.per_device_train_batch_size;
    let all = own * training.gradient_accumulation_steps * world.world_size();
    let draw = |rng: &mut ChaCha8Rng| {
        let pair = &pairs[rng.random_range(0..pairs.len())];
        (pair, rng.random::<f64>() < training.swapped)
    };
    let drawn: Vec<(&Pair, bool)> = (0..all).map(|_| draw(rng)).collect();
    let progress = step as f64 / training.steps.max(1) as f64;
    let (mut grads, mut total, mut tokens): (Option<GradStore>, f64, usize) = (None, 0.0, 0);
    let mut mixed = 0.0;
    let share = 1.0 / training.gradient_accumulation_steps as f64;
    let drawn = &drawn[world.share(all)];
    for batch in drawn.chunks(own) {
        let mut tape = config.student.gradient_checkpointing.then(Tape::new);
        let (loss, lambda, written) =
            batch_loss(adapted, batch, training.confidence, progress, tape.as_mut())?;
        let loss = (loss * share)?;
        let value = scalar(&loss)?;
        total += value;
        tokens += written;
        mixed += lambda * share;
        if !value.is_finite() {
            break;
        }
        accumulate(&mut grads, &loss, tape)?;
    }
    let terms = [("lambda", mixed), (TOKENS, (tokens * world.world_size()) as f64)];
    let terms = terms.map(|(name, value)| (name.to_owned(), value));
    let name = |(pair, _): &(&Pair, bool)| format!("{} against {}", pair.a.display(), pair.b.display());
    Ok(StepGradients { grads, loss: total, terms: terms.to_vec(), batch: drawn.iter().map(name).collect() })
}

/// The loss of a batch, the share of entropy in it, and how many tokens it was taught.
fn batch_loss<'a>(
    adapted: &'a Adapted,
    batch: &[(&Pair, bool)],
    confidence: Option<EntropyOver>,
    progress: f64,
    tape: Option<&mut Tape<'a>>,
) -> Result<(Tensor, f64, usize)> {
    let published = &adapted.published;
    let (mut prompts, mut videos, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (pair, swapped) in batch {
        // The level speaks of the second video: A stands second, unless swapped.
        let (first, second, level) = match swapped {
            false => (&pair.b, &pair.a, pair.level as usize),
            true => (&pair.a, &pair.b, LEVELS.len() - 1 - pair.level as usize),
        };
        let (first, second) = (adapted.look(first)?, adapted.look(second)?);
        let prompt = published.pair_prompt(&first, &second)?;
        prompts
            .push(published.tokenizer().encode(prompt.strip_suffix(W2S_ANSWER_PREFIX).unwrap_or(&prompt))?);
        answers.push(answer(published, level)?);
        videos.extend([first, second]);
    }
    let prefill = published.prefill_ids(&prompts, &videos.iter().collect::<Vec<_>>())?;
    let whole = confidence == Some(EntropyOver::All);
    let (logits, answered) = training_logits(tape, &adapted.policy, &prefill, &answers, whole)?;
    let (rows, places, vocab) = logits.dims3()?;
    let before = places - answered.dim(1)?; // places of the prompt, without a target
    let target = |answer: &[u32], place: usize| {
        place.checked_sub(before).and_then(|i| answer.get(i)).copied().unwrap_or(IGNORED)
    };
    let counted = answers.iter().flat_map(|answer| (0..places).map(|place| target(answer, place)));
    let counted = Tensor::from_vec(counted.collect::<Vec<u32>>(), rows * places, logits.device())?;
    let logits = logits.reshape(((), vocab))?;
    let written = answers.iter().map(Vec::len).sum();
    Ok(match confidence {
        Some(over) => {
            let (loss, mix) = confidence_loss(&logits, &counted, IGNORED, over, progress)?;
            (loss, mix.lambda, written)
        }
        None => (ops::cross_entropy(&logits, &counted, Some(IGNORED))?, 0.0, written),
    })
}

/// The tokens of the answer that gives `level` to the second video.
fn answer(published: &Published, level: usize) -> Result<Vec<u32>> {
    let sentence = format!("{W2S_ANSWER_PREFIX}{}.", LEVELS[level]);
    let mut tokens = published.tokenizer().encode(&sentence)?;
    tokens.extend(published.stop_ids().first());
    Ok(tokens)
}

/// How well `pairs` are told; nothing of none.
fn figures(adapted: &Adapted, pairs: &[Pair]) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    if pairs.is_empty() {
        return Ok(figures);
    }
    let (mut right, mut sided, mut error, mut sized) = (0usize, 0usize, 0.0, 0usize);
    for pair in pairs {
        let (a, b) = (adapted.look(&pair.a)?, adapted.look(&pair.b)?);
        let levels = |first, second| -> Result<f64> {
            Ok(Published::margin(&adapted.published.compare(first, second)?))
        };
        let margin = (levels(&a, &b)? - levels(&b, &a)?) / 2.0;
        if pair.level != Level::Similar {
            sided += 1;
            right += usize::from((margin > 0.0) == (pair.level > Level::Similar) && margin != 0.0);
        }
        if let Some(known) = pair.margin {
            sized += 1;
            error += (margin - known).abs();
        }
    }
    let mut add = |name: &str, sum: f64, count: usize| {
        if count > 0 {
            figures.insert(name.to_owned(), sum / count as f64);
        }
    };
    add("pairs told right", right as f64, sided);
    add("mean error of margins, points", error, sized);
    Ok(figures)
}
