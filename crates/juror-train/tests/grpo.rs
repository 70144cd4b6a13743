//! The GRPO loop on a tiny random Qwen2: it learns what it is rewarded for, resumes to the same bits, and skips groups
//! whose rewards are equal.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use juror_lmm::decoder::Decoder;
use juror_lmm::qwen2::Config;
use juror_lmm::sequence::{Batch, Prefill};
use juror_nn::collective::Single;
use juror_nn::params::{Init, Params};
use juror_train::grpo::decoder::{DecoderActor, MakePrefill, Question};
use juror_train::grpo::{Actor, GrpoConfig, LossType, train};
use juror_train::rewards::{Group, Reward, Rewards, TemporalConsistency, Truth};
use rand::RngExt;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    let root = std::env::var_os("JUROR_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), PathBuf::from);
    root.join("grpo").join(name)
}

fn decoder(weights: &BTreeMap<String, Tensor>) -> Decoder {
    let config: Config = serde_json::from_slice(&std::fs::read(fixture("config.json")).unwrap()).unwrap();
    let weights: HashMap<String, Tensor> = weights.clone().into_iter().collect();
    let vb = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
    Decoder::load(&config.spec("").unwrap(), vb.pp("model"), vb).unwrap()
}

/// Share of even tokens.
struct Even;

impl Reward for Even {
    fn name(&self) -> &'static str {
        "even"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        let even = |text: &str| {
            let tokens: Vec<u32> = text.split_whitespace().map(|t| t.parse().unwrap()).collect();
            tokens.iter().filter(|t| **t % 2 == 0).count() as f64 / tokens.len().max(1) as f64
        };
        groups.iter().map(|g| g.answers.iter().map(|a| even(&a.text)).collect()).collect()
    }
}

/// The same for everybody.
struct Flat;

impl Reward for Flat {
    fn name(&self) -> &'static str {
        "flat"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        groups.iter().map(|g| vec![0.3; g.answers.len()]).collect()
    }
}

fn config() -> GrpoConfig {
    GrpoConfig {
        max_steps: 40,
        per_device_train_batch_size: 16,
        num_generations: 8,
        max_completion_length: 6,
        learning_rate: 3e-3,
        save_steps: 10,
        logging_steps: 10,
        ..GrpoConfig::default()
    }
}

/// Prompts of text alone.
fn plain(decoder: &Decoder) -> MakePrefill<'_> {
    Box::new(|prompts, _| {
        let batch = Batch::left_padded(prompts, 96);
        Ok(Prefill::plain(decoder, &batch, u32::MAX, None, &Device::Cpu)?)
    })
}

/// Trains in `dir`; the last weights.
fn run(config: &GrpoConfig, reward: impl Reward + 'static, dir: &Path) -> BTreeMap<String, Tensor> {
    let file = fixture("model.safetensors");
    let start: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(&file, &Device::Cpu).unwrap().into_iter().collect();
    let params = Params::load_for_training(&file, 0, &Device::Cpu).unwrap();
    for (name, tensor) in &start {
        params.get_or_init(name, tensor.shape(), Init::Zeros).unwrap();
    }
    params.verify().unwrap();
    let variables =
        params.variables().into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect();
    let (policy, sampler, reference) = (decoder(&variables), decoder(&params.tensors()), decoder(&start));
    let actor = DecoderActor {
        policy: &policy,
        sampler: &sampler,
        reference: Some(&reference),
        questions: Box::new(|count, rng| {
            let question = |i: usize, rng: &mut rand_chacha::ChaCha8Rng| Question {
                id: format!("question {i}"),
                ids: (0..3 + i % 2).map(|_| rng.random_range(0..90)).collect(),
                videos: Vec::new(),
                truth: Truth::default(),
                disturbed: None,
            };
            Ok((0..count).map(|i| question(i, rng)).collect())
        }),
        text: Box::new(|ids| Ok(ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))),
        rewards: Rewards::default().with(1.0, reward),
        temporal: None,
        stop_ids: vec![95],
        prefill: plain(&policy),
        gradient_checkpointing: true,
    };
    train("grpo", config, &params, &actor, 5, dir, &Single).unwrap();
    params.tensors().into_iter().map(|(name, t)| (name, t.copy().unwrap())).collect()
}

/// The means of every line of the log.
fn log(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("log.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["means"].clone())
        .collect()
}

fn flat(weights: &BTreeMap<String, Tensor>) -> Vec<f32> {
    weights.values().flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
}

#[test]
fn the_policy_learns_what_it_is_rewarded_for() {
    for loss_type in [LossType::Grpo, LossType::Dapo, LossType::DrGrpo] {
        let dir = tempfile::tempdir().unwrap();
        run(&GrpoConfig { loss_type, ..config() }, Even, dir.path());
        let log = log(dir.path());
        let at = |line: usize, key: &str| {
            log[line][key].as_f64().unwrap_or_else(|| panic!("{key}: {}", log[line]))
        };
        assert_eq!(log.len(), 2);
        assert!(at(1, "reward") > at(0, "reward") + 0.1, "{loss_type:?}: {log:?}");
        for key in [
            "kl",
            "entropy",
            "clip_ratio/low_mean",
            "clip_ratio/region_mean",
            "reward_std",
            "frac_reward_zero_std",
            "rewards/even/mean",
            "rewards/even/std",
            "completions/mean_length",
            "completions/clipped_ratio",
        ] {
            assert!(at(1, key).is_finite(), "{key}");
        }
        assert!(at(1, "kl") > at(0, "kl"), "it moves away from the reference");
        let rollouts = std::fs::read_to_string(dir.path().join("rollouts.jsonl")).unwrap();
        assert_eq!(rollouts.lines().count(), 4 * config().num_completions_to_print);
    }
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let config = GrpoConfig { num_iterations: 2, gradient_accumulation_steps: 2, max_steps: 20, ..config() };
    let whole = tempfile::tempdir().unwrap();
    let expected = run(&config, Even, whole.path());
    let halves = tempfile::tempdir().unwrap();
    // The schedule must not know of the stop: what a kill leaves behind is the checkpoint of step 10.
    run(&config, Even, halves.path());
    for entry in std::fs::read_dir(halves.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("step-00000020") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let resumed = run(&config, Even, halves.path());
    let bits =
        |weights: &BTreeMap<String, Tensor>| flat(weights).into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert!(bits(&expected) == bits(&resumed));
}

#[test]
fn accumulation_is_a_larger_batch_cut_in_pieces() {
    let train = |config: &GrpoConfig| flat(&run(config, Even, tempfile::tempdir().unwrap().path()));
    for loss_type in [LossType::Grpo, LossType::Dapo] {
        let once = GrpoConfig {
            loss_type,
            max_steps: 2,
            save_steps: 2,
            per_device_train_batch_size: 32,
            ..config()
        };
        let pieces =
            GrpoConfig { per_device_train_batch_size: 8, gradient_accumulation_steps: 4, ..once.clone() };
        let (once, pieces) = (train(&once), train(&pieces));
        // Adam divides by tiny moments: compare the bulk, as for the golden steps.
        let off = once.iter().zip(&pieces).filter(|(a, b)| (*a - *b).abs() > 1e-5).count();
        assert!(off * 200 < once.len(), "{loss_type:?}: {off} of {}", once.len());
    }
}

/// The target itself, so that a test says who does better.
struct Numbered;

impl Reward for Numbered {
    fn name(&self) -> &'static str {
        "rank"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        groups.iter().map(|g| vec![g.truth.target; g.answers.len()]).collect()
    }
}

#[test]
fn the_temporal_bonus_is_held_against_rollouts_of_the_disturbed_copy() {
    let weights: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(fixture("model.safetensors"), &Device::Cpu)
            .unwrap()
            .into_iter()
            .collect();
    let policy = decoder(&weights);
    let question = |target: f64, disturbed: Option<f64>| {
        let plain = |target| Question {
            id: String::new(),
            ids: vec![1, 2, 3],
            videos: Vec::new(),
            truth: Truth { target, faults: Vec::new() },
            disturbed: None,
        };
        Question { disturbed: disturbed.map(|t| Box::new(plain(t))), ..plain(target) }
    };
    let actor = DecoderActor {
        policy: &policy,
        sampler: &policy,
        reference: None,
        questions: Box::new(|_, _| Ok(Vec::new())),
        text: Box::new(|_| Ok(String::new())),
        rewards: Rewards::default().with(1.0, Numbered),
        temporal: Some(TemporalConsistency::default()),
        stop_ids: vec![95],
        prefill: plain(&policy),
        gradient_checkpointing: false,
    };
    let rewarded = |questions: &[Question]| {
        let rollouts = actor.sample(questions, &config(), 1, 0).unwrap();
        actor.reward(questions, &rollouts, &config(), 2, 0).unwrap().column(0)
    };
    // The first does better than its disturbed copy, the second worse.
    let both = rewarded(&[question(0.8, Some(0.2)), question(0.8, Some(0.9))]);
    assert_eq!(both, [[0.8 + 0.3; 8], [0.8; 8]].concat());
    // One question without a disturbed copy: no bonus for anybody.
    assert_eq!(rewarded(&[question(0.8, Some(0.2)), question(0.8, None)]), [0.8; 16]);
    // No reference, no divergence: an error, not a panic.
    let rollouts = actor.sample(&[question(0.8, None)], &config(), 1, 0).unwrap();
    assert!(actor.reference(&[question(0.8, None)], &rollouts, 1.0).is_err());
}

#[test]
fn equal_rewards_are_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let config = GrpoConfig { beta: 0.0, max_steps: 20, weight_decay: 0.1, ..config() };
    let weights = run(&config, Flat, dir.path());
    let start: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(fixture("model.safetensors"), &Device::Cpu)
            .unwrap()
            .into_iter()
            .collect();
    assert_eq!(flat(&weights), flat(&start), "nothing was learnt, nothing decayed");
    assert!((log(dir.path())[0]["frac_reward_zero_std"].as_f64().unwrap() - 1.0).abs() < 1e-9);
}
