#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use super::super::tests::world_within;
use super::super::{Collective, CollectiveError, Ring};
use super::check_distinct;
use super::communicator::{Communicator, Numbers};
use super::library::{AVERAGE, Comm, Config, FLOAT32, IN_PROGRESS, Library, SUCCESS, UniqueId};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// NCCL as far as it is called, on the host: ranks are threads, a stream is a flag that is set when the work on it is done.
mod stand_in {
    use super::*;

    /// What a rank gave to average: from, to, count, stream.
    type Given = (usize, usize, usize, usize);

    #[derive(Default)]
    struct World {
        size: usize,
        joined: usize,
        aborted: usize,
        given: BTreeMap<c_int, Given>,
        fails: bool,
    }

    struct Rank {
        id: [u8; 128],
        rank: c_int,
    }

    static WORLDS: Mutex<BTreeMap<[u8; 128], World>> = Mutex::new(BTreeMap::new());
    static IDS: AtomicU8 = AtomicU8::new(0);
    /// This many numbers end in a failure.
    pub const FAILS: usize = 13;
    const FAILURE: c_int = 6;

    fn with<T>(comm: Comm, work: impl FnOnce(&mut World, c_int) -> T) -> T {
        let rank = unsafe { &*comm.cast::<Rank>() };
        work(WORLDS.lock().unwrap().get_mut(&rank.id).unwrap(), rank.rank)
    }

    unsafe extern "C" fn get_unique_id(id: *mut UniqueId) -> c_int {
        let first = IDS.fetch_add(1, Ordering::Relaxed);
        unsafe { *id = UniqueId(std::array::from_fn(|i| first.wrapping_sub(i as u8))) };
        SUCCESS
    }

    unsafe extern "C" fn init(
        comm: *mut Comm,
        size: c_int,
        UniqueId(id): UniqueId,
        rank: c_int,
        _: *mut Config,
    ) -> c_int {
        let mut worlds = WORLDS.lock().unwrap();
        let world = worlds.entry(id).or_default();
        world.size = size as usize;
        world.joined += 1;
        unsafe { *comm = Box::into_raw(Box::new(Rank { id, rank })).cast() };
        IN_PROGRESS
    }

    unsafe extern "C" fn state(comm: Comm, state: *mut c_int) -> c_int {
        let now = with(comm, |world, _| match (world.fails, world.joined < world.size) {
            (true, _) => FAILURE,
            (false, true) => IN_PROGRESS,
            (false, false) => SUCCESS,
        });
        unsafe { *state = now };
        SUCCESS
    }

    unsafe extern "C" fn abort(comm: Comm) -> c_int {
        with(comm, |world, rank| {
            world.aborted += 1;
            world.given.remove(&rank);
        });
        drop(unsafe { Box::from_raw(comm.cast::<Rank>()) });
        SUCCESS
    }

    unsafe extern "C" fn all_reduce(
        from: *const c_void,
        to: *mut c_void,
        count: usize,
        kind: c_int,
        operation: c_int,
        comm: Comm,
        stream: *mut c_void,
    ) -> c_int {
        assert_eq!((kind, operation), (FLOAT32, AVERAGE));
        with(comm, |world, rank| {
            world.fails |= count == FAILS;
            world.given.insert(rank, (from as usize, to as usize, count, stream as usize));
            if world.given.len() < world.size {
                return;
            }
            let given = std::mem::take(&mut world.given);
            // The ranks wait for their flags, so that what they gave is still there.
            let slice = |&(from, _, count, _): &Given| unsafe {
                std::slice::from_raw_parts(from as *const f32, count)
            };
            let mean = |i: usize| given.values().map(|g| slice(g)[i]).sum::<f32>() / world.size as f32;
            let mean: Vec<f32> = (0..count).map(mean).collect();
            for &(_, to, count, stream) in given.values() {
                unsafe {
                    std::slice::from_raw_parts_mut(to as *mut f32, count).copy_from_slice(&mean);
                    (*(stream as *const AtomicBool)).store(true, Ordering::Release);
                }
            }
        });
        SUCCESS
    }

    unsafe extern "C" fn error_string(_: c_int) -> *const c_char {
        c"remote process exited".as_ptr()
    }

    unsafe extern "C" fn last_error(_: Comm) -> *const c_char {
        c"".as_ptr()
    }

    pub fn library() -> Library {
        Library {
            get_unique_id,
            comm_init_rank_config: init,
            comm_get_async_error: state,
            comm_abort: abort,
            all_reduce,
            get_error_string: error_string,
            get_last_error: last_error,
        }
    }
}

fn average(communicator: &Communicator, values: &[f32]) -> Result<Vec<f32>, CollectiveError> {
    let done = AtomicBool::new(false);
    let mut mean = vec![0f32; values.len()];
    let numbers = Numbers {
        from: values.as_ptr().cast(),
        to: mean.as_mut_ptr().cast(),
        count: values.len(),
        stream: (&raw const done).cast_mut().cast(),
    };
    unsafe { communicator.average(numbers, || Ok(done.load(Ordering::Acquire)))? };
    Ok(mean)
}

fn join(ring: Ring) -> Communicator {
    Communicator::join(ring, stand_in::library()).unwrap()
}

#[test]
fn all_ranks_meet_by_the_identifier_of_the_first_and_average() {
    let means = world_within(3, 20.0, |ring| {
        let communicator = join(ring);
        let own = communicator.ring().rank() as f32;
        (0..50)
            .map(|step| average(&communicator, &[own, 3.0 * own, step as f32]).unwrap())
            .collect::<Vec<_>>()
    });
    for mean in means {
        for (step, mean) in mean.iter().enumerate() {
            assert_eq!(mean, &[1.0, 3.0, step as f32]);
        }
    }
}

#[test]
fn a_rank_that_does_not_come_to_average_is_named_and_the_communicator_ends() {
    let errors = world_within(4, 20.0, |ring| {
        let communicator = join(ring);
        if communicator.ring().rank() == 2 {
            return Vec::new();
        }
        (0..2).map(|_| average(&communicator, &[1.0]).unwrap_err().to_string()).collect()
    });
    for rank in [0, 1, 3] {
        assert!(errors[rank][0].starts_with("rank 2 is missing"), "{rank}: {errors:?}");
        let again = "NCCL cannot go on: it did not start, or failed before";
        assert_eq!(errors[rank][1], again);
    }
}

#[test]
fn a_rank_that_goes_while_nccl_works_is_named() {
    let errors = world_within(4, 20.0, |ring| {
        let communicator = join(ring);
        if communicator.ring().rank() == 2 {
            // It agrees, and then gives NCCL nothing.
            communicator.ring().all_gather(&1usize.to_le_bytes()).unwrap();
            return String::new();
        }
        average(&communicator, &[1.0]).unwrap_err().to_string()
    });
    for rank in [0, 1, 3] {
        assert!(errors[rank].starts_with("rank 2 is missing"), "{rank}: {errors:?}");
    }
}

#[test]
fn what_nccl_never_ends_is_given_up_though_all_are_alive() {
    let errors = world_within(2, 2.0, |ring| {
        let communicator = join(ring);
        if communicator.ring().rank() == 1 {
            communicator.ring().all_gather(&1usize.to_le_bytes()).unwrap();
            return communicator.ring().barrier().unwrap_err().to_string();
        }
        average(&communicator, &[1.0]).unwrap_err().to_string()
    });
    assert!(errors[0].starts_with("NCCL did not average numbers within 2 s, though all"), "{errors:?}");
    assert!(errors[1].starts_with("rank 0 is missing"), "{errors:?}");
}

#[test]
fn a_failure_of_nccl_is_told_in_its_words() {
    let errors = world_within(2, 20.0, |ring| {
        let communicator = join(ring);
        let error = average(&communicator, &[1.0; stand_in::FAILS]).unwrap_err().to_string();
        // Nobody leaves before all have seen it.
        communicator.ring().barrier().unwrap();
        error
    });
    for error in errors {
        assert_eq!(error, "NCCL cannot average numbers: remote process exited");
    }
}

#[test]
fn ranks_with_other_counts_are_told_apart() {
    let errors = world_within(2, 20.0, |ring| {
        let communicator = join(ring);
        let own = vec![1.0; 2 + communicator.ring().rank()];
        average(&communicator, &own).unwrap_err().to_string()
    });
    assert_eq!(errors[0], "rank 1 sent another count of numbers to average than the 2 of this rank");
}

#[test]
fn a_library_that_is_not_there_is_named_with_the_way_out() {
    for (names, said) in [
        (&["libjuror-has-none.so.2", "libjuror-has-none.so"][..], "libjuror-has-none.so.2"),
        // Any that has none of the functions.
        (&["libjuror-has-none.so.2", "libc.so.6"], "ncclGetUniqueId"),
    ] {
        let error = Library::load(names).err().unwrap().to_string();
        assert!(error.starts_with("NCCL, which averages on GPUs, cannot be loaded: "), "{error}");
        assert!(error.contains(said) && error.contains("; install libnccl2 (2.14 or later)"), "{error}");
        assert!(error.ends_with("JUROR_COLLECTIVE=ring"), "{error}");
    }
}

#[test]
#[ignore = "needs libnccl.so.2"]
fn the_library_has_the_functions_and_makes_identifiers() {
    let library = Library::load(&["libnccl.so.2"]).unwrap();
    assert_ne!(library.unique_id().unwrap(), library.unique_id().unwrap());
}

#[test]
fn ranks_on_one_gpu_are_named() {
    let gpus = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    check_distinct(&gpus(&["a", "b", "c"])).unwrap();
    let error = check_distinct(&gpus(&["a", "b", "c", "b"])).unwrap_err().to_string();
    assert!(error.starts_with("ranks 1 and 3 are on the same GPU, NCCL needs one for each"), "{error}");
}
