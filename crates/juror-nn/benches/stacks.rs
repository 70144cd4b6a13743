//! Times whole stacks of blocks, forward and training step, with our operations and with candle's own, and a decoder that
//! writes token by token (ours only): the layers of Qwen2, 32 tokens behind 128, for 1, 4 and 16 rows at once.
//!
//! Prints lines `name <tab> implementation <tab> wall ms (median) <tab> processor ms (mean, all threads)`; processor
//! time is the fairer one on a busy machine. `scripts/bench-nn.sh` runs the same stacks in PyTorch beside it. Arguments: a part of the names to run, and `--candle` to time plain candle too.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark may panic and prints its results

use candle_core::{D, Device, Module, Result, Tensor};
use juror_nn::kv_cache::KvCache;
use juror_nn::ops::{self, Mask};
use juror_nn::optim::{AdamW, AdamWConfig};
use juror_nn::params::{Init, Params};
use timing::measure;

mod timing;

/// Which operations a stack uses.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Juror,
    Candle,
}

impl Kind {
    fn linear(self, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        match self {
            Self::Juror => ops::linear(x, w, Some(b)),
            Self::Candle => candle_nn::Linear::new(w.clone(), Some(b.clone())).forward(x),
        }
    }

    fn norm(self, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        match self {
            Self::Juror => ops::layer_norm(x, w, Some(b), 1e-5),
            // `LayerNorm::forward` has a gradient only on its slow way, which it takes for tracked input.
            Self::Candle => candle_nn::LayerNorm::new(w.clone(), b.clone(), 1e-5).forward(x),
        }
    }

    fn gelu(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Juror => ops::gelu(x),
            Self::Candle => x.gelu_erf(),
        }
    }
}

/// Weight and bias.
type Layer = (Tensor, Tensor);

fn layer(params: &Params, name: &str, out: usize, inner: usize) -> Layer {
    let weight = params.get_or_init(&format!("{name}.weight"), (out, inner), Init::Normal(0.02)).unwrap();
    (weight, params.get_or_init(&format!("{name}.bias"), out, Init::Zeros).unwrap())
}

fn norm(params: &Params, name: &str, dim: usize) -> Layer {
    let weight = params.get_or_init(&format!("{name}.weight"), dim, Init::Ones).unwrap();
    (weight, params.get_or_init(&format!("{name}.bias"), dim, Init::Zeros).unwrap())
}

/// Pre-norm transformer block.
struct VitBlock {
    heads: usize,
    norm1: Layer,
    qkv: Layer,
    proj: Layer,
    norm2: Layer,
    fc1: Layer,
    fc2: Layer,
}

impl VitBlock {
    fn new(params: &Params, name: &str, dim: usize, heads: usize) -> Self {
        Self {
            heads,
            norm1: norm(params, &format!("{name}.norm1"), dim),
            qkv: layer(params, &format!("{name}.qkv"), 3 * dim, dim),
            proj: layer(params, &format!("{name}.proj"), dim, dim),
            norm2: norm(params, &format!("{name}.norm2"), dim),
            fc1: layer(params, &format!("{name}.fc1"), 4 * dim, dim),
            fc2: layer(params, &format!("{name}.fc2"), dim, 4 * dim),
        }
    }

    fn forward(&self, x: &Tensor, kind: Kind) -> Result<Tensor> {
        let (batch, tokens, dim) = x.dims3()?;
        let qkv = kind.linear(&kind.norm(x, &self.norm1.0, &self.norm1.1)?, &self.qkv.0, &self.qkv.1)?;
        let head_dim = dim / self.heads;
        let scale = 1.0 / (head_dim as f64).sqrt();
        let mixed = match kind {
            Kind::Juror => ops::attention_packed(&qkv, self.heads, self.heads, scale, Mask::None)?,
            Kind::Candle => {
                let qkv = qkv.reshape((batch, tokens, 3, self.heads, head_dim))?.permute((2, 0, 3, 1, 4))?;
                let part = |i| qkv.get(i)?.contiguous();
                let (q, k, v) = (part(0)?, part(1)?, part(2)?);
                let scores = (q.matmul(&k.t()?)? * scale)?;
                let weights = if scores.track_op() {
                    candle_nn::ops::softmax(&scores, D::Minus1)?
                } else {
                    candle_nn::ops::softmax_last_dim(&scores)?
                };
                weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, dim))?
            }
        };
        let x = (x + kind.linear(&mixed, &self.proj.0, &self.proj.1)?)?;
        let h = kind.linear(&kind.norm(&x, &self.norm2.0, &self.norm2.1)?, &self.fc1.0, &self.fc1.1)?;
        &x + kind.linear(&kind.gelu(&h)?, &self.fc2.0, &self.fc2.1)?
    }
}

/// MLP-Mixer block (Tolstikhin et al. 2021) on `[fragments, tokens, channels]`.
struct MixerBlock {
    norm1: Layer,
    token1: Layer,
    token2: Layer,
    norm2: Layer,
    fc1: Layer,
    fc2: Layer,
}

impl MixerBlock {
    fn new(params: &Params, name: &str, tokens: usize, dim: usize) -> Self {
        Self {
            norm1: norm(params, &format!("{name}.norm1"), dim),
            token1: layer(params, &format!("{name}.token1"), 2 * tokens, tokens),
            token2: layer(params, &format!("{name}.token2"), tokens, 2 * tokens),
            norm2: norm(params, &format!("{name}.norm2"), dim),
            fc1: layer(params, &format!("{name}.fc1"), 4 * dim, dim),
            fc2: layer(params, &format!("{name}.fc2"), dim, 4 * dim),
        }
    }

    fn forward(&self, x: &Tensor, kind: Kind) -> Result<Tensor> {
        let h = kind.norm(x, &self.norm1.0, &self.norm1.1)?.transpose(1, 2)?.contiguous()?;
        let h = kind.gelu(&kind.linear(&h, &self.token1.0, &self.token1.1)?)?;
        let x = (x + kind.linear(&h, &self.token2.0, &self.token2.1)?.transpose(1, 2)?)?;
        let h = kind.linear(&kind.norm(&x, &self.norm2.0, &self.norm2.1)?, &self.fc1.0, &self.fc1.1)?;
        &x + kind.linear(&kind.gelu(&h)?, &self.fc2.0, &self.fc2.1)?
    }
}

enum Block {
    Vit(VitBlock),
    Mixer(MixerBlock),
}

impl Block {
    fn forward(&self, x: &Tensor, kind: Kind) -> Result<Tensor> {
        match self {
            Self::Vit(block) => block.forward(x, kind),
            Self::Mixer(block) => block.forward(x, kind),
        }
    }
}

/// Sizes of a decoder.
struct Sizes {
    name: &'static str,
    width: usize,
    heads: usize,
    kv_heads: usize,
    inner: usize,
    layers: usize,
    vocabulary: usize,
}

const DECODERS: [Sizes; 2] = [
    Sizes { name: "decode256", width: 256, heads: 8, kv_heads: 2, inner: 768, layers: 4, vocabulary: 2048 },
    Sizes {
        name: "decode1024",
        width: 1024,
        heads: 16,
        kv_heads: 4,
        inner: 2816,
        layers: 8,
        vocabulary: 32_000,
    },
];
/// Tokens in front, and tokens that are written.
const CONTEXT: usize = 128;
const WRITTEN: usize = 32;

/// A layer of Qwen2: rotary positions, grouped queries, a gated feed-forward.
struct DecoderLayer {
    norms: [Tensor; 2],
    qkv: [Layer; 3],
    out: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
}

struct Decoder {
    sizes: &'static Sizes,
    embed: Tensor,
    layers: Vec<DecoderLayer>,
    norm: Tensor,
    head: Tensor,
    tables: (Tensor, Tensor),
}

impl Decoder {
    fn new(params: &Params, sizes: &'static Sizes) -> Self {
        let Sizes { width, heads, kv_heads, inner, .. } = *sizes;
        let dim = width / heads;
        let ones = |name: &str| params.get_or_init(name, width, Init::Ones).unwrap();
        let matrix = |name: String, out: usize, inner: usize| {
            params.get_or_init(&name, (out, inner), Init::Normal(0.02)).unwrap()
        };
        let layers = (0..sizes.layers).map(|i| DecoderLayer {
            norms: [ones(&format!("{i}.norm1")), ones(&format!("{i}.norm2"))],
            qkv: [("q", heads), ("k", kv_heads), ("v", kv_heads)]
                .map(|(name, heads)| layer(params, &format!("{i}.{name}"), heads * dim, width)),
            out: matrix(format!("{i}.o"), width, width),
            gate: matrix(format!("{i}.gate"), inner, width),
            up: matrix(format!("{i}.up"), inner, width),
            down: matrix(format!("{i}.down"), width, inner),
        });
        let angles: Vec<f32> = (0..CONTEXT + WRITTEN)
            .flat_map(|t| (0..dim / 2).map(move |i| t as f32 * 1e6_f32.powf(-2.0 * i as f32 / dim as f32)))
            .collect();
        let angles = Tensor::from_vec(angles, (CONTEXT + WRITTEN, dim / 2), &Device::Cpu).unwrap();
        Self {
            sizes,
            embed: matrix("embed".into(), sizes.vocabulary, width),
            layers: layers.collect(),
            norm: ones("norm"),
            head: matrix("head".into(), sizes.vocabulary, width),
            tables: (angles.cos().unwrap(), angles.sin().unwrap()),
        }
    }

    /// The likeliest tokens behind `ids` `[rows, n]`.
    fn forward(&self, ids: &Tensor, caches: &mut [KvCache]) -> Result<Tensor> {
        let (rows, n) = ids.dims2()?;
        let Sizes { width, heads, kv_heads, .. } = *self.sizes;
        let (dim, past) = (width / heads, caches[0].len());
        let table =
            |t: &Tensor| t.narrow(0, past, n)?.unsqueeze(0)?.broadcast_as((rows, n, dim / 2))?.contiguous();
        let (cos, sin) = (table(&self.tables.0)?, table(&self.tables.1)?);
        let mut x = ops::embedding(ids, &self.embed)?;
        for (layer, cache) in self.layers.iter().zip(caches) {
            let h = ops::rms_norm(&x, &layer.norms[0], 1e-6)?;
            let part = |(weight, bias): &Layer, heads: usize| {
                ops::linear(&h, weight, Some(bias))?.reshape((rows, n, heads, dim))?.transpose(1, 2)
            };
            let [q, k, v] = &layer.qkv;
            let q = ops::rope(&part(q, heads)?, &cos, &sin)?;
            let k = ops::rope(&part(k, kv_heads)?, &cos, &sin)?.contiguous()?;
            let v = part(v, kv_heads)?.contiguous()?;
            let y = cache.attend(&q, &k, &v, (dim as f64).powf(-0.5), Mask::Causal)?;
            let y = y.transpose(1, 2)?.contiguous()?.reshape((rows, n, width))?;
            x = (x + ops::linear(&y, &layer.out, None)?)?;
            let h = ops::rms_norm(&x, &layer.norms[1], 1e-6)?;
            let gated =
                (ops::silu(&ops::linear(&h, &layer.gate, None)?)? * ops::linear(&h, &layer.up, None)?)?;
            x = (x + ops::linear(&gated, &layer.down, None)?)?;
        }
        let last = ops::rms_norm(&x.narrow(1, n - 1, 1)?.contiguous()?, &self.norm, 1e-6)?;
        ops::linear(&last, &self.head, None)?.squeeze(1)?.argmax_keepdim(D::Minus1)
    }
}

/// Times the writing of [`WRITTEN`] tokens for each number of rows.
fn decode(wanted: &str) {
    for sizes in &DECODERS {
        let names = [1, 4, 16].map(|rows| (rows, format!("{}-{rows:02}", sizes.name)));
        if names.iter().all(|(_, name)| !name.contains(wanted)) {
            continue;
        }
        let decoder = Decoder::new(&Params::seeded_inference(1, &Device::Cpu), sizes);
        for (rows, name) in names.into_iter().filter(|(_, name)| name.contains(wanted)) {
            let mut caches: Vec<KvCache> = (0..sizes.layers).map(|_| KvCache::new()).collect();
            let prompt = Tensor::ones((rows, CONTEXT), candle_core::DType::U32, &Device::Cpu).unwrap();
            let first = decoder.forward(&prompt, &mut caches).unwrap();
            let (time, cpu) = measure(|| {
                caches.iter_mut().for_each(|cache| cache.truncate(CONTEXT).unwrap());
                (0..WRITTEN).fold(first.clone(), |token, _| decoder.forward(&token, &mut caches).unwrap());
            });
            println!("{name}\tjuror\t{time:.2}\t{cpu:.2}");
        }
    }
}

fn main() {
    juror_nn::memory::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().find(|argument| !argument.starts_with("--")).cloned().unwrap_or_default();
    let kinds: &[(Kind, &str)] = if arguments.iter().any(|argument| argument == "--candle") {
        &[(Kind::Juror, "juror"), (Kind::Candle, "candle")]
    } else {
        &[(Kind::Juror, "juror")]
    };
    decode(&wanted);
    let stacks: [(&str, [usize; 3], usize); 3] =
        [("vit384", [8, 196, 384], 6), ("vit192", [8, 196, 192], 3), ("mixer96", [400, 16, 96], 0)];
    for (name, dims, heads) in stacks {
        let blocks = if heads > 0 { 6 } else { 4 };
        let build = |params: &Params| -> Vec<Block> {
            (0..blocks)
                .map(|i| {
                    let path = format!("blocks.{i}");
                    if heads > 0 {
                        Block::Vit(VitBlock::new(params, &path, dims[2], heads))
                    } else {
                        Block::Mixer(MixerBlock::new(params, &path, dims[1], dims[2]))
                    }
                })
                .collect()
        };
        let x = Tensor::randn(0_f32, 1.0, &dims, &Device::Cpu).unwrap();
        for &(kind, label) in kinds {
            if format!("{name}-forward").contains(&wanted) {
                let params = Params::seeded_inference(1, &Device::Cpu);
                let stack = build(&params);
                let (time, cpu) = measure(|| {
                    stack.iter().fold(x.clone(), |h, block| block.forward(&h, kind).unwrap());
                });
                println!("{name}-forward\t{label}\t{time:.2}\t{cpu:.2}");
            }
            if format!("{name}-train").contains(&wanted) {
                let params = Params::seeded(1, &Device::Cpu);
                let stack = build(&params);
                let mut adamw = AdamW::new(params.variables(), AdamWConfig::default()).unwrap();
                let (time, cpu) = measure(|| {
                    let y = stack.iter().fold(x.clone(), |h, block| block.forward(&h, kind).unwrap());
                    let loss = y.sqr().unwrap().mean_all().unwrap();
                    adamw.step(&loss.backward().unwrap()).unwrap();
                });
                println!("{name}-train\t{label}\t{time:.2}\t{cpu:.2}");
            }
        }
    }
}
