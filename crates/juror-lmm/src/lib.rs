//! The judging models, one folder each, weight paths as in their checkpoints.

pub mod answer;
pub mod bench;
pub mod checkpoint;
mod chosen;
pub mod config;
pub mod decoder;
pub mod error;
pub mod generate;
pub mod intern_vit;
pub mod internvl3;
pub mod interpolate;
pub mod judge;
pub mod layers;
pub mod levels;
pub mod llava_onevision;
pub mod mrope;
pub mod nano;
pub mod preprocess;
pub mod prompt;
pub mod published;
pub mod qwen2;
pub mod qwen2_5_vl;
pub mod qwen3;
pub mod qwen3_vision;
pub mod qwen3_vl;
pub mod qwen_vision;
pub mod remote;
pub mod rotary;
pub mod sequence;
pub mod siglip;
pub mod slowfast;
pub mod template;
pub mod tokenizer;
pub mod weights;

pub use error::{Error, Result};
pub use judge::{
    Attribution, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
