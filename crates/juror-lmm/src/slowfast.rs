//! SlowFast-R50 (8x8), the frozen motion tower of VQAThinker and W2S-VQA.
//!
//! Feichtenhofer et al., "SlowFast Networks for Video Recognition" (ICCV 2019), in the tensor names of pytorchvideo:
//! `blocks.N` there is `N` below the [`Weights`] given here (`slowfast_model.feature_extraction.N` in VQAThinker).
//! Two ResNet-50s over time: the fast one sees all frames with an eighth of the channels and feeds the slow one through
//! lateral convolutions. The classification head (`blocks.6`) is left out; its pools are applied by [`SlowFast::motion`].

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::layers::ConvNorm3d;
use crate::preprocess::frames::linspace_f32;
use crate::weights::Weights;

/// Sizes of the network; the default is the published one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Channels of the two stems: slow, fast.
    pub stem_dim_outs: [usize; 2],
    /// Slow channels per fast channel.
    pub slowfast_channel_reduction_ratio: usize,
    /// Lateral channels per fast channel.
    pub slowfast_conv_channel_fusion_ratio: usize,
    /// Kernels (time, height, width) of the stride-1 average pools: slow, fast.
    pub head_pool_kernel_sizes: [[usize; 3]; 2],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stem_dim_outs: [64, 8],
            slowfast_channel_reduction_ratio: 8,
            slowfast_conv_channel_fusion_ratio: 2,
            head_pool_kernel_sizes: [[8, 7, 7], [32, 7, 7]],
        }
    }
}

impl Config {
    /// The sizes of a network whose block `N` lies at `{prefix}N`, told by its shapes; `None` where there is none.
    pub fn of_shapes(prefix: &str, shapes: &BTreeMap<String, Vec<usize>>) -> Option<Self> {
        let outputs = |path: &str| shapes.get(&format!("{prefix}0.{path}.weight"))?.first().copied();
        let slow = outputs("multipathway_blocks.0.conv")?;
        let fast = outputs("multipathway_blocks.1.conv").filter(|&fast| fast > 0)?;
        let lateral = outputs("multipathway_fusion.conv_fast_to_slow")?;
        Some(Self {
            stem_dim_outs: [slow, fast],
            slowfast_channel_reduction_ratio: slow / fast,
            slowfast_conv_channel_fusion_ratio: lateral / fast,
            ..Self::default()
        })
    }

    /// Channels of the two pathways after the last stage: slow 2048, fast 256 at full size.
    pub fn feature_widths(&self) -> [usize; 2] {
        let slow = self.stem_dim_outs[0] * 32;
        [slow, slow / self.slowfast_channel_reduction_ratio]
    }
}

/// Slow and fast activations, `[batch, channels, t, h, w]`.
#[derive(Debug, Clone)]
pub struct Pathways {
    /// Few frames, many channels.
    pub slow: Tensor,
    /// All frames, few channels.
    pub fast: Tensor,
}

/// A bottleneck: 1x1 (or 3x1x1), 1x3x3, 1x1, and a shortcut.
struct Bottleneck {
    shortcut: Option<ConvNorm3d>,
    a: ConvNorm3d,
    b: ConvNorm3d,
    c: ConvNorm3d,
}

impl Bottleneck {
    fn load(
        (input, inner, output): (usize, usize, usize),
        taps: usize,
        stride: usize,
        vb: Weights,
    ) -> Result<Self> {
        let branch = vb.pp("branch2");
        let shortcut = if input != output || stride != 1 {
            Some(ConvNorm3d::load(
                (input, output),
                (1, 1),
                (1, stride),
                vb.pp("branch1_conv"),
                vb.pp("branch1_norm"),
            )?)
        } else {
            None
        };
        Ok(Self {
            shortcut,
            a: ConvNorm3d::load((input, inner), (taps, 1), (1, 1), branch.pp("conv_a"), branch.pp("norm_a"))?,
            b: ConvNorm3d::load(
                (inner, inner),
                (1, 3),
                (1, stride),
                branch.pp("conv_b"),
                branch.pp("norm_b"),
            )?,
            c: ConvNorm3d::load((inner, output), (1, 1), (1, 1), branch.pp("conv_c"), branch.pp("norm_c"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.a.forward(x)?.relu()?;
        let y = self.c.forward(&self.b.forward(&y)?.relu()?)?;
        match &self.shortcut {
            Some(shortcut) => (shortcut.forward(x)? + y)?.relu(),
            None => (x + y)?.relu(),
        }
    }
}

/// One pathway's part of a block: the stem, or a stage of bottlenecks.
enum Pathway {
    Stem(ConvNorm3d),
    Stage(Vec<Bottleneck>),
}

impl Pathway {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Stem(conv) => max_pool_space(&conv.forward(x)?.relu()?),
            Self::Stage(blocks) => blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x)),
        }
    }
}

struct Block {
    slow: Pathway,
    fast: Pathway,
    fusion: Option<ConvNorm3d>,
}

/// The network up to the last stage.
pub struct SlowFast {
    blocks: Vec<Block>,
    pools: [[usize; 3]; 2],
}

/// Bottlenecks per stage of a ResNet-50.
const DEPTHS: [usize; 4] = [3, 4, 6, 3];

impl SlowFast {
    /// Reads the network; block `N` is at `vb.pp(N)`.
    ///
    /// # Errors
    /// Missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let [slow_stem, fast_stem] = config.stem_dim_outs;
        let ratio = config.slowfast_channel_reduction_ratio.max(1);
        let lateral = config.slowfast_conv_channel_fusion_ratio;
        let stem = |path: usize, output: usize, taps: usize| {
            let vb = vb.pp(0).pp("multipathway_blocks").pp(path);
            Ok::<_, candle_core::Error>(Pathway::Stem(ConvNorm3d::load(
                (3, output),
                (taps, 7),
                (1, 2),
                vb.pp("conv"),
                vb.pp("norm"),
            )?))
        };
        let fusion = |block: usize, fast: usize| {
            let vb = vb.pp(block).pp("multipathway_fusion");
            ConvNorm3d::load(
                (fast, lateral * fast),
                (7, 1),
                (4, 1),
                vb.pp("conv_fast_to_slow"),
                vb.pp("norm"),
            )
        };
        let mut blocks = vec![Block {
            slow: stem(0, slow_stem, 1)?,
            fast: stem(1, fast_stem, 5)?,
            fusion: Some(fusion(0, fast_stem)?),
        }];
        let (mut slow_in, mut fast_in) = (slow_stem + lateral * fast_stem, fast_stem);
        for (stage, &depth) in DEPTHS.iter().enumerate() {
            let block = stage + 1;
            let inner = slow_stem << stage;
            let output = 4 * inner;
            let stride = if stage == 0 { 1 } else { 2 };
            let pathway = |path: usize, input: usize, inner: usize, output: usize, taps: usize| {
                let vb = vb.pp(block).pp("multipathway_blocks").pp(path).pp("res_blocks");
                let bottleneck = |i: usize| {
                    let (input, stride) = if i == 0 { (input, stride) } else { (output, 1) };
                    Bottleneck::load((input, inner, output), taps, stride, vb.pp(i))
                };
                (0..depth).map(bottleneck).collect::<Result<Vec<_>>>().map(Pathway::Stage)
            };
            let slow = pathway(0, slow_in, inner, output, if stage < 2 { 1 } else { 3 })?;
            let fast = pathway(1, fast_in, inner / ratio, output / ratio, 3)?;
            let fusion = if block < 4 { Some(fusion(block, output / ratio)?) } else { None };
            blocks.push(Block { slow, fast, fusion });
            (slow_in, fast_in) = (output + lateral * (output / ratio), output / ratio);
        }
        Ok(Self { blocks, pools: config.head_pool_kernel_sizes })
    }

    /// Both pathways of a normalised clip `[batch, 3, t, h, w]`: the slow one takes `t / divisor` frames (see [`slow_index`]).
    ///
    /// # Errors
    /// A number of frames whose slow part does not fit the lateral convolutions, which yield `(t - 1) / 4 + 1` frames.
    pub fn pack(clip: &Tensor, divisor: usize) -> crate::error::Result<Pathways> {
        let frames = clip.dim(2)?;
        let index = slow_index(frames, divisor);
        if frames == 0 || index.len() != (frames - 1) / 4 + 1 {
            return Err(Error::Input(format!(
                "{frames} frames with a slow divisor of {divisor} give {} slow frames; the lateral convolutions need {}",
                index.len(),
                frames.div_ceil(4)
            )));
        }
        let index = Tensor::new(index, clip.device())?;
        Ok(Pathways { slow: clip.contiguous()?.index_select(&index, 2)?, fast: clip.clone() })
    }

    /// The two pathways after the last stage; `observe` is given them after each block (the slow one after fusion).
    ///
    /// # Errors
    /// Clips that are too small for the kernels.
    pub fn forward(&self, clip: &Pathways, mut observe: impl FnMut(usize, &Pathways)) -> Result<Pathways> {
        let mut x = clip.clone();
        for (i, block) in self.blocks.iter().enumerate() {
            let fast = block.fast.forward(&x.fast)?;
            let mut slow = block.slow.forward(&x.slow)?;
            if let Some(fusion) = &block.fusion {
                slow = Tensor::cat(&[slow, fusion.forward(&fast)?.relu()?], 1)?;
            }
            x = Pathways { slow, fast };
            observe(i, &x);
        }
        Ok(x)
    }

    /// The fast part of the motion feature of a normalised clip `[batch, 3, t, h, w]`, `[batch, fast channels]`. Nothing
    /// flows from the slow pathway to the fast one, so it alone is computed.
    ///
    /// # Errors
    /// Clips that are too small for the kernels.
    pub fn fast_feature(&self, clip: &Tensor) -> Result<Tensor> {
        let fast = self.blocks.iter().try_fold(clip.clone(), |x, block| block.fast.forward(&x))?;
        average_pool(&fast, self.pools[1])?.flatten_from(2)?.mean(2)
    }

    /// The head's average pools (stride 1, no padding) after each time step was repeated `repeat` times.
    ///
    /// # Errors
    /// Features smaller than a pool's kernel.
    pub fn pool(&self, features: &Pathways, repeat: usize) -> Result<Pathways> {
        let slow = average_pool(&repeat_frames(&features.slow, repeat)?, self.pools[0])?;
        let fast = average_pool(&repeat_frames(&features.fast, repeat)?, self.pools[1])?;
        Ok(Pathways { slow, fast })
    }

    /// The motion feature of a clip, `[batch, slow + fast channels]`: pools, then the mean over all that is left.
    ///
    /// Not the global mean: windows of stride 1 weigh the middle more.
    ///
    /// # Errors
    /// Clips that are too small for the kernels.
    pub fn motion(&self, clip: &Pathways, repeat: usize) -> Result<Tensor> {
        let pooled = self.pool(&self.forward(clip, |_, _| ())?, repeat)?;
        let mean = |x: &Tensor| x.flatten_from(2)?.mean(2);
        Tensor::cat(&[mean(&pooled.slow)?, mean(&pooled.fast)?], 1)
    }
}

/// Frames of the slow pathway: `linspace(0, frames - 1, frames / divisor)` in f32, truncated.
pub fn slow_index(frames: usize, divisor: usize) -> Vec<u32> {
    let last = frames.saturating_sub(1) as f32;
    linspace_f32(last, frames / divisor.max(1)).into_iter().map(|x| x as u32).collect()
}

fn repeat_frames(x: &Tensor, repeat: usize) -> Result<Tensor> {
    let (batch, channels, t, h, w) = x.dims5()?;
    x.unsqueeze(3)?.broadcast_as((batch, channels, t, repeat, h, w))?.reshape((
        batch,
        channels,
        t * repeat,
        h,
        w,
    ))
}

/// 1x3x3 maximum with stride 2 and padding 1; after a ReLU, so zero padding equals minus infinity.
fn max_pool_space(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, t, h, w) = x.dims5()?;
    let y = x.reshape((batch * channels, t, h, w))?.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
    let y = y.max_pool2d_with_stride(3, 2)?;
    let (_, _, h, w) = y.dims4()?;
    y.reshape((batch, channels, t, h, w))
}

/// Average over windows of `kernel` with stride 1, axis by axis.
fn average_pool(x: &Tensor, kernel: [usize; 3]) -> Result<Tensor> {
    let mut x = x.clone();
    for (axis, &kernel) in kernel.iter().enumerate() {
        let dim = axis + 2;
        let from = x.dim(dim)?;
        if from < kernel {
            candle_core::bail!(
                "features of {from} along axis {axis} are smaller than the pool of {kernel}; give larger frames or more of them"
            );
        }
        let windows = sliding_mean(from, kernel, x.device())?.to_dtype(x.dtype())?; // [from, to]
        x = x.transpose(dim, 4)?.contiguous()?.broadcast_matmul(&windows)?.transpose(dim, 4)?;
    }
    x.contiguous()
}

fn sliding_mean(from: usize, kernel: usize, device: &Device) -> Result<Tensor> {
    let to = from - kernel + 1;
    let weight = 1.0 / kernel as f32;
    let values = (0..from)
        .flat_map(|i| (0..to).map(move |o| if i >= o && i < o + kernel { weight } else { 0.0 }))
        .collect();
    Tensor::from_vec(values, (from, to), device)
}
