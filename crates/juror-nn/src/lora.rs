//! Low-rank adaptation (Hu et al. 2021): `y = x·Wᵀ + b + (alpha/rank)·x·Aᵀ·Bᵀ`, with `W` frozen, `A [rank, in]`
//! random, `B [out, rank]` zero at the start. Names are those of PEFT adapter files.

use crate::params::{Init, Params};
use crate::{Error, Result, ops};
use candle_core::Tensor;

/// Rank and strength, as in PEFT's `adapter_config.json` (other keys there are ignored).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LoraConfig {
    /// Rank of the update.
    #[serde(rename = "r")]
    pub rank: usize,
    /// The update is scaled by `alpha / rank`, or by `alpha / sqrt(rank)` with `use_rslora`.
    #[serde(rename = "lora_alpha")]
    pub alpha: f64,
    /// Rank-stabilised scaling (Kalajdzievski 2023).
    #[serde(default)]
    pub use_rslora: bool,
    /// Last parts of the paths of adapted layers, such as `q_proj`.
    #[serde(default)]
    pub target_modules: Vec<String>,
}

impl LoraConfig {
    /// Factor of the update.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        if self.use_rslora { self.alpha / rank.sqrt() } else { self.alpha / rank }
    }

    /// Whether the layer at `path` (such as `model.layers.0.self_attn.q_proj`) is adapted.
    pub fn targets(&self, path: &str) -> bool {
        self.target_modules.iter().any(|name| path == name || path.ends_with(&format!(".{name}")))
    }
}

/// A linear layer with a frozen weight and a trainable low-rank update.
#[derive(Debug, Clone)]
pub struct Lora {
    weight: Tensor,
    bias: Option<Tensor>,
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl Lora {
    /// Wraps `weight [out, in]`; the update comes from `adapter` under the PEFT names of the layer `path`.
    pub fn new(
        weight: &Tensor,
        bias: Option<&Tensor>,
        adapter: &Params,
        path: &str,
        config: &LoraConfig,
    ) -> Result<Self> {
        if config.rank == 0 {
            return Err(Error::Setting { what: "lora rank", value: "0".into(), allowed: "1 and more" });
        }
        let (out, inner) = weight.dims2()?;
        Ok(Self {
            weight: weight.detach(),
            bias: bias.map(Tensor::detach),
            a: adapter.get_or_init(&name(path, 'A'), (config.rank, inner), Init::Uniform)?,
            b: adapter.get_or_init(&name(path, 'B'), (out, config.rank), Init::Zeros)?,
            scale: config.scale(),
        })
    }

    /// `x [.., in]` to `[.., out]`, weight and update apart; the factors, which may be kept in f32, are taken in the type of `x`.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (a, b) = (self.a.to_dtype(x.dtype())?, self.b.to_dtype(x.dtype())?);
        let update = ops::linear(&ops::linear(x, &a, None)?, &b, None)?;
        ops::frozen_linear(x, &self.weight, self.bias.as_ref())? + (update * self.scale)?
    }

    /// One weight `[out, in]` that does the same: `W + scale·B·A`. Plain, for inference.
    pub fn merged(&self) -> candle_core::Result<Tensor> {
        let update = (self.b.detach().matmul(&self.a.detach())? * self.scale)?;
        &self.weight + update.to_dtype(self.weight.dtype())?
    }

    /// The same layer on the same memory without gradient: what the factors learn shows here too.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { a: self.a.detach(), b: self.b.detach(), ..self.clone() }
    }

    /// The frozen weight `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Width of what comes out.
    pub fn outputs(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The frozen bias.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

/// PEFT's name of one factor (`'A'` or `'B'`) of the layer at `path`.
pub fn name(path: &str, factor: char) -> String {
    format!("base_model.model.{path}.lora_{factor}.weight")
}
