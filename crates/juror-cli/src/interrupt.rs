//! Ctrl-C and termination: no half-written file stays behind, and the exit status says so (130).
//!
//! Files in the making are registered here; a signal removes them and ends the process. A file is made, and
//! later put in its place, under the lock of the register, so that a signal finds it either unfinished (and
//! removes it) or complete (and leaves it).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;

/// The exit status after a signal, by the convention of shells (128 + SIGINT).
const INTERRUPTED: i32 = 130;

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to listen for signals; called once, before anything is written.
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let files = unfinished();
        for file in files.iter() {
            // Nobody is left to hear of a failure.
            let _ = std::fs::remove_file(file);
        }
        // The lock is kept: no file may be put in its place any more.
        #[allow(
            clippy::exit,
            reason = "the main thread may be deep inside a decoder and cannot be asked to return"
        )]
        std::process::exit(INTERRUPTED);
    })
    .context("cannot listen for Ctrl-C")
}

/// Makes a file that a signal removes until it is [`release`]d; `make` returns its path and whatever else.
pub fn register<T>(make: impl FnOnce() -> io::Result<(PathBuf, T)>) -> io::Result<T> {
    let mut files = unfinished();
    let (path, made) = make()?;
    files.push(path);
    Ok(made)
}

/// Ends the registration of `path` by `last_act` (a rename, a removal), which no signal can cut in two.
pub fn release<T>(path: &Path, last_act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut files = unfinished();
    let done = last_act();
    files.retain(|file| file != path);
    done
}
