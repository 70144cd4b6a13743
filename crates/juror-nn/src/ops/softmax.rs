//! Softmax over the last dimension.

use candle_core::{D, Result, Tensor};

/// `exp(x - max) / Σ exp(x - max)` over the last dimension.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let top = x.detach().max_keepdim(D::Minus1)?;
    let exp = x.broadcast_sub(&top)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}
