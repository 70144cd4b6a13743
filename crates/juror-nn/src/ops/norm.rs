//! Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019) over the last dimension.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::rows;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

/// `(x - mean) / sqrt(var + eps) · weight + bias` over the last dimension; `weight`, `bias` are `[dim]`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let fits = check(x, weight)? && bias.is_none_or(|bias| bias.dims() == weight.dims());
    if !fits {
        bail!("layer_norm: x {:?}, weight {:?}, bias {:?}", x.dims(), weight.dims(), bias.map(Tensor::dims));
    }
    let op = Norm { centred: true, eps: eps as f32 };
    match bias {
        Some(bias) if fused(&[x, weight, bias]) => {
            return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op);
        }
        None if fused(&[x, weight]) => return x.contiguous()?.apply_op2(&weight.contiguous()?, op),
        _ => {}
    }
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
    if !check(x, weight)? {
        bail!("rms_norm: x {:?}, weight {:?}", x.dims(), weight.dims());
    }
    if fused(&[x, weight]) {
        let op = Norm { centred: false, eps: eps as f32 };
        return x.contiguous()?.apply_op2(&weight.contiguous()?, op);
    }
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(square + eps)?.sqrt()?)?.broadcast_mul(weight)
}

fn check(x: &Tensor, weight: &Tensor) -> Result<bool> {
    let dim = x.dim(D::Minus1)?;
    Ok(dim > 0 && weight.dims() == [dim])
}

struct Norm {
    centred: bool,
    eps: f32,
}

impl Norm {
    /// Gradients of x (when a variable lies behind it), weight and bias.
    fn grads(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Tensor, Tensor)> {
        let want_x = x.track_op();
        let (x_grad, weight_grad, bias_grad) = with_slices([x, weight, grad], |[x, weight, g]| {
            Ok(rows::norm_grad(x, g, weight, self.centred, self.eps, want_x))
        })?;
        let x_grad = if want_x { Some(Tensor::from_vec(x_grad, x.shape(), x.device())?) } else { None };
        let vector = |values: Vec<f32>| Tensor::from_vec(values, weight.shape(), weight.device());
        Ok((x_grad, vector(weight_grad)?, vector(bias_grad)?))
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = rows::norm(slice(x, x_layout)?, slice(w, w_layout)?, &[], self.centred, self.eps);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x_grad, weight_grad, _) = self.grads(x, weight, grad)?;
        Ok((x_grad, weight.track_op().then_some(weight_grad)))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (slice(x, x_layout)?, slice(w, w_layout)?, slice(b, b_layout)?);
        Ok((CpuStorage::F32(rows::norm(x, w, b, self.centred, self.eps)), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x_grad, weight_grad, bias_grad) = self.grads(x, weight, grad)?;
        Ok((x_grad, weight.track_op().then_some(weight_grad), bias.track_op().then_some(bias_grad)))
    }
}
