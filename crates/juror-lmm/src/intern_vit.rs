//! InternViT, the vision tower of InternVL3, in the names of the OpenGVLab checkpoints (`vision_model.*`).
//!
//! A class token and square patches; pre-norm blocks whose branches are scaled by `ls1` and `ls2`. There is **no norm
//! after the last layer**. The position table is resized (bicubic, a = -0.75) to the patches of the given frames, so a
//! tower of 448 pixels runs at 560. Dropout, drop path, RMS norm and per-head norms (the 6B tower) are left out.

use candle_core::{Result, Tensor};
use juror_nn::ops::{self, Mask};
use serde::{Deserialize, Deserializer, Serialize};

use crate::checkpoint::Source;
use crate::config::check;
use crate::interpolate::{Kernel, resize_grid};
use crate::layers::{Activation, LayerNorm, Linear, Mlp};
use crate::weights::{Matrix, Weights};

/// The `vision_config` section, of either layout.
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
    /// Side in pixels for which the position table was made.
    #[serde(deserialize_with = "side")]
    pub image_size: usize,
    /// Side of a patch in pixels.
    #[serde(deserialize_with = "side")]
    pub patch_size: usize,
    /// Epsilon of the norms.
    #[serde(default = "eps")]
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward.
    #[serde(default = "gelu")]
    pub hidden_act: Activation,
    /// Whether the joint projection has a bias (original key `qkv_bias`, transformers' `attention_bias`).
    #[serde(default = "yes", alias = "attention_bias")]
    pub qkv_bias: bool,
    /// Norms on queries and keys; only false (transformers' `use_qk_norm`).
    #[serde(default, alias = "use_qk_norm")]
    pub qk_normalization: bool,
    /// Only `layer_norm`.
    #[serde(default = "layer_norm")]
    pub norm_type: String,
}

/// A number, or a pair of equal numbers as transformers writes it.
fn side<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Side {
        One(usize),
        Two([usize; 2]),
    }
    match Side::deserialize(deserializer)? {
        Side::One(side) | Side::Two([side, _]) if side == 0 => {
            Err(serde::de::Error::custom("must be positive"))
        }
        Side::One(side) => Ok(side),
        Side::Two([h, w]) if h == w => Ok(h),
        Side::Two([h, w]) => Err(serde::de::Error::custom(format!("{h} x {w} is not square"))),
    }
}
fn eps() -> f64 {
    1e-6
}
fn gelu() -> Activation {
    Activation::Gelu
}
fn yes() -> bool {
    true
}
fn layer_norm() -> String {
    "layer_norm".into()
}

impl Config {
    /// Checks the values.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> crate::error::Result<()> {
        let heads = self.num_attention_heads;
        check(
            heads > 0 && self.hidden_size.is_multiple_of(heads),
            "vision_config.num_attention_heads",
            heads,
            "must divide hidden_size",
        )?;
        check(
            self.image_size.is_multiple_of(self.patch_size),
            "vision_config.image_size",
            self.image_size,
            "must be a multiple of patch_size",
        )?;
        check(!self.qk_normalization, "vision_config.qk_normalization", true, "only false is supported")?;
        check(
            self.norm_type == "layer_norm",
            "vision_config.norm_type",
            &self.norm_type,
            "only layer_norm is supported",
        )
    }
}

struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    ls1: Tensor,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: Tensor,
    heads: usize,
}

impl Block {
    fn load(config: &Config, vb: Weights) -> Result<Self> {
        let width = config.hidden_size;
        let attn = vb.pp("attn");
        Ok(Self {
            norm1: LayerNorm::load(width, config.layer_norm_eps, vb.pp("norm1"))?,
            qkv: Linear::load(width, 3 * width, config.qkv_bias, attn.pp("qkv"))?,
            proj: Linear::load(width, width, true, attn.pp("proj"))?,
            ls1: vb.get(width, "ls1")?,
            norm2: LayerNorm::load(width, config.layer_norm_eps, vb.pp("norm2"))?,
            mlp: Mlp::load(
                (width, config.intermediate_size, width),
                config.hidden_act,
                ["fc1", "fc2"],
                vb.pp("mlp"),
            )?,
            ls2: vb.get(width, "ls2")?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attend(&self.norm1.forward(x)?)?.broadcast_mul(&self.ls1)?)?;
        &x + self.mlp.forward(&self.norm2.forward(&x)?)?.broadcast_mul(&self.ls2)?
    }

    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let scale = ((x.dim(2)? / self.heads) as f64).powf(-0.5);
        // Rows of the projection: q, k, v, each head by head.
        let y = ops::attention_packed(&self.qkv.forward(x)?, self.heads, self.heads, scale, Mask::None)?;
        self.proj.forward(&y)
    }
}

/// The tower.
pub struct InternVit {
    class_embedding: Tensor,
    patch_embedding: Linear,
    position_embedding: Tensor,
    layers: Vec<Block>,
    patch_size: usize,
    table_side: usize,
}

impl InternVit {
    /// Reads the tower below `vision_model`.
    ///
    /// # Errors
    /// Missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let (width, patch) = (config.hidden_size, config.patch_size);
        let table_side = config.image_size / patch;
        let embeddings = vb.pp("embeddings");
        let patches = embeddings.pp("patch_embedding");
        // A convolution whose stride is its kernel is a linear layer on the patch.
        let kernel = patches.get((width, 3, patch, patch), "weight")?.reshape((width, 3 * patch * patch))?;
        let layers = vb.pp("encoder").pp("layers");
        Ok(Self {
            class_embedding: embeddings.get((1, 1, width), "class_embedding")?,
            patch_embedding: Linear::new(Matrix::Plain(kernel), Some(patches.get(width, "bias")?)),
            position_embedding: embeddings
                .get((1, 1 + table_side * table_side, width), "position_embedding")?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Block::load(config, layers.pp(i)))
                .collect::<Result<_>>()?,
            patch_size: patch,
            table_side,
        })
    }

    /// Normalised frames `[frames, 3, h, w]` to `[frames, 1 + patches, width]`: class token, then patches row by row.
    ///
    /// # Errors
    /// Sides that are not multiples of the patch.
    pub fn embed(&self, frames: &Tensor) -> Result<Tensor> {
        let (count, _, height, width) = frames.dims4()?;
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let x = self.patch_embedding.forward(&patches(frames, self.patch_size)?)?;
        let channels = x.dim(2)?;
        let class = self.class_embedding.broadcast_as((count, 1, channels))?;
        let (class_place, table) = (
            self.position_embedding.narrow(1, 0, 1)?,
            self.position_embedding.narrow(1, 1, self.table_side * self.table_side)?,
        );
        let table = resize_grid(
            &table.reshape((1, self.table_side, self.table_side, channels))?,
            Kernel::Bicubic,
            (rows, columns),
        )?;
        let places = Tensor::cat(&[class_place, table.reshape((1, rows * columns, channels))?], 1)?;
        Tensor::cat(&[class, x], 1)?.broadcast_add(&places)
    }

    /// Normalised frames `[frames, 3, h, w]` to the last layer's output `[frames, 1 + patches, width]`.
    ///
    /// `observe` is given the output of each layer.
    ///
    /// # Errors
    /// Sides that are not multiples of the patch.
    pub fn forward(&self, frames: &Tensor, mut observe: impl FnMut(usize, &Tensor)) -> Result<Tensor> {
        let mut x = self.embed(frames)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x)?;
            observe(i, &x);
        }
        Ok(x)
    }
}

/// Cuts frames `[frames, c, h, w]` into patches `[frames, patches, c * side * side]`, row by row, elements channel first.
pub(crate) fn patches(frames: &Tensor, side: usize) -> Result<Tensor> {
    let (count, channels, height, width) = frames.dims4()?;
    if !height.is_multiple_of(side) || !width.is_multiple_of(side) {
        candle_core::bail!("frames of {width} x {height} pixels do not divide into patches of {side}");
    }
    let (rows, columns) = (height / side, width / side);
    frames
        .reshape(&[count, channels, rows, side, columns, side][..])?
        .permute(vec![0, 2, 4, 1, 3, 5])?
        .contiguous()?
        .reshape((count, rows * columns, channels * side * side))
}

/// Where transformers' layout keeps a tensor of this tower; `name` is below `vision_model.`.
pub fn hf_source(name: &str) -> Source {
    const TOWER: &str = "vision_tower.";
    if let Some(rest) = name.strip_prefix("encoder.layers.")
        && let Some((index, rest)) = rest.split_once('.')
    {
        let layer = format!("{TOWER}encoder.layer.{index}.");
        if let Some(kind) = rest.strip_prefix("attn.qkv.") {
            return Source::Rows(
                ["q", "k", "v"].iter().map(|p| format!("{layer}attention.{p}_proj.{kind}")).collect(),
            );
        }
        let renamed = rest
            .replace("attn.proj.", "attention.projection_layer.")
            .replace("norm1.", "layernorm_before.")
            .replace("norm2.", "layernorm_after.")
            .replace("ls1", "lambda_1")
            .replace("ls2", "lambda_2");
        return Source::Name(layer + &renamed);
    }
    let renamed = name
        .replace("class_embedding", "cls_token")
        .replace("position_embedding", "position_embeddings")
        .replace("patch_embedding.", "patch_embeddings.projection.");
    Source::Name(TOWER.to_owned() + &renamed)
}
