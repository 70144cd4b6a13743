//! Rotary position embedding (Su et al. 2021): pairs of channels turned by an angle per token.

use candle_core::{D, Result, Tensor};

/// Pairs `(x[i], x[i + dim/2])`, as in Llama and Qwen. `x [batch, heads, tokens, dim]`; `cos`, `sin` are
/// `[tokens, dim/2]` or `[batch, tokens, dim/2]`.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (cos, sin) = (per_head(cos)?, per_head(sin)?);
    let (low, high) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let turned_high = (low.broadcast_mul(&sin)? + high.broadcast_mul(&cos)?)?;
    Tensor::cat(&[turned_low, turned_high], D::Minus1)
}

/// Pairs `(x[2i], x[2i + 1])`; shapes as in [`rope`].
pub fn rope_interleaved(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (batch, heads, tokens, dim) = x.dims4()?;
    let (cos, sin) = (per_head(cos)?.unsqueeze(D::Minus1)?, per_head(sin)?.unsqueeze(D::Minus1)?);
    let pairs = x.reshape((batch, heads, tokens, dim / 2, 2))?;
    let (even, odd) = (pairs.narrow(D::Minus1, 0, 1)?, pairs.narrow(D::Minus1, 1, 1)?);
    let turned_even = (even.broadcast_mul(&cos)? - odd.broadcast_mul(&sin)?)?;
    let turned_odd = (even.broadcast_mul(&sin)? + odd.broadcast_mul(&cos)?)?;
    Tensor::cat(&[turned_even, turned_odd], D::Minus1)?.reshape((batch, heads, tokens, dim))
}

/// `[tokens, half]` to `[tokens, half]`, `[batch, tokens, half]` to `[batch, 1, tokens, half]`.
fn per_head(angles: &Tensor) -> Result<Tensor> {
    if angles.rank() == 3 { angles.unsqueeze(1) } else { Ok(angles.clone()) }
}
