//! Matrix products on strided views, by the `gemm` crate where matrices are large.
//!
//! Every element is the same sequence of fused multiply-adds whatever the sizes around it: along `k` in order, in
//! pieces of [`DEPTH`] that start at 0 and are then added up. So a row gives the same bits alone (decoding a token)
//! and among many (a batch, a whole sequence). `gemm` keeps that order but for its short cuts for tiny shapes and for
//! vectors; those shapes go to [`small`].

use super::buffer::for_overwrite;
use super::few_rows;
use super::simd::multiversion;
use gemm::{Parallelism, gemm};
use rayon::prelude::*;

/// Length of one piece of the inner dimension: `gemm` never cuts 512 any further.
const DEPTH: usize = 512;

/// A strided matrix: element `(row, column)` lies at `row·row_stride + column·column_stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<P> {
    pub start: P,
    pub row_stride: isize,
    pub column_stride: isize,
}

impl<P> View<P> {
    /// The view with rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        Self { start: self.start, row_stride: self.column_stride, column_stride: self.row_stride }
    }
}

impl View<*const f32> {
    /// The same with the address as a number, which threads may share.
    fn address(self) -> View<usize> {
        View { start: self.start as usize, row_stride: self.row_stride, column_stride: self.column_stride }
    }
}

/// A row-major matrix of `columns` columns.
pub(crate) fn rows<P>(start: P, columns: usize) -> View<P> {
    View { start, row_stride: columns as isize, column_stride: 1 }
}

/// `c = [c +] alpha · a·b` with `a [m, k]`, `b [k, n]`, `c [m, n]`.
///
/// # Safety
/// All elements must lie in live memory, `c` must not overlap `a` or `b`, and no other task may touch `c`.
#[allow(clippy::too_many_arguments)] // a matrix product has eight facts
pub(crate) unsafe fn matmul(
    [m, n, k]: [usize; 3],
    a: View<*const f32>,
    b: View<*const f32>,
    c: View<*mut f32>,
    accumulate: bool,
    alpha: f32,
    threads: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    if c.column_stride == 1 && few_rows::applies(m, n, &a, &b) {
        // SAFETY: promised by the caller.
        return unsafe { few([m, n, k], a, b, c, accumulate, alpha, threads) };
    }
    if m == 1 || n == 1 || m * n <= 256 || k <= 2 {
        // SAFETY: promised by the caller.
        return unsafe { small([m, n, k], a, b, c, accumulate, alpha, threads) };
    }
    let parallelism = if threads { Parallelism::Rayon(0) } else { Parallelism::None };
    for start in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - start);
        // SAFETY: promised by the caller.
        unsafe {
            let a_start = a.start.offset(start as isize * a.column_stride);
            let b_start = b.start.offset(start as isize * b.row_stride);
            gemm(
                m,
                n,
                depth,
                c.start,
                c.column_stride,
                c.row_stride,
                accumulate || start > 0,
                a_start,
                a.column_stride,
                a.row_stride,
                b_start,
                b.column_stride,
                b.row_stride,
                1.0,
                alpha,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// [`matmul`] where [`few_rows::applies`]: whole blocks of outputs there, what is left over by [`small`].
///
/// # Safety
/// As [`matmul`].
unsafe fn few(
    [m, n, k]: [usize; 3],
    a: View<*const f32>,
    b: View<*const f32>,
    c: View<*mut f32>,
    accumulate: bool,
    alpha: f32,
    threads: bool,
) {
    let whole = n / few_rows::SIDE * few_rows::SIDE;
    let (a_address, b_address, c_start) = (a.address(), b.address(), c.start as usize);
    let block = move |j: usize| {
        let mut sums = [[0.0; few_rows::SIDE]; few_rows::MOST_ROWS];
        for start in (0..k).step_by(DEPTH) {
            let piece = |view: View<usize>, shift: isize| View {
                start: (view.start as *const f32).wrapping_offset(shift),
                row_stride: view.row_stride,
                column_stride: view.column_stride,
            };
            let columns = j as isize * b_address.column_stride + start as isize;
            let (a, b) = (piece(a_address, start as isize), piece(b_address, columns));
            // What comes next: another piece of these columns, or the first one of the next block. Columns are often a page
            // or more apart, where the processor foresees nothing.
            let ahead = if start + DEPTH < k {
                DEPTH as isize
            } else {
                few_rows::SIDE as isize * b_address.column_stride - start as isize
            };
            // SAFETY: promised by the caller; `few_rows::applies` was asked.
            unsafe { few_rows::sums(m, a, b, DEPTH.min(k - start), ahead, &mut sums) };
            for (i, sums) in sums[..m].iter().enumerate() {
                let row = (c_start as *mut f32).wrapping_offset(i as isize * c.row_stride + j as isize);
                // SAFETY: sixteen elements inside the caller's `c`, and blocks do not overlap.
                let places = unsafe { std::slice::from_raw_parts_mut(row, few_rows::SIDE) };
                for (place, &sum) in places.iter_mut().zip(sums) {
                    *place = if accumulate || start > 0 { alpha.mul_add(sum, *place) } else { alpha * sum };
                }
            }
        }
    };
    if threads && m * n * k > 64 * 1024 {
        (0..whole / few_rows::SIDE)
            .into_par_iter()
            .with_min_len(4)
            .for_each(|task| block(task * few_rows::SIDE));
    } else {
        (0..whole).step_by(few_rows::SIDE).for_each(block);
    }
    if whole < n || k == 0 {
        let first = if k == 0 { 0 } else { whole } as isize;
        let b = View { start: b.start.wrapping_offset(first * b.column_stride), ..b };
        let c = View { start: c.start.wrapping_offset(first), ..c };
        // SAFETY: the columns that are left, with the same promises.
        unsafe { small([m, n - first as usize, k], a, b, c, accumulate, alpha, threads) };
    }
}

/// Columns that [`small`] computes side by side.
const COLUMNS: usize = 16;

/// [`matmul`] for a few rows or columns: as many chains of multiply-adds as the processor can overlap.
///
/// # Safety
/// As [`matmul`].
unsafe fn small(
    [m, n, k]: [usize; 3],
    a: View<*const f32>,
    b: View<*const f32>,
    c: View<*mut f32>,
    accumulate: bool,
    alpha: f32,
    threads: bool,
) {
    // Blocks run along the longer side.
    if m > n {
        // SAFETY: the transposed product, with the same promises.
        return unsafe { small([n, m, k], b.t(), a.t(), c.t(), accumulate, alpha, threads) };
    }
    let (a, b, c) = (
        a.address(),
        b.address(),
        View { start: c.start as usize, row_stride: c.row_stride, column_stride: c.column_stride },
    );
    let block = move |i: usize, j: usize| {
        let width = COLUMNS.min(n - j);
        let a_row = (a.start as *const f32).wrapping_offset(i as isize * a.row_stride);
        let b_block = (b.start as *const f32).wrapping_offset(j as isize * b.column_stride);
        let c_block =
            (c.start as *mut f32).wrapping_offset(i as isize * c.row_stride + j as isize * c.column_stride);
        for start in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - start);
            let a_piece = a_row.wrapping_offset(start as isize * a.column_stride);
            let b_piece = b_block.wrapping_offset(start as isize * b.row_stride);
            let sums = chains(a_piece, a.column_stride, b_piece, b.row_stride, b.column_stride, depth, width);
            for (x, &sum) in sums[..width].iter().enumerate() {
                // SAFETY: inside the caller's `c`, and blocks do not overlap.
                let place = unsafe { &mut *c_block.wrapping_offset(x as isize * c.column_stride) };
                *place = if accumulate || start > 0 { alpha.mul_add(sum, *place) } else { alpha * sum };
            }
        }
        if k == 0 && !accumulate {
            for x in 0..width {
                // SAFETY: as above.
                unsafe { *c_block.wrapping_offset(x as isize * c.column_stride) = 0.0 };
            }
        }
    };
    let blocks = n.div_ceil(COLUMNS);
    if threads && m * n * k > 64 * 1024 {
        (0..m * blocks)
            .into_par_iter()
            .with_min_len(8)
            .for_each(|task| block(task / blocks, task % blocks * COLUMNS));
    } else {
        for i in 0..m {
            (0..n).step_by(COLUMNS).for_each(|j| block(i, j));
        }
    }
}

multiversion! {
    /// `Σ a[p]·b[p][x]` for `width` columns of `b`. Reads only inside the strided row of `a` and columns of `b`.
    fn chains(
        a: *const f32, a_stride: isize, b: *const f32, b_row: isize, b_column: isize, depth: usize, width: usize,
    ) -> [f32; COLUMNS] {
        let mut sums = [0.0_f32; COLUMNS];
        for p in 0..depth as isize {
            // SAFETY: `matmul`'s caller promises these elements.
            let factor = unsafe { *a.offset(p * a_stride) };
            let row = b.wrapping_offset(p * b_row);
            if width == COLUMNS && b_column == 1 {
                // SAFETY: as above, sixteen neighbours.
                let row = unsafe { &*row.cast::<[f32; COLUMNS]>() };
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum = factor.mul_add(value, *sum);
                }
            } else if width == COLUMNS {
                for (x, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *sum = factor.mul_add(unsafe { *row.offset(x as isize * b_column) }, *sum);
                }
            } else {
                for (x, sum) in sums[..width].iter_mut().enumerate() {
                    // SAFETY: as above.
                    *sum = factor.mul_add(unsafe { *row.offset(x as isize * b_column) }, *sum);
                }
            }
        }
        sums
    }
}

/// A whole matrix, row-major `[rows, columns]` or (`transposed`) the transpose of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    /// Row-major `[rows, columns]`.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix [{rows}, {columns}]");
        Self { data, rows, columns, transposed: false }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    fn view(self) -> View<*const f32> {
        if self.transposed {
            rows(self.data.as_ptr(), self.rows).t()
        } else {
            rows(self.data.as_ptr(), self.columns)
        }
    }
}

/// `a·b`, plus `bias` (when not empty) on every row; row-major.
pub(crate) fn product(a: Matrix, b: Matrix, bias: &[f32]) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "inner dimension of a matrix product");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let mut c = for_overwrite(m * n);
    if !bias.is_empty() {
        c.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias));
    }
    // SAFETY: the three matrices are whole slices of these sizes, and `c` is new.
    unsafe {
        matmul([m, n, k], a.view(), b.view(), rows(c.as_mut_ptr(), n), !bias.is_empty(), 1.0, true);
    }
    c
}
