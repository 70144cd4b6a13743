//! Exponential moving average of the weights (Polyak & Juditsky 1992): `a = d·a + (1-d)·w`, where
//! `d = min(decay, (1+t)/(10+t))`, so that early averages forget the random start.

use crate::cpu::buffer::{fused, with_slices};
use crate::cpu::update::lerp;
use crate::{Error, Result};
use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var, bail};
use std::collections::BTreeMap;

/// A running average of named variables.
#[derive(Debug)]
pub struct Ema {
    average: BTreeMap<String, Tensor>,
    decay: f64,
    updates: u64,
}

impl Ema {
    /// Starts at the present weights.
    pub fn new(variables: &BTreeMap<String, Var>, decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::Setting {
                what: "ema decay",
                value: decay.to_string(),
                allowed: "from 0, below 1",
            });
        }
        let average = variables
            .iter()
            .map(|(name, var)| Ok((name.clone(), var.as_detached_tensor().copy()?)))
            .collect::<Result<_>>()?;
        Ok(Self { average, decay, updates: 0 })
    }

    /// Takes the weights after one more optimiser step.
    pub fn update(&mut self, variables: &BTreeMap<String, Var>) -> Result<()> {
        self.updates += 1;
        let time = self.updates as f64;
        let decay = self.decay.min((1.0 + time) / (10.0 + time));
        for (name, average) in &mut self.average {
            if let Some(var) = variables.get(name) {
                if fused(&[average, var.as_tensor()]) {
                    with_slices([var.as_tensor()], |[weights]| {
                        average.inplace_op1(&Lerp { weights, decay: decay as f32 })
                    })?;
                    continue;
                }
                *average = ((&*average * decay)? + (var.as_detached_tensor() * (1.0 - decay))?)?;
            }
        }
        Ok(())
    }

    /// The averaged weights by name; later updates change them in place.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.average
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Goes on from saved averages after `updates` updates.
    pub fn resume(average: BTreeMap<String, Tensor>, decay: f64, updates: u64) -> Result<Self> {
        let mut ema = Self::new(&BTreeMap::new(), decay)?;
        for (name, tensor) in average {
            ema.average.insert(name, tensor.copy()?);
        }
        ema.updates = updates;
        Ok(ema)
    }
}

/// `average = decay·average + (1 - decay)·weights` in place on the CPU.
struct Lerp<'a> {
    weights: &'a [f32],
    decay: f32,
}

impl InplaceOp1 for Lerp<'_> {
    fn name(&self) -> &'static str {
        "weight average"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("a weight average wants contiguous f32 values")
        };
        lerp(&mut values[start..end], self.weights, self.decay);
        Ok(())
    }
}
