//! What can go wrong when videos are judged, and the stable word for each class.

use serde::{Deserialize, Serialize};

/// The class of a failure, as written into error records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The file is not there or may not be read.
    NotFound,
    /// The file is no video that FFmpeg knows.
    NotVideo,
    /// A media file without pictures (audio only).
    NoVideoStream,
    /// The file ends before a frame could be decoded.
    Truncated,
    /// A codec or layout that this build cannot decode.
    Unsupported,
    /// No frame lies in the chosen time window.
    TooShort,
    /// Memory ran out.
    OutOfMemory,
    /// The model could not be opened or gave no usable answer.
    Model,
    /// A defect of juror.
    Internal,
}

/// A failure of [`crate`]'s operations.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model could not be opened or gave no usable answer.
    #[error("{0}")]
    Model(String),
}

impl Error {
    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(_) => ErrorKind::Model,
        }
    }
}
