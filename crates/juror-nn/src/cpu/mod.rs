//! Kernels for f32 on the CPU. Plain slices in and out; no tensors, no graph.
//!
//! Work is cut into pieces of a fixed size (rows, heads, chunks), each piece is computed by one thread, and sums over
//! pieces are added in their order, so results do not depend on the number of threads.
#![allow(unsafe_code)] // SIMD dispatch, buffers that are written before they are read, calls into `gemm`

pub(crate) mod attention;
pub(crate) mod buffer;
pub(crate) mod conv3d;
pub(crate) mod few_rows;
pub(crate) mod loss;
pub(crate) mod matmul;
pub(crate) mod packed;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod rope;
pub(crate) mod rows;
pub(crate) mod simd;
pub(crate) mod update;
