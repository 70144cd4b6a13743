//! Exponential moving average of the weights (Polyak & Juditsky 1992): `a = d·a + (1-d)·w`, where
//! `d = min(decay, (1+t)/(10+t))`, so that early averages forget the random start.

use crate::{Error, Result};
use candle_core::{Tensor, Var};
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
                *average = ((&*average * decay)? + (var.as_detached_tensor() * (1.0 - decay))?)?;
            }
        }
        Ok(())
    }

    /// The averaged weights by name.
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
        ema.average = average;
        ema.updates = updates;
        Ok(ema)
    }
}
