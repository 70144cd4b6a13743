//! The vision tower of Qwen3-VL (`model.visual.*`): no windows, a learned position table read bilinearly, deepstack.
//!
//! The outputs of a few blocks leave through mergers of their own and are later added to the decoder's stream.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::interpolate::{Kernel, resize_grid};
use crate::layers::{Activation, LayerNorm, Linear, Mlp};
use crate::preprocess::patches::{Grid, merged_order};
use crate::qwen_vision::{Attention, Segments, check_common, patch_embedding, rotary_angles};
use crate::rotary::angle_tables;
use crate::weights::Weights;

/// Epsilon of all norms: a constant in the published code.
const EPS: f64 = 1e-6;

/// The `vision_config` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Blocks.
    pub depth: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width of the feed-forward.
    pub intermediate_size: usize,
    /// Heads.
    pub num_heads: usize,
    /// Width of the merged tokens: that of the decoder.
    pub out_hidden_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Patches per token along a side; only 2.
    pub spatial_merge_size: usize,
    /// Frames per slice; only 2.
    pub temporal_patch_size: usize,
    /// Entries of the square position table.
    pub num_position_embeddings: usize,
    /// Blocks whose outputs go to the decoder.
    pub deepstack_visual_indexes: Vec<usize>,
    /// Activation of the feed-forward.
    #[serde(default = "gelu_tanh")]
    pub hidden_act: Activation,
}

fn gelu_tanh() -> Activation {
    Activation::GeluTanh
}

impl Config {
    /// Checks the values.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> crate::error::Result<()> {
        check_common(self.hidden_size, self.num_heads, self.spatial_merge_size, self.temporal_patch_size)?;
        let entries = self.num_position_embeddings;
        let square = entries.isqrt().pow(2) == entries && entries > 0;
        check(square, "vision_config.num_position_embeddings", entries, "must be a square number")?;
        let deepest = self.deepstack_visual_indexes.iter().copied().max().unwrap_or(0);
        check(deepest < self.depth, "vision_config.deepstack_visual_indexes", deepest, "must be below depth")
    }
}

struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn load(config: &Config, vb: Weights) -> Result<Self> {
        let width = config.hidden_size;
        let widths = (width, config.intermediate_size, width);
        Ok(Self {
            norm1: LayerNorm::load(width, EPS, vb.pp("norm1"))?,
            attn: Attention::load(width, config.num_heads, vb.pp("attn"))?,
            norm2: LayerNorm::load(width, EPS, vb.pp("norm2"))?,
            mlp: Mlp::load(widths, config.hidden_act, ["linear_fc1", "linear_fc2"], vb.pp("mlp"))?,
        })
    }

    fn forward(&self, x: &Tensor, tables: &(Tensor, Tensor), segments: &Segments) -> Result<Tensor> {
        let x = (x + self.attn.forward(&self.norm1.forward(x)?, tables, segments)?)?;
        &x + self.mlp.forward(&self.norm2.forward(&x)?)?
    }
}

/// Joins 2 x 2 patches to a token; the norm stands before the joining, in the deepstack's mergers after it.
struct Merger {
    norm: LayerNorm,
    mlp: Mlp,
    joined_width: usize,
    norm_after: bool,
}

impl Merger {
    fn load(config: &Config, norm_after: bool, vb: Weights) -> Result<Self> {
        let joined_width = 4 * config.hidden_size;
        let norm_width = if norm_after { joined_width } else { config.hidden_size };
        let widths = (joined_width, joined_width, config.out_hidden_size);
        Ok(Self {
            norm: LayerNorm::load(norm_width, EPS, vb.pp("norm"))?,
            mlp: Mlp::load(widths, Activation::Gelu, ["linear_fc1", "linear_fc2"], vb)?,
            joined_width,
            norm_after,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let join = |x: &Tensor| x.reshape(((), self.joined_width));
        let x = if self.norm_after { self.norm.forward(&join(x)?)? } else { join(&self.norm.forward(x)?)? };
        self.mlp.forward(&x)
    }
}

/// Tokens for the decoder.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `[patches / 4, out]`, in the places of the placeholders.
    pub embeds: Tensor,
    /// Added to the decoder's stream after layer 0, 1, ... at the same places.
    pub deepstack: Vec<Tensor>,
}

/// The tower.
pub struct Qwen3Vision {
    patch_embed: Linear,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    merger: Merger,
    deepstack_merger_list: Vec<Merger>,
    deepstack: Vec<usize>,
    head_dim: usize,
}

impl Qwen3Vision {
    /// Reads the tower below `visual`.
    ///
    /// # Errors
    /// Missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let width = config.hidden_size;
        let entries = config.num_position_embeddings;
        let list = vb.pp("deepstack_merger_list");
        Ok(Self {
            patch_embed: patch_embedding(config.patch_size, width, true, vb.pp("patch_embed").pp("proj"))?,
            pos_embed: vb.pp("pos_embed").get((entries, width), "weight")?,
            blocks: (0..config.depth)
                .map(|i| Block::load(config, vb.pp("blocks").pp(i)))
                .collect::<Result<_>>()?,
            merger: Merger::load(config, false, vb.pp("merger"))?,
            deepstack_merger_list: (0..config.deepstack_visual_indexes.len())
                .map(|k| Merger::load(config, true, list.pp(k)))
                .collect::<Result<_>>()?,
            deepstack: config.deepstack_visual_indexes.clone(),
            head_dim: width / config.num_heads,
        })
    }

    /// Patch rows `[patches, 3 * 2 * side^2]` to `[patches, width]`, without positions.
    ///
    /// # Errors
    /// Another width.
    pub fn embed(&self, rows: &Tensor) -> Result<Tensor> {
        self.patch_embed.forward(rows)
    }

    /// The position table at the patches of the grids, `[patches, width]`; the same for every slice.
    ///
    /// # Errors
    /// Out of memory.
    pub fn positions(&self, grids: &[Grid]) -> Result<Tensor> {
        let (entries, width) = self.pos_embed.dims2()?;
        let side = entries.isqrt();
        let table = self.pos_embed.reshape((1, side, side, width))?;
        let mut parts = Vec::new();
        for grid in grids {
            let places =
                resize_grid(&table, Kernel::BilinearCorners, (grid.rows, grid.columns))?.flatten_to(2)?;
            let order: Vec<u32> =
                merged_order(grid.rows, grid.columns).map(|(r, c)| (r * grid.columns + c) as u32).collect();
            let places = places.index_select(&Tensor::new(order, table.device())?, 0)?;
            parts.extend(std::iter::repeat_n(places, grid.slices));
        }
        Tensor::cat(&parts, 0)
    }

    /// Patch rows of all videos, one after the other, to tokens. `observe` is given the output of each block.
    ///
    /// # Errors
    /// Rows that do not fit the grids.
    pub fn forward(
        &self,
        rows: &Tensor,
        grids: &[Grid],
        mut observe: impl FnMut(usize, &Tensor),
    ) -> Result<Tokens> {
        let n: usize = grids.iter().map(Grid::patches).sum();
        if rows.dim(0)? != n {
            candle_core::bail!("{} patch rows for grids of {n} patches", rows.dim(0)?);
        }
        let angles = rotary_angles(grids, self.head_dim);
        let tables = angle_tables(&angles, (n, self.head_dim / 2), rows.dtype(), rows.device())?;
        let segments = Segments::slices(grids, rows.device())?;
        let mut x = (self.embed(rows)? + self.positions(grids)?)?;
        let mut deepstack = vec![None; self.deepstack.len()];
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &tables, &segments)?;
            observe(i, &x);
            if let Some(k) = self.deepstack.iter().position(|&at| at == i) {
                deepstack[k] = Some(self.deepstack_merger_list[k].forward(&x)?);
            }
        }
        Ok(Tokens { embeds: self.merger.forward(&x)?, deepstack: deepstack.into_iter().flatten().collect() })
    }
}
