//! Memory of the kernels: results that are written exactly once, tensors as slices, disjoint writes from threads.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// A vector whose contents must be written before they are read. Zeroing would cost as much as many kernels.
#[allow(clippy::uninit_vec)]
pub(crate) fn for_overwrite(len: usize) -> Vec<f32> {
    let mut buffer = Vec::with_capacity(len);
    // SAFETY: the capacity is there, every bit pattern is an f32, and all callers write each element before any read.
    unsafe { buffer.set_len(len) };
    buffer
}

/// Elements per task of pointwise work.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Rows per task, about [`CHUNK`] elements of `dim` each; depends on nothing else.
pub(crate) fn rows_per_task(dim: usize) -> usize {
    (CHUNK / dim.max(1)).max(1)
}

/// A new vector filled chunk by chunk: `fill(start, chunk)`.
pub(crate) fn filled(len: usize, chunk: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut out = for_overwrite(len);
    let chunk = chunk.max(1);
    if len <= chunk {
        if len > 0 {
            fill(0, &mut out);
        }
    } else {
        out.par_chunks_mut(chunk).enumerate().for_each(|(i, part)| fill(i * chunk, part));
    }
    out
}

/// A pointer that tasks with disjoint regions may share.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: tasks write disjoint regions only; each use says which.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}

/// The values of a contiguous f32 storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => {
            bail!("expected contiguous f32 values, got {:?} of {:?}", storage_dtype(storage), layout.shape())
        }
    }
}

fn storage_dtype(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Runs `f` on the values of each tensor, made contiguous.
pub(crate) fn with_slices<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let mut owned = Vec::with_capacity(N);
    for tensor in tensors {
        owned.push(tensor.contiguous()?);
    }
    let guards: Vec<_> = owned.iter().map(Tensor::storage_and_layout).collect();
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slot, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *slot = slice(storage, layout)?,
            _ => bail!("expected values on the CPU"),
        }
    }
    f(slices)
}

/// True when the fused kernels apply.
pub(crate) fn fused(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32 && tensor.device().is_cpu())
}
