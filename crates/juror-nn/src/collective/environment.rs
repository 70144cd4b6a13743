//! What the environment says: which processes train together, on which GPU each, and by which way numbers go between them.
//!
//! On GPUs, in a build for GPUs, NCCL averages; `JUROR_COLLECTIVE=ring` sends everything through the host's memory and the ring,
//! as on CPUs. Ranks that choose differently turn each other away.

use super::{Collective, CollectiveError, Place, Result, Ring, Single};

type Variable<'a> = &'a dyn Fn(&'static str) -> Option<String>;

/// The world that the environment tells of: `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT`. Without `WORLD_SIZE`, or in a
/// world of one: [`Single`]. `gpu` is the CUDA device that this process trains on, if any. `job` must be equal on all ranks: whoever
/// runs something else is turned away.
///
/// # Errors
/// Variables that are no good, ranks that do not come, and NCCL that is needed and cannot be used.
pub fn from_env(job: u64, gpu: Option<usize>) -> Result<Box<dyn Collective>> {
    let variable = |name| std::env::var(name).ok();
    let Some(place) = Place::from_variables(variable)? else { return Ok(Box::new(Single)) };
    let gpu = nccl_gpu(gpu, cfg!(feature = "cuda"), &variable)?;
    let ring = Ring::join(&place, job.wrapping_add(u64::from(gpu.is_some())))?;
    #[cfg(feature = "cuda")]
    if let Some(gpu) = gpu {
        return Ok(Box::new(super::Nccl::start(ring, gpu)?));
    }
    Ok(Box::new(ring))
}

/// Which of its machine's processes this is, from 0, by `LOCAL_RANK` as `torchrun` sets it; 0 where it is not set.
///
/// # Errors
/// A value that is no number.
pub fn local_rank(variable: impl Fn(&'static str) -> Option<String>) -> Result<usize> {
    let name = "LOCAL_RANK";
    let Some(value) = variable(name) else { return Ok(0) };
    value.trim().parse().map_err(|_| CollectiveError::Variable {
        name,
        value: format!("`{value}`"),
        allowed: "the number of this process on its machine, from 0, is needed",
    })
}

/// The GPU that NCCL averages on; `None`: the ring does. A build without CUDA (`built`) has no GPUs; whoever opens one is told.
fn nccl_gpu(gpu: Option<usize>, built: bool, variable: Variable<'_>) -> Result<Option<usize>> {
    let name = "JUROR_COLLECTIVE";
    match variable(name) {
        None => Ok(gpu.filter(|_| built)),
        Some(value) if value == "ring" => Ok(None),
        Some(value) => Err(CollectiveError::Variable {
            name,
            value: format!("`{value}`"),
            allowed: "`ring` is allowed, or nothing: then GPUs average by NCCL, CPUs by the ring",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

    use super::*;

    fn set(value: Option<&str>) -> impl Fn(&'static str) -> Option<String> {
        let value = value.map(str::to_owned);
        move |_| value.clone()
    }

    #[test]
    fn gpus_average_by_nccl_unless_told_otherwise() {
        for (gpu, built, told, chosen) in [
            (Some(1), true, None, Some(1)),
            (Some(1), true, Some("ring"), None),
            (Some(1), false, None, None),
            (None, true, None, None),
            (None, true, Some("ring"), None),
        ] {
            assert_eq!(nccl_gpu(gpu, built, &set(told)).unwrap(), chosen, "{gpu:?} {built} {told:?}");
        }
        let error = nccl_gpu(None, true, &set(Some("mpi"))).unwrap_err().to_string();
        assert!(error.starts_with("JUROR_COLLECTIVE is `mpi`, `ring` is allowed"), "{error}");
    }

    #[test]
    fn the_local_rank_is_zero_where_nobody_sets_it() {
        assert_eq!(local_rank(set(None)).unwrap(), 0);
        assert_eq!(local_rank(set(Some("3"))).unwrap(), 3);
        let error = local_rank(set(Some("first"))).unwrap_err().to_string();
        assert!(error.starts_with("LOCAL_RANK is `first`, the number of this process"), "{error}");
    }
}
