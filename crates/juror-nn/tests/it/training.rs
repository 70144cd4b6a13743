//! Optimiser, schedules, clipping, averages, checkpoints, parameters, LoRA, recomputation, cache, sampling.

use crate::reference::values;
use candle_core::{DType, Device, Tensor, Var};
use juror_nn::checkpoint::{CheckpointFolder, TrainingState};
use juror_nn::kv_cache::KvCache;
use juror_nn::lora::{Lora, LoraConfig};
use juror_nn::ops::{self, Mask};
use juror_nn::optim::{AdamW, AdamWConfig, Ema, Schedule, clip_global_norm};
use juror_nn::params::{Init, Params, Precision};
use juror_nn::recompute::Tape;
use juror_nn::sampling::Sampling;
use juror_nn::{Error, rng};
use std::collections::BTreeMap;

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn adamw_follows_the_f64_reference() {
    let config = AdamWConfig { lr: 0.05, weight_decay: 0.1, ..Default::default() };
    let count = 5000;
    let start = values(count, 1);
    let var = Var::from_tensor(
        &Tensor::from_slice(&start, (50, 100), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap(),
    )
    .unwrap();
    let bias = Var::from_vec(vec![0.5_f32; 3], 3, &Device::Cpu).unwrap();
    let variables = BTreeMap::from([("weight".to_owned(), var.clone()), ("bias".to_owned(), bias.clone())]);
    let mut adamw = AdamW::new(variables, config.clone()).unwrap();
    let (mut w, mut m, mut v) = (start, vec![0.0; count], vec![0.0; count]);
    for step in 1..=20 {
        // Loss: Σ c·w² with a c that changes by step.
        let c = values(count, 100 + step);
        let c32 = Tensor::from_slice(&c, (50, 100), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        let loss = (c32 * var.sqr().unwrap()).unwrap().sum_all().unwrap();
        let loss = (loss + (bias.as_tensor() * 0.0).unwrap().sum_all().unwrap()).unwrap();
        adamw.step(&loss.backward().unwrap()).unwrap();
        let (b1, b2) = config.betas;
        for i in 0..count {
            let g = 2.0 * c[i] * w[i];
            m[i] = b1 * m[i] + (1.0 - b1) * g;
            v[i] = b2 * v[i] + (1.0 - b2) * g * g;
            let (mh, vh) = (m[i] / (1.0 - b1.powi(step as i32)), v[i] / (1.0 - b2.powi(step as i32)));
            w[i] -= config.lr * (config.weight_decay * w[i] + mh / (vh.sqrt() + config.eps));
        }
    }
    for (got, want) in flat(&var).iter().zip(&w) {
        assert!((f64::from(*got) - want).abs() < 2e-4, "{got}, want {want}");
    }
    assert_eq!(flat(&bias), [0.5; 3], "a bias must not decay");
}

#[test]
fn clipping_scales_to_the_norm() {
    let a = Var::from_vec(vec![3_f32], 1, &Device::Cpu).unwrap();
    let b = Var::from_vec(vec![4_f32], 1, &Device::Cpu).unwrap();
    let variables = BTreeMap::from([("a".to_owned(), a.clone()), ("b".to_owned(), b.clone())]);
    let loss = ((a.sqr().unwrap() + b.sqr().unwrap()).unwrap() * 0.5).unwrap().sum_all().unwrap();
    let mut grads = loss.backward().unwrap();
    assert!((clip_global_norm(&mut grads, &variables, 10.0).unwrap() - 5.0).abs() < 1e-6);
    assert!((clip_global_norm(&mut grads, &variables, 1.0).unwrap() - 5.0).abs() < 1e-6);
    assert!((flat(grads.get(&a).unwrap())[0] - 0.6).abs() < 1e-6);
    assert!((flat(grads.get(&b).unwrap())[0] - 0.8).abs() < 1e-6);
}

#[test]
fn schedules() {
    let cosine = Schedule::Cosine { warmup: 10, total: 110, floor: 0.1 };
    assert!((cosine.factor(0) - 0.1).abs() < 1e-12 && (cosine.factor(9) - 1.0).abs() < 1e-12);
    assert!((cosine.factor(60) - 0.55).abs() < 1e-12);
    assert!((cosine.factor(110) - 0.1).abs() < 1e-12 && (cosine.factor(9999) - 0.1).abs() < 1e-12);
    let linear = Schedule::Linear { warmup: 0, total: 100, floor: 0.0 };
    assert!((linear.factor(0) - 1.0).abs() < 1e-12 && (linear.factor(25) - 0.75).abs() < 1e-12);
    assert_eq!(Schedule::Constant { warmup: 2 }.factor(5), 1.0);
}

/// A small network, its optimiser and its average.
struct Run {
    params: Params,
    adamw: AdamW,
    ema: Ema,
    step: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let params = Params::seeded(seed, &Device::Cpu);
        forward(&params, &Tensor::zeros((1, 6), DType::F32, &Device::Cpu).unwrap()).unwrap();
        let adamw = AdamW::new(params.variables(), AdamWConfig::default()).unwrap();
        let ema = Ema::new(&params.variables(), 0.99).unwrap();
        Self { params, adamw, ema, step: 0 }
    }

    fn train(&mut self, steps: u64) {
        for _ in 0..steps {
            let x = Tensor::from_vec(values(60, rng::derive_seed(3, &[self.step])), (10, 6), &Device::Cpu)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            let loss = forward(&self.params, &x).unwrap().sqr().unwrap().mean_all().unwrap();
            self.adamw.step(&loss.backward().unwrap()).unwrap();
            self.ema.update(&self.params.variables()).unwrap();
            self.step += 1;
        }
    }

    fn state(&self) -> TrainingState {
        TrainingState {
            step: self.step,
            weights: self.params.tensors(),
            optimizer: Some(self.adamw.state().unwrap()),
            average: Some(self.ema.tensors().clone()),
            seeds: BTreeMap::from([("data".to_owned(), 3)]),
            metadata: serde_json::json!({"note": "ä", "updates": self.ema.updates()}),
        }
    }

    fn resume(state: &TrainingState) -> Self {
        let mut run = Self::new(12345);
        run.params.set(&state.weights).unwrap();
        run.adamw.load_state(state.optimizer.as_ref().unwrap()).unwrap();
        let updates = state.metadata["updates"].as_u64().unwrap();
        run.ema = Ema::resume(state.average.clone().unwrap(), 0.99, updates).unwrap();
        run.step = state.step;
        run
    }
}

fn forward(params: &Params, x: &Tensor) -> juror_nn::Result<Tensor> {
    let w1 = params.get_or_init("a.weight", (8, 6), Init::Normal(0.3))?;
    let norm = params.get_or_init("norm.weight", 8, Init::Ones)?;
    let w2 = params.get_or_init("b.weight", (2, 8), Init::Uniform)?;
    let h = ops::rms_norm(&ops::gelu(&ops::linear(x, &w1, None)?)?, &norm, 1e-6)?;
    Ok(ops::linear(&h, &w2, None)?)
}

#[test]
fn a_resumed_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointFolder::new(folder.path().join("new"), 2);
    assert!(checkpoints.load_last(&Device::Cpu).unwrap().is_none());
    let mut straight = Run::new(1);
    for _ in 0..3 {
        straight.train(4);
        checkpoints.save(&straight.state()).unwrap();
    }
    let steps: Vec<u64> = checkpoints.steps().unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [8, 12]);
    let path = &checkpoints.steps().unwrap()[0].1;
    let mut resumed = Run::resume(&TrainingState::load(path, &Device::Cpu).unwrap());
    resumed.train(4);
    let (a, b) = (straight.state(), resumed.state());
    let bits = |tensors: &BTreeMap<String, Tensor>| -> Vec<u32> {
        tensors.values().flat_map(flat).map(f32::to_bits).collect()
    };
    assert_eq!(bits(&a.weights), bits(&b.weights));
    assert_eq!(bits(a.average.as_ref().unwrap()), bits(b.average.as_ref().unwrap()));
    assert_eq!(a.metadata, b.metadata);
    // Equal states make equal files.
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    a.save(&one).unwrap();
    b.save(&two).unwrap();
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    Run::new(1).state().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(TrainingState::load(&path, &Device::Cpu), Err(Error::Format { .. })));
    assert!(matches!(TrainingState::load(&folder.path().join("none"), &Device::Cpu), Err(Error::Io { .. })));
}

#[test]
fn parameters_are_drawn_by_name_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let x = Tensor::ones((2, 6), DType::F32, &Device::Cpu).unwrap();
    let params = Params::seeded(5, &Device::Cpu);
    params.get_or_init("unrelated", 1000, Init::Normal(1.0)).unwrap();
    let y = forward(&params, &x).unwrap();
    let alone = Params::seeded(5, &Device::Cpu);
    assert_eq!(flat(&forward(&alone, &x).unwrap()), flat(&y));
    let other = Params::seeded(6, &Device::Cpu);
    assert_ne!(flat(&forward(&other, &x).unwrap()), flat(&y));
    alone.save(&path, Precision::F32).unwrap();
    let loaded = Params::load(&path, &Device::Cpu).unwrap();
    let again = forward(&loaded, &x).unwrap();
    loaded.verify().unwrap();
    assert_eq!(flat(&again), flat(&y));
    assert!(!again.track_op(), "inference must build no graph");
    alone.save(&path, Precision::F16).unwrap();
    let half = Params::from_bytes(&std::fs::read(&path).unwrap(), &Device::Cpu).unwrap();
    for (a, b) in flat(&forward(&half, &x).unwrap()).iter().zip(flat(&y)) {
        assert!((a - b).abs() < 0.01, "{a} {b}");
    }
    let draws = flat(&params.get_or_init("unrelated", 1000, Init::Normal(1.0)).unwrap());
    let mean = draws.iter().sum::<f32>() / 1000.0;
    assert!(mean.abs() < 0.1 && draws.iter().all(|draw| draw.abs() <= 2.0));
}

#[test]
fn a_mismatch_names_every_tensor() {
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([
        ("a.weight".to_owned(), zeros(&[8, 7])),
        ("b.weight".to_owned(), zeros(&[2, 8])),
        ("c.weight".to_owned(), zeros(&[1])),
    ]);
    let params = Params::from_tensors(tensors, &Device::Cpu).unwrap();
    forward(&params, &zeros(&[1, 6])).unwrap();
    let message = params.verify().unwrap_err().to_string();
    for part in ["norm.weight", "c.weight", "a.weight is [8, 7], asked [8, 6]"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(matches!(params.get_or_init("b.weight", (8, 2), Init::Zeros), Err(Error::Reshaped { .. })));
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let params = Params::seeded(1, &Device::Cpu);
    params.freeze("a.");
    let x = Tensor::ones((1, 6), DType::F32, &Device::Cpu).unwrap();
    let grads = forward(&params, &x).unwrap().sum_all().unwrap().backward().unwrap();
    let variables = params.variables();
    assert_eq!(variables.keys().collect::<Vec<_>>(), ["b.weight", "norm.weight"]);
    assert!(variables.values().all(|var| grads.get(var.as_tensor()).is_some()));
}

#[test]
fn lora_starts_as_nothing_and_merges() {
    let t = |dims: &[usize], seed| {
        let count = dims.iter().product();
        Tensor::from_vec(values(count, seed), dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
    };
    let (weight, bias, x) = (t(&[5, 7], 1), t(&[5], 2), t(&[3, 7], 3));
    let adapter = Params::seeded(1, &Device::Cpu);
    let config: LoraConfig = serde_json::from_str(
        r#"{"r": 2, "lora_alpha": 8, "target_modules": ["q_proj"], "peft_type": "LORA"}"#,
    )
    .unwrap();
    assert!(
        config.targets("model.layers.0.self_attn.q_proj") && !config.targets("model.layers.0.mlp.up_proj")
    );
    let lora = Lora::new(&weight, Some(&bias), &adapter, "model.q_proj", &config).unwrap();
    assert_eq!(
        adapter.variables().keys().collect::<Vec<_>>(),
        ["base_model.model.model.q_proj.lora_A.weight", "base_model.model.model.q_proj.lora_B.weight"]
    );
    let plain = ops::linear(&x, &weight, Some(&bias)).unwrap();
    assert_eq!(flat(&lora.forward(&x).unwrap()), flat(&plain));
    let b = &adapter.variables()["base_model.model.model.q_proj.lora_B.weight"];
    b.set(&t(&[5, 2], 9)).unwrap();
    let apart = lora.forward(&x).unwrap();
    let merged = ops::linear(&x, &lora.merged().unwrap(), lora.bias()).unwrap();
    for (a, b) in flat(&apart).iter().zip(flat(&merged)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    assert_ne!(flat(&apart), flat(&plain));
    let grads = apart.sum_all().unwrap().backward().unwrap();
    assert!(adapter.variables().values().all(|var| grads.get(var.as_tensor()).is_some()));
}

#[test]
fn recomputed_gradients_are_the_same() {
    let params = Params::seeded(2, &Device::Cpu);
    let weights: Vec<Tensor> = (0..4)
        .map(|i| params.get_or_init(&format!("{i}.weight"), (6, 6), Init::Normal(0.5)).unwrap())
        .collect();
    let first = params.get_or_init("first", (3, 6), Init::Normal(1.0)).unwrap();
    let block =
        |x: &Tensor, w: &Tensor| -> candle_core::Result<Tensor> { x + ops::gelu(&ops::linear(x, w, None)?)? };
    // A plain piece of graph before, between and behind the blocks.
    let plain = {
        let mut h = (&first * 2.0).unwrap();
        for (i, w) in weights.iter().enumerate() {
            h = block(&h, w).unwrap();
            if i == 1 {
                h = (h.sqr().unwrap() + &h).unwrap();
            }
        }
        h.sqr().unwrap().sum_all().unwrap().backward().unwrap()
    };
    let mut tape = Tape::new();
    let mut h = (&first * 2.0).unwrap();
    for (i, w) in weights.iter().enumerate() {
        h = tape.block(&h, move |x| block(x, w)).unwrap();
        if i == 1 {
            h = (h.sqr().unwrap() + &h).unwrap();
        }
    }
    let taped = tape.backward(&h.sqr().unwrap().sum_all().unwrap()).unwrap();
    for (name, var) in params.variables() {
        let (a, b) = (flat(plain.get(&var).unwrap()), flat(taped.get(&var).unwrap()));
        let scale = a.iter().fold(0_f32, |top, value| top.max(value.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= 1e-5 * scale, "{name}: {a} {b}");
        }
    }
}

#[test]
fn cached_decoding_equals_the_whole_sequence() {
    let (tokens, dim) = (150, 8);
    let t = |seed| {
        let values = values(2 * 3 * tokens * dim, seed);
        Tensor::from_vec(values, (2, 3, tokens, dim), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
    };
    let (q, k, v) = (t(1), t(2), t(3));
    let whole = ops::attention(&q, &k, &v, 0.35, Mask::Causal).unwrap();
    let part = |t: &Tensor, start, len| t.narrow(2, start, len).unwrap();
    let write = |cache: &mut KvCache, start, len| {
        let (q, k, v) = (part(&q, start, len), part(&k, start, len), part(&v, start, len));
        flat(&cache.attend(&q, &k, &v, 0.35, Mask::Causal).unwrap())
    };
    let mut cache = KvCache::new();
    for (start, len) in [(0, 70), (70, 1), (71, 78), (149, 1)] {
        assert_eq!(write(&mut cache, start, len), flat(&part(&whole, start, len)), "{len} tokens at {start}");
    }
    // Tokens that were taken back are written again, and one of the rows leaves; a fork keeps them.
    let fork = cache.fork(2).unwrap();
    cache.truncate(3).unwrap();
    assert_eq!((cache.len(), fork.len()), (3, 150));
    assert_eq!(write(&mut cache, 3, 1), flat(&part(&whole, 3, 1)));
    cache.select(&[1]).unwrap();
    let row = |t: &Tensor| part(t, 4, 1).narrow(0, 1, 1).unwrap();
    let seen = cache.attend(&row(&q), &row(&k), &row(&v), 0.35, Mask::Causal).unwrap();
    assert_eq!(flat(&seen), flat(&row(&whole)));
}

/// Rows that share a prompt see what each would see alone, whichever rows have left, and what they forked from stays as it was.
#[test]
fn forked_rows_share_their_prompt() {
    let (heads, kv_heads, prompt, tokens, dim) = (6, 2, 40, 46, 8);
    let (prompts, copies) = (2, 3);
    let t = |heads: usize, rows: usize, seed| {
        let values = values(rows * heads * tokens * dim, seed);
        Tensor::from_vec(values, (rows, heads, tokens, dim), &Device::Cpu)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap()
    };
    let rows = prompts * copies;
    let q = t(heads, rows, 1);
    // Row `copy * prompts + prompt` begins as all copies of its prompt do.
    let begun_alike = |seed| {
        let (begin, all) = (t(kv_heads, prompts, seed), t(kv_heads, rows, seed + 1));
        let begin = Tensor::cat(&vec![&begin; copies], 0).unwrap().narrow(2, 0, prompt).unwrap();
        Tensor::cat(&[&begin, &all.narrow(2, prompt, tokens - prompt).unwrap()], 2).unwrap()
    };
    let (k, v) = (begun_alike(2), begun_alike(4));
    // The second prompt is padded by five places.
    let hidden = |row: usize, j: usize| if row % prompts == 1 && j < 5 { -60_000f32 } else { 0.0 };
    let mask = |rows: &[usize], len: usize| {
        let values: Vec<f32> = rows.iter().flat_map(|&row| (0..len).map(move |j| hidden(row, j))).collect();
        Tensor::from_vec(values, (rows.len(), 1, 1, len), &Device::Cpu).unwrap()
    };
    let pick = |t: &Tensor, rows: &[usize], start: usize, len: usize| {
        let index = Tensor::new(rows.iter().map(|&r| r as u32).collect::<Vec<_>>(), &Device::Cpu).unwrap();
        t.index_select(&index, 0).unwrap().narrow(2, start, len).unwrap().contiguous().unwrap()
    };
    let mut read_once = KvCache::new();
    let start = |t: &Tensor| t.narrow(0, 0, prompts).unwrap().narrow(2, 0, prompt).unwrap();
    read_once.attend(&start(&q), &start(&k), &start(&v), 0.35, Mask::Causal).unwrap();
    for padded in [false, true] {
        let mut forked = read_once.fork(copies).unwrap();
        assert_eq!(forked.len(), prompt);
        let mut open: Vec<usize> = (0..rows).collect();
        for token in prompt..tokens {
            if token == prompt + 2 {
                let stay = [5usize, 0, 3, 1];
                forked.select(&stay.map(|r| r as u32)).unwrap();
                open = stay.to_vec();
            }
            if token == prompt + 4 {
                forked = forked.fork(2).unwrap();
                open = open.repeat(2);
            }
            let mask = mask(&open, token + 1);
            let mask = if padded { Mask::Additive(&mask) } else { Mask::Causal };
            let one = |t: &Tensor| pick(t, &open, token, 1);
            let seen = forked.attend(&one(&q), &one(&k), &one(&v), 0.35, mask).unwrap();
            let all = |t: &Tensor| pick(t, &open, 0, token + 1);
            let alone = ops::attention(&one(&q), &all(&k), &all(&v), 0.35, mask).unwrap();
            for (a, b) in flat(&seen).iter().zip(flat(&alone)) {
                assert!((a - b).abs() < 2e-6, "token {token}: {a} {b}");
            }
        }
        assert_eq!(read_once.len(), prompt);
    }
    assert!(read_once.fork(1).unwrap().select(&[2]).is_err());
}

#[test]
fn sampling_follows_the_distribution_and_its_cuts() {
    let logits: Vec<f32> = [0.5_f64, 0.25, 0.15, 0.1].iter().map(|p| p.ln() as f32).collect();
    let mut generator = rng::stream(1, &[]);
    let mut share = |sampling: &Sampling, history: &[u32]| {
        let mut counts = [0.0; 4];
        for _ in 0..4000 {
            let (token, log_probability) = sampling.draw(&logits, history, &mut generator).unwrap();
            assert!((log_probability - logits[token as usize]).abs() < 1e-5);
            counts[token as usize] += 1.0 / 4000.0;
        }
        counts
    };
    let near = |got: [f64; 4], want: [f64; 4]| {
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 0.03), "{got:?}, want {want:?}");
    };
    let plain = Sampling { temperature: 1.0, ..Sampling::greedy() };
    near(share(&plain, &[]), [0.5, 0.25, 0.15, 0.1]);
    near(share(&Sampling { top_k: Some(2), ..plain.clone() }, &[]), [0.667, 0.333, 0.0, 0.0]);
    near(share(&Sampling { top_p: Some(0.8), ..plain.clone() }, &[]), [0.556, 0.278, 0.167, 0.0]);
    near(share(&Sampling { temperature: 0.5, ..plain.clone() }, &[]), [0.725, 0.181, 0.065, 0.029]);
    near(share(&Sampling::greedy(), &[]), [1.0, 0.0, 0.0, 0.0]);
    near(share(&Sampling { repetition_penalty: 4.0, ..Sampling::greedy() }, &[0]), [0.0, 1.0, 0.0, 0.0]);
    assert!(Sampling::greedy().draw(&[], &[], &mut generator).is_none());
    assert!(Sampling { top_p: Some(0.0), ..plain }.validate().is_err());
}
