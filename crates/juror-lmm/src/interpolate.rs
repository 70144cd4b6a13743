//! Resampling of learned tables and feature grids by small matrices: `out = rows . grid . columns^T`.
//!
//! These are the float resamplings of PyTorch's `interpolate` (no antialias); pictures are resized in `preprocess`.

use candle_core::{Device, Result, Tensor};

/// How to weigh the neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Bicubic with a = -0.75, pixel centres at half (`align_corners=False`).
    Bicubic,
    /// Bilinear, pixel centres at half (`align_corners=False`).
    Bilinear,
    /// Bilinear at `linspace(0, from - 1, to)`: corners on corners.
    BilinearCorners,
}

/// The weights of one axis, `[to, from]`, row by row.
pub fn weights(kernel: Kernel, from: usize, to: usize) -> Vec<f32> {
    let last = from as isize - 1;
    let mut matrix = vec![0f32; to * from];
    let mut add = |row: usize, column: isize, weight: f32| {
        matrix[row * from + column.clamp(0, last) as usize] += weight
    };
    for row in 0..to {
        match kernel {
            Kernel::Bicubic => {
                let x = from as f32 / to as f32 * (row as f32 + 0.5) - 0.5;
                let (base, f) = (x.floor() as isize, x - x.floor());
                for (offset, distance) in [(-1, 1.0 + f), (0, f), (1, 1.0 - f), (2, 2.0 - f)] {
                    add(row, base + offset, cubic(distance));
                }
            }
            Kernel::Bilinear => {
                let x = (from as f32 / to as f32 * (row as f32 + 0.5) - 0.5).max(0.0);
                let (base, f) = (x.floor() as isize, x - x.floor());
                add(row, base, 1.0 - f);
                add(row, base + 1, f);
            }
            Kernel::BilinearCorners => {
                let x = if to > 1 { row as f32 * (last as f32 / (to - 1) as f32) } else { 0.0 };
                let (base, f) = (x.floor() as isize, x - x.floor());
                add(row, base, 1.0 - f);
                add(row, base + 1, f);
            }
        }
    }
    matrix
}

/// Keys' cubic with a = -0.75 at a distance of 0..2.
fn cubic(x: f32) -> f32 {
    const A: f32 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    }
}

/// [`weights`] as a tensor `[to, from]` in f32.
pub fn matrix(kernel: Kernel, from: usize, to: usize, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(weights(kernel, from, to), (to, from), device)
}

/// Resamples `grid` `[batch, h, w, channels]` to `[batch, to.0, to.1, channels]`.
pub fn resize_grid(grid: &Tensor, kernel: Kernel, to: (usize, usize)) -> Result<Tensor> {
    let (batch, h, w, channels) = grid.dims4()?;
    if (h, w) == to && kernel != Kernel::BilinearCorners {
        return Ok(grid.clone());
    }
    let rows = matrix(kernel, h, to.0, grid.device())?.to_dtype(grid.dtype())?;
    let columns = matrix(kernel, w, to.1, grid.device())?.to_dtype(grid.dtype())?;
    let y = rows.broadcast_matmul(&grid.contiguous()?.reshape((batch, h, w * channels))?)?;
    let y = y.reshape((batch * to.0, w, channels))?;
    columns.broadcast_matmul(&y)?.reshape((batch, to.0, to.1, channels))
}
