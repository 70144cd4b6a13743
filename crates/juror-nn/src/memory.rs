//! The allocator of the process.
//!
//! Tensors of some megabytes come and go with every operation. By default the C library of Linux hands such memory
//! back to the kernel when it is freed and gets it anew, page by page, cleared: up to 40 % of a training step.
#![allow(unsafe_code)] // one call into the C library

/// Keeps freed memory in the process instead of giving it back to the kernel. Call it once, first thing in `main`.
///
/// Does nothing but on Linux with the GNU C library. The process stays at its peak size until it ends.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes two numbers and has no preconditions; an unknown setting is ignored.
    unsafe {
        // 32 MiB is the largest threshold glibc accepts.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
