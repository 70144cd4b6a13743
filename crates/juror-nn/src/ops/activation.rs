//! Pointwise activations: GELU (Hendrycks & Gimpel 2016) in its erf form and its tanh form, SiLU.

use candle_core::{Result, Tensor};

/// `x · Φ(x)`, any shape.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let half = ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5;
    x * half?
}

/// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`, any shape.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    let inner = ((x.sqr()? * 0.044715)? + 1.0)?;
    let inner = ((x * inner)? * (2.0 / std::f64::consts::PI).sqrt())?;
    let half = (inner.tanh()? + 1.0)? * 0.5;
    x * half?
}

/// `x · sigmoid(x)`, any shape.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    x.silu()
}
