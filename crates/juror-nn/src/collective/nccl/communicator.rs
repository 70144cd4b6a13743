//! A communicator of NCCL beside a ring: NCCL moves the numbers, the ring knows who is there.
//!
//! NCCL waits without end for a rank that does not come, and cannot say which. So every operation is agreed upon around the ring first,
//! where a missing rank is named, and while NCCL works the ring is watched: a rank that falls silent or closes its connection ends the
//! operation ([`Ring::watch`]). What takes longer than the ring's time limit although all are alive is an error, too. After an error
//! the communicator is aborted, which frees the GPU, and does nothing more.
//!
//! This file knows addresses and streams, no CUDA: its tests have a stand-in for NCCL on the host.

use super::super::ring::LAST_WORDS;
use super::super::{Collective, CollectiveError, Result, Ring};
use super::library::{AVERAGE, Comm, Config, FLOAT32, IN_PROGRESS, Library, SUCCESS, UniqueId};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at what NCCL does.
const GLANCE: Duration = Duration::from_micros(50);

/// One rank's end.
pub(super) struct Communicator {
    ring: Ring,
    library: Library,
    /// Null: aborted.
    comm: Mutex<Handle>,
}

struct Handle(Comm);

// SAFETY: NCCL lets any thread use a communicator, one at a time; the mutex around it sees to that.
unsafe impl Send for Handle {}

/// Numbers in the memory of a GPU, f32.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) from: *const c_void,
    pub(super) to: *mut c_void,
    pub(super) count: usize,
    /// `cudaStream_t`.
    pub(super) stream: *mut c_void,
}

impl Communicator {
    /// Meets all ranks of the ring. The calling thread's CUDA device becomes that of the communicator.
    ///
    /// # Errors
    /// When a rank is missing, or NCCL fails.
    pub(super) fn join(ring: Ring, library: Library) -> Result<Self> {
        let own = if ring.is_first() { library.unique_id()?.0.to_vec() } else { Vec::new() };
        let id = ring.broadcast(0, own)?;
        let id: [u8; 128] = id.try_into().map_err(|id: Vec<u8>| CollectiveError::Garbled {
            rank: 0,
            what: format!("{} bytes of an identifier of NCCL, 128 are due", id.len()),
        })?;
        let (ranks, rank) = (ring.world_size() as c_int, ring.rank() as c_int);
        let (mut comm, mut config) = (null_mut(), Config::non_blocking());
        // SAFETY: `comm` and `config` live through the call; NCCL copies what it is told.
        let code =
            unsafe { (library.comm_init_rank_config)(&mut comm, ranks, UniqueId(id), rank, &mut config) };
        let this = Self { ring, library, comm: Mutex::new(Handle(comm)) };
        let task = "meet the other ranks";
        this.succeeded(task, code)?;
        this.guarded(|comm| this.settle(comm, task))?;
        Ok(this)
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Writes the mean over all ranks; returns once it is written. `finished` tells whether the stream has done all that it was given before the
    /// first call.
    ///
    /// # Errors
    /// When a rank is missing or has another count, or NCCL fails.
    ///
    /// # Safety
    /// `from` and `to` are `count` f32 on the communicator's device, `stream` is a stream of it; nothing else uses them meanwhile.
    pub(super) unsafe fn average(
        &self,
        numbers: Numbers,
        finished: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let Numbers { from, to, count, stream } = numbers;
        let task = "average numbers";
        self.guarded(|comm| {
            for (rank, theirs) in self.ring.all_gather(&count.to_le_bytes())?.iter().enumerate() {
                if *theirs != count.to_le_bytes() {
                    let what = format!("another count of numbers to average than the {count} of this rank");
                    return Err(CollectiveError::Garbled { rank, what });
                }
            }
            // SAFETY: by this function's contract, and the communicator is there (`guarded`).
            let code = unsafe { (self.library.all_reduce)(from, to, count, FLOAT32, AVERAGE, comm, stream) };
            self.succeeded(task, code)?;
            self.settle(comm, task)?;
            self.wait(task, finished)?;
            // A failure of the network ends the work on the stream, too.
            self.settle(comm, task)
        })
    }

    /// Lets `work` use the communicator, and aborts it where that fails.
    fn guarded(&self, work: impl FnOnce(Comm) -> Result<()>) -> Result<()> {
        let mut handle = self.comm.lock().unwrap_or_else(PoisonError::into_inner);
        let done = if handle.0.is_null() {
            let reason = "it did not start, or failed before".to_owned();
            Err(CollectiveError::Nccl { task: "go on", reason })
        } else {
            work(handle.0)
        };
        if done.is_err() {
            self.abort(&mut handle);
        }
        done
    }

    fn abort(&self, handle: &mut Handle) {
        let comm = std::mem::replace(&mut handle.0, null_mut());
        if !comm.is_null() {
            // SAFETY: it is aborted once. Whether that succeeds changes nothing here.
            unsafe { (self.library.comm_abort)(comm) };
        }
    }

    /// Waits until what was begun is under way on this rank; it may need others for that.
    fn settle(&self, comm: Comm, task: &'static str) -> Result<()> {
        self.wait(task, || {
            let mut state = SUCCESS;
            // SAFETY: the communicator is there, `state` lives through the call.
            let asked = unsafe { (self.library.comm_get_async_error)(comm, &mut state) };
            self.succeeded(task, asked)?;
            self.succeeded(task, state)
        })
    }

    /// Whether `code` says so, or that it takes longer.
    fn succeeded(&self, task: &'static str, code: c_int) -> Result<bool> {
        match code {
            SUCCESS => Ok(true),
            IN_PROGRESS => Ok(false),
            code => Err(self.blame(self.library.failure(task, code))),
        }
    }

    /// Waits until `done`, for the ring's time limit, as long as all ranks are there.
    fn wait(&self, task: &'static str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let waited = self.ring.timeout();
        let (mut end, mut error) = (Instant::now() + waited, CollectiveError::Stuck { task, waited });
        let mut all_there = true;
        while !done()? {
            if Instant::now() >= end {
                return Err(error);
            }
            if all_there && let Err(missing) = self.ring.watch() {
                // A rank may leave when it is done, a moment before this one is.
                (end, error, all_there) = (Instant::now() + LAST_WORDS, missing, false);
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// NCCL may notice that a rank is gone before the ring does, but not which.
    fn blame(&self, failure: CollectiveError) -> CollectiveError {
        let begin = Instant::now();
        while begin.elapsed() < LAST_WORDS {
            if let Err(missing) = self.ring.watch() {
                return missing;
            }
            std::thread::sleep(GLANCE);
        }
        failure
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // All work is done, or has failed: there is nothing that an orderly end would wait for.
        let mut handle = std::mem::replace(
            &mut *self.comm.lock().unwrap_or_else(PoisonError::into_inner),
            Handle(null_mut()),
        );
        self.abort(&mut handle);
    }
}
