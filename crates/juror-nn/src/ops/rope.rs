//! Rotary position embedding (Su et al. 2021): pairs of channels turned by an angle per token.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::rope::{Rope, turn};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

/// Pairs `(x[i], x[i + dim/2])`, as in Llama and Qwen. `x [batch, heads, tokens, dim]`; `cos`, `sin` are
/// `[tokens, dim/2]` or `[batch, tokens, dim/2]` and get no gradient.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let sizes = sizes(x, cos, sin, false)?;
    if fused(&[x, cos, sin]) {
        return apply(x, cos, sin, sizes);
    }
    let half = sizes.dim / 2;
    let (cos, sin) = (per_head(cos)?, per_head(sin)?);
    let (low, high) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let turned_high = (low.broadcast_mul(&sin)? + high.broadcast_mul(&cos)?)?;
    Tensor::cat(&[turned_low, turned_high], D::Minus1)
}

/// Pairs `(x[2i], x[2i + 1])`; shapes as in [`rope`].
pub fn rope_interleaved(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let sizes = sizes(x, cos, sin, true)?;
    if fused(&[x, cos, sin]) {
        return apply(x, cos, sin, sizes);
    }
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

fn sizes(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Rope> {
    let (batch, heads, tokens, dim) = x.dims4()?;
    let per_batch = cos.rank() == 3;
    let fits = cos.dims() == [tokens, dim / 2] || cos.dims() == [batch, tokens, dim / 2];
    if !fits || cos.dims() != sin.dims() || dim % 2 != 0 {
        bail!("rope: x {:?}, cos {:?}, sin {:?}", x.dims(), cos.dims(), sin.dims());
    }
    Ok(Rope { heads, tokens, dim, per_batch, interleaved })
}

fn apply(x: &Tensor, cos: &Tensor, sin: &Tensor, sizes: Rope) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    x.contiguous()?.apply_op3(&cos.detach().contiguous()?, &sin.detach().contiguous()?, Fused(sizes))
}

struct Fused(Rope);

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = turn(self.0, slice(x, x_layout)?, slice(cos, cos_layout)?, slice(sin, sin_layout)?, 1.0);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let back = with_slices([grad, cos, sin], |[g, cos, sin]| Ok(turn(self.0, g, cos, sin, -1.0)))?;
        Ok((Some(Tensor::from_vec(back, x.shape(), x.device())?), None, None))
    }
}
