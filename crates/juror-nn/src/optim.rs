//! AdamW with saveable state, gradient clipping, learning-rate schedules and weight averaging.

mod adamw;
mod clip;
mod ema;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, AdamWState};
pub use clip::{clip_global_norm, global_norm};
pub use ema::Ema;
pub use schedule::Schedule;
