//! Where a model takes its weights from, and the precision in which its large matrices are kept.
//!
//! Linear layers and embedding tables ask for a [`Matrix`], all else for plain tensors in the type of computation. On
//! CPUs that type is f32, and a `Matrix` may be packed in fewer bits; elsewhere matrices are tensors like all others.

use std::fmt;

use candle_core::{DType, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use juror_nn::ops;
use juror_nn::packed::{PackedWeight, WeightPrecision};

/// Tensors by their paths.
#[derive(Clone)]
pub struct Weights {
    tensors: VarBuilder<'static>,
    precision: WeightPrecision,
}

impl From<VarBuilder<'static>> for Weights {
    /// Every matrix in the type of the builder.
    fn from(tensors: VarBuilder<'static>) -> Self {
        Self { tensors, precision: WeightPrecision::F32 }
    }
}

impl Weights {
    /// Tensors of the CPU, of f32, whose matrices are kept in this precision.
    pub fn packed(tensors: VarBuilder<'static>, precision: WeightPrecision) -> Self {
        Self { tensors, precision }
    }

    /// What lies below a path.
    pub fn pp(&self, name: impl ToString) -> Self {
        Self { tensors: self.tensors.pp(name), precision: self.precision }
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
        let precision = kept_in(self.precision, &format!("{}.weight", self.tensors.prefix()));
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
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(weight) => write!(f, "{:?} of {:?}", weight.dims(), weight.dtype()),
            Self::Packed(weight) => write!(f, "{:?} packed", weight.dims()),
        }
    }
}

impl Matrix {
    /// Outputs, or rows of a table.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Plain(weight) => weight.dims()[0],
            Self::Packed(weight) => weight.dims().0,
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
        }
    }
}
