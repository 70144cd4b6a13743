//! From unlabelled video to a better judge: simulators' labels, training, validation.

pub mod body;
pub mod card;
pub mod confidence;
pub mod config;
pub mod data;
pub mod decoder;
pub mod engine;
pub mod grpo;
pub mod improve;
pub mod language;
pub mod log;
pub mod lora;
pub mod mc_grpo;
pub mod overlay;
pub mod pairs;
pub mod panel;
pub mod rewards;
pub mod sft;
mod shrink;
mod tensorboard;
pub mod validate;
