//! The judging models, one folder each, weight paths as in their checkpoints.

pub mod checkpoint;
pub mod config;
pub mod decoder;
pub mod error;
pub mod intern_vit;
pub mod internvl3;
pub mod interpolate;
pub mod judge;
pub mod layers;
pub mod nano;
pub mod preprocess;
pub mod prompt;
pub mod qwen2;
pub mod rotary;
pub mod sequence;
pub mod slowfast;
pub mod template;
pub mod tokenizer;

pub use error::{Error, Result};
pub use judge::{
    Attribution, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
