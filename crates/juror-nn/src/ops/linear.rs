//! `y = x·Wᵀ + b` for any leading dimensions, and its form with frozen weights.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::matmul::{Matrix, product};
use crate::cpu::rows::sum_rows;
use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, D, Layout, MetalStorage, Result, Shape, Tensor, bail,
};

/// `x [.., in]`, `weight [out, in]`, `bias [out]` to `[.., out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inner) = weight.dims2()?;
    if x.dim(D::Minus1)? != inner || bias.is_some_and(|bias| bias.dims() != [out]) {
        bail!("linear: x {:?}, weight {:?}, bias {:?}", x.dims(), weight.dims(), bias.map(Tensor::dims));
    }
    match bias {
        Some(bias) if fused(&[x, weight, bias]) => {
            return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Linear);
        }
        None if fused(&[x, weight]) => return x.contiguous()?.apply_op2(&weight.contiguous()?, Linear),
        _ => {}
    }
    let rows = x.dims().iter().rev().skip(1).product::<usize>();
    let flat = x.reshape((rows, inner))?;
    let y = if flat.track_op() && !weight.track_op() {
        // candle would make a gradient for the weight too, as large as the weight.
        let y = flat.detach().matmul(&weight.t()?)?;
        flat.apply_op2(&y, Graft { weight: weight.clone() })?
    } else {
        flat.matmul(&weight.t()?)?
    };
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(with_last(x.dims(), out))
}

/// As [`linear`], never with a gradient for weight and bias.
pub fn frozen_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    linear(x, &weight.detach(), bias.map(Tensor::detach).as_ref())
}

fn with_last(dims: &[usize], last: usize) -> Vec<usize> {
    let mut dims = dims.to_vec();
    if let Some(dim) = dims.last_mut() {
        *dim = last;
    }
    dims
}

struct Linear;

impl Linear {
    fn forward(
        &self,
        x: &[f32],
        w: &[f32],
        bias: &[f32],
        x_shape: &Shape,
        w_shape: &Shape,
    ) -> (CpuStorage, Shape) {
        let (out, inner) = (w_shape.dims()[0], w_shape.dims()[1]);
        let count = x_shape.dims().iter().rev().skip(1).product();
        let y = product(Matrix::new(x, count, inner), Matrix::new(w, out, inner).t(), bias);
        (CpuStorage::F32(y), Shape::from(with_last(x_shape.dims(), out)))
    }

    /// `dx = g·W` and `dW = gᵀ·x`, each only when a variable lies behind it.
    fn grads(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (out, inner) = weight.dims2()?;
        let count = x.dims().iter().rev().skip(1).product();
        with_slices([x, weight, grad], |[x_values, w, g]| {
            let g = Matrix::new(g, count, out);
            let x_grad = if x.track_op() { Some(product(g, Matrix::new(w, out, inner), &[])) } else { None };
            let w_grad = if weight.track_op() {
                Some(product(g.t(), Matrix::new(x_values, count, inner), &[]))
            } else {
                None
            };
            Ok((
                x_grad.map(|values| Tensor::from_vec(values, x.shape(), x.device())).transpose()?,
                w_grad.map(|values| Tensor::from_vec(values, weight.shape(), weight.device())).transpose()?,
            ))
        })
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (slice(x, x_layout)?, slice(w, w_layout)?);
        Ok(self.forward(x, w, &[], x_layout.shape(), w_layout.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.grads(x, weight, grad)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        Ok(self.forward(x, w, b, x_layout.shape(), w_layout.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x_grad, w_grad) = self.grads(x, weight, grad)?;
        let b_grad = if bias.track_op() {
            let sums = with_slices([grad], |[g]| Ok(sum_rows(g, bias.elem_count())))?;
            Some(Tensor::from_vec(sums, bias.shape(), bias.device())?)
        } else {
            None
        };
        Ok((x_grad, w_grad, b_grad))
    }
}

/// The second argument, `x·Wᵀ` made without a graph, with the gradient `g·W` for the first, `x`.
struct Graft {
    weight: Tensor,
}

impl CustomOp2 for Graft {
    fn name(&self) -> &'static str {
        "frozen linear"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((y.try_clone(y_layout)?, y_layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        _x: &CudaStorage,
        _: &Layout,
        y: &CudaStorage,
        y_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((y.try_clone(y_layout)?, y_layout.shape().clone()))
    }

    fn metal_fwd(
        &self,
        _x: &MetalStorage,
        _: &Layout,
        y: &MetalStorage,
        y_layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        Ok((y.try_clone(y_layout)?, y_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.matmul(&self.weight)?), None))
    }
}
