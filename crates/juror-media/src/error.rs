//! The errors of this crate. Every variant maps to one `error.kind` of the record contract; every message names the
//! value at fault and the way out, and ends with the path.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = MediaError> = std::result::Result<T, E>;

/// What can go wrong between a path and its pixels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// Nothing is there, or it may not be read.
    #[error("cannot read the file: {reason}: {}", path.display())]
    NotFound {
        /// The system's reason.
        reason: String,
        /// The path asked for.
        path: PathBuf,
    },
    /// Something is there, but not a video or an image.
    #[error("not a video: {reason}: {}", path.display())]
    NotVideo {
        /// What it is instead, and what to do.
        reason: String,
        /// The path asked for.
        path: PathBuf,
    },
    /// A media file without moving or still pictures (audio only, cover art only).
    #[error("no video stream: {found}: {}", path.display())]
    NoVideoStream {
        /// What the file holds instead.
        found: String,
        /// The path asked for.
        path: PathBuf,
    },
    /// The file ends before its first whole frame.
    #[error("the file is cut off: {reason}: {}", path.display())]
    Truncated {
        /// What is missing, and what to do.
        reason: String,
        /// The path asked for.
        path: PathBuf,
    },
    /// A video which this build cannot or will not read (codec, pixel format, size).
    #[error("unsupported: {reason}: {}", path.display())]
    Unsupported {
        /// What is not supported, and what is.
        reason: String,
        /// The path asked for.
        path: PathBuf,
    },
    /// The video (or the window asked for) holds too few frames.
    #[error("too short: {reason}: {}", path.display())]
    TooShort {
        /// What was needed and what is there.
        reason: String,
        /// The path asked for.
        path: PathBuf,
    },
    /// Memory could not be had.
    #[error("out of memory while {doing}")]
    OutOfMemory {
        /// The step that needed the memory.
        doing: String,
    },
    /// An argument outside what is allowed (a caller's mistake, no property of a file).
    #[error("{what}")]
    Invalid {
        /// The value and what is allowed.
        what: String,
    },
    /// A file could not be written.
    #[error("cannot write: {reason}: {}", path.display())]
    Write {
        /// The reason, as the system or the encoder gave it.
        reason: String,
        /// The path written to.
        path: PathBuf,
    },
    /// FFmpeg failed in a way that says nothing of the input.
    #[error("FFmpeg failed while {doing}: {reason}")]
    Ffmpeg {
        /// The step that failed.
        doing: String,
        /// FFmpeg's own words.
        reason: String,
    },
}

impl MediaError {
    /// The `error.kind` of the record contract.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::NotVideo { .. } => "not_video",
            Self::NoVideoStream { .. } => "no_video_stream",
            Self::Truncated { .. } => "truncated",
            Self::Unsupported { .. } | Self::Invalid { .. } => "unsupported",
            Self::TooShort { .. } => "too_short",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Write { .. } | Self::Ffmpeg { .. } => "internal",
        }
    }

    /// The file the error is about, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NotFound { path, .. }
            | Self::NotVideo { path, .. }
            | Self::NoVideoStream { path, .. }
            | Self::Truncated { path, .. }
            | Self::Unsupported { path, .. }
            | Self::TooShort { path, .. }
            | Self::Write { path, .. } => Some(path),
            Self::OutOfMemory { .. } | Self::Invalid { .. } | Self::Ffmpeg { .. } => None,
        }
    }

    /// Shorthand for [`MediaError::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    /// An FFmpeg error met while `doing` something; running out of memory keeps its own kind.
    pub fn ffmpeg(doing: impl Into<String>, error: ffmpeg_next::Error) -> Self {
        let doing = doing.into();
        match error {
            ffmpeg_next::Error::Other { errno: ffmpeg_next::error::ENOMEM } => Self::OutOfMemory { doing },
            other => Self::Ffmpeg { doing, reason: other.to_string() },
        }
    }
}
