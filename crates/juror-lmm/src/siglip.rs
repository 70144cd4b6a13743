//! SigLIP, the vision tower of LLaVA-OneVision (`vision_tower.vision_model.*`).
//!
//! Square patches without a class token, learned positions, pre-norm blocks with GELU in its tanh approximation. The
//! feature is the **last layer's output without `post_layernorm`**, whose weights exist all the same; the pooling head is
//! left out. Published LLaVA-OneVision checkpoints keep 26 of the 27 layers.

use candle_core::{Result, Tensor};
use juror_nn::ops::{self, Mask};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::intern_vit::patches;
use crate::layers::{Activation, LayerNorm, Linear, Mlp};
use crate::weights::{Matrix, Weights};

/// The `vision_config` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Width.
    pub hidden_size: usize,
    /// Width of the feed-forward.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Side of a frame in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Epsilon of the norms.
    #[serde(default = "eps")]
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward.
    #[serde(default = "gelu_tanh")]
    pub hidden_act: Activation,
}

fn eps() -> f64 {
    1e-6
}
fn gelu_tanh() -> Activation {
    Activation::GeluTanh
}

impl Config {
    /// SigLIP-SO400M at 384 pixels, as LLaVA-OneVision uses it.
    pub fn so400m() -> Self {
        Self {
            hidden_size: 1152,
            intermediate_size: 4304,
            num_hidden_layers: 26,
            num_attention_heads: 16,
            image_size: 384,
            patch_size: 14,
            layer_norm_eps: eps(),
            hidden_act: gelu_tanh(),
        }
    }

    /// Patches along a side; what is left of the picture at the right and below is not seen.
    pub fn side(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> crate::error::Result<()> {
        let heads = self.num_attention_heads;
        let divides = heads > 0 && self.hidden_size.is_multiple_of(heads);
        check(divides, "vision_config.num_attention_heads", heads, "must divide hidden_size")?;
        let patch = self.patch_size;
        check(
            (1..=self.image_size).contains(&patch),
            "vision_config.patch_size",
            patch,
            "must be 1 to image_size",
        )
    }
}

struct Block {
    layer_norm1: LayerNorm,
    projections: [Linear; 3],
    out_proj: Linear,
    layer_norm2: LayerNorm,
    mlp: Mlp,
    heads: usize,
}

impl Block {
    fn load(config: &Config, vb: Weights) -> Result<Self> {
        let width = config.hidden_size;
        let attention = vb.pp("self_attn");
        let linear = |name: &str| Linear::load(width, width, true, attention.pp(name));
        let norm = |name: &str| LayerNorm::load(width, config.layer_norm_eps, vb.pp(name));
        let widths = (width, config.intermediate_size, width);
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            projections: [linear("q_proj")?, linear("k_proj")?, linear("v_proj")?],
            out_proj: linear("out_proj")?,
            layer_norm2: norm("layer_norm2")?,
            mlp: Mlp::load(widths, config.hidden_act, ["fc1", "fc2"], vb.pp("mlp"))?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attend(&self.layer_norm1.forward(x)?)?)?;
        &x + self.mlp.forward(&self.layer_norm2.forward(&x)?)?
    }

    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, n, width) = x.dims3()?;
        let dim = width / self.heads;
        let heads = |layer: &Linear| layer.forward(x)?.reshape((batch, n, self.heads, dim))?.transpose(1, 2);
        let [q, k, v] = &self.projections;
        let y = ops::attention(&heads(q)?, &heads(k)?, &heads(v)?, (dim as f64).powf(-0.5), Mask::None)?;
        self.out_proj.forward(&y.transpose(1, 2)?.contiguous()?.reshape((batch, n, width))?)
    }
}

/// The tower.
pub struct Siglip {
    patch_embedding: Linear,
    position_embedding: Tensor,
    layers: Vec<Block>,
    post_layernorm: LayerNorm,
    patch_size: usize,
    side: usize,
}

impl Siglip {
    /// Reads the tower below `vision_model`.
    ///
    /// # Errors
    /// Missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let (width, patch, side) = (config.hidden_size, config.patch_size, config.side());
        let embeddings = vb.pp("embeddings");
        let patch_vb = embeddings.pp("patch_embedding");
        let kernel = patch_vb.get((width, 3, patch, patch), "weight")?.reshape((width, 3 * patch * patch))?;
        let layers = vb.pp("encoder").pp("layers");
        Ok(Self {
            patch_embedding: Linear::new(Matrix::Plain(kernel), Some(patch_vb.get(width, "bias")?)),
            position_embedding: embeddings.pp("position_embedding").get((side * side, width), "weight")?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Block::load(config, layers.pp(i)))
                .collect::<Result<_>>()?,
            post_layernorm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("post_layernorm"))?,
            patch_size: patch,
            side,
        })
    }

    /// Normalised frames `[frames, 3, size, size]` to `[frames, side^2, width]`, row by row.
    ///
    /// # Errors
    /// Frames smaller than the tower's.
    pub fn embed(&self, frames: &Tensor) -> Result<Tensor> {
        let seen = self.side * self.patch_size;
        let frames = frames.narrow(2, 0, seen)?.narrow(3, 0, seen)?.contiguous()?;
        let x = self.patch_embedding.forward(&patches(&frames, self.patch_size)?)?;
        x.broadcast_add(&self.position_embedding)
    }

    /// Normalised frames `[frames, 3, size, size]` to the last layer's output `[frames, side^2, width]`.
    ///
    /// `observe` is given the output of each layer.
    ///
    /// # Errors
    /// Frames smaller than the tower's.
    pub fn forward(&self, frames: &Tensor, mut observe: impl FnMut(usize, &Tensor)) -> Result<Tensor> {
        let mut x = self.embed(frames)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x)?;
            observe(i, &x);
        }
        Ok(x)
    }

    /// The norm that the checkpoint holds and LLaVA-OneVision does not use.
    ///
    /// # Errors
    /// Another width.
    pub fn post_layernorm(&self, x: &Tensor) -> Result<Tensor> {
        self.post_layernorm.forward(x)
    }
}
