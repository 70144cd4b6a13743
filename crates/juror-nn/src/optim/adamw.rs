//! AdamW (Loshchilov & Hutter 2019): Adam's step with bias correction, weight decay apart from the gradient.
//!
//! ```text
//! m = b1·m + (1-b1)·g        w = w·(1 - lr·decay)
//! v = b2·v + (1-b2)·g²       w = w - lr · (m/(1-b1ᵗ)) / (sqrt(v/(1-b2ᵗ)) + eps)
//! ```

use crate::{Error, Result, error::ParamsMismatch};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;

/// Settings of [`AdamW`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the two moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Share of a weight that `lr = 1` would take away per step.
    pub weight_decay: f64,
    /// Decay only tensors of two or more dimensions (no biases, no norms).
    pub decay_matrices_only: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01, decay_matrices_only: true }
    }
}

/// What a resumed run needs of the optimiser.
#[derive(Debug, Clone, Default)]
pub struct AdamWState {
    /// Steps done.
    pub step: u64,
    /// Running means of the gradients, by parameter name.
    pub first_moments: BTreeMap<String, Tensor>,
    /// Running means of the squared gradients, by parameter name.
    pub second_moments: BTreeMap<String, Tensor>,
}

#[derive(Debug)]
struct Slot {
    var: Var,
    first: Tensor,
    second: Tensor,
}

/// AdamW over named variables, in the order of their names.
#[derive(Debug)]
pub struct AdamW {
    slots: BTreeMap<String, Slot>,
    config: AdamWConfig,
    step: u64,
}

impl AdamW {
    /// Starts with zero moments.
    pub fn new(variables: BTreeMap<String, Var>, config: AdamWConfig) -> Result<Self> {
        let fail =
            |what, value: f64, allowed| Err(Error::Setting { what, value: value.to_string(), allowed });
        for (what, beta) in [("betas.0", config.betas.0), ("betas.1", config.betas.1)] {
            if !(0.0..1.0).contains(&beta) {
                return fail(what, beta, "from 0, below 1");
            }
        }
        for (what, value) in [("lr", config.lr), ("eps", config.eps), ("weight_decay", config.weight_decay)] {
            if !(value >= 0.0 && value.is_finite()) {
                return fail(what, value, "a finite number from 0");
            }
        }
        let slots = variables
            .into_iter()
            .map(|(name, var)| {
                let (first, second) =
                    (var.as_detached_tensor().zeros_like()?, var.as_detached_tensor().zeros_like()?);
                Ok((name, Slot { var, first, second }))
            })
            .collect::<Result<_>>()?;
        Ok(Self { slots, config, step: 0 })
    }

    /// Learning rate of the next step.
    pub fn set_lr(&mut self, lr: f64) {
        self.config.lr = lr;
    }

    /// Current settings.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One update of all variables that have a gradient in `grads`.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.step += 1;
        let (beta1, beta2) = self.config.betas;
        let time = self.step.min(i32::MAX as u64) as i32;
        let correction1 = 1.0 - beta1.powi(time);
        let correction2 = 1.0 - beta2.powi(time);
        for slot in self.slots.values_mut() {
            let Some(grad) = grads.get(slot.var.as_tensor()) else { continue };
            let decays = !self.config.decay_matrices_only || slot.var.rank() >= 2;
            let kept = 1.0 - if decays { self.config.lr * self.config.weight_decay } else { 0.0 };
            let grad = grad.detach();
            slot.first = ((&slot.first * beta1)? + (&grad * (1.0 - beta1))?)?;
            slot.second = ((&slot.second * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
            let root = ((&slot.second / correction2)?.sqrt()? + self.config.eps)?;
            let change = ((&slot.first * (self.config.lr / correction1))? / root)?;
            slot.var.set(&((slot.var.as_detached_tensor() * kept)? - change)?)?;
        }
        Ok(())
    }

    /// A copy of the moments and the step.
    pub fn state(&self) -> Result<AdamWState> {
        let mut state = AdamWState { step: self.step, ..Default::default() };
        for (name, slot) in &self.slots {
            state.first_moments.insert(name.clone(), slot.first.copy()?);
            state.second_moments.insert(name.clone(), slot.second.copy()?);
        }
        Ok(state)
    }

    /// Goes on from a saved state, which must fit the variables.
    pub fn load_state(&mut self, state: &AdamWState) -> Result<()> {
        let mut mismatch = ParamsMismatch::default();
        for (name, slot) in &self.slots {
            for moments in [&state.first_moments, &state.second_moments] {
                match moments.get(name) {
                    None => mismatch.missing.push(name.clone()),
                    Some(moment) if moment.shape() != slot.var.shape() => {
                        let (found, asked) = (moment.dims().to_vec(), slot.var.dims().to_vec());
                        mismatch.misshapen.push((name.clone(), found, asked));
                    }
                    Some(_) => {}
                }
            }
        }
        mismatch.extra =
            state.first_moments.keys().filter(|name| !self.slots.contains_key(*name)).cloned().collect();
        if !mismatch.is_empty() {
            return Err(Error::Params(mismatch));
        }
        for (name, slot) in &mut self.slots {
            slot.first = state.first_moments[name].to_device(slot.var.device())?.copy()?;
            slot.second = state.second_moments[name].to_device(slot.var.device())?.copy()?;
        }
        self.step = state.step;
        Ok(())
    }
}
