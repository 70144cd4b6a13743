//! AdamW (Loshchilov & Hutter 2019): Adam's step with bias correction, weight decay apart from the gradient.
//!
//! ```text
//! m = b1·m + (1-b1)·g        w = w·(1 - lr·decay)
//! v = b2·v + (1-b2)·g²       w = w - lr · (m/(1-b1ᵗ)) / (sqrt(v/(1-b2ᵗ)) + eps)
//! ```

use crate::cpu::buffer::{fused, with_slices};
use crate::cpu::update::{self, AdamWStep};
use crate::{Error, Result, error::ParamsMismatch};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, Var, bail};
use std::cell::RefCell;
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
    moments: Moments,
}

/// First and second moments of one variable.
#[derive(Debug)]
enum Moments {
    /// f32 on the CPU, updated in place.
    Host(Vec<f32>, Vec<f32>),
    /// Anything else.
    Tensors(Tensor, Tensor),
}

impl Moments {
    fn new(var: &Var, first: &Tensor, second: &Tensor) -> candle_core::Result<Self> {
        let (first, second) = (first.to_device(var.device())?, second.to_device(var.device())?);
        if fused(&[var.as_tensor(), &first, &second]) {
            Ok(Self::Host(first.flatten_all()?.to_vec1()?, second.flatten_all()?.to_vec1()?))
        } else {
            Ok(Self::Tensors(first.copy()?, second.copy()?))
        }
    }

    fn tensors(&self, like: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        match self {
            Self::Host(first, second) => Ok((
                Tensor::from_slice(first, like.shape(), &Device::Cpu)?,
                Tensor::from_slice(second, like.shape(), &Device::Cpu)?,
            )),
            Self::Tensors(first, second) => Ok((first.copy()?, second.copy()?)),
        }
    }
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
                let zeros = var.as_detached_tensor().zeros_like()?;
                let moments = Moments::new(&var, &zeros, &zeros)?;
                Ok((name, Slot { var, moments }))
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
            match &mut slot.moments {
                Moments::Host(first, second) => with_slices([&grad], |[grad]| {
                    let step = AdamWStep {
                        beta1: beta1 as f32,
                        beta2: beta2 as f32,
                        rest1: (1.0 - beta1) as f32,
                        rest2: (1.0 - beta2) as f32,
                        kept: kept as f32,
                        rate: (self.config.lr / correction1) as f32,
                        correction2: (1.0 / correction2) as f32,
                        eps: self.config.eps as f32,
                    };
                    slot.var.inplace_op1(&HostStep { moments: RefCell::new((first, second)), grad, step })
                })?,
                Moments::Tensors(first, second) => {
                    *first = ((&*first * beta1)? + (&grad * (1.0 - beta1))?)?;
                    *second = ((&*second * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
                    let root = ((&*second / correction2)?.sqrt()? + self.config.eps)?;
                    let change = ((&*first * (self.config.lr / correction1))? / root)?;
                    slot.var.set(&((slot.var.as_detached_tensor() * kept)? - change)?)?;
                }
            }
        }
        Ok(())
    }

    /// A copy of the moments and the step.
    pub fn state(&self) -> Result<AdamWState> {
        let mut state = AdamWState { step: self.step, ..Default::default() };
        for (name, slot) in &self.slots {
            let (first, second) = slot.moments.tensors(slot.var.as_tensor())?;
            state.first_moments.insert(name.clone(), first);
            state.second_moments.insert(name.clone(), second);
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
            slot.moments = Moments::new(&slot.var, &state.first_moments[name], &state.second_moments[name])?;
        }
        self.step = state.step;
        Ok(())
    }
}

/// One step in place on a variable on the CPU.
struct HostStep<'a> {
    moments: RefCell<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
    grad: &'a [f32],
    step: AdamWStep,
}

impl InplaceOp1 for HostStep<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("adamw wants a contiguous f32 variable")
        };
        let (first, second) = &mut *self.moments.borrow_mut();
        update::adamw(&mut values[start..end], first, second, self.grad, self.step);
        Ok(())
    }
}
