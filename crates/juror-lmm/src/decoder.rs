//! The causal decoder shared by Qwen2 and Qwen3: grouped-query attention, rotary positions, gated feed-forward, KV cache.
//!
//! The two differ only in biases and per-head norms ([`Spec`]); `qwen2` and `qwen3` read their configurations into it.
//! Batches are padded on the left; `pads` counts the padded places of each row. Dropout and sliding windows are left out.

use candle_core::{Device, Result, Tensor};
use juror_nn::kv_cache::KvCache as LayerCache;
use juror_nn::ops::{self, Mask};
use juror_nn::recompute::Tape;

use crate::layers::{GatedMlp, Linear, RmsNorm};
use crate::rotary::{Positions, Rotary};
use crate::weights::{Matrix, Weights};

/// Sizes and options of a decoder.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward.
    pub intermediate_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Layers.
    pub layers: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Epsilon of all norms.
    pub rms_norm_eps: f64,
    /// Whether the query, key and value projections have biases (Qwen2).
    pub qkv_bias: bool,
    /// Whether queries and keys are normalised per head (Qwen3).
    pub qk_norm: bool,
    /// Whether the output layer is the embedding table.
    pub tied: bool,
    /// Rotary positions.
    pub rotary: Rotary,
}

#[derive(Clone)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    norms: Option<(RmsNorm, RmsNorm)>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Attention {
    fn load(spec: &Spec, vb: Weights) -> Result<Self> {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let norms = if spec.qk_norm {
            let norm = |name| RmsNorm::load(spec.head_dim, spec.rms_norm_eps, vb.pp(name));
            Some((norm("q_norm")?, norm("k_norm")?))
        } else {
            None
        };
        Ok(Self {
            q_proj: Linear::load(spec.hidden_size, q, spec.qkv_bias, vb.pp("q_proj"))?,
            k_proj: Linear::load(spec.hidden_size, kv, spec.qkv_bias, vb.pp("k_proj"))?,
            v_proj: Linear::load(spec.hidden_size, kv, spec.qkv_bias, vb.pp("v_proj"))?,
            o_proj: Linear::load(q, spec.hidden_size, false, vb.pp("o_proj"))?,
            norms,
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
        })
    }

    fn forward(&self, x: &Tensor, step: &Step, cache: Option<&mut LayerCache>) -> Result<Tensor> {
        let (batch, n, _) = x.dims3()?;
        let heads = |t: Tensor, count: usize| t.reshape((batch, n, count, self.head_dim));
        let mut q = heads(self.q_proj.forward(x)?, self.heads)?;
        let mut k = heads(self.k_proj.forward(x)?, self.kv_heads)?;
        if let Some((q_norm, k_norm)) = &self.norms {
            (q, k) = (q_norm.forward(&q)?, k_norm.forward(&k)?);
        }
        let v = heads(self.v_proj.forward(x)?, self.kv_heads)?.transpose(1, 2)?.contiguous()?;
        let q = ops::rope(&q.transpose(1, 2)?, &step.cos, &step.sin)?;
        let k = ops::rope(&k.transpose(1, 2)?, &step.cos, &step.sin)?.contiguous()?;
        let mask = step.mask.as_ref().map_or(Mask::Causal, Mask::Additive);
        let scale = (self.head_dim as f64).powf(-0.5);
        let y = match cache {
            Some(cache) => cache.attend(&q, &k, &v, scale, mask)?,
            None => ops::attention(&q, &k, &v, scale, mask)?,
        };
        self.o_proj.forward(&y.transpose(1, 2)?.contiguous()?.reshape((
            batch,
            n,
            self.heads * self.head_dim,
        ))?)
    }
}

#[derive(Clone)]
struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
}

impl Layer {
    fn load(spec: &Spec, vb: Weights) -> Result<Self> {
        let norm = |name| RmsNorm::load(spec.hidden_size, spec.rms_norm_eps, vb.pp(name));
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn: Attention::load(spec, vb.pp("self_attn"))?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp: GatedMlp::load(spec.hidden_size, spec.intermediate_size, false, vb.pp("mlp"))?,
        })
    }

    fn with(&self, change: impl Fn(&Matrix) -> Matrix + Copy) -> Self {
        let attention = &self.self_attn;
        Self {
            self_attn: Attention {
                q_proj: attention.q_proj.with(change),
                k_proj: attention.k_proj.with(change),
                v_proj: attention.v_proj.with(change),
                o_proj: attention.o_proj.with(change),
                ..attention.clone()
            },
            mlp: self.mlp.with(change),
            ..self.clone()
        }
    }

    fn forward(&self, x: &Tensor, step: &Step, cache: Option<&mut LayerCache>) -> Result<Tensor> {
        let x = (x + self.self_attn.forward(&self.input_layernorm.forward(x)?, step, cache)?)?;
        &x + self.mlp.forward(&self.post_attention_layernorm.forward(&x)?)?
    }
}

/// What all layers of one call share.
#[derive(Clone)]
struct Step {
    cos: Tensor,
    sin: Tensor,
    /// Only for padded batches; else the mask is causal.
    mask: Option<Tensor>,
}

/// Keys and values of the tokens seen so far, for each layer.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
}

impl KvCache {
    /// Tokens per row, padding included.
    pub fn tokens(&self) -> usize {
        self.layers.first().map_or(0, LayerCache::len)
    }

    /// An independent cache with every row repeated `times` along the batch, the copies of the whole batch one after the
    /// other: one prompt, many rollouts, which share what is cached.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fork(&self, times: usize) -> Result<Self> {
        Ok(Self { layers: self.layers.iter().map(|layer| layer.fork(times)).collect::<Result<_>>()? })
    }

    /// Keeps only these rows, in this order (finished rollouts leave).
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn select(&mut self, rows: &[u32]) -> Result<()> {
        self.layers.iter_mut().try_for_each(|layer| layer.select(rows))
    }
}

/// What one call of the decoder is given.
pub struct Input<'a> {
    /// `[batch, n, hidden]`.
    pub embeds: &'a Tensor,
    /// Positions of these `n` tokens.
    pub positions: &'a Positions,
    /// Vectors added to the stream after layer 0, 1, ...: `[batch, n, hidden]` each (Qwen3-VL's deepstack; else empty).
    pub after_layer: &'a [Tensor],
}

/// Embedding table, layers, final norm and output layer.
#[derive(Clone)]
pub struct Decoder {
    embed_tokens: Matrix,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Linear,
    rotary: Rotary,
}

impl Decoder {
    /// Reads `model.*` below `model` and the output layer `lm_head` below `head`.
    ///
    /// # Errors
    /// Missing or misshapen tensors.
    pub fn load(spec: &Spec, model: impl Into<Weights>, head: impl Into<Weights>) -> Result<Self> {
        let model: Weights = model.into();
        let head: Weights = head.into();
        let embed_tokens = model.pp("embed_tokens").matrix(spec.vocab_size, spec.hidden_size)?;
        let layers = (0..spec.layers).map(|i| Layer::load(spec, model.of_decoder().pp("layers").pp(i)));
        let layers = layers.collect::<Result<_>>()?;
        let lm_head = if spec.tied {
            Linear::new(embed_tokens.clone(), None)
        } else {
            Linear::load(spec.hidden_size, spec.vocab_size, false, head.pp("lm_head"))?
        };
        let norm = RmsNorm::load(spec.hidden_size, spec.rms_norm_eps, model.pp("norm"))?;
        Ok(Self { embed_tokens, layers, norm, lm_head, rotary: spec.rotary.clone() })
    }

    /// The same decoder on the same memory without gradient: it samples what an adapter under training has learnt so far.
    #[must_use]
    pub fn detached(&self) -> Self {
        self.with(Matrix::detached)
    }

    /// The same decoder on the same memory without its adapter: the reference that training stays near to.
    #[must_use]
    pub fn unadapted(&self) -> Self {
        self.with(Matrix::unadapted)
    }

    fn with(&self, change: impl Fn(&Matrix) -> Matrix + Copy) -> Self {
        let layers = self.layers.iter().map(|layer| layer.with(change)).collect();
        Self { layers, ..self.clone() }
    }

    /// Rows of the embedding table.
    pub fn vocabulary(&self) -> usize {
        self.embed_tokens.outputs()
    }

    /// An empty cache.
    pub fn cache(&self) -> KvCache {
        KvCache { layers: self.layers.iter().map(|_| LayerCache::new()).collect() }
    }

    /// Token embeddings: `ids` `[batch, n]` of u32 to `[batch, n, hidden]`.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, n) = ids.dims2()?;
        self.embed_tokens.rows(&ids.flatten_all()?)?.reshape((batch, n, ()))
    }

    /// Hidden states after the final norm, `[batch, n, hidden]`. With a cache, the tokens follow those in it; without,
    /// the call is a whole sequence with the paddings `pads`.
    ///
    /// `observe` is given the stream after each layer, before `after_layer` is added.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(
        &self,
        input: &Input,
        pads: &[usize],
        mut cache: Option<&mut KvCache>,
        mut observe: impl FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        let mut x = input.embeds.clone();
        let step = self.step(input, pads, cache.as_ref().map_or(0, |c| c.tokens()))?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &step, cache.as_mut().map(|c| &mut c.layers[i]))?;
            observe(i, &x);
            if let Some(extra) = input.after_layer.get(i) {
                x = (x + extra)?;
            }
        }
        self.norm.forward(&x)
    }

    /// As [`Self::forward`] of a whole sequence, for training: `tape` keeps the input of every layer only, and its backward pass
    /// runs each layer once more.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_on<'a>(&'a self, tape: &mut Tape<'a>, input: &Input, pads: &[usize]) -> Result<Tensor> {
        let mut x = input.embeds.clone();
        let step = self.step(input, pads, 0)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let step = step.clone();
            x = tape.block(&x, move |x| layer.forward(x, &step, None))?;
            if let Some(extra) = input.after_layer.get(i) {
                x = (x + extra)?;
            }
        }
        self.norm.forward(&x)
    }

    fn step(&self, input: &Input, pads: &[usize], past: usize) -> Result<Step> {
        let (x, n) = (input.embeds, input.embeds.dim(1)?);
        let (cos, sin) = self.rotary.tables(input.positions, x.dtype(), x.device())?;
        let mask = padded_mask(pads, past, n, x.device())?.map(|m| m.to_dtype(x.dtype())).transpose()?;
        Ok(Step { cos, sin, mask })
    }

    /// Logits over the vocabulary, `[..., hidden]` to `[..., vocab]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.lm_head.forward(hidden)
    }

    /// The rotary tables of this decoder.
    pub fn rotary(&self) -> &Rotary {
        &self.rotary
    }
}

/// Additive mask `[batch, 1, n, past + n]` of a padded batch: key `j` is seen by query `past + i` if `pad <= j <= past + i`.
/// None without padding.
fn padded_mask(pads: &[usize], past: usize, n: usize, device: &Device) -> Result<Option<Tensor>> {
    // Finite, as in the reference: rows that see nothing must not become NaN.
    const HIDDEN: f32 = -60_000.0;
    if pads.iter().all(|&p| p == 0) {
        return Ok(None);
    }
    let total = past + n;
    let mut values = Vec::with_capacity(pads.len() * n * total);
    for &pad in pads {
        for i in 0..n {
            values.extend((0..total).map(|j| if j >= pad && j <= past + i { 0f32 } else { HIDDEN }));
        }
    }
    Ok(Some(Tensor::from_vec(values, (pads.len(), 1, n, total), device)?))
}
