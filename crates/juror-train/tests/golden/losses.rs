//! TRL's losses, gradients and optimiser steps, and VQAThinker's, on a two-layer Qwen2 trained through juror's own
//! decoder. Tolerances of the fixture: log-probabilities and losses 1e-5, gradients 1e-4 of a tensor's largest entry,
//! AdamW parameters 1e-5 but for entries whose gradient is all but zero.

use crate::{fixture, json};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use juror_lmm::decoder::Decoder;
use juror_lmm::generate::completion_logits;
use juror_lmm::qwen2::Config;
use juror_lmm::rotary::Positions;
use juror_lmm::sequence::{Batch, Prefill};
use juror_nn::optim::{AdamW, AdamWConfig, clip_global_norm, global_norm};
use juror_train::grpo::{
    GrpoConfig, ImportanceSampling, LossType, ScaleRewards, Scored, advantages, completion_mask, policy_loss,
    token_statistics,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

const LOGPS: f64 = 1e-5;
const GRADIENT: f64 = 1e-4;

fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(name), &Device::Cpu).unwrap()
}

fn rows(t: &Tensor) -> Vec<Vec<u32>> {
    t.to_dtype(DType::U32).unwrap().to_vec2().unwrap()
}

fn largest(t: &Tensor) -> f64 {
    f64::from(t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap())
}

/// The stored policy with variables for weights.
struct Policy {
    variables: BTreeMap<String, Var>,
    decoder: Decoder,
}

impl Policy {
    fn open(file: &str) -> Self {
        let variables: BTreeMap<String, Var> =
            tensors(file).into_iter().map(|(name, t)| (name, Var::from_tensor(&t).unwrap())).collect();
        let weights = variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let vb = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
        let config: Config = json("config.json");
        let decoder = Decoder::load(&config.spec("").unwrap(), vb.pp("model"), vb).unwrap();
        Self { variables, decoder }
    }
}

/// The stored batch.
struct Case {
    batch: Batch,
    completions: Vec<Vec<u32>>,
    mask: Tensor,
    outputs: HashMap<String, Tensor>,
    rewards: Vec<f64>,
}

impl Case {
    fn open() -> Self {
        let inputs = tensors("inputs.safetensors");
        let pads =
            rows(&inputs["prompt_mask"]).iter().map(|m| m.iter().filter(|m| **m == 0).count()).collect();
        let batch = Batch { ids: rows(&inputs["prompt_ids"]), pads };
        let lengths: Vec<usize> =
            rows(&inputs["completion_mask"]).iter().map(|m| m.iter().sum::<u32>() as usize).collect();
        let completions: Vec<Vec<u32>> = rows(&inputs["completion_ids"])
            .into_iter()
            .zip(&lengths)
            .map(|(mut row, &length)| {
                row.truncate(length);
                row
            })
            .collect();
        let longest = lengths.iter().copied().max().unwrap();
        let mask = completion_mask(&lengths, longest, &[], &Device::Cpu).unwrap();
        let stored = inputs["completion_mask"].to_dtype(DType::F32).unwrap();
        assert_eq!(mask.to_vec2::<f32>().unwrap(), stored.to_vec2::<f32>().unwrap());
        let rewards = inputs["rewards_per_func"].to_vec2::<f32>().unwrap();
        let rewards = rewards.iter().map(|row| row.iter().map(|r| f64::from(*r)).sum()).collect();
        Self { batch, completions, mask, outputs: tensors("outputs.safetensors"), rewards }
    }

    /// Log-probabilities and entropies of the stored completions.
    fn read(&self, policy: &Policy, temperature: f64) -> (Tensor, Tensor) {
        let ids = self.batch.tensor(&Device::Cpu).unwrap();
        let tokens = self.batch.tokens() as u32;
        // The reference passes no positions: they count from the first column.
        let positions = Positions { rows: vec![(0..tokens).map(|i| [i; 3]).collect(); self.batch.ids.len()] };
        let prefill = Prefill {
            embeds: policy.decoder.embed(&ids).unwrap(),
            positions,
            pads: self.batch.pads.clone(),
            after_layer: Vec::new(),
        };
        let (logits, targets) = completion_logits(&policy.decoder, &prefill, &self.completions).unwrap();
        token_statistics(&logits, &targets, temperature).unwrap()
    }

    /// Fails unless the unmasked entries are near the stored ones.
    fn close(&self, name: &str, got: &Tensor, tolerance: f64) {
        let difference = ((got.detach() - &self.outputs[name]).unwrap() * &self.mask).unwrap();
        let worst = largest(&difference);
        eprintln!("{name}: {worst:.1e}");
        assert!(worst <= tolerance, "{name}: differs by {worst}");
    }

    fn loss(&self, policy: &Policy, stored: &Value) -> juror_train::grpo::PolicyLoss {
        let settings = &stored["settings"];
        let (config, accumulation) = configuration(settings);
        let (logps, entropies) = self.read(policy, config.temperature);
        let scale = stored["scale_rewards"].as_str().unwrap();
        let given = stored["old_log_probs_given"].as_bool().unwrap();
        let scored = Scored {
            logps: &logps,
            entropies: &entropies,
            old_logps: given.then(|| &self.outputs["old_per_token_logps"]),
            ref_logps: Some(&self.outputs["ref_per_token_logps"]),
            advantages: &self.outputs[&format!("advantages_{scale}")],
            mask: &self.mask,
        };
        let counted = self.completions.iter().map(Vec::len).sum::<usize>() as f64;
        let tokens = stored["num_items_in_batch"].as_f64().unwrap_or(counted);
        policy_loss(&config, &scored, accumulation, tokens).unwrap()
    }
}

fn configuration(settings: &Value) -> (GrpoConfig, usize) {
    let mut config = GrpoConfig { max_completion_length: 9, ..GrpoConfig::default() };
    let mut accumulation = 1;
    for (key, value) in settings.as_object().unwrap() {
        let number = || value.as_f64().unwrap();
        match key.as_str() {
            "beta" => config.beta = number(),
            "epsilon_low" => config.epsilon = number(),
            "epsilon_high" => config.epsilon_high = Some(number()),
            "delta" => config.delta = Some(number()),
            "temperature" => config.temperature = number(),
            "use_bias_correction_kl" => config.use_bias_correction_kl = value.as_bool().unwrap(),
            "current_gradient_accumulation_steps" => accumulation = value.as_u64().unwrap() as usize,
            "loss_type" => config.loss_type = serde_json::from_value::<LossType>(value.clone()).unwrap(),
            "importance_sampling_level" => {
                config.importance_sampling_level =
                    serde_json::from_value::<ImportanceSampling>(value.clone()).unwrap();
            }
            "num_items_in_batch" => {}
            other => panic!("a setting this test does not know: {other}"),
        }
    }
    (config, accumulation)
}

#[test]
fn golden_log_probabilities_entropies_and_advantages() {
    let case = Case::open();
    let policy = Policy::open("model.safetensors");
    let (logps, entropies) = case.read(&policy, 1.0);
    case.close("per_token_logps", &logps, LOGPS);
    case.close("entropies", &entropies, LOGPS);
    case.close("per_token_logps_temperature_0.7", &case.read(&policy, 0.7).0, LOGPS);
    for (file, name) in [
        ("model_old.safetensors", "old_per_token_logps"),
        ("model_reference.safetensors", "ref_per_token_logps"),
    ] {
        // In the full set only.
        if fixture(file).exists() {
            case.close(name, &case.read(&Policy::open(file), 1.0).0, LOGPS);
        }
    }
    for (scale, name) in
        [(ScaleRewards::Group, "group"), (ScaleRewards::Batch, "batch"), (ScaleRewards::None, "none")]
    {
        let got = advantages(&case.rewards, 4, scale);
        assert_eq!(got.equal, [false, false, true]);
        let stored = case.outputs[&format!("advantages_{name}")].to_vec1::<f32>().unwrap();
        for (got, stored) in got.values.iter().zip(stored) {
            assert!((got - f64::from(stored)).abs() < 1e-5, "{name}: {got} {stored}");
        }
    }
}

#[test]
fn golden_losses_gradients_and_metrics() {
    let case = Case::open();
    let stored: BTreeMap<String, Value> = json("losses.json");
    let policy = Policy::open("model.safetensors");
    let mut cases = 0;
    for (name, stored) in stored.iter().filter(|(name, _)| *name != "adamw") {
        cases += 1;
        let found = case.loss(&policy, stored);
        let loss = f64::from(found.loss.to_scalar::<f32>().unwrap());
        let want = stored["loss"].as_f64().unwrap();
        assert!((loss - want).abs() <= LOGPS, "{name}: loss {loss}, reference {want}");
        let grads = found.loss.backward().unwrap();
        if let Some(want) = stored["grad_norm"].as_f64() {
            let norm = global_norm(&grads, &policy.variables).unwrap();
            assert!((norm - want).abs() <= GRADIENT * want, "{name}: norm {norm}, reference {want}");
        }
        let worst = worst_gradient(&case, name, &grads, &policy);
        eprintln!("{name}: loss {:.1e}, gradient {worst:.1e}", (loss - want).abs());
        if name.starts_with("vqathinker") {
            continue; // logs other metrics under the same names
        }
        for (key, want) in stored["metrics"].as_object().unwrap() {
            let got = found.metrics.iter().find(|(name, _)| name == key);
            let (_, got) = got.unwrap_or_else(|| panic!("{name}: no metric {key}"));
            let want = want.as_f64().unwrap();
            assert!(
                (got - want).abs() <= 1e-5 * want.abs().max(1.0),
                "{name}: {key} {got}, reference {want}"
            );
        }
    }
    assert!(cases >= 21, "{cases}");
}

/// The largest difference of the stored gradients of a case, each relative to its largest entry.
fn worst_gradient(case: &Case, name: &str, grads: &GradStore, policy: &Policy) -> f64 {
    let prefix = format!("{name}.grad.");
    let mut worst = 0f64;
    let mut compared = 0;
    for (key, want) in &case.outputs {
        let Some(parameter) = key.strip_prefix(&prefix) else { continue };
        let got = grads.get(policy.variables[parameter].as_tensor()).unwrap();
        let difference = largest(&(got - want).unwrap()) / largest(want);
        assert!(difference <= GRADIENT, "{key}: differs by {difference} of its largest entry");
        worst = worst.max(difference);
        compared += 1;
    }
    assert!(compared >= 3, "{name}: {compared} gradients");
    worst
}

#[test]
fn golden_adamw_steps() {
    let case = Case::open();
    let stored: BTreeMap<String, Value> = json("losses.json");
    let policy = Policy::open("model.safetensors");
    let config = AdamWConfig {
        lr: 1e-3,
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.1,
        decay_matrices_only: false,
    };
    let mut optimizer = AdamW::new(policy.variables.clone(), config).unwrap();
    for step in stored["adamw"]["steps"].as_array().unwrap() {
        let loss = case.loss(&policy, &stored["grpo"]).loss;
        let value = f64::from(loss.to_scalar::<f32>().unwrap());
        let want = step["loss"].as_f64().unwrap();
        assert!((value - want).abs() <= 2e-5, "loss {value}, reference {want}");
        let mut grads = loss.backward().unwrap();
        let norm = clip_global_norm(&mut grads, &policy.variables, 0.5).unwrap();
        let want = step["grad_norm_before_clip"].as_f64().unwrap();
        assert!((norm - want).abs() <= 2e-4 * want, "norm {norm}, reference {want}");
        optimizer.step(&grads).unwrap();
    }
    let mut compared = 0;
    for (key, want) in &case.outputs {
        let Some(parameter) = key.strip_prefix("adamw.step3.") else { continue };
        let got = policy.variables[parameter].as_detached_tensor();
        let difference =
            (got - want).unwrap().abs().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let off = difference.iter().filter(|d| **d > 1e-5).count();
        let worst = difference.iter().copied().fold(0f32, f32::max);
        eprintln!("{key}: {off} of {} entries off by more than 1e-5, worst {worst:.1e}", difference.len());
        assert!(off * 200 <= difference.len(), "{key}: {off} of {} entries", difference.len());
        assert!(worst <= 3.1e-3, "{key}: {worst}, three steps of 1e-3 are the most");
        compared += 1;
    }
    assert_eq!(compared, 6);
}
