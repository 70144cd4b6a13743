//! Where a model takes its weights from, and the precision in which its large matrices are kept.
//!
//! Linear layers and embedding tables ask for a [`Matrix`], all else for plain tensors in the type of computation. On
//! CPUs that type is f32, and a `Matrix` may be packed in fewer bits; elsewhere matrices are tensors like all others. Under
//! training, an [`Adapter`] puts a low-rank update on the matrices of decoders that it targets; all else stays frozen.

use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use juror_nn::lora::{Lora, LoraConfig};
use juror_nn::ops;
use juror_nn::packed::{PackedWeight, WeightPrecision};
use juror_nn::params::Params;

/// Low-rank updates under training, and of which layers.
#[derive(Debug)]
pub struct Adapter {
    /// The factors, under PEFT's names.
    pub params: Params,
    /// Rank, strength and layers.
    pub config: LoraConfig,
}

/// Tensors by their paths.
#[derive(Clone)]
pub struct Weights {
    tensors: VarBuilder<'static>,
    precision: WeightPrecision,
    adapter: Option<Arc<Adapter>>,
    /// Whether these are a decoder's layers, which alone are adapted.
    of_decoder: bool,
}

impl From<VarBuilder<'static>> for Weights {
    /// Every matrix in the type of the builder.
    fn from(tensors: VarBuilder<'static>) -> Self {
        Self::packed(tensors, WeightPrecision::F32)
    }
}

impl Weights {
    /// Tensors of the CPU, of f32, whose matrices are kept in this precision.
    pub fn packed(tensors: VarBuilder<'static>, precision: WeightPrecision) -> Self {
        Self { tensors, precision, adapter: None, of_decoder: false }
    }

    /// Frozen tensors, with updates on the linear layers of decoders that `adapter` targets: LoRA training.
    pub fn adapted(tensors: VarBuilder<'static>, adapter: Arc<Adapter>) -> Self {
        Self { adapter: Some(adapter), ..Self::from(tensors) }
    }

    /// What lies below a path.
    pub fn pp(&self, name: impl ToString) -> Self {
        Self { tensors: self.tensors.pp(name), ..self.clone() }
    }

    /// The same as the layers of a decoder.
    pub(crate) fn of_decoder(&self) -> Self {
        Self { of_decoder: true, ..self.clone() }
    }

    /// A tensor.
    ///
    /// # Errors
    /// A missing or misshapen tensor.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.tensors.get(shape.into(), name)
    }

    /// Marks a tensor of integers as used, which this program does not need.
    ///
    /// # Errors
    /// A misshapen tensor.
    pub fn skip(&self, shape: impl Into<Shape>, name: &str) -> Result<()> {
        if self.tensors.contains_tensor(name) {
            self.tensors.get_with_hints_dtype(shape.into(), name, Default::default(), DType::I64)?;
        }
        Ok(())
    }

    /// The matrix `weight` `[outputs, inputs]`.
    ///
    /// # Errors
    /// A missing or misshapen tensor.
    pub fn matrix(&self, outputs: usize, inputs: usize) -> Result<Matrix> {
        let weight = self.get((outputs, inputs), "weight")?;
        let path = self.tensors.prefix();
        let targeted = |adapter: &&Arc<Adapter>| self.of_decoder && adapter.config.targets(&path);
        if let Some(adapter) = self.adapter.as_ref().filter(targeted) {
            let update = Lora::new(&weight, None, &adapter.params, &path, &adapter.config);
            return Ok(Matrix::Adapted(update.map_err(candle_core::Error::wrap)?));
        }
        let precision = kept_in(self.precision, &format!("{path}.weight"));
        Ok(match PackedWeight::new(&weight, precision)? {
            Some(packed) => Matrix::Packed(packed),
            None => Matrix::Plain(weight),
        })
    }
}

/// The precision in which the matrix of this name is kept. Embedding tables and output layers keep 8 bits where all else
/// keeps 4: what is lost in them reaches the answer undiminished, and they are a small part of a network.
pub fn kept_in(precision: WeightPrecision, name: &str) -> WeightPrecision {
    let table = ["embed_tokens.weight", "lm_head.weight"].iter().any(|end| name.ends_with(end));
    if table && precision == WeightPrecision::Int4 { WeightPrecision::Int8 } else { precision }
}

/// The matrix of a linear layer or of an embedding table, `[outputs, inputs]`.
#[derive(Clone)]
pub enum Matrix {
    /// In the type of computation.
    Plain(Tensor),
    /// In fewer bits.
    Packed(PackedWeight),
    /// Frozen, with a low-rank update under training.
    Adapted(Lora),
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(weight) => write!(f, "{:?} of {:?}", weight.dims(), weight.dtype()),
            Self::Packed(weight) => write!(f, "{:?} packed", weight.dims()),
            Self::Adapted(update) => update.fmt(f),
        }
    }
}

impl Matrix {
    /// The same on the same memory without gradient.
    pub(crate) fn detached(&self) -> Self {
        match self {
            Self::Adapted(update) => Self::Adapted(update.detached()),
            other => other.clone(),
        }
    }

    /// The same without its update.
    pub(crate) fn unadapted(&self) -> Self {
        match self {
            Self::Adapted(update) => Self::Plain(update.weight().clone()),
            other => other.clone(),
        }
    }

    /// Outputs, or rows of a table.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Plain(weight) => weight.dims()[0],
            Self::Packed(weight) => weight.dims().0,
            Self::Adapted(update) => update.outputs(),
        }
    }

    /// `x` `[..., inputs]` to `[..., outputs]`.
    ///
    /// # Errors
    /// Another width.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::Plain(weight) => ops::linear(x, weight, bias),
            Self::Packed(weight) => weight.linear(x, bias),
            Self::Adapted(update) => match bias {
                Some(bias) => update.forward(x)?.broadcast_add(bias),
                None => update.forward(x),
            },
        }
    }

    /// Rows by index, `ids` `[n]` to `[n, inputs]`.
    ///
    /// # Errors
    /// No such row.
    pub fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain(table) => table.embedding(ids),
            Self::Packed(table) => table.rows(ids),
            Self::Adapted(_) => candle_core::bail!("an embedding table is never adapted"),
        }
    }
}
