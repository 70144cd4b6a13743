//! Matrix products on strided views, by the `gemm` crate.

use super::buffer::for_overwrite;
use gemm::{Parallelism, gemm};

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
    let parallelism = if threads { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: promised by the caller.
    unsafe {
        gemm(
            m,
            n,
            k,
            c.start,
            c.column_stride,
            c.row_stride,
            accumulate,
            a.start,
            a.column_stride,
            a.row_stride,
            b.start,
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
