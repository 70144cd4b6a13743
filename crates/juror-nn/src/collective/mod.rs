//! What several training processes do together: average numbers, hear what one of them says, wait for each other.
//!
//! Each process is a *rank* of a *world*. [`Single`] is the world of one; [`Ring`] joins processes on one machine or several
//! over TCP; in builds for GPUs, `Nccl` averages tensors from GPU to GPU and does all else by a ring. The environment chooses, as
//! `torchrun` sets it ([`from_env`]). Results are the same bits on every rank.
//! Left out: nothing on the wire is encrypted, so the network must be trusted.

mod environment;
mod greeting;
#[cfg(any(test, feature = "cuda"))]
mod nccl;
mod ring;
#[cfg(test)]
mod tests;

pub use environment::{from_env, local_rank};
pub use greeting::Place;
#[cfg(feature = "cuda")]
pub use nccl::Nccl;
pub use ring::Ring;

use candle_core::{DType, Tensor};
use std::io;
use std::ops::Range;
use std::time::Duration;

/// What can go wrong between processes.
#[derive(Debug, thiserror::Error)]
pub enum CollectiveError {
    /// A variable of the environment is absent or no good.
    #[error("{name} is {value}, {allowed}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        allowed: &'static str,
    },
    /// Ranks that never came.
    #[error("{} of {world_size} did not join within {} s{note}", listed(ranks), waited.as_secs_f64())]
    Missing {
        /// Who.
        ranks: Vec<usize>,
        /// All ranks.
        world_size: usize,
        /// How long they were waited for.
        waited: Duration,
        /// Who was turned away meanwhile, and why.
        note: String,
    },
    /// This rank was turned away.
    #[error("rank 0 at {address} turned this process away: {reason}")]
    Refused {
        /// Of rank 0.
        address: String,
        /// Why.
        reason: String,
    },
    /// A rank was there and is not any more.
    #[error("rank {rank} is missing: {reason}")]
    Lost {
        /// Who.
        rank: usize,
        /// How it was noticed.
        reason: String,
    },
    /// A rank says something that cannot be.
    #[error("rank {rank} sent {what}")]
    Garbled {
        /// Who.
        rank: usize,
        /// What came.
        what: String,
    },
    /// The network of this machine cannot be used.
    #[error("cannot {what}: {source}")]
    Network {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// NCCL is not there, or not as it is needed.
    #[error(
        "NCCL, which averages on GPUs, cannot be loaded: {0}; install libnccl2 (2.14 or later), or tell the ring by TCP to do it: \
         JUROR_COLLECTIVE=ring"
    )]
    Library(String),
    /// The GPU of this rank cannot be used.
    #[error("GPU {gpu} cannot be used: {reason}")]
    Gpu {
        /// Its number.
        gpu: usize,
        /// In CUDA's words.
        reason: String,
    },
    /// Two ranks on one GPU.
    #[error(
        "ranks {} and {} are on the same GPU, NCCL needs one for each: `cuda` without a number takes the one of LOCAL_RANK; \
         JUROR_COLLECTIVE=ring lets ranks share a GPU",
        ranks.0, ranks.1
    )]
    SharedGpu {
        /// Which.
        ranks: (usize, usize),
    },
    /// NCCL reports a failure of its own.
    #[error("NCCL cannot {task}: {reason}")]
    Nccl {
        /// What was tried.
        task: &'static str,
        /// In NCCL's words.
        reason: String,
    },
    /// NCCL does not come to an end, though nobody is missing.
    #[error(
        "NCCL did not {task} within {} s, though all ranks are alive (NCCL_DEBUG=INFO tells more; JUROR_COLLECTIVE=ring does without)",
        waited.as_secs_f64()
    )]
    Stuck {
        /// What was tried.
        task: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Tensors cannot be read or made.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

fn listed(ranks: &[usize]) -> String {
    let names: Vec<String> = ranks.iter().map(ToString::to_string).collect();
    format!("rank{} {}", if ranks.len() == 1 { "" } else { "s" }, names.join(", "))
}

type Result<T> = std::result::Result<T, CollectiveError>;

/// The processes of one training. All of them make the same calls in the same order.
pub trait Collective: Sync {
    /// Which of them this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn world_size(&self) -> usize;

    /// Replaces each number by its mean over all ranks; as many numbers on each.
    ///
    /// # Errors
    /// When a rank is missing.
    fn all_reduce_mean(&self, values: &mut [f32]) -> Result<()>;

    /// The mean over all ranks of a tensor that has the same shape on each: f32, where the tensor is.
    ///
    /// # Errors
    /// When a rank is missing.
    fn all_reduce_mean_tensor(&self, values: &Tensor) -> Result<Tensor> {
        let mut numbers = values.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        self.all_reduce_mean(&mut numbers)?;
        Ok(Tensor::from_vec(numbers, values.shape(), values.device())?)
    }

    /// Gives every rank the bytes of `root`.
    ///
    /// # Errors
    /// When a rank is missing.
    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Returns once every rank has come here.
    ///
    /// # Errors
    /// When a rank is missing.
    fn barrier(&self) -> Result<()> {
        self.all_reduce_mean(&mut [0.0])
    }

    /// Gives every rank the bytes of all, in the order of ranks.
    ///
    /// # Errors
    /// When a rank is missing.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let of = |root| if root == self.rank() { own.to_vec() } else { Vec::new() };
        (0..self.world_size()).map(|root| self.broadcast(root, of(root))).collect()
    }

    /// Whether this rank writes files and talks to people.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of `count` things: contiguous, as equal as can be.
    fn share(&self, count: usize) -> Range<usize> {
        let bound = |rank: usize| count * rank / self.world_size();
        bound(self.rank())..bound(self.rank() + 1)
    }
}

/// One process alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Collective for Single {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn all_reduce_mean(&self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }
}
