//! A decoder of `juror-lmm` as the policy: prompts of text and visual tokens, rollouts from the batched generator.
//!
//! A prompt's tokens, the visual ones included, are read once for all its rollouts (`generate` forks the cache). The
//! sampler is a twin of the policy whose weights are the same memory without gradient (detached tensors share their
//! storage), so that sampling builds no graph and always sees the newest weights.
//!
//! Where a question brings its [`disturbed`](Question::disturbed) copy, the temporal reward samples that too, as a
//! baseline without gradient.
//!
//! Left out: gradients into the visual tower.

use super::{Actor, Forward, GrpoConfig, Rollout, token_statistics};
use crate::rewards::{Answer, Group, Rewards, Table, TemporalConsistency, Truth};
use anyhow::{Context, Result};
use candle_core::Tensor;
use juror_lmm::decoder::Decoder;
use juror_lmm::generate::{Options, generate, training_logits};
use juror_lmm::published::VideoTokens;
use juror_lmm::sequence::Prefill;
use juror_nn::recompute::Tape;
use rand_chacha::ChaCha8Rng;

/// One prompt.
#[derive(Clone, Debug)]
pub struct Question {
    /// For the log.
    pub id: String,
    /// Tokens, placeholders included.
    pub ids: Vec<u32>,
    /// What stands in the placeholders.
    pub videos: Vec<VideoTokens>,
    /// What is known of the answer.
    pub truth: Truth,
    /// The same question about the same video with its frames out of order (`rewards::Perturbation`).
    pub disturbed: Option<Box<Question>>,
}

/// Draws so many questions.
pub type QuestionSource<'a> = Box<dyn Fn(usize, &mut ChaCha8Rng) -> Result<Vec<Question>> + 'a>;

/// Turns tokens to text.
pub type Detokenise<'a> = Box<dyn Fn(&[u32]) -> Result<String> + 'a>;

/// Makes what a decoder reads of prompts as tokens and the videos that stand in them.
pub type MakePrefill<'a> = Box<dyn Fn(&[Vec<u32>], &[&VideoTokens]) -> Result<Prefill> + 'a>;

/// The policy, what it is asked and what it is rewarded for.
pub struct DecoderActor<'a> {
    /// Built on variables.
    pub policy: &'a Decoder,
    /// The same weights without gradient.
    pub sampler: &'a Decoder,
    /// Frozen.
    pub reference: Option<&'a Decoder>,
    /// Where questions come from.
    pub questions: QuestionSource<'a>,
    /// Turns tokens to text, stop token left out.
    pub text: Detokenise<'a>,
    /// What rollouts are rewarded for.
    pub rewards: Rewards,
    /// The bonus for being better on intact videos than on disturbed ones; counts where all questions have a disturbed
    /// copy.
    pub temporal: Option<TemporalConsistency>,
    /// Tokens that end a completion.
    pub stop_ids: Vec<u32>,
    /// Pads prompts and puts videos in.
    pub prefill: MakePrefill<'a>,
    /// Whether layers are run again in the backward pass instead of keeping what they computed.
    pub gradient_checkpointing: bool,
}

impl DecoderActor<'_> {
    /// The prompts, each `times` over.
    fn prefill(&self, questions: &[Question], times: usize) -> Result<Prefill> {
        let repeated = || questions.iter().flat_map(|q| std::iter::repeat_n(q, times));
        let rows: Vec<Vec<u32>> = repeated().map(|q| q.ids.clone()).collect();
        let videos: Vec<&VideoTokens> = repeated().flat_map(|q| &q.videos).collect();
        (self.prefill)(&rows, &videos)
    }

    /// Log-probabilities and entropies of rollouts, `[rows, longest]`.
    fn read<'d>(
        &self,
        decoder: &'d Decoder,
        tape: Option<&mut Tape<'d>>,
        questions: &[Question],
        rollouts: &[Rollout],
        temperature: f64,
    ) -> Result<(Tensor, Tensor)> {
        let prefill = self.prefill(questions, rollouts.len() / questions.len().max(1))?;
        let completions: Vec<Vec<u32>> = rollouts.iter().map(|r| r.tokens.clone()).collect();
        let (logits, targets) = training_logits(tape, decoder, &prefill, &completions, false)?;
        Ok(token_statistics(&logits, &targets, temperature)?)
    }
}

/// Questions with what was answered, the rollouts of each side by side.
fn groups(questions: &[Question], rollouts: &[Rollout]) -> Vec<Group> {
    let answer = |rollout: &Rollout| Answer { text: rollout.text.clone(), margin: rollout.margin };
    let each = rollouts.chunks((rollouts.len() / questions.len().max(1)).max(1));
    let group = |(question, own): (&Question, &[Rollout])| Group {
        truth: question.truth.clone(),
        answers: own.iter().map(answer).collect(),
    };
    questions.iter().zip(each).map(group).collect()
}

impl Actor for DecoderActor<'_> {
    type Prompt = Question;

    fn prompts(&self, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Question>> {
        (self.questions)(count, rng)
    }

    fn sample(
        &self,
        prompts: &[Question],
        config: &GrpoConfig,
        seed: u64,
        first: usize,
    ) -> Result<Vec<Rollout>> {
        let options = Options {
            first_prompt: first,
            ..Options::sampled(
                config.sampling(),
                config.num_generations,
                seed,
                config.max_completion_length,
                self.stop_ids.clone(),
            )
        };
        let prefill = self.prefill(prompts, 1)?;
        let completions = generate(self.sampler, &prefill, &options, |_, _, _| ())?;
        let rollout = |completion: juror_lmm::generate::Completion| {
            let written = completion.tokens.len() - usize::from(completion.stopped);
            let text = (self.text)(&completion.tokens[..written])?;
            Ok(Rollout { tokens: completion.tokens, text, stopped: completion.stopped, margin: None })
        };
        completions.into_iter().flatten().map(rollout).collect()
    }

    fn reward(
        &self,
        prompts: &[Question],
        rollouts: &[Rollout],
        config: &GrpoConfig,
        seed: u64,
        first: usize,
    ) -> Result<Table> {
        let mut table = self.rewards.rate(&groups(prompts, rollouts));
        let disturbed: Option<Vec<Question>> =
            prompts.iter().map(|q| q.disturbed.as_deref().cloned()).collect();
        if let (Some(temporal), Some(disturbed)) = (&self.temporal, disturbed) {
            let baseline = self.sample(&disturbed, config, seed, first)?;
            temporal.apply(&mut table, &self.rewards.rate(&groups(&disturbed, &baseline)));
        }
        Ok(table)
    }

    fn forward(
        &self,
        prompts: &[Question],
        rollouts: &[Rollout],
        _advantages: &[f64],
        temperature: f64,
    ) -> Result<Forward<'_>> {
        let mut tape = self.gradient_checkpointing.then(Tape::new);
        let (logps, entropies) = self.read(self.policy, tape.as_mut(), prompts, rollouts, temperature)?;
        Ok(Forward { logps, entropies, coupled: None, terms: Vec::new(), tape })
    }

    fn reference(&self, prompts: &[Question], rollouts: &[Rollout], temperature: f64) -> Result<Tensor> {
        let reference = self.reference.context("beta is above 0, but there is no reference")?;
        Ok(self.read(reference, None, prompts, rollouts, temperature)?.0.detach())
    }

    fn describe(&self, prompt: &Question) -> serde_json::Value {
        serde_json::json!({"id": prompt.id, "target": prompt.truth.target})
    }
}
