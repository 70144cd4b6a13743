//! What can go wrong when videos are judged, and the stable word for each class.

use std::path::PathBuf;

use juror_media::MediaError;
use juror_stats::StatsError;
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
    /// A codec, layout or option that this build cannot take.
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

/// A failure of this crate's operations.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A video could not be read.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Neither an embedded model, nor a folder, nor pulled.
    #[error("no such model: allowed are {} (inside the program), folders with config.json, model.safetensors and tokenizer.json, and what `juror pull` got: {name}", crate::judge::EMBEDDED.join(", "))]
    NoSuchModel {
        /// What was asked for.
        name: String,
    },
    /// The model could not be opened or run.
    #[error("the model failed: {0}")]
    Model(juror_lmm::Error),
    /// The model gave an answer that is none.
    #[error("the model gave no usable answer: {0}")]
    Answer(String),
    /// A defect of juror.
    #[error("a defect of juror, please report it: {0}")]
    Internal(String),
    /// Arithmetic on judgements that failed.
    #[error(transparent)]
    Statistics(#[from] StatsError),
    /// The file that a ranking goes on from cannot be used.
    #[error("the state of the ranking cannot be used: {reason}: {}", path.display())]
    State {
        /// Why.
        reason: String,
        /// The file.
        path: PathBuf,
    },
    /// Videos that cannot serve as anchors.
    #[error("the anchors cannot be used: {0}")]
    Anchors(String),
    /// A length of segments that makes no sense.
    #[error(
        "segments of {length_secs} s over {span_secs} s: allowed are lengths above 0 s that make at most 100000 segments"
    )]
    Segments {
        /// The length asked for, seconds.
        length_secs: f64,
        /// What was to be cut, seconds.
        span_secs: f64,
    },
}

impl From<juror_lmm::Error> for Error {
    fn from(error: juror_lmm::Error) -> Self {
        match error {
            // What a model meets while watching is a matter of the video.
            juror_lmm::Error::Media(error) => Self::Media(error),
            error => Self::Model(error),
        }
    }
}

impl Error {
    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Media(error) => match error.kind() {
                "not_found" => ErrorKind::NotFound,
                "not_video" => ErrorKind::NotVideo,
                "no_video_stream" => ErrorKind::NoVideoStream,
                "truncated" => ErrorKind::Truncated,
                "unsupported" => ErrorKind::Unsupported,
                "too_short" => ErrorKind::TooShort,
                "out_of_memory" => ErrorKind::OutOfMemory,
                _ => ErrorKind::Internal,
            },
            Self::Model(juror_lmm::Error::Memory { .. }) => ErrorKind::OutOfMemory,
            Self::NoSuchModel { .. } | Self::Model(_) | Self::Answer(_) => ErrorKind::Model,
            Self::Internal(_) | Self::Statistics(_) | Self::State { .. } => ErrorKind::Internal,
            Self::Segments { .. } | Self::Anchors(_) => ErrorKind::Unsupported,
        }
    }
}
