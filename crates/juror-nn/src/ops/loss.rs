//! Cross entropy of next-token logits.

use candle_core::{D, DType, Result, Tensor};

/// Mean of `-log softmax(logits)[target]` over the targets that are not `ignore_index`; 0 when none is left.
///
/// `logits [n, vocab]`, `targets [n]` of u32; returns a scalar.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, ignore_index: Option<u32>) -> Result<Tensor> {
    let targets: Vec<u32> = targets.to_dtype(DType::U32)?.to_vec1()?;
    let kept: Vec<f32> = targets.iter().map(|&target| f32::from(Some(target) != ignore_index)).collect();
    let count = kept.iter().sum::<f32>().max(1.0);
    let safe: Vec<u32> = targets.iter().map(|&t| if Some(t) == ignore_index { 0 } else { t }).collect();
    let rows = targets.len();
    let device = logits.device();
    let top = logits.detach().max_keepdim(D::Minus1)?;
    let shifted = logits.broadcast_sub(&top)?;
    let log_total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let picked = shifted.gather(&Tensor::from_vec(safe, (rows, 1), device)?, 1)?;
    let kept = Tensor::from_vec(kept, (rows, 1), device)?.to_dtype(logits.dtype())?;
    ((log_total - picked)? * kept)?.sum_all()? / f64::from(count)
}
