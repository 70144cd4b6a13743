//! The vision tower of Qwen2.5-VL (`visual.*`), and what it shares with that of Qwen3-VL.
//!
//! Patches of 2 frames x side x side pixels, in the order of [`crate::preprocess::patches::patch_rows`]. Rows and
//! columns turn queries and keys (2-D rotary positions); attention stays within a temporal slice and, in most blocks of
//! Qwen2.5-VL, within windows. The merger joins 2 x 2 patches to one token.

use candle_core::{Device, Result, Tensor};
use juror_nn::ops::{self, Mask};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::layers::{Activation, GatedMlp, Linear, Mlp, RmsNorm};
use crate::preprocess::patches::{Grid, merged_order};
use crate::rotary::{angle_tables, inverse_frequencies};
use crate::weights::{Matrix, Weights};

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
    #[serde(default = "two")]
    pub temporal_patch_size: usize,
    /// Side of a window in pixels.
    pub window_size: usize,
    /// Blocks that attend to the whole slice.
    pub fullatt_block_indexes: Vec<usize>,
    /// Steps of the time axis per second.
    #[serde(default = "two_f32")]
    pub tokens_per_second: f32,
    /// Activation of the feed-forward; only `silu`.
    #[serde(default = "silu")]
    pub hidden_act: Activation,
}

fn two() -> usize {
    2
}
fn two_f32() -> f32 {
    2.0
}
fn silu() -> Activation {
    Activation::Silu
}

/// Checks what both towers have in common.
pub(crate) fn check_common(
    width: usize,
    heads: usize,
    merge: usize,
    frames: usize,
) -> crate::error::Result<()> {
    let fits = heads > 0 && width.is_multiple_of(heads) && (width / heads).is_multiple_of(4);
    check(fits, "vision_config.num_heads", heads, "heads must divide hidden_size into multiples of 4")?;
    check(merge == 2, "vision_config.spatial_merge_size", merge, "only 2 is supported")?;
    check(frames == 2, "vision_config.temporal_patch_size", frames, "only 2 is supported")
}

impl Config {
    /// Checks the values.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> crate::error::Result<()> {
        check_common(self.hidden_size, self.num_heads, self.spatial_merge_size, self.temporal_patch_size)?;
        let cell = 2 * self.patch_size;
        let window = self.window_size;
        check(
            cell > 0 && window >= cell,
            "vision_config.window_size",
            window,
            "must hold at least one merged cell",
        )?;
        check(
            self.hidden_act == Activation::Silu,
            "vision_config.hidden_act",
            "not silu",
            "only silu is supported",
        )
    }
}

/// The patch embedding: a convolution whose stride is its kernel, so a linear layer on the patch's row.
pub(crate) fn patch_embedding(side: usize, width: usize, bias: bool, vb: Weights) -> Result<Linear> {
    let kernel = vb.get((width, 3, 2, side, side), "weight")?.reshape((width, 3 * 2 * side * side))?;
    Ok(Linear::new(Matrix::Plain(kernel), if bias { Some(vb.get(width, "bias")?) } else { None }))
}

/// Angles of all patches in their order, `[patches, head_dim / 2]`: rows first, then columns.
pub fn rotary_angles(grids: &[Grid], head_dim: usize) -> Vec<f32> {
    let frequencies = inverse_frequencies(head_dim / 2, 10_000.0);
    let mut angles = Vec::new();
    for grid in grids {
        for _ in 0..grid.slices {
            for (row, column) in merged_order(grid.rows, grid.columns) {
                angles.extend(frequencies.iter().map(|f| row as f32 * f));
                angles.extend(frequencies.iter().map(|f| column as f32 * f));
            }
        }
    }
    angles
}

/// Joint projection with rotary positions; attention within segments of consecutive tokens.
pub(crate) struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    pub(crate) fn load(width: usize, heads: usize, vb: Weights) -> Result<Self> {
        Ok(Self {
            qkv: Linear::load(width, 3 * width, true, vb.pp("qkv"))?,
            proj: Linear::load(width, width, true, vb.pp("proj"))?,
            heads,
        })
    }

    /// `x` `[n, width]`, `cos` and `sin` `[n, head_dim / 2]`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        segments: &Segments,
    ) -> Result<Tensor> {
        let (n, width) = x.dims2()?;
        let dim = width / self.heads;
        // [3, heads, n, dim]
        let qkv =
            self.qkv.forward(x)?.reshape((n, 3, self.heads, dim))?.permute((1, 2, 0, 3))?.contiguous()?;
        let turn = |i: usize| ops::rope(&qkv.narrow(0, i, 1)?, cos, sin);
        // [n, heads, dim]
        let rows = |t: Tensor| t.squeeze(0)?.transpose(0, 1)?.contiguous();
        let (q, k, v) = (rows(turn(0)?)?, rows(turn(1)?)?, rows(qkv.narrow(0, 2, 1)?)?);
        let mut parts = Vec::with_capacity(segments.groups.len());
        for (length, index) in &segments.groups {
            let gather = |t: &Tensor| {
                let t = match index {
                    Some(index) => t.index_select(index, 0)?,
                    None => t.clone(),
                };
                t.reshape(((), *length, self.heads, dim))?.transpose(1, 2) // [segments, heads, length, dim]
            };
            let y = ops::attention(
                &gather(&q)?,
                &gather(&k)?,
                &gather(&v)?,
                (dim as f64).powf(-0.5),
                Mask::None,
            )?;
            parts.push(y.transpose(1, 2)?.contiguous()?.reshape(((), width))?);
        }
        let y = match &segments.back {
            Some(back) => Tensor::cat(&parts, 0)?.index_select(back, 0)?,
            None => Tensor::cat(&parts, 0)?,
        };
        self.proj.forward(&y)
    }
}

/// Consecutive runs of tokens that attend to themselves only, grouped by length so that each group is one batch.
pub(crate) struct Segments {
    /// Length and the tokens of all segments of this length; `None` for all tokens in order.
    groups: Vec<(usize, Option<Tensor>)>,
    /// From the order of the groups back to that of the tokens.
    back: Option<Tensor>,
}

impl Segments {
    pub(crate) fn new(lengths: &[usize], device: &Device) -> Result<Self> {
        let mut distinct: Vec<usize> = lengths.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if let [length] = distinct[..] {
            return Ok(Self { groups: vec![(length, None)], back: None });
        }
        let mut groups = Vec::with_capacity(distinct.len());
        let mut order: Vec<u32> = Vec::new();
        for &length in &distinct {
            let mut start = 0;
            let mut index = Vec::new();
            for &l in lengths {
                if l == length {
                    index.extend((start..start + l).map(|i| i as u32));
                }
                start += l;
            }
            order.extend(&index);
            groups.push((length, Some(Tensor::new(index, device)?)));
        }
        let mut back = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(at, &token)| back[token as usize] = at as u32);
        Ok(Self { groups, back: Some(Tensor::new(back, device)?) })
    }

    /// One segment per temporal slice.
    pub(crate) fn slices(grids: &[Grid], device: &Device) -> Result<Self> {
        let lengths: Vec<usize> =
            grids.iter().flat_map(|g| std::iter::repeat_n(g.rows * g.columns, g.slices)).collect();
        Self::new(&lengths, device)
    }
}

/// The order of merged cells in windows, and the number of patches of each window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// Cells of all videos, window by window.
    pub cells: Vec<u32>,
    /// Patches per window.
    pub lengths: Vec<usize>,
}

/// Cuts every slice of every video into windows of `side` x `side` merged cells; windows at the edges are smaller.
pub fn windows(grids: &[Grid], side: usize) -> Windows {
    let mut result = Windows { cells: Vec::new(), lengths: Vec::new() };
    let mut start = 0;
    for grid in grids {
        let (rows, columns) = (grid.rows / 2, grid.columns / 2);
        for _ in 0..grid.slices {
            for top in (0..rows).step_by(side) {
                for left in (0..columns).step_by(side) {
                    let before = result.cells.len();
                    for row in top..(top + side).min(rows) {
                        let line =
                            (left..(left + side).min(columns)).map(|c| (start + row * columns + c) as u32);
                        result.cells.extend(line);
                    }
                    result.lengths.push(4 * (result.cells.len() - before));
                }
            }
            start += rows * columns;
        }
    }
    result
}

struct Block {
    norm1: RmsNorm,
    attn: Attention,
    norm2: RmsNorm,
    mlp: GatedMlp,
}

impl Block {
    fn load(config: &Config, vb: Weights) -> Result<Self> {
        let width = config.hidden_size;
        Ok(Self {
            norm1: RmsNorm::load(width, EPS, vb.pp("norm1"))?,
            attn: Attention::load(width, config.num_heads, vb.pp("attn"))?,
            norm2: RmsNorm::load(width, EPS, vb.pp("norm2"))?,
            mlp: GatedMlp::load(width, config.intermediate_size, true, vb.pp("mlp"))?,
        })
    }

    fn forward(&self, x: &Tensor, tables: &(Tensor, Tensor), segments: &Segments) -> Result<Tensor> {
        let x = (x + self.attn.forward(&self.norm1.forward(x)?, tables, segments)?)?;
        &x + self.mlp.forward(&self.norm2.forward(&x)?)?
    }
}

/// The tower of Qwen2.5-VL.
pub struct QwenVision {
    patch_embed: Linear,
    blocks: Vec<Block>,
    ln_q: RmsNorm,
    merger: Mlp,
    head_dim: usize,
    window_cells: usize,
    full_blocks: Vec<usize>,
}

impl QwenVision {
    /// Reads the tower below `visual`.
    ///
    /// # Errors
    /// Missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let width = config.hidden_size;
        let merger = vb.pp("merger");
        let widths = (4 * width, 4 * width, config.out_hidden_size);
        Ok(Self {
            patch_embed: patch_embedding(config.patch_size, width, false, vb.pp("patch_embed").pp("proj"))?,
            blocks: (0..config.depth)
                .map(|i| Block::load(config, vb.pp("blocks").pp(i)))
                .collect::<Result<_>>()?,
            ln_q: RmsNorm::load(width, EPS, merger.pp("ln_q"))?,
            merger: Mlp::load(widths, Activation::Gelu, ["0", "2"], merger.pp("mlp"))?,
            head_dim: width / config.num_heads,
            window_cells: config.window_size / (2 * config.patch_size),
            full_blocks: config.fullatt_block_indexes.clone(),
        })
    }

    /// Patch rows `[patches, 3 * 2 * side^2]` to `[patches, width]`.
    ///
    /// # Errors
    /// Another width.
    pub fn embed(&self, rows: &Tensor) -> Result<Tensor> {
        self.patch_embed.forward(rows)
    }

    /// The windows of the tower.
    pub fn windows(&self, grids: &[Grid]) -> Windows {
        windows(grids, self.window_cells)
    }

    /// Patch rows of all videos, one after the other, to tokens `[patches / 4, out]` in natural order.
    ///
    /// `observe` is given the output of each block, **in window order**.
    ///
    /// # Errors
    /// Rows that do not fit the grids.
    pub fn forward(
        &self,
        rows: &Tensor,
        grids: &[Grid],
        mut observe: impl FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        let device = rows.device();
        let Windows { cells, lengths } = self.windows(grids);
        let n = 4 * cells.len();
        if rows.dim(0)? != n {
            candle_core::bail!("{} patch rows for grids of {n} patches", rows.dim(0)?);
        }
        let patches: Vec<u32> = cells.iter().flat_map(|cell| 4 * cell..4 * cell + 4).collect();
        let order = Tensor::new(patches, device)?;
        let angles =
            Tensor::from_vec(rotary_angles(grids, self.head_dim), (n, self.head_dim / 2), &Device::Cpu)?;
        let angles: Vec<f32> =
            angles.index_select(&order.to_device(&Device::Cpu)?, 0)?.flatten_all()?.to_vec1()?;
        let tables = angle_tables(&angles, (n, self.head_dim / 2), rows.dtype(), device)?;
        let (windowed, whole) = (Segments::new(&lengths, device)?, Segments::slices(grids, device)?);
        let mut x = self.embed(rows)?.index_select(&order, 0)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let segments = if self.full_blocks.contains(&i) { &whole } else { &windowed };
            x = block.forward(&x, &tables, segments)?;
            observe(i, &x);
        }
        let merged = self.merger.forward(&self.ln_q.forward(&x)?.reshape((cells.len(), ()))?)?;
        let mut back = vec![0u32; cells.len()];
        cells.iter().enumerate().for_each(|(at, &cell)| back[cell as usize] = at as u32);
        merged.index_select(&Tensor::new(back, device)?, 0)
    }
}
