//! The one error type of this crate. Messages give the value and what is allowed; addresses and paths come last. No
//! secret is ever part of one.

use std::path::PathBuf;

/// What can go wrong between juror and a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address, name or setting that cannot be right.
    #[error("{what} `{value}`: {allowed}")]
    Setting {
        /// What was set.
        what: &'static str,
        /// To what.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The server was not reached, or the connection broke.
    #[error("no answer from the server: {reason}: {url}")]
    Connection {
        /// The last failure.
        reason: String,
        /// What was asked for.
        url: String,
    },
    /// The server says no.
    #[error("the server answers {status}: {message}: {url}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The server's words, or ours where it has none.
        message: String,
        /// What was asked for.
        url: String,
    },
    /// The server does not let us in.
    #[error("{way_out} (the server answers {status}: {message}): {url}")]
    Forbidden {
        /// What to do.
        way_out: String,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
        /// What was asked for.
        url: String,
    },
    /// The answer is not what the protocol says.
    #[error("an answer that makes no sense: {reason}: {url}")]
    Protocol {
        /// What is wrong with it.
        reason: String,
        /// What was asked for.
        url: String,
    },
    /// A repository without what a judge needs.
    #[error("the repository is no checkpoint that juror reads: {reason}: {repo}")]
    Repository {
        /// What it lacks.
        reason: String,
        /// Its name.
        repo: String,
    },
    /// The bytes of a file are not those the hub promised.
    #[error("wrong checksum {found} instead of {expected}; the bytes are thrown away, pull again: {file}")]
    Checksum {
        /// Of what came.
        found: String,
        /// What the hub promised.
        expected: String,
        /// The file.
        file: String,
    },
    /// There is less room than the files need.
    #[error("the disk is too full: {needed} more bytes are needed, {available} are free; make room or set HF_HOME to another disk: {}", path.display())]
    NoRoom {
        /// What is still to come, bytes.
        needed: u64,
        /// What is free, bytes.
        available: u64,
        /// The cache.
        path: PathBuf,
    },
    /// The disk filled up on the way.
    #[error("the disk is full; what came so far is kept: make room and pull again: {}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Another process gets the same file at this moment.
    #[error("another process is getting this file; wait for it: {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error("{source}: {}", path.display())]
    Io {
        /// The reason.
        source: std::io::Error,
        /// The file or folder.
        path: PathBuf,
    },
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
