//! Writing with a decoder: greedy or sampled, batched and left-padded, many rollouts of one prompt.
//!
//! A [`Session`] is prefilled once and forked per rollout, so a prompt (with all its visual tokens) is read and kept once however
//! many completions are drawn. Every rollout draws from its own stream (seed, prompt, rollout): results do not depend on
//! what else is in the batch, nor on which rollouts have ended. The KV cache of ended rows is dropped.

use candle_core::{D, DType, Tensor};
use juror_nn::recompute::Tape;
use juror_nn::rng;
use juror_nn::sampling::Sampling;
use serde::{Deserialize, Serialize};

use crate::decoder::{Decoder, Input, KvCache};
use crate::error::{Error, Result};
use crate::rotary::Positions;
use crate::sequence::Prefill;

/// How to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The longest completion, stop token included.
    pub max_new_tokens: usize,
    /// Tokens that end a completion; they are its last token.
    pub stop_ids: Vec<u32>,
    /// Completions per prompt.
    pub rollouts: usize,
    /// Of all draws.
    pub seed: u64,
    /// Number of the first prompt among all that the seed is for.
    pub first_prompt: usize,
    /// Whether to keep the hidden state behind every token.
    pub keep_hidden: bool,
}

impl Options {
    /// One greedy completion.
    pub fn greedy(max_new_tokens: usize, stop_ids: Vec<u32>) -> Self {
        let sampling = Sampling::greedy();
        Self { sampling, max_new_tokens, stop_ids, rollouts: 1, seed: 0, first_prompt: 0, keep_hidden: false }
    }

    /// Seeded sampled completions.
    pub fn sampled(
        sampling: Sampling,
        rollouts: usize,
        seed: u64,
        max_new_tokens: usize,
        stop_ids: Vec<u32>,
    ) -> Self {
        Self { sampling, max_new_tokens, stop_ids, rollouts, seed, first_prompt: 0, keep_hidden: false }
    }
}

/// One completion.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Which prompt of the batch.
    pub prompt: usize,
    /// Which rollout of this prompt.
    pub rollout: usize,
    /// Tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the untouched distribution (temperature 1, no cuts, no penalty).
    pub log_probs: Vec<f32>,
    /// Whether a stop token ended it; else it reached the limit.
    pub stopped: bool,
    /// Hidden state (after the final norm) from which each token was chosen, `[tokens, hidden]`, if asked for.
    pub hidden: Option<Tensor>,
}

/// Rows that are being written to.
pub struct Session<'a> {
    decoder: &'a Decoder,
    cache: KvCache,
    pads: Vec<usize>,
    next: Vec<u32>,
    hidden: Tensor,
}

impl<'a> Session<'a> {
    /// Reads the prompts.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn start(decoder: &'a Decoder, prefill: &Prefill) -> Result<Self> {
        let mut cache = decoder.cache();
        let input = Input {
            embeds: &prefill.embeds,
            positions: &prefill.positions,
            after_layer: &prefill.after_layer,
        };
        let hidden = decoder.forward(&input, &prefill.pads, Some(&mut cache), |_, _| ())?;
        let (next, pads) = (prefill.positions.next(), prefill.pads.clone());
        Ok(Self { decoder, cache, pads, next, hidden: last(&hidden)? })
    }

    /// The hidden states behind the next tokens, `[rows, hidden]`.
    pub fn hidden(&self) -> &Tensor {
        &self.hidden
    }

    /// The logits of the next tokens, `[rows, vocab]` f32.
    ///
    /// # Errors
    /// Out of memory.
    pub fn logits(&self) -> Result<Tensor> {
        Ok(self.decoder.logits(&self.hidden)?.to_dtype(DType::F32)?)
    }

    /// A copy in which the whole batch stands `times` times below itself: row `r` of copy `k` is `k * rows + r`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fork(&self, times: usize) -> Result<Session<'a>> {
        let hidden = Tensor::cat(&vec![&self.hidden; times.max(1)], 0)?;
        let cache = self.cache.fork(times.max(1))?;
        Ok(Session {
            decoder: self.decoder,
            cache,
            pads: self.pads.repeat(times),
            next: self.next.repeat(times),
            hidden,
        })
    }

    /// Keeps only these rows, in this order.
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        let index: Vec<u32> = rows.iter().map(|&r| r as u32).collect();
        self.cache.select(&index)?;
        self.hidden = self.hidden.index_select(&Tensor::new(index, self.hidden.device())?, 0)?;
        self.pads = rows.iter().map(|&r| self.pads[r]).collect();
        self.next = rows.iter().map(|&r| self.next[r]).collect();
        Ok(())
    }

    /// Reads one more token per row.
    ///
    /// # Errors
    /// Another number of tokens than rows; an id outside the vocabulary.
    pub fn push(&mut self, tokens: &[u32]) -> Result<()> {
        let embeds = self.decoder.embed(&Tensor::new(tokens, self.hidden.device())?.unsqueeze(1)?)?;
        let positions = Positions::single(&self.next);
        let input = Input { embeds: &embeds, positions: &positions, after_layer: &[] };
        let hidden = self.decoder.forward(&input, &self.pads, Some(&mut self.cache), |_, _| ())?;
        self.hidden = last(&hidden)?;
        self.next.iter_mut().for_each(|place| *place += 1);
        Ok(())
    }
}

fn last(hidden: &Tensor) -> Result<Tensor> {
    let n = hidden.dim(1)?;
    Ok(hidden.narrow(1, n - 1, 1)?.squeeze(1)?.contiguous()?)
}

/// Writes completions; `[prompts][rollouts]`. `on_token` is told (prompt, rollout, token) as tokens appear.
///
/// The repetition penalty looks at the completion alone.
///
/// # Errors
/// Options outside their range; logits that are no numbers.
pub fn generate(
    decoder: &Decoder,
    prefill: &Prefill,
    options: &Options,
    mut on_token: impl FnMut(usize, usize, u32),
) -> Result<Vec<Vec<Completion>>> {
    options.sampling.validate()?;
    let (prompts, rollouts) = (prefill.pads.len(), options.rollouts.max(1));
    let mut session = Session::start(decoder, prefill)?;
    if rollouts > 1 {
        session = session.fork(rollouts)?;
    }
    let blank = |row: usize| Completion {
        prompt: row % prompts,
        rollout: row / prompts,
        tokens: Vec::new(),
        log_probs: Vec::new(),
        stopped: false,
        hidden: None,
    };
    let mut all: Vec<Completion> = (0..prompts * rollouts).map(blank).collect();
    let mut streams: Vec<_> = all
        .iter()
        .map(|c| rng::stream(options.seed, &[(options.first_prompt + c.prompt) as u64, c.rollout as u64]))
        .collect();
    let mut states: Vec<Vec<Tensor>> = vec![Vec::new(); all.len()];
    let mut open: Vec<usize> = (0..all.len()).collect(); // the completion each row of the session writes
    for step in 0..options.max_new_tokens {
        let logits = session.logits()?.to_vec2::<f32>()?;
        let mut kept = Vec::with_capacity(open.len());
        for (row, &at) in open.iter().enumerate() {
            let completion = &mut all[at];
            let drawn = options.sampling.draw(&logits[row], &completion.tokens, &mut streams[at]);
            let (token, log_prob) = drawn.ok_or_else(|| {
                Error::Input("the decoder's logits are no numbers; the weights are broken".into())
            })?;
            completion.tokens.push(token);
            completion.log_probs.push(log_prob);
            completion.stopped = options.stop_ids.contains(&token);
            if options.keep_hidden {
                states[at].push(session.hidden().get(row)?);
            }
            on_token(completion.prompt, completion.rollout, token);
            if !completion.stopped {
                kept.push(row);
            }
        }
        if kept.is_empty() || step + 1 == options.max_new_tokens {
            break;
        }
        if kept.len() < open.len() {
            session.keep(&kept)?;
            open = kept.iter().map(|&row| open[row]).collect();
        }
        let tokens: Vec<u32> = open.iter().filter_map(|&at| all[at].tokens.last().copied()).collect();
        session.push(&tokens)?;
    }
    let mut result: Vec<Vec<Completion>> = (0..prompts).map(|_| Vec::with_capacity(rollouts)).collect();
    for (mut completion, states) in all.into_iter().zip(states) {
        if options.keep_hidden && !states.is_empty() {
            completion.hidden = Some(Tensor::stack(&states, 0)?);
        }
        result[completion.prompt].push(completion);
    }
    Ok(result)
}

/// Log-probabilities of given completions, one per prompt, in one forward pass with gradient: `[prompts, longest]`.
/// Places behind a shorter completion hold what its padding (token 0) would have; mask them.
///
/// # Errors
/// As [`completion_logits`].
pub fn log_probs(decoder: &Decoder, prefill: &Prefill, completions: &[Vec<u32>]) -> Result<Tensor> {
    let (logits, targets) = completion_logits(decoder, prefill, completions)?;
    let all = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    Ok(all.gather(&targets.unsqueeze(2)?, 2)?.squeeze(2)?)
}

/// The logits that given completions, one per prompt, were drawn from, `[prompts, longest, vocab]` f32 with gradient,
/// and the completions as a tensor `[prompts, longest]`, padded with token 0.
///
/// # Errors
/// Another number of completions than prompts, none at all, or only empty ones.
pub fn completion_logits(
    decoder: &Decoder,
    prefill: &Prefill,
    completions: &[Vec<u32>],
) -> Result<(Tensor, Tensor)> {
    training_logits(None, decoder, prefill, completions, false)
}

/// As [`completion_logits`], for training: with a `tape`, that keeps the input of every layer only ([`Decoder::forward_on`]) and makes
/// the gradients; with `whole`, the logits of all places but the last, `[prompts, prompt + longest - 1, vocab]`.
///
/// # Errors
/// As [`completion_logits`].
pub fn training_logits<'a>(
    tape: Option<&mut Tape<'a>>,
    decoder: &'a Decoder,
    prefill: &Prefill,
    completions: &[Vec<u32>],
    whole: bool,
) -> Result<(Tensor, Tensor)> {
    let longest = completions.iter().map(Vec::len).max().unwrap_or(0);
    if completions.len() != prefill.pads.len() || longest == 0 {
        return Err(Error::Input(format!(
            "{} completions of up to {longest} tokens for {} prompts",
            completions.len(),
            prefill.pads.len()
        )));
    }
    let device = prefill.embeds.device();
    let padded: Vec<u32> =
        completions.iter().flat_map(|c| (0..longest).map(move |i| c.get(i).copied().unwrap_or(0))).collect();
    let targets = Tensor::from_vec(padded, (completions.len(), longest), device)?;
    let mut positions = prefill.positions.clone();
    let next = positions.next();
    for (row, &start) in positions.rows.iter_mut().zip(&next) {
        row.extend((0..longest as u32).map(|i| [start + i; 3]));
    }
    let embeds = Tensor::cat(&[&prefill.embeds, &decoder.embed(&targets)?], 1)?;
    let extend = |extra: &Tensor| {
        let (rows, _, width) = extra.dims3()?;
        Tensor::cat(&[extra, &Tensor::zeros((rows, longest, width), extra.dtype(), device)?], 1)
    };
    let after_layer = prefill.after_layer.iter().map(extend).collect::<candle_core::Result<Vec<_>>>()?;
    let input = Input { embeds: &embeds, positions: &positions, after_layer: &after_layer };
    let hidden = match tape {
        Some(tape) => decoder.forward_on(tape, &input, &prefill.pads)?,
        None => decoder.forward(&input, &prefill.pads, None, |_, _| ())?,
    };
    let prompt = prefill.embeds.dim(1)?;
    let first = if whole { 0 } else { prompt - 1 };
    let hidden = hidden.narrow(1, first, prompt - 1 + longest - first)?;
    let logits = decoder.logits(&hidden)?.to_dtype(DType::F32)?;
    Ok((logits, targets))
}

/// Probabilities of given tokens as the next one, relative to each other, with their logits divided by `temperature`
/// (the five levels of W2S-VQA; `excellent` to `bad`).
pub fn word_probabilities(logits: &[f32], words: &[u32], temperature: f64) -> Vec<f64> {
    let logit =
        |&word: &u32| logits.get(word as usize).map_or(f64::NEG_INFINITY, |&l| f64::from(l) / temperature);
    let scaled: Vec<f64> = words.iter().map(logit).collect();
    let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scaled.iter().map(|l| (l - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// The mean of evenly spaced values 0..1 (worst to best) under [`word_probabilities`]: the preference of the five levels.
pub fn graded_preference(probabilities: &[f64]) -> f64 {
    let last = probabilities.len().saturating_sub(1).max(1) as f64;
    probabilities.iter().enumerate().map(|(k, p)| p * k as f64 / last).sum()
}
