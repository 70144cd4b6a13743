//! Means over GPUs by NVIDIA's NCCL, which goes from GPU to GPU (NVLink, PCIe, InfiniBand) instead of through the host and TCP.
//!
//! Only tensors on the GPU go this way; single numbers, words and the search for missing ranks stay with a [`Ring`](super::Ring)
//! beside (`communicator.rs`). `libnccl.so.2` is loaded when training begins on several GPUs, never else (`library.rs`).
//! What NCCL gives is the same on every rank; its last bits hang on how many GPUs there are and how they are joined.
//! Left out: work on the GPU while numbers are averaged; several GPUs in one process.
//!
//! Compiled, linked and tested against a stand-in for NCCL on CPUs: no machine with GPUs was at hand, so that it has never run on
//! any. `scripts/check-ranks.sh cuda` is the check for one.
#![allow(unsafe_code)] // functions of a C library, addresses on a GPU

mod communicator;
#[cfg(feature = "cuda")]
mod gpu;
mod library;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub use gpu::Nccl;

use super::{CollectiveError, Result};

/// Fails where two ranks tell the same GPU.
fn check_distinct(gpus: &[Vec<u8>]) -> Result<()> {
    for (rank, gpu) in gpus.iter().enumerate() {
        if let Some(other) = gpus[..rank].iter().position(|other| other == gpu) {
            return Err(CollectiveError::SharedGpu { ranks: (other, rank) });
        }
    }
    Ok(())
}
