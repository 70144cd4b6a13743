//! Pooling of tokens into their mean and standard deviation.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::pool;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};

/// Mean and `sqrt(variance + eps)` over the tokens, side by side: `[n, tokens, dim]` to `[n, 2 dim]`.
///
/// # Errors
/// When `x` is not three-dimensional or has no token.
pub fn mean_and_deviation(x: &Tensor, eps: f64) -> Result<Tensor> {
    let (_, tokens, _) = x.dims3()?;
    if tokens == 0 {
        bail!("mean_and_deviation: no token in {:?}", x.dims());
    }
    if fused(&[x]) && x.elem_count() > 0 {
        return x.contiguous()?.apply_op1(Pool { eps: eps as f32 });
    }
    let mean = x.mean_keepdim(1)?;
    let variance = x.broadcast_sub(&mean)?.sqr()?.mean(1)?;
    Tensor::cat(&[mean.squeeze(1)?, (variance + eps)?.sqrt()?], D::Minus1)
}

struct Pool {
    eps: f32,
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "mean-and-deviation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, tokens, dim) = layout.shape().dims3()?;
        let y = pool::mean_and_deviation(slice(storage, layout)?, tokens, dim, self.eps);
        Ok((CpuStorage::F32(y), (n, 2 * dim).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, tokens, dim) = x.dims3()?;
        let out =
            with_slices([x, y, grad], |[x, y, g]| Ok(pool::mean_and_deviation_grad(x, y, g, tokens, dim)))?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}
