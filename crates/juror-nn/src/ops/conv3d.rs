//! 3-D convolution by im2col: patches as rows of a matrix, one matrix product per group.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::conv3d::{self as kernel, Conv};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// `x [batch, c_in, t, h, w]`, `weight [c_out, c_in/groups, kt, kh, kw]`, `bias [c_out]` to
/// `[batch, c_out, t', h', w']`, where `t' = (t + 2·padding - dilation·(kt-1) - 1) / stride + 1` and so on.
pub fn conv3d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
) -> Result<Tensor> {
    let (batch, c_in, t, h, w) = x.dims5()?;
    let (c_out, c_group, kt, kh, kw) = weight.dims5()?;
    let fits = groups > 0 && c_in == c_group * groups && c_out.is_multiple_of(groups);
    if !fits
        || stride.contains(&0)
        || dilation.contains(&0)
        || bias.is_some_and(|bias| bias.dims() != [c_out])
    {
        let (x, weight) = (x.dims(), weight.dims());
        bail!(
            "conv3d: x {x:?}, weight {weight:?}, {groups} groups, stride {stride:?}, dilation {dilation:?}"
        );
    }
    let (kernel, size) = ([kt, kh, kw], [t, h, w]);
    let mut out = [0; 3];
    for axis in 0..3 {
        let padded = size[axis] + 2 * padding[axis];
        let reach = dilation[axis] * kernel[axis].saturating_sub(1) + 1;
        if padded < reach || kernel[axis] == 0 {
            bail!("conv3d: kernel reaches {reach}, padded input has {padded} on axis {axis}");
        }
        out[axis] = (padded - reach) / stride[axis] + 1;
    }
    let conv = Conv { batch, c_in, c_out, groups, size, kernel, out, stride, padding, dilation };
    match bias {
        Some(bias) if fused(&[x, weight, bias]) => {
            x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Fused(conv))
        }
        None if fused(&[x, weight]) => x.contiguous()?.apply_op2(&weight.contiguous()?, Fused(conv)),
        _ => composed(x, weight, bias, &conv),
    }
}

/// The same from candle's operations: one gathered view of the input per kernel tap.
fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv) -> Result<Tensor> {
    let Conv { batch, c_in, c_out, groups, kernel: [kt, kh, kw], out, stride, padding, dilation, .. } = *conv;
    let c_group = c_in / groups;
    let mut padded = x.clone();
    for (axis, width) in padding.into_iter().enumerate() {
        padded = padded.pad_with_zeros(axis + 2, width, width)?;
    }
    // One strided view of the input per kernel tap, `[batch, c_in, t', h', w']` each.
    let mut taps = Vec::with_capacity(kt * kh * kw);
    for dt in 0..kt {
        for dh in 0..kh {
            for dw in 0..kw {
                let mut tap = padded.clone();
                for (axis, start) in [dt, dh, dw].into_iter().enumerate() {
                    let picks: Vec<u32> =
                        (0..out[axis]).map(|i| (i * stride[axis] + start * dilation[axis]) as u32).collect();
                    let picks = Tensor::new(picks, x.device())?;
                    tap = tap.contiguous()?.index_select(&picks, axis + 2)?;
                }
                taps.push(tap);
            }
        }
    }
    let taps_len = taps.len();
    let cells = out.iter().product::<usize>();
    // [batch, c_in, taps, cells]
    let columns = Tensor::stack(&taps, 2)?.reshape((batch, c_in * taps_len, cells))?;
    let mut parts = Vec::with_capacity(groups);
    for group in 0..groups {
        let columns = columns.narrow(1, group * c_group * taps_len, c_group * taps_len)?;
        let weight = weight.narrow(0, group * (c_out / groups), c_out / groups)?;
        let weight = weight.reshape((c_out / groups, c_group * taps_len))?;
        parts.push(weight.broadcast_left(batch)?.contiguous()?.matmul(&columns.contiguous()?)?);
    }
    let y = Tensor::cat(&parts, 1)?.reshape((batch, c_out, out[0], out[1], out[2]))?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, c_out, 1, 1, 1))?),
        None => Ok(y),
    }
}

struct Fused(Conv);

impl Fused {
    fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> (CpuStorage, Shape) {
        let Conv { batch, c_out, out, .. } = self.0;
        let y = kernel::forward(&self.0, x, weight, bias);
        (CpuStorage::F32(y), Shape::from((batch, c_out, out[0], out[1], out[2])))
    }

    fn grads(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        with_slices([x, weight, grad], |[x_values, w, g]| {
            let x_grad = if x.track_op() { Some(kernel::x_grad(&self.0, w, g)) } else { None };
            let w_grad = if weight.track_op() { Some(kernel::w_grad(&self.0, x_values, g)) } else { None };
            Ok((
                x_grad.map(|values| Tensor::from_vec(values, x.shape(), x.device())).transpose()?,
                w_grad.map(|values| Tensor::from_vec(values, weight.shape(), weight.device())).transpose()?,
            ))
        })
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(slice(x, xl)?, slice(w, wl)?, &[]))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.grads(x, w, grad)
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(slice(x, xl)?, slice(w, wl)?, slice(b, bl)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x_grad, w_grad) = self.grads(x, w, grad)?;
        let b_grad = if b.track_op() {
            let sums = with_slices([grad], |[g]| Ok(kernel::bias_grad(&self.0, g)))?;
            Some(Tensor::from_vec(sums, b.shape(), b.device())?)
        } else {
            None
        };
        Ok((x_grad, w_grad, b_grad))
    }
}
