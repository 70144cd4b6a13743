//! Cross entropy of next-token logits.

use crate::cpu::buffer::{fused, slice, with_slices};
use crate::cpu::loss;
use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};
use std::sync::{Mutex, PoisonError};

/// Mean of `-log softmax(logits)[target]` over the targets that are not `ignore_index`; 0 when none is left.
///
/// `logits [n, vocab]`, `targets [n]` of u32; returns a scalar.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, ignore_index: Option<u32>) -> Result<Tensor> {
    let (rows, vocab) = logits.dims2()?;
    let targets: Vec<Option<u32>> = targets
        .to_dtype(DType::U32)?
        .to_vec1::<u32>()?
        .into_iter()
        .map(|target| (Some(target) != ignore_index).then_some(target))
        .collect();
    if targets.len() != rows {
        bail!("cross_entropy: {rows} rows of logits, {} targets", targets.len());
    }
    if let Some(target) = targets.iter().flatten().find(|&&target| target as usize >= vocab) {
        bail!("cross_entropy: target {target} of a vocabulary of {vocab}");
    }
    let count = targets.iter().flatten().count().max(1) as f64;
    if fused(&[logits]) {
        let op = CrossEntropy { vocab, targets, count, log_sums: Mutex::default() };
        return logits.contiguous()?.apply_op1(op);
    }
    let device = logits.device();
    let top = logits.detach().max_keepdim(D::Minus1)?;
    let shifted = logits.broadcast_sub(&top)?;
    let log_total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let safe: Vec<u32> = targets.iter().map(|target| target.unwrap_or(0)).collect();
    let picked = shifted.gather(&Tensor::from_vec(safe, (rows, 1), device)?, 1)?;
    let kept: Vec<f32> = targets.iter().map(|target| f32::from(target.is_some())).collect();
    let kept = Tensor::from_vec(kept, (rows, 1), device)?.to_dtype(logits.dtype())?;
    ((log_total - picked)? * kept)?.sum_all()? / count
}

struct CrossEntropy {
    vocab: usize,
    targets: Vec<Option<u32>>,
    count: f64,
    /// `log Σ exp` of each row, from the forward pass.
    log_sums: Mutex<Vec<f32>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = slice(storage, layout)?;
        let log_sums = loss::log_sums(logits, self.vocab);
        let total: f64 = self
            .targets
            .iter()
            .enumerate()
            .filter_map(|(row, target)| {
                Some(f64::from(log_sums[row]) - f64::from(logits[row * self.vocab + (*target)? as usize]))
            })
            .sum();
        *self.log_sums.lock().unwrap_or_else(PoisonError::into_inner) = log_sums;
        Ok((CpuStorage::F32(vec![(total / self.count) as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let scale = (f64::from(grad.to_scalar::<f32>()?) / self.count) as f32;
        let log_sums = self.log_sums.lock().unwrap_or_else(PoisonError::into_inner);
        let values =
            with_slices([logits], |[x]| Ok(loss::grad(x, self.vocab, &log_sums, &self.targets, scale)))?;
        Ok(Some(Tensor::from_vec(values, logits.shape(), logits.device())?))
    }
}
