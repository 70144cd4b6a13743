//! Sampling, rollouts, stop tokens and log-probabilities, on the tiny InternVL3.

use candle_core::{DType, Tensor};
use juror_lmm::checkpoint::canonical;
use juror_lmm::decoder::{Decoder, Input};
use juror_lmm::generate::{
    Completion, Options, Session, generate, graded_preference, log_probs, word_probabilities,
};
use juror_lmm::internvl3::{Config, InternVl3};
use juror_lmm::sequence::{Batch, Prefill};
use juror_nn::sampling::Sampling;

use crate::support::{Fixture, device};

fn model(fixture: &Fixture) -> InternVl3 {
    let config: Config = fixture.config();
    InternVl3::load(&config, None, fixture.checkpoint().var_builder(canonical, DType::F32, &device()))
        .unwrap()
}

/// Two text prompts of different lengths; ids are drawn from the fixture's prompt.
fn prompts(fixture: &Fixture, decoder: &Decoder, which: &[usize]) -> Prefill {
    let ids = Fixture::rows(fixture.input("input_ids")).remove(0);
    let all = [ids[..7].to_vec(), ids[..12].iter().rev().copied().collect()];
    let rows: Vec<Vec<u32>> = which.iter().map(|&i| all[i].clone()).collect();
    Prefill::plain(decoder, &Batch::left_padded(&rows, 0), u32::MAX, None, &device()).unwrap()
}

fn sampled(seed: u64) -> Options {
    let sampling = Sampling { temperature: 0.9, top_k: Some(40), top_p: Some(0.95), repetition_penalty: 1.1 };
    Options { keep_hidden: true, ..Options::sampled(sampling, 3, seed, 10, Vec::new()) }
}

fn run(decoder: &Decoder, prefill: &Prefill, options: &Options) -> Vec<Vec<Completion>> {
    generate(decoder, prefill, options, |_, _, _| ()).unwrap()
}

fn tokens(all: &[Vec<Completion>]) -> Vec<Vec<Vec<u32>>> {
    all.iter().map(|p| p.iter().map(|c| c.tokens.clone()).collect()).collect()
}

#[test]
fn rollouts_depend_on_their_seed_and_on_nothing_else() {
    let fixture = Fixture::open("internvl3");
    let model = model(&fixture);
    let lm = &model.language_model;
    let both = prompts(&fixture, lm, &[0, 1]);
    let first = tokens(&run(lm, &both, &sampled(7)));
    assert_eq!(first, tokens(&run(lm, &both, &sampled(7))));
    assert_ne!(first, tokens(&run(lm, &both, &sampled(8))));
    assert_ne!(first[0][0], first[0][1], "rollouts of one prompt have streams of their own");
    // Alone, the same prompt is completed in the same way as in a padded batch.
    let alone = prompts(&fixture, lm, &[0]);
    assert_eq!(first[0], tokens(&run(lm, &alone, &sampled(7)))[0]);
}

/// Rollouts go on from the cache of prompts that were read once: a fork is given no prompt, and it writes what a fork of one prompt
/// alone writes, bit by bit, whatever the others write; and, but for rounding, what a session writes that read the prompt for
/// itself.
#[test]
fn rollouts_share_the_cache_of_their_prompt() {
    let fixture = Fixture::open("internvl3");
    let model = model(&fixture);
    let lm = &model.language_model;
    let both = prompts(&fixture, lm, &[0, 1]);
    assert_ne!(both.pads[0], both.pads[1], "prompts of different lengths");
    let read_once = Session::start(lm, &both).unwrap();
    let mut shared = read_once.fork(3).unwrap();
    // Row `rollout * 2 + prompt`, as in the fork.
    let start = |prompt: usize| Session::start(lm, &prompts(&fixture, lm, &[prompt])).unwrap();
    let mut separate: Vec<Session> = [0, 1, 0, 1, 0, 1].map(start).into();
    let mut alone: Vec<Session> = separate.iter().map(|session| session.fork(2).unwrap()).collect();
    alone.iter_mut().for_each(|session| session.keep(&[1]).unwrap());
    let bits = |t: Tensor| -> Vec<u32> {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    let mut rows: Vec<usize> = (0..6).collect();
    for step in 0..8 {
        let together = shared.logits().unwrap();
        assert_eq!(together.dim(0).unwrap(), rows.len());
        for (row, &at) in rows.iter().enumerate() {
            let alone = bits(alone[at].logits().unwrap());
            assert_eq!(bits(together.get(row).unwrap()), alone, "rollout {at}, token {step}");
            let own = separate[at].logits().unwrap().squeeze(0).unwrap();
            let far = (together.get(row).unwrap() - own).unwrap().abs().unwrap().max(0).unwrap();
            let far = far.to_scalar::<f32>().unwrap();
            assert!(far < 1e-4, "rollout {at}, token {step}: {far}");
        }
        if step == 4 {
            // Two rollouts end.
            rows = vec![0, 2, 3, 5];
            shared.keep(&rows).unwrap();
        }
        let tokens: Vec<u32> = rows.iter().map(|&at| (7 * at + 3 * step) as u32 % 50).collect();
        shared.push(&tokens).unwrap();
        for (&at, &token) in rows.iter().zip(&tokens) {
            separate[at].push(&[token]).unwrap();
            alone[at].push(&[token]).unwrap();
        }
    }
    // What was read once stays as it was: another fork starts where the first one did.
    let again = read_once.fork(1).unwrap().logits().unwrap();
    assert_eq!(bits(again), bits(Session::start(lm, &both).unwrap().logits().unwrap()));
}

#[test]
fn log_probabilities_of_a_rollout_are_those_of_one_forward_pass() {
    let fixture = Fixture::open("internvl3");
    let model = model(&fixture);
    let lm = &model.language_model;
    let both = prompts(&fixture, lm, &[0, 1]);
    let all = run(lm, &both, &sampled(3));
    for rollout in 0..3 {
        let chosen: Vec<Vec<u32>> = all.iter().map(|p| p[rollout].tokens.clone()).collect();
        let whole: Vec<Vec<f32>> = log_probs(lm, &both, &chosen).unwrap().to_vec2().unwrap();
        for (prompt, whole) in all.iter().zip(whole) {
            for (step, whole) in prompt[rollout].log_probs.iter().zip(whole) {
                assert!((step - whole).abs() < 1e-4, "{step} against {whole}");
            }
        }
    }
    // The kept hidden states give the same logits as a pass over the whole sequence.
    let one = &all[0][0];
    let hidden = one.hidden.as_ref().unwrap();
    assert_eq!(hidden.dim(0).unwrap(), one.tokens.len());
    let alone = prompts(&fixture, lm, &[0]);
    let input = Input { embeds: &alone.embeds, positions: &alone.positions, after_layer: &[] };
    let whole = lm.forward(&input, &alone.pads, None, |_, _| ()).unwrap();
    let last = whole.narrow(1, whole.dim(1).unwrap() - 1, 1).unwrap().flatten_all().unwrap();
    let difference = (hidden.get(0).unwrap() - last).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f32>().unwrap() < 1e-4);
}

#[test]
fn stop_tokens_end_one_row_and_leave_the_others() {
    let fixture = Fixture::open("internvl3");
    let model = model(&fixture);
    let lm = &model.language_model;
    let both = prompts(&fixture, lm, &[0, 1]);
    let free = run(lm, &both, &Options::greedy(12, Vec::new()));
    let stop = free[0][0].tokens[4];
    let mut streamed = vec![Vec::new(); 2];
    let options = Options::greedy(12, vec![stop]);
    let stopped = generate(lm, &both, &options, |prompt, _, token| streamed[prompt].push(token)).unwrap();
    for (prompt, free) in free.iter().enumerate() {
        let end = free[0].tokens.iter().position(|&t| t == stop).map_or(12, |at| at + 1);
        assert_eq!(stopped[prompt][0].tokens, free[0].tokens[..end]);
        assert_eq!(stopped[prompt][0].stopped, end < 12 || free[0].tokens[11] == stop);
        assert_eq!(streamed[prompt], stopped[prompt][0].tokens);
    }
}

#[test]
fn log_probabilities_have_gradients() {
    let fixture = Fixture::open("internvl3");
    let model = model(&fixture);
    let prefill = prompts(&fixture, &model.language_model, &[0]);
    let embeds = candle_core::Var::from_tensor(&prefill.embeds).unwrap();
    let prefill = Prefill { embeds: embeds.as_tensor().clone(), ..prefill };
    let loss = log_probs(&model.language_model, &prefill, &[vec![1, 2, 3]]).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let norm = grads.get(&embeds).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(norm > 0.0 && norm.is_finite());
    // Against a finite difference along one direction.
    let direction = Tensor::randn(0f32, 1f32, embeds.shape(), &device()).unwrap();
    let along =
        (grads.get(&embeds).unwrap() * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    let step = 1e-3f64;
    let at = |sign: f64| {
        let moved = (embeds.as_tensor() + (&direction * (sign * step)).unwrap()).unwrap();
        let prefill = Prefill { embeds: moved, ..prefill.clone() };
        let sum = log_probs(&model.language_model, &prefill, &[vec![1, 2, 3]]).unwrap().sum_all().unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap())
    };
    let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
    assert!(
        (difference - f64::from(along)).abs() < 0.05 * difference.abs().max(1.0),
        "{difference} against {along}"
    );
}

#[test]
fn levels_are_weighed_as_published() {
    // Level logits 10, 14, 18, 21, 16 from inferior to superior: the published formula at two temperatures.
    let logits = [10.0, 14.0, 18.0, 21.0, 16.0];
    let preference = |t: f64| graded_preference(&word_probabilities(&logits, &[0, 1, 2, 3, 4], t));
    assert!((preference(5.0) - 0.639_347).abs() < 1e-6);
    assert!((preference(1.0) - 0.739_379).abs() < 1e-6);
}
