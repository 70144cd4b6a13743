//! Frozen weights in few bits, for models that are larger than fast memory: linear layers and embedding tables on CPUs.
//!
//! bf16 and f16 round each weight; int8 and int4 keep 32 neighbouring weights of an output as integers with a common
//! scale (bf16, the greatest magnitude over 127 or 8): 8.5 and 4.5 bits a weight. Activations stay f32, and so do all
//! sums. Gradients reach the input, never the weights.

use crate::cpu::buffer::{filled, fused, slice, with_slices};
use crate::cpu::packed::{Format, Packed};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, D, Device, Layout, Shape, Tensor, bail};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How weights are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightPrecision {
    /// 32 bits.
    F32,
    /// 16 bits with the range of f32.
    Bf16,
    /// 16 bits, finer and of small range.
    F16,
    /// 8 bits and a scale per 32 weights.
    Int8,
    /// 4 bits and a scale per 32 weights.
    Int4,
}

impl WeightPrecision {
    /// All, from the finest to the coarsest.
    pub const ALL: [Self; 5] = [Self::F32, Self::Bf16, Self::F16, Self::Int8, Self::Int4];

    /// As it is written: `f32`, `bf16`, `f16`, `int8`, `int4`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Whether weights are integers with scales.
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int4)
    }

    /// The packed form; `None` for f32.
    fn format(self) -> Option<Format> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(Format::Bf16),
            Self::F16 => Some(Format::F16),
            Self::Int8 => Some(Format::Int8),
            Self::Int4 => Some(Format::Int4),
        }
    }

    /// Bytes of a matrix `[outputs, inputs]`.
    pub fn bytes(self, outputs: u64, inputs: u64) -> u64 {
        match self.format() {
            None => outputs.saturating_mul(inputs).saturating_mul(4),
            Some(format) => format.words(outputs, inputs).saturating_mul(2),
        }
    }
}

impl fmt::Display for WeightPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WeightPrecision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == text).ok_or_else(|| Error::Setting {
            what: "precision",
            value: text.to_owned(),
            allowed: "f32, bf16, f16, int8, int4",
        })
    }
}

/// A weight `[outputs, inputs]` in few bits; clones share it.
#[derive(Debug, Clone)]
pub struct PackedWeight(Arc<Packed>);

impl PackedWeight {
    /// Packs an f32 weight `[outputs, inputs]` of the CPU; `None` where `precision` is f32.
    pub fn new(weight: &Tensor, precision: WeightPrecision) -> candle_core::Result<Option<Self>> {
        let (outputs, inputs) = weight.dims2()?;
        let Some(format) = precision.format() else { return Ok(None) };
        if inputs == 0 {
            bail!("a weight of {outputs} outputs and no inputs");
        }
        with_slices([weight], |[values]| {
            Ok(Some(Self(Arc::new(Packed::new(format, values, outputs, inputs)))))
        })
    }

    /// Outputs and inputs.
    pub fn dims(&self) -> (usize, usize) {
        (self.0.outputs, self.0.inputs)
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// `x·Wᵀ + b`: `x` `[.., inputs]` of f32, `bias` `[outputs]`, to `[.., outputs]`.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let (outputs, inputs) = self.dims();
        if x.dim(D::Minus1)? != inputs || bias.is_some_and(|bias| bias.dims() != [outputs]) {
            let bias = bias.map(Tensor::dims);
            bail!("packed linear: x {:?}, weight [{outputs}, {inputs}], bias {bias:?}", x.dims());
        }
        if !fused(&[x]) {
            bail!("packed weights multiply f32 on the CPU, not {:?} on {:?}", x.dtype(), x.device());
        }
        let bias = match bias {
            Some(bias) => with_slices([bias], |[bias]| Ok(bias.to_vec()))?,
            None => Vec::new(),
        };
        x.contiguous()?.apply_op1(Linear { weight: self.clone(), bias })
    }

    /// Rows by index: `ids` of u32, `[n]`, to f32 `[n, inputs]`.
    pub fn rows(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let ids = ids.to_vec1::<u32>()?;
        let (outputs, inputs) = self.dims();
        if let Some(id) = ids.iter().find(|&&id| id as usize >= outputs) {
            bail!("row {id} of a packed table of {outputs}");
        }
        let values = filled(ids.len() * inputs, inputs, |start, row| {
            self.0.row(ids[start / inputs] as usize, row);
        });
        Tensor::from_vec(values, (ids.len(), inputs), &Device::Cpu)
    }

    /// The weight as it is multiplied, f32 `[outputs, inputs]`.
    pub fn unpack(&self) -> candle_core::Result<Tensor> {
        let (outputs, _) = self.dims();
        self.rows(&Tensor::arange(0, outputs as u32, &Device::Cpu)?)
    }
}

struct Linear {
    weight: PackedWeight,
    bias: Vec<f32>,
}

impl CustomOp1 for Linear {
    fn name(&self) -> &'static str {
        "packed linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = self.weight.0.product(slice(x, layout)?, &self.bias);
        let mut dims = layout.shape().dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.weight.0.outputs;
        }
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(grad.broadcast_matmul(&self.weight.unpack()?)?))
    }
}
