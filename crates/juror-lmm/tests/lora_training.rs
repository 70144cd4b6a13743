//! LoRA training of a decoder with its blocks recomputed: the same gradients as without, from the memory that
//! `published::memory::LoraStep` tells beforehand. Allocations are counted, so this stands in a binary of its own.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]
#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use juror_lmm::decoder::{Decoder, Input, Spec};
use juror_lmm::published::memory::LoraStep;
use juror_lmm::rotary::{Axes, Positions, Rotary};
use juror_lmm::weights::{Adapter, Weights};
use juror_nn::lora::LoraConfig;
use juror_nn::ops;
use juror_nn::optim::{AdamW, AdamWConfig};
use juror_nn::params::Params;
use juror_nn::recompute::Tape;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn spec(hidden_size: usize, intermediate_size: usize, layers: usize) -> Spec {
    Spec {
        hidden_size,
        intermediate_size,
        heads: 4,
        kv_heads: 2,
        head_dim: hidden_size / 4,
        layers,
        vocab_size: 1000,
        rms_norm_eps: 1e-6,
        qkv_bias: true,
        qk_norm: false,
        tied: false,
        rotary: Rotary::new(hidden_size / 4, 10_000.0, Axes::Plain, None),
    }
}

/// The tensors of a decoder, random.
fn tensors(spec: &Spec) -> HashMap<String, Tensor> {
    let (d, f) = (spec.hidden_size, spec.intermediate_size);
    let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![spec.vocab_size, d]),
        ("model.norm.weight".to_owned(), vec![d]),
        ("lm_head.weight".to_owned(), vec![spec.vocab_size, d]),
    ];
    for i in 0..spec.layers {
        for (name, shape) in [
            ("self_attn.q_proj.weight", vec![q, d]),
            ("self_attn.q_proj.bias", vec![q]),
            ("self_attn.k_proj.weight", vec![kv, d]),
            ("self_attn.k_proj.bias", vec![kv]),
            ("self_attn.v_proj.weight", vec![kv, d]),
            ("self_attn.v_proj.bias", vec![kv]),
            ("self_attn.o_proj.weight", vec![d, q]),
            ("mlp.gate_proj.weight", vec![f, d]),
            ("mlp.up_proj.weight", vec![f, d]),
            ("mlp.down_proj.weight", vec![d, f]),
            ("input_layernorm.weight", vec![d]),
            ("post_attention_layernorm.weight", vec![d]),
        ] {
            shapes.push((format!("model.layers.{i}.{name}"), shape));
        }
    }
    let tensor = |shape: Vec<usize>| Tensor::randn(0f32, 0.1, shape, &Device::Cpu).unwrap();
    shapes.into_iter().map(|(name, shape)| (name, tensor(shape))).collect()
}

fn config(modules: &[&str]) -> LoraConfig {
    LoraConfig {
        rank: 8,
        alpha: 16.0,
        use_rslora: false,
        target_modules: modules.iter().map(|name| (*name).to_owned()).collect(),
    }
}

const ALL: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

struct Model {
    decoder: Decoder,
    adapter: Arc<Adapter>,
    positions: Positions,
    ids: Tensor,
}

impl Model {
    fn new(
        spec: &Spec,
        tensors: HashMap<String, Tensor>,
        modules: &[&str],
        rows: usize,
        tokens: usize,
    ) -> Self {
        let params = Params::seeded(3, &Device::Cpu);
        let adapter = Arc::new(Adapter { params, config: config(modules) });
        let weights =
            Weights::adapted(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), adapter.clone());
        let decoder = Decoder::load(spec, weights.pp("model"), weights).unwrap();
        let ids: Vec<u32> = (0..rows * tokens).map(|i| (i * 37 % spec.vocab_size) as u32).collect();
        Self {
            decoder,
            adapter,
            positions: Positions { rows: vec![(0..tokens as u32).map(|i| [i; 3]).collect(); rows] },
            ids: Tensor::from_vec(ids, (rows, tokens), &Device::Cpu).unwrap(),
        }
    }

    /// Gradients of the cross-entropy of the last `written` tokens.
    fn gradients(&self, written: usize, recompute: bool) -> GradStore {
        let embeds = self.decoder.embed(&self.ids).unwrap();
        let input = Input { embeds: &embeds, positions: &self.positions, after_layer: &[] };
        let tokens = self.ids.dim(1).unwrap();
        let targets = self.ids.narrow(1, tokens - written, written).unwrap().flatten_all().unwrap();
        let loss = |hidden: &Tensor| {
            let hidden = hidden.narrow(1, tokens - written, written).unwrap().contiguous().unwrap();
            let logits = self.decoder.logits(&hidden).unwrap().flatten_to(1).unwrap();
            ops::cross_entropy(&logits, &targets, None).unwrap()
        };
        if recompute {
            let mut tape = Tape::new();
            let hidden = self.decoder.forward_on(&mut tape, &input, &[]).unwrap();
            tape.backward(&loss(&hidden)).unwrap()
        } else {
            loss(&self.decoder.forward(&input, &[], None, |_, _| ()).unwrap()).backward().unwrap()
        }
    }
}

#[test]
fn recomputed_layers_have_the_same_gradients_and_take_the_memory_that_was_told() {
    let spec_small = spec(32, 64, 3);
    let model = Model::new(&spec_small, tensors(&spec_small), &ALL, 2, 7);
    let variables = model.adapter.params.variables();
    assert_eq!(variables.len(), 2 * 7 * 3);
    for (name, var) in variables.iter().filter(|(name, _)| name.contains("lora_B")) {
        var.set(&Tensor::randn(0f32, 0.1, var.shape(), &Device::Cpu).unwrap())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let (plain, taped) = (model.gradients(4, false), model.gradients(4, true));
    for (name, var) in &variables {
        let flat =
            |grads: &GradStore| grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (plain, taped) = (flat(&plain), flat(&taped));
        let scale = plain.iter().fold(0f32, |top, v| top.max(v.abs()));
        assert!(scale > 0.0, "{name}");
        assert!(plain.iter().zip(&taped).all(|(a, b)| (a - b).abs() <= 1e-4 * scale), "{name}");
    }
    drop((plain, taped, variables, model));

    for (width, inner, layers, rows, tokens, written, modules) in [
        (128, 512, 4, 2, 128, 32, &ALL[..]),
        (128, 512, 8, 2, 128, 32, &ALL[..]),
        (128, 256, 4, 1, 320, 32, &["q_proj", "v_proj"][..]),
        (256, 512, 4, 1, 192, 192, &ALL[..]),
    ] {
        let spec = spec(width, inner, layers);
        let before = LIVE.load(Ordering::Relaxed);
        let model = Model::new(&spec, tensors(&spec), modules, rows, tokens);
        let mut adamw = AdamW::new(model.adapter.params.variables(), AdamWConfig::default()).unwrap();
        for _ in 0..2 {
            PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
            adamw.step(&model.gradients(written, true)).unwrap();
        }
        let measured = PEAK.load(Ordering::Relaxed) - before;
        let told = LoraStep { rows, tokens, written, bytes: 4 }.need(&spec, &model.adapter.config).total();
        let ratio = told as f64 / measured as f64;
        println!(
            "width {width}, {inner}, {layers} layers, {rows} x {tokens} tokens: {measured} bytes, told {told}, ratio {ratio:.3}"
        );
        assert!((ratio - 1.0).abs() < 0.08, "{measured} bytes, {told} were told");
    }

    let of_8b = Spec {
        hidden_size: 3584,
        intermediate_size: 18_944,
        heads: 28,
        head_dim: 128,
        kv_heads: 4,
        layers: 28,
        vocab_size: 151_674,
        ..spec(3584, 18_944, 28)
    };
    let config = LoraConfig { rank: 16, ..config(&ALL) };
    for tokens in [2048, 4096, 8192] {
        let need = LoraStep { rows: 1, tokens, written: 256, bytes: 2 }.need(&of_8b, &config);
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        println!(
            "| {tokens} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            gib(need.weights),
            gib(need.adapter),
            gib(need.inputs),
            gib(need.graph),
            gib(need.total())
        );
    }
}
