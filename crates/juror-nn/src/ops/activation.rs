//! Pointwise activations: GELU (Hendrycks & Gimpel 2016) in its erf form and its tanh form, SiLU.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::pointwise::{self, Function};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// `x · Φ(x)`, any shape.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if fused(&[x]) {
        return x.contiguous()?.apply_op1(Pointwise(Function::Gelu));
    }
    let half = ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5;
    x * half?
}

/// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`, any shape.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    if fused(&[x]) {
        return x.contiguous()?.apply_op1(Pointwise(Function::GeluTanh));
    }
    let inner = ((x.sqr()? * 0.044715)? + 1.0)?;
    let inner = ((x * inner)? * (2.0 / std::f64::consts::PI).sqrt())?;
    let half = (inner.tanh()? + 1.0)? * 0.5;
    x * half?
}

/// `x · sigmoid(x)`, any shape.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    if fused(&[x]) {
        return x.contiguous()?.apply_op1(Pointwise(Function::Silu));
    }
    x.silu()
}

/// `ln(1 + e^x)` without overflow, any shape; of candle's own operations.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

struct Pointwise(Function);

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = pointwise::forward(self.0, slice(storage, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let out = with_slices([x, grad], |[x, g]| Ok(pointwise::backward(self.0, x, g)))?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}
