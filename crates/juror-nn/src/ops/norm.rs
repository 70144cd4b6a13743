//! Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019) over the last dimension.

use candle_core::{D, Result, Tensor};

/// `(x - mean) / sqrt(var + eps) · weight + bias` over the last dimension; `weight`, `bias` are `[dim]`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(weight)?;
    match bias {
        Some(bias) => normed.broadcast_add(bias),
        None => Ok(normed),
    }
}

/// `x / sqrt(mean(x²) + eps) · weight` over the last dimension; `weight` is `[dim]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(square + eps)?.sqrt()?)?.broadcast_mul(weight)
}
