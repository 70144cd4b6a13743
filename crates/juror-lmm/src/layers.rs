//! The layers all towers and decoders are made of. Weight paths are those of the [`Weights`] given.

use candle_core::{Result, Tensor};

use crate::weights::{Matrix, Weights};
use juror_nn::ops;

/// A linear layer, `weight` `[out, in]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` and, with `bias`, `bias`.
    pub fn load(input: usize, output: usize, bias: bool, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let weight = vb.matrix(output, input)?;
        let bias = if bias { Some(vb.get(output, "bias")?) } else { None };
        Ok(Self { weight, bias })
    }

    /// A layer of given tensors, `weight` `[out, in]`, `bias` `[out]`.
    pub fn new(weight: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// The same with another matrix.
    pub(crate) fn with(&self, change: impl Fn(&Matrix) -> Matrix) -> Self {
        Self { weight: change(&self.weight), bias: self.bias.clone() }
    }

    /// `x` `[..., in]` to `[..., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.weight.linear(x, self.bias.as_ref())
    }
}

/// Layer norm over the last dimension, with bias.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both `[width]`.
    pub fn load(width: usize, eps: f64, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        Ok(Self { weight: vb.get(width, "weight")?, bias: vb.get(width, "bias")?, eps })
    }

    /// `x` `[..., width]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight, Some(&self.bias), self.eps)
    }
}

/// Root-mean-square norm over the last dimension.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// Reads `weight` `[width]`.
    pub fn load(width: usize, eps: f64, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        Ok(Self { weight: vb.get(width, "weight")?, eps })
    }

    /// `x` `[..., width]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::rms_norm(x, &self.weight, self.eps)
    }
}

/// The activations that appear in the families' configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Activation {
    /// `gelu` with the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// `gelu` in its tanh approximation.
    #[serde(rename = "gelu_pytorch_tanh")]
    GeluTanh,
    /// `x * sigmoid(x)`.
    #[serde(rename = "silu")]
    Silu,
}

impl Activation {
    /// Applies the function element by element.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => ops::gelu(x),
            Self::GeluTanh => ops::gelu_tanh(x),
            Self::Silu => ops::silu(x),
        }
    }
}

/// Two linear layers with an activation between them.
#[derive(Debug, Clone)]
pub struct Mlp {
    first: Linear,
    second: Linear,
    activation: Activation,
}

impl Mlp {
    /// `names` are the paths of the two layers; widths `input -> hidden -> output`.
    pub fn load(
        (input, hidden, output): (usize, usize, usize),
        activation: Activation,
        names: [&str; 2],
        vb: impl Into<Weights>,
    ) -> Result<Self> {
        let vb: Weights = vb.into();
        let first = Linear::load(input, hidden, true, vb.pp(names[0]))?;
        let second = Linear::load(hidden, output, true, vb.pp(names[1]))?;
        Ok(Self { first, second, activation })
    }

    /// `x` `[..., input]` to `[..., output]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.activation.apply(&self.first.forward(x)?)?)
    }
}

/// The gated feed-forward of Qwen: `down(silu(gate(x)) * up(x))`.
#[derive(Debug, Clone)]
pub struct GatedMlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl GatedMlp {
    /// Reads `gate_proj`, `up_proj` and `down_proj`.
    pub fn load(width: usize, inner: usize, bias: bool, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        Ok(Self {
            gate_proj: Linear::load(width, inner, bias, vb.pp("gate_proj"))?,
            up_proj: Linear::load(width, inner, bias, vb.pp("up_proj"))?,
            down_proj: Linear::load(inner, width, bias, vb.pp("down_proj"))?,
        })
    }

    /// The same with other matrices.
    pub(crate) fn with(&self, change: impl Fn(&Matrix) -> Matrix + Copy) -> Self {
        Self {
            gate_proj: self.gate_proj.with(change),
            up_proj: self.up_proj.with(change),
            down_proj: self.down_proj.with(change),
        }
    }

    /// `x` `[..., width]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down_proj.forward(&(ops::silu(&self.gate_proj.forward(x)?)? * self.up_proj.forward(x)?)?)
    }
}

/// A 3-D convolution followed by batch normalisation with stored statistics, folded into one convolution.
///
/// The published motion towers are frozen, so the statistics never change; `num_batches_tracked` is unused.
#[derive(Debug, Clone)]
pub struct ConvNorm3d {
    weight: Tensor,
    bias: Tensor,
    stride: (usize, usize),
    padding: (usize, usize),
}

impl ConvNorm3d {
    /// Reads the bias-free convolution `conv` `[out, in, kt, k, k]` and the batch norm `norm`; strides as (time, space), padding half the kernel.
    pub fn load(
        (input, output): (usize, usize),
        (kernel_time, kernel_space): (usize, usize),
        stride: (usize, usize),
        conv: impl Into<Weights>,
        norm: impl Into<Weights>,
    ) -> Result<Self> {
        let conv: Weights = conv.into();
        let norm: Weights = norm.into();
        const EPS: f64 = 1e-5;
        let weight = conv.get((output, input, kernel_time, kernel_space, kernel_space), "weight")?;
        let (gamma, beta) = (norm.get(output, "weight")?, norm.get(output, "bias")?);
        let (mean, variance) = (norm.get(output, "running_mean")?, norm.get(output, "running_var")?);
        norm.skip((), "num_batches_tracked")?;
        let scale = (gamma / (variance + EPS)?.sqrt()?)?;
        let bias = (beta - (mean * &scale)?)?;
        let weight = weight.broadcast_mul(&scale.reshape((output, 1, 1, 1, 1))?)?;
        Ok(Self { weight, bias, stride, padding: (kernel_time / 2, kernel_space / 2) })
    }

    /// `x` `[batch, in, t, h, w]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let space = |(time, space): (usize, usize)| [time, space, space];
        ops::conv3d(x, &self.weight, Some(&self.bias), space(self.stride), space(self.padding), [1; 3], 1)
    }
}
