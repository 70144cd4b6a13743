//! Differentiable operations: fused for f32 on the CPU, else a composition of candle's own operations.
//!
//! Both ways have the same meaning and a gradient (candle's own `softmax_last_dim`, `layer_norm`, `rms_norm` and
//! `rope` silently have none). Gradients are made only for arguments that depend on a variable.

mod activation;
mod attention;
mod conv3d;
mod embedding;
mod linear;
mod loss;
mod norm;
mod pool;
mod rope;
mod softmax;

pub use activation::{gelu, gelu_tanh, silu, softplus};
pub use attention::{Mask, Part, attention, attention_packed, joined, partial_attention};
pub use conv3d::conv3d;
pub use embedding::embedding;
pub use linear::{frozen_linear, linear};
pub use loss::cross_entropy;
pub use norm::{layer_norm, rms_norm};
pub use pool::mean_and_deviation;
pub use rope::{rope, rope_interleaved};
pub use softmax::softmax;
