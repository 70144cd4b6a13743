//! 3-D convolution by im2col: patches as rows of a matrix, one matrix product per group.

use candle_core::{Result, Tensor, bail};

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
    let (batch, c_in, ..) = x.dims5()?;
    let (c_out, c_group, kt, kh, kw) = weight.dims5()?;
    if groups == 0
        || c_in != c_group * groups
        || c_out % groups != 0
        || stride.contains(&0)
        || dilation.contains(&0)
    {
        bail!(
            "conv3d: x {:?}, weight {:?}, {groups} groups, stride {stride:?}, dilation {dilation:?}",
            x.dims(),
            weight.dims()
        );
    }
    let kernel = [kt, kh, kw];
    let mut padded = x.clone();
    let mut out = [0; 3];
    for axis in 0..3 {
        padded = padded.pad_with_zeros(axis + 2, padding[axis], padding[axis])?;
        let (size, reach) = (padded.dim(axis + 2)?, dilation[axis] * kernel[axis].saturating_sub(1) + 1);
        if size < reach || kernel[axis] == 0 {
            bail!("conv3d: kernel reaches {reach}, padded input has {size} on axis {axis}");
        }
        out[axis] = (size - reach) / stride[axis] + 1;
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
