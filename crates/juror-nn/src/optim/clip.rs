//! Clipping of the gradients by their joint L2 norm (Pascanu et al. 2013).

use crate::Result;
use crate::cpu::buffer::{fused, with_slices};
use crate::cpu::update::square_sum;
use candle_core::backprop::GradStore;
use candle_core::{DType, Var};
use std::collections::BTreeMap;

/// L2 norm over the gradients of all `variables`, added in the order of names.
pub fn global_norm(grads: &GradStore, variables: &BTreeMap<String, Var>) -> Result<f64> {
    let mut sum = 0.0;
    for var in variables.values() {
        if let Some(grad) = grads.get(var.as_tensor()) {
            if fused(&[grad]) {
                sum += with_slices([grad], |[grad]| Ok(square_sum(grad)))?;
                continue;
            }
            sum += f64::from(grad.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    Ok(sum.sqrt())
}

/// Scales the gradients of `variables` so that their joint norm is at most `max`; returns the norm before.
/// A norm that is not finite leaves them untouched: the caller decides to skip the step.
pub fn clip_global_norm(grads: &mut GradStore, variables: &BTreeMap<String, Var>, max: f64) -> Result<f64> {
    let norm = global_norm(grads, variables)?;
    if norm.is_finite() && norm > max {
        for var in variables.values() {
            if let Some(grad) = grads.remove(var.as_tensor()) {
                grads.insert(var.as_tensor(), (grad * (max / norm))?);
            }
        }
    }
    Ok(norm)
}
