//! What juror asks of the network: checkpoints from a hub, answers from a remote model.
//!
//! - [`hub`]: the Hugging Face hub's protocol, and its cache on disk (shared with the Python programs);
//! - [`chat`]: the OpenAI chat-completions API, as vLLM and SGLang speak it;
//! - [`http`]: what both share: patience (time limits, retries, back-off) and secrets that never show.
//!
//! Everything blocks; callers bring threads. This crate knows no tensors and no video.

pub mod chat;
pub mod error;
pub mod http;
pub mod hub;

pub use error::{Error, Result};
