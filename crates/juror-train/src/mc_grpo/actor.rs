//! `nano`'s decoder as the policy: it reads the tokens of both videos, writes reasons, and its head reads the margin from
//! the state behind them.
//!
//! ```text
//! [A tokens][B tokens] <|compare|> c_1 c_2 .. c_n        h_0 (question) draws c_1, h_j draws c_j+1
//! q = head(h_0), m^ = head(h_n-1): the state that drew the last token, stop token or not
//! ```
//!
//! The sampler is a twin of the policy on the same memory without gradient, so that sampling builds no graph; the
//! reference is a frozen copy of the start. All rows of a round are sampled together; each draws from its own stream.

use super::config::Coupling;
use super::loss::{Margins, coupled_loss};
use super::pairs::{self, Pair};
use crate::decoder::Library;
use crate::grpo::{Actor, Forward, GrpoConfig, Rollout, token_statistics};
use crate::rewards::{Answer, Group, Rewards, Table};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, IndexOp, Tensor};
use juror_lmm::nano::{COMPARE, Cache, Decoder, END};
use juror_nn::rng;
use juror_nn::sampling::Sampling;
use rand_chacha::ChaCha8Rng;
use tokenizers::Tokenizer;

/// The language of the decoder.
pub struct Speech {
    tokenizer: Tokenizer,
    compare: u32,
    end: u32,
}

impl Speech {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is none, or lacks a special piece.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| anyhow::anyhow!("tokenizer: {e}"))?;
        let piece = |name| {
            tokenizer.token_to_id(name).with_context(|| format!("tokenizer: it has no piece `{name}`"))
        };
        Ok(Self { compare: piece(COMPARE)?, end: piece(END)?, tokenizer })
    }

    fn text(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, false).map_err(|e| anyhow::anyhow!("tokenizer: {e}"))
    }
}

/// How a decoder writes.
pub struct Writing<'a> {
    /// How tokens are drawn.
    pub sampling: &'a Sampling,
    /// Completions per prompt.
    pub rollouts: usize,
    /// Tokens at which a completion is cut.
    pub max_tokens: usize,
    /// Of all draws.
    pub seed: u64,
    /// Number of the first prompt among all that `seed` is for.
    pub first: usize,
}

/// Everything a round needs.
pub struct NanoActor<'a> {
    /// Built on variables.
    pub policy: Decoder,
    /// The same weights without gradient.
    pub sampler: Decoder,
    /// Frozen at the start.
    pub reference: Decoder,
    /// The language.
    pub speech: Speech,
    /// Where pairs are drawn from.
    pub library: Library<'a>,
    /// Bounds of the strata of |margin|.
    pub strata: Vec<f64>,
    /// What rollouts are rewarded for.
    pub rewards: Rewards,
    /// The coupled terms.
    pub coupling: Coupling,
}

/// Rows of a batch are given up when one in this many has ended.
const LEAVING: usize = 4;

/// Prompts as tensors.
struct Shown {
    videos: Tensor, // [prompts, tokens of both videos, hidden]
    rank_a: Tensor, // [prompts]
    rank_b: Tensor, // [prompts]
}

/// One pass over given completions.
pub(super) struct Read {
    pub(super) logps: Tensor, // [rows, longest]
    entropies: Tensor,        // [rows, longest]
    hidden: Tensor,           // [rows, longest, hidden]: the state that drew each token
    rank_a: Tensor,           // [rows]
    rank_b: Tensor,           // [rows]
}

impl NanoActor<'_> {
    fn show(library: &Library<'_>, decoder: &Decoder, prompts: &[Pair]) -> Result<Shown> {
        let pair = library.pair(&prompts.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>())?;
        Ok(Shown { videos: decoder.project_pair(&pair)?, rank_a: pair.rank_a, rank_b: pair.rank_b })
    }

    /// Writes completions, prompt by prompt, and the margin right after the question of each prompt.
    ///
    /// # Errors
    /// When tensor work fails or logits are no numbers.
    pub fn write(
        library: &Library<'_>,
        decoder: &Decoder,
        speech: &Speech,
        prompts: &[Pair],
        writing: &Writing<'_>,
    ) -> Result<(Vec<Rollout>, Vec<f64>)> {
        let shown = Self::show(library, decoder, prompts)?;
        let (_, prefix, _) = shown.videos.dims3()?;
        ensure!(prefix + 1 < decoder.max_len(), "{prefix} video tokens leave no room to write");
        let longest = writing.max_tokens.min(decoder.max_len() - prefix - 1);
        let rows = prompts.len() * writing.rollouts;
        let stream = |row: usize| {
            let (prompt, rollout) = (row / writing.rollouts, row % writing.rollouts);
            rng::stream(writing.seed, &[(writing.first + prompt) as u64, rollout as u64])
        };
        let mut streams: Vec<ChaCha8Rng> = (0..rows).map(stream).collect();
        let mut rollouts = vec![Rollout::default(); rows];

        // Each prompt is read once for all its rollouts.
        let mut cache = Cache::default();
        let asked = decoder.embed(&Tensor::full(speech.compare, (prompts.len(), 1), &Device::Cpu)?)?;
        let hidden = decoder.forward(&Tensor::cat(&[&shown.videos, &asked], 1)?, Some(&mut cache))?;
        let hidden = hidden.i((.., prefix))?.contiguous()?; // [prompts, hidden]
        let questions = decoder.margin(&hidden, &shown.rank_a, &shown.rank_b)?.to_vec1::<f32>()?;
        let prompt_of: Vec<u32> = (0..rows).map(|row| (row / writing.rollouts) as u32).collect();
        cache.select(&prompt_of)?;
        let mut hidden = pick(&hidden, &prompt_of)?;
        let (mut rank_a, mut rank_b) = (pick(&shown.rank_a, &prompt_of)?, pick(&shown.rank_b, &prompt_of)?);

        let mut going: Vec<usize> = (0..rows).collect(); // the rollout of each row
        for left in (0..longest).rev() {
            let margins: Vec<f32> = decoder.margin(&hidden, &rank_a, &rank_b)?.to_vec1()?;
            let logits = decoder.logits(&hidden)?.to_vec2::<f32>()?;
            let mut next = vec![speech.end; going.len()];
            for (at, &row) in going.iter().enumerate() {
                let rollout = &mut rollouts[row];
                if rollout.stopped {
                    continue;
                }
                let drawn = writing.sampling.draw(&logits[at], &rollout.tokens, &mut streams[row]);
                let (token, _) = drawn.context("the decoder's logits are no numbers")?;
                rollout.tokens.push(token);
                rollout.margin = Some(f64::from(margins[at]));
                rollout.stopped = token == speech.end;
                next[at] = token;
            }
            let live: Vec<u32> =
                (0..going.len() as u32).filter(|at| !rollouts[going[*at as usize]].stopped).collect();
            if live.is_empty() || left == 0 {
                break;
            }
            // Those that have ended leave together, since the rest of the cache is copied.
            if LEAVING * (going.len() - live.len()) >= going.len() {
                cache.select(&live)?;
                (rank_a, rank_b) = (pick(&rank_a, &live)?, pick(&rank_b, &live)?);
                (going, next) = live.iter().map(|&at| (going[at as usize], next[at as usize])).unzip();
            }
            let token = decoder.embed(&Tensor::from_vec(next, (going.len(), 1), &Device::Cpu)?)?;
            hidden = decoder.forward(&token, Some(&mut cache))?.squeeze(1)?;
        }
        for rollout in &mut rollouts {
            let written = rollout.tokens.len() - usize::from(rollout.stopped);
            rollout.text = speech.text(&rollout.tokens[..written])?;
        }
        Ok((rollouts, questions.into_iter().map(f64::from).collect()))
    }

    pub(super) fn read(
        &self,
        decoder: &Decoder,
        prompts: &[Pair],
        rollouts: &[Rollout],
        temperature: f64,
    ) -> Result<Read> {
        let each = rollouts.len() / prompts.len().max(1);
        let prompt_of: Vec<u32> = (0..rollouts.len()).map(|row| (row / each.max(1)) as u32).collect();
        let shown = Self::show(&self.library, decoder, prompts)?;
        let videos = pick(&shown.videos, &prompt_of)?;
        let (rank_a, rank_b) = (pick(&shown.rank_a, &prompt_of)?, pick(&shown.rank_b, &prompt_of)?);
        let longest = rollouts.iter().map(|r| r.tokens.len()).max().context("no rollouts")?;
        let at = |rollout: &Rollout, i: usize| rollout.tokens.get(i).copied().unwrap_or(self.speech.end);
        let padded = |from: fn(usize) -> Option<usize>| -> Vec<u32> {
            let token = |r: &Rollout, i| from(i).map_or(self.speech.compare, |i| at(r, i));
            rollouts.iter().flat_map(|r| (0..longest).map(|i| token(r, i)).collect::<Vec<_>>()).collect()
        };
        let shape = (rollouts.len(), longest);
        let inputs = Tensor::from_vec(padded(|i| i.checked_sub(1)), shape, &Device::Cpu)?;
        let targets = Tensor::from_vec(padded(Some), shape, &Device::Cpu)?;
        let x = Tensor::cat(&[&videos, &decoder.embed(&inputs)?], 1)?;
        let hidden = decoder.forward(&x, None)?;
        let hidden = hidden.narrow(1, videos.dim(1)?, longest)?.contiguous()?; // [rows, longest, hidden]
        let (logps, entropies) = token_statistics(&decoder.logits(&hidden)?, &targets, temperature)?;
        Ok(Read { logps, entropies, hidden, rank_a, rank_b })
    }

    /// Margins `[rows chosen]` read from the states at (row, token).
    pub(super) fn margins(
        &self,
        read: &Read,
        places: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Tensor> {
        let (rows, longest, width) = read.hidden.dims3()?;
        let (rows_at, states): (Vec<u32>, Vec<u32>) =
            places.map(|(row, token)| (row as u32, (row * longest + token) as u32)).unzip();
        let rows_at = Tensor::new(rows_at, &Device::Cpu)?;
        let hidden = read.hidden.reshape((rows * longest, width))?;
        let hidden = hidden.index_select(&Tensor::new(states, &Device::Cpu)?, 0)?;
        let (a, b) = (read.rank_a.index_select(&rows_at, 0)?, read.rank_b.index_select(&rows_at, 0)?);
        Ok(self.policy.margin(&hidden, &a, &b)?)
    }
}

/// These rows of a tensor.
fn pick(tensor: &Tensor, rows: &[u32]) -> Result<Tensor> {
    Ok(tensor.contiguous()?.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?)
}

/// Rewards of rollouts, prompt by prompt.
#[must_use]
pub fn groups(library: &Library<'_>, prompts: &[Pair], rollouts: &[Rollout]) -> Vec<Group> {
    let k = rollouts.len() / prompts.len().max(1);
    let answer = |r: &Rollout| Answer { text: r.text.clone(), margin: r.margin };
    let group = |(pair, own): (&Pair, &[Rollout])| Group {
        truth: pairs::truth(library, pair),
        answers: own.iter().map(answer).collect(),
    };
    prompts.iter().zip(rollouts.chunks(k.max(1))).map(group).collect()
}

impl Actor for NanoActor<'_> {
    type Prompt = Pair;

    fn prompts(&self, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Pair>> {
        pairs::draw(&self.library, &self.strata, count, rng)
    }

    fn sample(&self, prompts: &[Pair], config: &GrpoConfig, seed: u64, first: usize) -> Result<Vec<Rollout>> {
        let writing = Writing {
            sampling: &config.sampling(),
            rollouts: config.num_generations,
            max_tokens: config.max_completion_length,
            seed,
            first,
        };
        Ok(Self::write(&self.library, &self.sampler, &self.speech, prompts, &writing)?.0)
    }

    fn reward(
        &self,
        prompts: &[Pair],
        rollouts: &[Rollout],
        _: &GrpoConfig,
        _: u64,
        _: usize,
    ) -> Result<Table> {
        Ok(self.rewards.rate(&groups(&self.library, prompts, rollouts)))
    }

    fn forward(
        &self,
        prompts: &[Pair],
        rollouts: &[Rollout],
        advantages: &[f64],
        temperature: f64,
    ) -> Result<Forward<'_>> {
        let read = self.read(&self.policy, prompts, rollouts, temperature)?;
        let k = rollouts.len() / prompts.len().max(1);
        let last = rollouts.iter().enumerate().map(|(row, r)| (row, r.tokens.len().saturating_sub(1)));
        let targets: Vec<f64> = prompts.iter().map(|p| p.target).collect();
        let margins = Margins {
            behind: &self.margins(&read, last)?,
            question: &self.margins(&read, (0..prompts.len()).map(|p| (p * k, 0)))?,
            targets: &targets,
            advantages,
        };
        let (coupled, terms) = coupled_loss(&self.coupling, &margins)?;
        Ok(Forward {
            logps: read.logps,
            entropies: read.entropies,
            coupled: Some(coupled),
            terms,
            tape: None,
        })
    }

    fn reference(&self, prompts: &[Pair], rollouts: &[Rollout], temperature: f64) -> Result<Tensor> {
        Ok(self.read(&self.reference, prompts, rollouts, temperature)?.logps.detach())
    }

    fn couples(&self) -> bool {
        true
    }

    fn describe(&self, prompt: &Pair) -> serde_json::Value {
        let video = |row: usize| {
            let steps = &self.library.examples[row].version.steps;
            let names: Vec<String> = steps.iter().map(|s| format!("{}:{:.1}", s.kind, s.level)).collect();
            let made = if names.is_empty() { "source".to_owned() } else { names.join(",") };
            format!("{made} ({})", self.library.name(row))
        };
        serde_json::json!({"a": video(prompt.a), "b": video(prompt.b), "target": prompt.target})
    }
}
