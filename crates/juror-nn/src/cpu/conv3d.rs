//! 3-D convolution: patches of a run of output cells as columns of a matrix, one product per run.
//!
//! Memory beyond input and output stays below [`COLUMNS`] values per thread. With `W [c_out, taps]`, `C [taps, cells]`:
//! `y = W·C`, `dC = Wᵀ·g` (added back to where the patches came from), `dW = g·Cᵀ`.

use super::buffer::{Shared, for_overwrite};
use super::matmul::{View, matmul, rows};
use rayon::prelude::*;

/// Most values of one matrix of columns.
const COLUMNS: usize = 512 * 1024;

/// Shape of a convolution; triples are time, height, width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv {
    pub batch: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub groups: usize,
    pub size: [usize; 3],
    pub kernel: [usize; 3],
    pub out: [usize; 3],
    pub stride: [usize; 3],
    pub padding: [usize; 3],
    pub dilation: [usize; 3],
}

impl Conv {
    fn pixels(&self) -> usize {
        self.size.iter().product()
    }

    fn cells(&self) -> usize {
        self.out.iter().product()
    }

    fn group_in(&self) -> usize {
        self.c_in / self.groups
    }

    fn group_out(&self) -> usize {
        self.c_out / self.groups
    }

    /// Rows of the matrix of columns: input channels of a group times kernel taps.
    fn taps(&self) -> usize {
        self.group_in() * self.kernel.iter().product::<usize>()
    }

    /// Output cells per product; depends on the shape only.
    fn run(&self) -> usize {
        (COLUMNS / self.taps().max(1)).clamp(16, self.cells().max(16))
    }

    /// Calls `visit(offset, len, first_pixel, skip)` for every piece of an output row inside cells `[start, start + count)`
    /// of one tap: `offset` counts from `start`; pixels lie `stride` apart from `first_pixel` on; cells `skip` hold those
    /// inside the input, the others fall on padding.
    #[inline(always)]
    fn rows(
        &self,
        tap: usize,
        start: usize,
        count: usize,
        mut visit: impl FnMut(usize, usize, Option<(usize, usize, usize)>),
    ) {
        let [kt, kh, kw] = self.kernel;
        let channel = tap / (kt * kh * kw);
        let at = [tap / (kh * kw) % kt, tap / kw % kh, tap % kw];
        let width = self.out[2];
        let mut cell = start;
        while cell < start + count {
            let (t, h, w) = (cell / width / self.out[1], cell / width % self.out[1], cell % width);
            let len = (width - w).min(start + count - cell);
            let source = |axis: usize, i: usize| {
                (i * self.stride[axis] + at[axis] * self.dilation[axis]) as isize
                    - self.padding[axis] as isize
            };
            let (it, ih) = (source(0, t), source(1, h));
            let inside = it >= 0 && ih >= 0 && (it as usize) < self.size[0] && (ih as usize) < self.size[1];
            let piece = inside.then(|| {
                // Cells w + i with 0 <= source(2, w + i) < size.
                let (origin, stride) = (source(2, w), self.stride[2] as isize);
                let low = if origin < 0 { (-origin + stride - 1) / stride } else { 0 };
                let room = self.size[2] as isize - origin;
                let high = if room > 0 { (room + stride - 1) / stride } else { 0 };
                let (low, high) = ((low as usize).min(len), (high as usize).min(len));
                let row =
                    ((channel * self.size[0] + it as usize) * self.size[1] + ih as usize) * self.size[2];
                let first = (row as isize + origin + low as isize * stride) as usize;
                (low, high.max(low), first)
            });
            visit(cell - start, len, piece.filter(|(low, high, _)| low < high));
            cell += len;
        }
    }

    /// Columns `[taps, count]` of cells `[start, start + count)`; `x` holds the channels of one group.
    fn gather(&self, x: &[f32], start: usize, count: usize, columns: &mut [f32]) {
        for (tap, out) in columns.chunks_exact_mut(count).enumerate() {
            self.rows(tap, start, count, |offset, len, piece| {
                let out = &mut out[offset..offset + len];
                let Some((low, high, first)) = piece else { return out.fill(0.0) };
                out[..low].fill(0.0);
                out[high..].fill(0.0);
                let inner = &mut out[low..high];
                if self.stride[2] == 1 {
                    inner.copy_from_slice(&x[first..first + inner.len()]);
                } else {
                    for (value, &pixel) in inner.iter_mut().zip(x[first..].iter().step_by(self.stride[2])) {
                        *value = pixel;
                    }
                }
            });
        }
    }

    /// Adds columns back to the pixels they came from.
    fn scatter(&self, columns: &[f32], start: usize, count: usize, x: &mut [f32]) {
        for (tap, values) in columns.chunks_exact(count).enumerate() {
            self.rows(tap, start, count, |offset, _, piece| {
                let Some((low, high, first)) = piece else { return };
                let values = &values[offset + low..offset + high];
                for (pixel, value) in x[first..].iter_mut().step_by(self.stride[2]).zip(values) {
                    *pixel += value;
                }
            });
        }
    }
}

/// `y [batch, c_out, cells]` of `x [batch, c_in, pixels]`, `w [c_out, taps]`; an empty `bias` is none.
pub(crate) fn forward(conv: &Conv, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f32> {
    let (cells, taps, run) = (conv.cells(), conv.taps(), conv.run());
    let (group_in, group_out) = (conv.group_in(), conv.group_out());
    let mut y = for_overwrite(conv.batch * conv.c_out * cells);
    if !bias.is_empty() && cells > 0 {
        for (i, channel) in y.chunks_exact_mut(cells).enumerate() {
            channel.fill(bias[i % conv.c_out]);
        }
    }
    let out = Shared::new(&mut y);
    let runs = cells.div_ceil(run);
    (0..conv.batch * conv.groups * runs).into_par_iter().for_each_init(Vec::new, |columns, task| {
        let (part, start) = (task / runs, task % runs * run);
        let count = run.min(cells - start);
        let x = &x[part * group_in * conv.pixels()..(part + 1) * group_in * conv.pixels()];
        columns.resize(taps * count, 0.0);
        conv.gather(x, start, count, columns);
        let w = w[part % conv.groups * group_out * taps..].as_ptr();
        // SAFETY: weights of one group, own columns; each task writes its own cells of its own channels of `y`.
        unsafe {
            let c = View {
                start: out.get().add(part * group_out * cells + start),
                row_stride: cells as isize,
                column_stride: 1,
            };
            let shape = [group_out, count, taps];
            matmul(shape, rows(w, taps), rows(columns.as_ptr(), count), c, !bias.is_empty(), 1.0, true);
        }
    });
    y
}

/// Gradient of `x`.
pub(crate) fn x_grad(conv: &Conv, w: &[f32], g: &[f32]) -> Vec<f32> {
    let (cells, taps, run) = (conv.cells(), conv.taps(), conv.run());
    let (group_in, group_out) = (conv.group_in(), conv.group_out());
    let mut grad = vec![0.0; conv.batch * conv.c_in * conv.pixels()];
    let part_len = (group_in * conv.pixels()).max(1);
    grad.par_chunks_mut(part_len).enumerate().for_each_init(Vec::new, |columns, (part, grad)| {
        let w = w[part % conv.groups * group_out * taps..].as_ptr();
        for start in (0..cells).step_by(run) {
            let count = run.min(cells - start);
            columns.resize(taps * count, 0.0);
            // SAFETY: weights of one group, gradients of one group of one batch row, own columns.
            unsafe {
                let g = View {
                    start: g.as_ptr().add(part * group_out * cells + start),
                    row_stride: cells as isize,
                    column_stride: 1,
                };
                let shape = [taps, count, group_out];
                matmul(shape, rows(w, taps).t(), g, rows(columns.as_mut_ptr(), count), false, 1.0, true);
            }
            conv.scatter(columns, start, count, grad);
        }
    });
    grad
}

/// Gradient of `w`: groups apart, batch rows and runs added in their order.
pub(crate) fn w_grad(conv: &Conv, x: &[f32], g: &[f32]) -> Vec<f32> {
    let (cells, taps, run) = (conv.cells(), conv.taps(), conv.run());
    let (group_in, group_out) = (conv.group_in(), conv.group_out());
    let mut grad = vec![0.0; conv.c_out * taps];
    grad.par_chunks_mut((group_out * taps).max(1)).enumerate().for_each_init(
        Vec::new,
        |columns, (group, grad)| {
            for batch in 0..conv.batch {
                let part = batch * conv.groups + group;
                let x = &x[part * group_in * conv.pixels()..(part + 1) * group_in * conv.pixels()];
                for start in (0..cells).step_by(run) {
                    let count = run.min(cells - start);
                    columns.resize(taps * count, 0.0);
                    conv.gather(x, start, count, columns);
                    // SAFETY: gradients of one group of one batch row, own columns, own part of the result.
                    unsafe {
                        let g = View {
                            start: g.as_ptr().add(part * group_out * cells + start),
                            row_stride: cells as isize,
                            column_stride: 1,
                        };
                        let shape = [group_out, taps, count];
                        matmul(
                            shape,
                            g,
                            rows(columns.as_ptr(), count).t(),
                            rows(grad.as_mut_ptr(), taps),
                            true,
                            1.0,
                            true,
                        );
                    }
                }
            }
        },
    );
    grad
}

/// Gradient of the bias.
pub(crate) fn bias_grad(conv: &Conv, g: &[f32]) -> Vec<f32> {
    let cells = conv.cells().max(1);
    let sums: Vec<f32> = g
        .par_chunks_exact(cells)
        .map(|channel| channel.iter().map(|&g| f64::from(g)).sum::<f64>() as f32)
        .collect();
    (0..conv.c_out).map(|c| sums.iter().skip(c).step_by(conv.c_out).sum()).collect()
}
