//! The collective: candle's tensors on one side, a communicator on the other.
//!
//! NCCL has a stream of its own. candle's stream is waited for before an operation and the operation before its result is used, so that
//! nothing but the host orders the two; candle's is the stream of a thread, which means another one in NCCL's threads.

use super::super::{Collective, CollectiveError, Result, Ring};
use super::check_distinct;
use super::communicator::{Communicator, Numbers};
use super::library::{Library, NAMES};
use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaStream, DevicePtr, DevicePtrMut, DriverError,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Layout, Storage, Tensor};
use std::sync::Arc;

/// Ranks that average on their GPUs.
pub struct Nccl {
    communicator: Communicator,
    stream: Arc<CudaStream>,
}

impl Nccl {
    /// Meets the ranks of `ring`, each on its GPU; `gpu` is the CUDA device of this one.
    ///
    /// # Errors
    /// When NCCL is not installed, the GPU cannot be used or is another rank's, or a rank is missing.
    pub fn start(ring: Ring, gpu: usize) -> Result<Self> {
        let library = Library::load(NAMES)?;
        let fail = |error| failure(gpu, error);
        let context = CudaContext::new(gpu).map_err(fail)?;
        let uuid = context.uuid().map_err(fail)?.bytes.map(|byte| byte as u8);
        check_distinct(&ring.all_gather(&uuid)?)?;
        // Also makes the context that of this thread, where NCCL looks for its device.
        let stream = context.new_stream().map_err(fail)?;
        Ok(Self { communicator: Communicator::join(ring, library)?, stream })
    }
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.communicator.ring().rank()
    }

    fn world_size(&self) -> usize {
        self.communicator.ring().world_size()
    }

    fn all_reduce_mean(&self, values: &mut [f32]) -> Result<()> {
        self.communicator.ring().all_reduce_mean(values)
    }

    fn all_reduce_mean_tensor(&self, values: &Tensor) -> Result<Tensor> {
        let values = values.to_dtype(DType::F32)?.contiguous()?;
        let (storage, layout) = values.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) if values.elem_count() > 0 => self.average(storage, layout),
            _ => self.communicator.ring().all_reduce_mean_tensor(&values),
        }
    }

    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.communicator.ring().broadcast(root, bytes)
    }
}

impl Nccl {
    /// Of contiguous f32.
    fn average(&self, values: &CudaStorage, layout: &Layout) -> Result<Tensor> {
        let (device, count) = (&values.device, layout.shape().elem_count());
        let theirs = device.cuda_stream();
        let [own, other] = [&self.stream, &theirs].map(|stream| stream.context().ordinal());
        if own != other {
            Err(candle_core::Error::msg(format!(
                "numbers of GPU {other} cannot be averaged by NCCL on GPU {own}"
            )))?;
        }
        // SAFETY: every number is written below, or the memory is freed unread.
        let mut mean = unsafe { device.alloc::<f32>(count)? };
        let start = layout.start_offset();
        {
            let values = values.as_cuda_slice::<f32>()?.slice(start..start + count);
            let (from, _read) = values.device_ptr(&theirs);
            let (to, _written) = mean.device_ptr_mut(&theirs);
            // The numbers are there, and the memory for their mean.
            device.synchronize()?;
            let stream = self.stream.cu_stream().cast();
            let numbers = Numbers { from: from as *const _, to: to as *mut _, count, stream };
            let fail = |error| failure(own, error);
            let mut end = None;
            let finished = || {
                let end = match &end {
                    Some(end) => end,
                    None => end.insert(self.stream.record_event(None).map_err(fail)?),
                };
                end.try_is_complete().map_err(fail)
            };
            // SAFETY: `count` numbers lie at both places; candle's stream is empty, and nobody gives it work before this is done.
            unsafe { self.communicator.average(numbers, finished)? };
        }
        let mean = CudaStorage::wrap_cuda_slice(mean, device.clone());
        Ok(Tensor::from_storage(Storage::Cuda(mean), layout.shape(), BackpropOp::none(), false))
    }
}

fn failure(gpu: usize, error: DriverError) -> CollectiveError {
    CollectiveError::Gpu { gpu, reason: error.to_string() }
}
