//! The one error type of this crate. Messages give the value and what is allowed; paths come last.

use std::path::PathBuf;

/// What can go wrong while loading or running a judging model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `config.json` (or another JSON file of a checkpoint) does not parse; `key` is the path of the offending key.
    #[error("key `{key}`: {message}, in {}", path.display())]
    Config {
        /// Dotted path of the key, such as `vision_config.hidden_size`.
        key: String,
        /// What was found and what is allowed.
        message: String,
        /// The file.
        path: PathBuf,
    },
    /// A configuration value that parses but makes no model.
    #[error("key `{key}` is {value}: {allowed}")]
    ConfigValue {
        /// Dotted path of the key.
        key: String,
        /// The value found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The family named by `config.json` is not one of ours.
    #[error("model_type {model_type:?} is not supported; supported are {supported}")]
    UnsupportedFamily {
        /// The value of `model_type`.
        model_type: String,
        /// The supported ones, comma-separated.
        supported: String,
    },
    /// The checkpoint's tensors are not those of the model its configuration describes.
    #[error("the checkpoint does not fit its configuration: {0}")]
    Mismatch(Box<crate::checkpoint::Mismatch>),
    /// A checkpoint file is missing or broken.
    #[error("{message}: {}", path.display())]
    Checkpoint {
        /// What is wrong and what to do.
        message: String,
        /// The file or folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The reason.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer lacks a token or does not load.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A chat template does not parse or render.
    #[error("chat template: {0}")]
    Template(String),
    /// An input that the model cannot take (sizes, counts, positions).
    #[error("{0}")]
    Input(String),
    /// What the model wrote holds no judgement.
    #[error("the model's answer could not be read: {0}")]
    Unparsed(String),
    /// The video could not be read.
    #[error(transparent)]
    Media(#[from] juror_media::MediaError),
    /// The memory of this machine cannot hold the model.
    #[error("{name} needs {} of memory, {} are free; close other programs, or: {advice}", crate::published::memory::gib(*needed), crate::published::memory::gib(*available))]
    Memory {
        /// The model.
        name: String,
        /// What it needs, bytes.
        needed: u64,
        /// What is free, bytes.
        available: u64,
        /// What would fit.
        advice: String,
    },
    /// A server could not be reached or gave no answer.
    #[error(transparent)]
    Net(#[from] juror_net::Error),
    /// Parameters or optimiser: not what the model needs.
    #[error(transparent)]
    Nn(#[from] juror_nn::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
