//! `y = x·Wᵀ + b` for any leading dimensions, and its form with frozen weights.

use candle_core::{Result, Tensor};

/// `x [.., in]`, `weight [out, in]`, `bias [out]` to `[.., out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inner) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    let rows: usize = dims.iter().rev().skip(1).product();
    let y = x.reshape((rows, inner))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    if let Some(last) = dims.last_mut() {
        *last = out;
    }
    y.reshape(dims)
}

/// As [`linear`], never with a gradient for weight and bias.
pub fn frozen_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    linear(x, &weight.detach(), bias.map(Tensor::detach).as_ref())
}
