//! What candle lacks for juror: fused CPU operations with exact gradients, named parameters, an optimiser
//! with saveable state, checkpoints that resume to the same bits, collectives between processes, LoRA, recomputation, weights in few bits, a KV cache, sampling.
//!
//! Knows nothing of video. Every result is the same bits whatever the number of threads: work is cut by
//! rows, heads or fixed-size chunks, never by thread count, and partial sums are added in a fixed order.

pub mod checkpoint;
pub mod collective;
mod cpu;
mod error;
pub mod kv_cache;
pub mod lora;
pub mod memory;
pub mod ops;
pub mod optim;
pub mod packed;
pub mod params;
pub mod recompute;
pub mod rng;
pub mod sampling;
mod tensor_file;

pub use error::{Error, Result};
