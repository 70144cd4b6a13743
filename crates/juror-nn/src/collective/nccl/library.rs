//! The functions of NVIDIA's NCCL that are called here, out of `libnccl.so.2`.
//!
//! It is loaded when it is needed: a program for GPUs is built, and starts, without it. cudarc's own binding cannot do that beside
//! candle: candle asks cudarc to link its libraries, and then it would link this one, too. Names and types are those of NCCL 2.14, the
//! first to have all of these functions, and of every release since.

use super::super::{CollectiveError, Result};
use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_void};

/// As the dynamic linker knows it; the second comes with packages for developers.
#[cfg(feature = "cuda")]
pub(super) const NAMES: &[&str] = &["libnccl.so.2", "libnccl.so"];

/// `ncclComm_t`.
pub(super) type Comm = *mut c_void;
/// `ncclResult_t`: all went well.
pub(super) const SUCCESS: c_int = 0;
/// `ncclResult_t`: begun, not finished.
pub(super) const IN_PROGRESS: c_int = 7;
/// `ncclDataType_t`: f32.
pub(super) const FLOAT32: c_int = 7;
/// `ncclRedOp_t`: the mean over ranks.
pub(super) const AVERAGE: c_int = 4;

/// `ncclUniqueId`: what a communicator is called; rank 0 makes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

/// `ncclConfig_t` of NCCL 2.14; later releases take what it lacks from their defaults.
#[repr(C)]
pub(super) struct Config {
    size: usize,
    magic: u32,
    version: u32,
    blocking: c_int,
}

impl Config {
    /// Calls return at once, and are asked how far they are: so whoever waits can see that a rank is missing.
    pub(super) fn non_blocking() -> Self {
        Self { size: size_of::<Self>(), magic: 0xcafe_beef, version: 21_400, blocking: 0 }
    }
}

/// The functions.
pub(super) struct Library {
    pub(super) get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    pub(super) comm_init_rank_config:
        unsafe extern "C" fn(*mut Comm, c_int, UniqueId, c_int, *mut Config) -> c_int,
    pub(super) comm_get_async_error: unsafe extern "C" fn(Comm, *mut c_int) -> c_int,
    pub(super) comm_abort: unsafe extern "C" fn(Comm) -> c_int,
    #[allow(
        clippy::type_complexity,
        reason = "a function of C: from, to, count, type, operation, communicator, stream"
    )]
    pub(super) all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Comm, *mut c_void) -> c_int,
    pub(super) get_error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    pub(super) get_last_error: unsafe extern "C" fn(Comm) -> *const c_char,
}

impl Library {
    /// Loads the first of `names` that is there.
    ///
    /// # Errors
    /// When none can be loaded, or it lacks a function; what is said of the first name is told.
    pub(super) fn load(names: &[&str]) -> Result<Self> {
        // The linker's own words, where it had some, are the source.
        let wrong = |error: &libloading::Error| {
            CollectiveError::Library(error.source().map_or_else(|| error.to_string(), ToString::to_string))
        };
        // SAFETY: what runs when NCCL is loaded is NVIDIA's, and has no preconditions.
        let mut found = names.iter().map(|name| unsafe { libloading::Library::new(*name) });
        let first = found.next().unwrap_or(Err(libloading::Error::DlOpenUnknown));
        let library = match first {
            Ok(library) => library,
            Err(error) => found.find_map(std::result::Result::ok).ok_or_else(|| wrong(&error))?,
        };
        // It has threads of its own: it stays to the end of the process.
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field's type is that of the function in nccl.h.
                *unsafe { library.get($name) }.map_err(|error| wrong(&error))?
            };
        }
        Ok(Self {
            get_unique_id: function!("ncclGetUniqueId"),
            comm_init_rank_config: function!("ncclCommInitRankConfig"),
            comm_get_async_error: function!("ncclCommGetAsyncError"),
            comm_abort: function!("ncclCommAbort"),
            all_reduce: function!("ncclAllReduce"),
            get_error_string: function!("ncclGetErrorString"),
            get_last_error: function!("ncclGetLastError"),
        })
    }

    /// A new name for a communicator.
    pub(super) fn unique_id(&self) -> Result<UniqueId> {
        let mut id = UniqueId([0; 128]);
        // SAFETY: `id` is as long as NCCL's.
        let code = unsafe { (self.get_unique_id)(&mut id) };
        if code == SUCCESS { Ok(id) } else { Err(self.failure("make a communicator's identifier", code)) }
    }

    /// What NCCL says of a result that is no success.
    pub(super) fn failure(&self, task: &'static str, code: c_int) -> CollectiveError {
        // SAFETY: both give strings that end with 0 and live as long as the library; the communicator of the second is not used.
        let said = unsafe { [(self.get_error_string)(code), (self.get_last_error)(std::ptr::null_mut())] };
        let said = said.into_iter().filter(|text| !text.is_null());
        // SAFETY: as above.
        let said = said.map(|text| unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned());
        let said: Vec<String> = said.filter(|text| !text.is_empty()).collect();
        CollectiveError::Nccl { task, reason: said.join(": ") }
    }
}
