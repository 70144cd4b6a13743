//! Softmax over the last dimension.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::rows;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};

/// `exp(x - max) / Σ exp(x - max)` over the last dimension.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    if fused(&[x]) {
        return x.contiguous()?.apply_op1(Softmax { dim: x.dim(D::Minus1)? });
    }
    let top = x.detach().max_keepdim(D::Minus1)?;
    let exp = x.broadcast_sub(&top)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

struct Softmax {
    dim: usize,
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(rows::softmax(slice(storage, layout)?, self.dim)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let out = with_slices([y, grad], |[y, g]| Ok(rows::softmax_grad(y, g, self.dim)))?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}
