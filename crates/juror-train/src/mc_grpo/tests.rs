//! The whole of Margin-Coupled GRPO on a tiny random model and rendered scenes.

use super::*;
use crate::config::{DataConfig, YardstickConfig};
use crate::decoder;
use crate::grpo::{Actor, GrpoConfig, Rollout};
use actor::Writing;
use juror_lmm::nano::{END, Nano};
use juror_nn::collective::Single;
use std::sync::OnceLock;
use tokenizers::Tokenizer;

fn tiny() -> NanoConfig {
    NanoConfig {
        moments: 2,
        patch_dim: 8,
        mixers: 1,
        fragment_dim: 16,
        trunk_dim: 16,
        temporal_dim: 16,
        hidden_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 32,
        vocab_size: 300,
        max_position_embeddings: 96,
        ..NanoConfig::default()
    }
}

fn data() -> DataConfig {
    DataConfig {
        clips: Vec::new(),
        scenes: 2,
        short_sides: vec![224],
        max_frames: 8,
        versions: 6,
        held_out_codecs: ["h264", "hevc", "vp9", "av1", "mpeg4"].map(String::from).into(),
        yardstick: YardstickConfig::MsSsim,
    }
}

/// Groups and a random model, made once for all tests.
fn prepared() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            dir
        })
        .path()
}

fn make(dir: &Path) {
    let (model, data) = (tiny(), data());
    let groups_dir = dir.join("groups");
    let groups = groups::prepare(&data, &model, &sources::list(&data, 1).unwrap(), &groups_dir).unwrap();
    let params = Params::seeded(3, &Device::Cpu);
    let vision = Vision::new(&params, &model).unwrap();
    Decoder::new(&params, &model).unwrap();
    let library = Library::new(&vision, &groups);
    let tokenizer = decoder::train_tokenizer(&library, model.vocab_size, 1).unwrap();
    write_model(&dir.join("start"), &model, params.tensors(), &tokenizer, &[]).unwrap();
}

/// A configuration that trains that model in `dir`.
fn prepare(dir: &Path) -> McGrpoConfig {
    McGrpoConfig {
        run_dir: dir.join("run"),
        seed: 1,
        model: prepared().join("start"),
        groups_dir: Some(prepared().join("groups")),
        validation: None,
        validation_dir: None,
        data: data(),
        grpo: GrpoConfig {
            max_steps: 6,
            save_steps: 2,
            num_iterations: 2,
            per_device_train_batch_size: 16,
            num_generations: 4,
            gradient_accumulation_steps: 2,
            max_completion_length: 12,
            learning_rate: 3e-3,
            logging_steps: 2,
            ..GrpoConfig::default()
        },
        rewards: RewardConfig::default(),
        coupling: Coupling::default(),
        pairs: PairConfig { held_out: 6, ..PairConfig::default() },
    }
}

fn open(config: &McGrpoConfig) -> (Start, Decoder) {
    Start::open(&config.model, config.coupling.trained, 1).unwrap()
}

fn actor<'a>(
    config: &McGrpoConfig,
    start: &'a Start,
    policy: Decoder,
    groups: &'a [GroupFile],
) -> NanoActor<'a> {
    NanoActor {
        policy,
        sampler: start.frozen(start.params.tensors()).unwrap(),
        reference: start.frozen(start.params.tensors()).unwrap(),
        speech: Speech::from_bytes(start.tokenizer.as_bytes()).unwrap(),
        library: Library::new(&start.vision, groups),
        strata: config.pairs.strata.clone(),
        rewards: Rewards::default().with(1.0, MarginBell { sigma: 0.5 }),
        coupling: config.coupling.clone(),
    }
}

fn opened(config: &McGrpoConfig) -> Vec<GroupFile> {
    let sources = sources::list(&config.data, config.seed).unwrap();
    groups::prepare(&config.data, &tiny(), &sources, config.groups_dir.as_ref().unwrap()).unwrap()
}

#[test]
fn what_was_sampled_is_what_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepare(dir.path());
    let groups = opened(&config);
    let (start, policy) = open(&config);
    let actor = actor(&config, &start, policy, &groups);
    let mut rng = rng::stream(9, &[]);
    let prompts = actor.prompts(4, &mut rng).unwrap();
    assert_eq!((prompts[0].a, prompts[0].b), (prompts[1].b, prompts[1].a));
    assert_eq!(prompts[0].target, -prompts[1].target);
    let rollouts = actor.sample(&prompts, &config.grpo, 5, 0).unwrap();
    assert_eq!(rollouts.len(), 16);
    assert_ne!(rollouts[0].tokens, rollouts[1].tokens, "rollouts have streams of their own");
    assert_eq!(rollouts, actor.sample(&prompts, &config.grpo, 5, 0).unwrap());
    // Alone, a prompt is answered in the same way.
    assert_eq!(rollouts[..4], actor.sample(&prompts[..1], &config.grpo, 5, 0).unwrap());
    let agree = |rollouts: &[Rollout]| {
        let read = actor.read(&actor.policy, &prompts, rollouts, 1.0).unwrap();
        let last = rollouts.iter().enumerate().map(|(row, r)| (row, r.tokens.len() - 1));
        let margins = actor.margins(&read, last).unwrap().to_vec1::<f32>().unwrap();
        for (rollout, margin) in rollouts.iter().zip(margins) {
            assert!((rollout.margin.unwrap() - f64::from(margin)).abs() < 1e-4, "{rollout:?} {margin}");
        }
        read.logps
    };
    let logps = agree(&rollouts);
    // The policy is the reference here: no divergence.
    let reference = actor.reference(&prompts, &rollouts, 1.0).unwrap();
    let gap = (reference - logps).unwrap().abs().unwrap().max_all().unwrap();
    assert!(gap.to_scalar::<f32>().unwrap() < 1e-5);

    // The sampler follows the policy under training, the margins of which move.
    grpo::train("mc-grpo", &config.grpo, &start.params, &actor, 1, &config.run_dir, &Single).unwrap();
    let after = actor.sample(&prompts, &config.grpo, 5, 0).unwrap();
    agree(&after);
    assert!(rollouts.iter().zip(&after).any(|(a, b)| (a.margin.unwrap() - b.margin.unwrap()).abs() > 1e-3));
}

#[test]
fn rollouts_that_end_leave_the_others_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepare(dir.path());
    let groups = opened(&config);
    let (start, _) = open(&config);
    let tokenizer = Tokenizer::from_bytes(start.tokenizer.as_bytes()).unwrap();
    let end = tokenizer.token_to_id(END).unwrap();
    // States add up to the hidden size: one token in twenty or so is the end, all others are alike.
    let mut weights = start.params.tensors();
    let ones = weights["decoder.norm.bias"].ones_like().unwrap();
    let (pieces, hidden) = weights["decoder.embedding"].dims2().unwrap();
    let lift = |id| if id == end { 2.7 / hidden as f32 } else { 0.0 };
    let table: Vec<f32> = (0..pieces as u32).flat_map(|id| vec![lift(id); hidden]).collect();
    weights.insert("decoder.norm.bias".into(), ones);
    weights
        .insert("decoder.embedding".into(), Tensor::from_vec(table, (pieces, hidden), &Device::Cpu).unwrap());
    let decoder = start.frozen(weights).unwrap();
    let library = Library::new(&start.vision, &groups);
    let prompts = pairs::draw(&library, &config.pairs.strata, 4, &mut rng::stream(9, &[])).unwrap();
    let speech = Speech::from_bytes(start.tokenizer.as_bytes()).unwrap();
    let write = |prompts: &[Pair], first| {
        let sampling = config.grpo.sampling();
        let writing = Writing { sampling: &sampling, rollouts: 8, max_tokens: 40, seed: 3, first };
        NanoActor::write(&library, &decoder, &speech, prompts, &writing).unwrap().0
    };
    let all = write(&prompts, 0);
    let mut lengths: Vec<usize> = all.iter().map(|r| r.tokens.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 8 && all.iter().filter(|r| r.stopped).count() > 16, "{lengths:?}");
    for (at, rollouts) in all.chunks(8).enumerate() {
        for (together, alone) in rollouts.iter().zip(write(&prompts[at..=at], at)) {
            assert_eq!((&together.tokens, together.stopped), (&alone.tokens, alone.stopped));
            assert!((together.margin.unwrap() - alone.margin.unwrap()).abs() < 1e-5);
        }
    }
}

#[test]
fn a_run_leaves_a_model_that_opens_and_resumes_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepare(dir.path());
    let folder = run(&config, &Single).unwrap();
    let nano = Nano::from_folder(&folder).unwrap();
    assert_eq!(nano.config(), &tiny());
    let weights = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert!(weights(&folder) != weights(&config.model), "something was learnt");
    let vision = |folder: &Path| {
        let params = Params::load(&folder.join("model.safetensors"), &Device::Cpu).unwrap();
        Vision::new(&params, &tiny()).unwrap();
        let tensors = params.tensors().into_values();
        tensors.flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(vision(&folder), vision(&config.model), "bodies and overlay are frozen");
    let rollouts = std::fs::read_to_string(config.run_dir.join("decoder/rollouts.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(rollouts.lines().next().unwrap()).unwrap();
    assert!(line["margin"].is_number() && line["rewards"]["margin"].is_number(), "{line}");
    assert!(line["prompt"]["target"].is_number() && line["completion"].is_string(), "{line}");

    // What a kill before the last checkpoint leaves behind.
    std::fs::remove_file(config.run_dir.join("decoder/step-00000006.safetensors")).unwrap();
    let expected = weights(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    run(&config, &Single).unwrap();
    assert!(weights(&folder) == expected);
}

#[test]
fn the_head_alone_leaves_the_words_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = prepare(dir.path());
    config.coupling.trained = Trained::Head;
    let (start, _) = Start::open(&config.model, Trained::Head, 1).unwrap();
    let names: Vec<String> = start.params.variables().into_keys().collect();
    assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("decoder.margin")), "{names:?}");
    // No group of two is held out; other scenes tell what was gained.
    config.validation = Some(data());
    run(&config, &Single).unwrap();
    let report = std::fs::read_to_string(config.run_dir.join("report.json")).unwrap();
    let report: Report = serde_json::from_str(&report).unwrap();
    let (before, after) = (report.before.unwrap(), report.after.unwrap());
    assert_eq!((before.pairs, before.attribution), (6, after.attribution), "the words stay");
    assert!(config.run_dir.join("validation").is_dir());
}

#[test]
fn figures_of_held_out_pairs_are_those_of_the_decoder() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepare(dir.path());
    let groups = opened(&config);
    let (start, policy) = open(&config);
    let actor = actor(&config, &start, policy, &groups);
    let report = report(&config, &start, &actor, &groups, &start.params.tensors()).unwrap();
    let (before, after) = (report.before.unwrap(), report.after.unwrap());
    assert_eq!(before, after, "the same weights");
    assert!(report.gains_ci95.iter().flatten().all(|gain| (gain.lo, gain.hi) == (0.0, 0.0)));
    assert_eq!(before.pairs, 6);
    // Random weights: the head adds next to nothing to the body's margin, and no text has the form.
    assert!(before.format < 0.5 && before.margin_error.is_finite());
    assert!((0.0..=1.0).contains(&before.attribution));
}

#[test]
fn a_missing_model_is_told_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = prepare(dir.path());
    config.model = dir.path().join("nowhere");
    let message = format!("{:#}", run(&config, &Single).unwrap_err());
    assert!(message.contains("nowhere"), "{message}");
}
