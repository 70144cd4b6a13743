//! A few rows times a matrix whose inner dimension lies side by side: `y = x·Wᵀ` with `W` row-major, token by token.
//!
//! `gemm` would copy the weights into its own order first, which costs more than the product. Here 16 x 16 squares of `W`
//! are turned in registers (AVX-512), so that 16 outputs grow side by side, each along `k` in order: the same bits as
//! [`super::matmul`] gives otherwise.

use super::matmul::View;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, _MM_HINT_T1, _mm_prefetch, _mm512_castpd_ps, _mm512_castps_pd, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps,
    _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

/// Outputs side by side, and inputs of a square.
pub(crate) const SIDE: usize = 16;
/// More rows than these are left to `gemm`.
pub(crate) const MOST_ROWS: usize = 16;

/// Sums of some rows against 16 outputs.
pub(crate) type Sums = [[f32; SIDE]; MOST_ROWS];

/// Whether [`sums`] takes such a product.
pub(crate) fn applies(rows: usize, outputs: usize, a: &View<*const f32>, b: &View<*const f32>) -> bool {
    #[cfg(target_arch = "x86_64")]
    if super::simd::level() == super::simd::Level::Avx512 {
        return rows <= MOST_ROWS && outputs >= SIDE && a.column_stride == 1 && b.row_stride == 1;
    }
    let _ = (rows, outputs, a, b);
    false
}

/// The sums over `depth` inputs of `rows` rows of `a` against 16 columns of `b`; the same place of `b` moved by `ahead` is
/// fetched into the cache meanwhile (it may lie outside).
///
/// # Safety
/// [`applies`] has said so, and all these elements lie in live memory.
pub(crate) unsafe fn sums(
    rows: usize,
    a: View<*const f32>,
    b: View<*const f32>,
    depth: usize,
    ahead: isize,
    to: &mut Sums,
) {
    #[cfg(target_arch = "x86_64")]
    {
        let mut first = 0;
        while first < rows {
            let a = View { start: a.start.wrapping_offset(first as isize * a.row_stride), ..a };
            // SAFETY: promised by the caller.
            unsafe {
                let to = &mut to[first..];
                first += match rows - first {
                    8.. => square_sums::<8>(a, b, depth, ahead, to),
                    4.. => square_sums::<4>(a, b, depth, ahead, to),
                    2.. => square_sums::<2>(a, b, depth, ahead, to),
                    _ => square_sums::<1>(a, b, depth, ahead, to),
                };
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (rows, a, b, depth, ahead, to);
}

/// [`sums`] of `ROWS` rows; gives their number.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn square_sums<const ROWS: usize>(
    a: View<*const f32>,
    b: View<*const f32>,
    depth: usize,
    ahead: isize,
    to: &mut [[f32; SIDE]],
) -> usize {
    let mut chains = [_mm512_setzero_ps(); ROWS];
    for start in (0..depth).step_by(SIDE) {
        let count = SIDE.min(depth - start);
        let mut rows = [_mm512_setzero_ps(); SIDE];
        for (j, row) in rows.iter_mut().enumerate() {
            // SAFETY: `count` elements of column `j` from `start` on, promised by the caller.
            *row = unsafe {
                let place = b.start.offset(j as isize * b.column_stride + start as isize);
                _mm_prefetch::<_MM_HINT_T1>(place.wrapping_offset(ahead).cast());
                if count == SIDE {
                    _mm512_loadu_ps(place)
                } else {
                    _mm512_maskz_loadu_ps((1 << count) - 1, place)
                }
            };
        }
        let inputs = turned(rows);
        for (k, input) in inputs.iter().enumerate().take(count) {
            for (row, chain) in chains.iter_mut().enumerate() {
                // SAFETY: an element of row `row` of `a`.
                let factor = unsafe { *a.start.offset(row as isize * a.row_stride + (start + k) as isize) };
                *chain = _mm512_fmadd_ps(_mm512_set1_ps(factor), *input, *chain);
            }
        }
    }
    for (to, chain) in to.iter_mut().zip(chains) {
        // SAFETY: sixteen numbers.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), chain) };
    }
    ROWS
}

/// The transpose of a square.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn turned(rows: [__m512; SIDE]) -> [__m512; SIDE] {
    // Fours of rows: lane `l` of `fours[g][j]` holds column `4l + j` of the rows `4g..4g + 4`.
    let mut fours = [[_mm512_setzero_ps(); 4]; 4];
    for (four, rows) in fours.iter_mut().zip(rows.chunks_exact(4)) {
        let low = |a, b| _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
        let high = |a, b| _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
        let (a, b) = (low(rows[0], rows[1]), low(rows[2], rows[3]));
        let (c, d) = (high(rows[0], rows[1]), high(rows[2], rows[3]));
        *four = [
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)),
        ];
    }
    let mut columns = [_mm512_setzero_ps(); SIDE];
    for j in 0..4 {
        // Even lanes (0x88) and odd ones (0xdd) of two vectors, twice.
        let even = [(0, 1), (2, 3)].map(|(g, h)| _mm512_shuffle_f32x4::<0x88>(fours[g][j], fours[h][j]));
        let odd = [(0, 1), (2, 3)].map(|(g, h)| _mm512_shuffle_f32x4::<0xdd>(fours[g][j], fours[h][j]));
        columns[j] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
        columns[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
        columns[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
        columns[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}
