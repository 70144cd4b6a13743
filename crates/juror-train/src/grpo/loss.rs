//! The policy loss of GRPO and its relatives over one micro-batch, with TRL's metrics.
//!
//! With ratio `w = exp(logp - logp_old)` per token (or per sequence: the exponential of the masked mean), advantage A of
//! the sequence, and `d = logp_ref - logp`:
//!
//! ```text
//! grpo, bnpo, dr_grpo, dapo, luspo   l = -min(min(w, delta) A, clip(w, 1 - eps_low, 1 + eps_high) A)
//! cispo                              l = -detach(min(w, eps_high)) A logp
//! sapo                               l = -A sigmoid(tau (w - 1)) 4 / tau,   tau by the sign of A
//!                                    l += beta (exp(d) - d - 1)             (k3, Schulman 2020; times w if asked for)
//! ```
//!
//! and the averages of [`LossType`]. Log-probabilities are masked before any exponential, so that padding, whose
//! values mean nothing, can neither overflow nor leak a gradient.

use super::{GrpoConfig, ImportanceSampling, LossType};
use crate::engine::scalar;
use candle_core::{D, Result, Tensor};

/// One micro-batch; B sequences of up to T tokens, all `[B, T]` unless said.
#[derive(Clone, Copy)]
pub struct Scored<'a> {
    /// Log-probabilities of the policy that is trained.
    pub logps: &'a Tensor,
    /// Entropies of its distributions, for the log.
    pub entropies: &'a Tensor,
    /// Log-probabilities of the policy that sampled; `None`: the same policy.
    pub old_logps: Option<&'a Tensor>,
    /// Log-probabilities of the reference; `None` where `beta` is 0.
    pub ref_logps: Option<&'a Tensor>,
    /// `[B]`.
    pub advantages: &'a Tensor,
    /// 1 where a token counts, else 0.
    pub mask: &'a Tensor,
}

/// A micro-batch's share of the loss, and its metrics.
pub struct PolicyLoss {
    /// Scalar; the shares of all micro-batches of a step add up to the loss of the step.
    pub loss: Tensor,
    /// Under TRL's names.
    pub metrics: Vec<(&'static str, f64)>,
}

/// The loss of one of `accumulation` micro-batches; `tokens_in_step` counts the unmasked tokens of all of them.
///
/// # Errors
/// Shapes that do not fit.
pub fn policy_loss(
    config: &GrpoConfig,
    batch: &Scored<'_>,
    accumulation: usize,
    tokens_in_step: f64,
) -> Result<PolicyLoss> {
    let Scored { mask, .. } = *batch;
    let (rows, _) = mask.dims2()?;
    let advantages = batch.advantages.unsqueeze(1)?; // [B, 1]
    let lengths = mask.sum_keepdim(1)?.maximum(1f64)?; // [B, 1]
    let logps = (batch.logps * mask)?;
    let old = match batch.old_logps {
        Some(old) => (old * mask)?,
        None => logps.detach(),
    };
    let log_ratio = (&logps - old)?;
    // [B, T], or [B, 1] per sequence.
    let log_ratio = match config.importance_sampling_level {
        ImportanceSampling::Token => log_ratio,
        ImportanceSampling::Sequence => log_ratio.sum_keepdim(1)?.div(&lengths)?,
    };
    let ratio = log_ratio.exp()?;
    let (low, high) = (1.0 - config.epsilon, 1.0 + config.epsilon_high());
    let mut loss = match config.loss_type {
        LossType::Cispo => {
            let bounded = ratio.detach().minimum(config.epsilon_high())?;
            bounded.broadcast_mul(&advantages)?.broadcast_mul(&logps)?.neg()?
        }
        LossType::Sapo => {
            let positive = advantages.gt(0f64)?.to_dtype(ratio.dtype())?;
            let (pos, neg) = (config.sapo_temperature_pos, config.sapo_temperature_neg);
            let tau = ((positive * (pos - neg))? + neg)?; // [B, 1]
            let gate = candle_nn::ops::sigmoid(&(&ratio - 1.0)?.broadcast_mul(&tau)?)?;
            (gate.broadcast_mul(&advantages)?.broadcast_div(&tau)? * -4.0)?
        }
        _ => {
            let free = match config.delta {
                Some(delta) => ratio.minimum(delta)?,
                None => ratio.clone(),
            };
            let clipped = ratio.clamp(low, high)?;
            free.broadcast_mul(&advantages)?.minimum(&clipped.broadcast_mul(&advantages)?)?.neg()?
        }
    };
    let mean = |values: &Tensor| masked_mean(values, mask);
    let mut metrics = Vec::new();
    if let Some(reference) = batch.ref_logps.filter(|_| config.beta != 0.0) {
        let d = ((reference * mask)? - &logps)?;
        let mut kl = ((d.exp()? - &d)? - 1.0)?;
        if config.use_bias_correction_kl {
            kl = kl.broadcast_mul(&ratio)?;
        }
        metrics.push(("kl", mean(&kl)?));
        loss = loss.broadcast_add(&(kl * config.beta)?)?;
    }
    metrics.push(("entropy", mean(batch.entropies)?));
    metrics.extend(clip_ratios(config, &ratio.detach(), &advantages, mask, (low, high))?);

    let masked = loss.broadcast_mul(mask)?; // [B, T]
    let share = 1.0 / accumulation.max(1) as f64;
    let tokens = mask.sum_all()?.maximum(1f64)?;
    let loss = match config.loss_type {
        LossType::Grpo | LossType::Sapo => (masked.sum_keepdim(1)?.div(&lengths)?.mean_all()? * share)?,
        LossType::Bnpo => (masked.sum_all()?.div(&tokens)? * share)?,
        LossType::DrGrpo => (masked.sum_all()? * (share / (rows * config.max_completion_length) as f64))?,
        LossType::Dapo | LossType::Cispo => (masked.sum_all()? / tokens_in_step.max(1.0))?,
        LossType::Luspo => (loss.broadcast_mul(&mask.sum_keepdim(1)?)?.mean_all()? * share)?,
    };
    Ok(PolicyLoss { loss, metrics })
}

/// How many tokens (or sequences) no longer push because their ratio left the bounds.
fn clip_ratios(
    config: &GrpoConfig,
    ratio: &Tensor,
    advantages: &Tensor,
    mask: &Tensor,
    (low, high): (f64, f64),
) -> Result<Vec<(&'static str, f64)>> {
    let flag = |t: Tensor| t.to_dtype(ratio.dtype());
    let (gains, losses) = (flag(advantages.gt(0f64)?)?, flag(advantages.lt(0f64)?)?);
    let share = |outside: Tensor, sign: &Tensor| masked_mean(&flag(outside)?.broadcast_mul(sign)?, mask);
    Ok(match config.loss_type {
        LossType::Cispo => vec![("cispo_clip_ratio", share(ratio.gt(config.epsilon_high())?, &gains)?)],
        LossType::Sapo => Vec::new(),
        _ => {
            let below = share(ratio.lt(low)?, &losses)?;
            let above = share(ratio.gt(high)?, &gains)?;
            vec![
                ("clip_ratio/low_mean", below),
                ("clip_ratio/low_min", below),
                ("clip_ratio/high_mean", above),
                ("clip_ratio/high_max", above),
                ("clip_ratio/region_mean", below + above),
            ]
        }
    })
}

/// Mean over unmasked tokens; of `[B, 1]` over sequences.
fn masked_mean(values: &Tensor, mask: &Tensor) -> Result<f64> {
    let values = values.detach();
    let mean = if values.dim(D::Minus1)? == 1 && mask.dim(D::Minus1)? != 1 {
        values.mean_all()?
    } else {
        ((values * mask)?.sum_all()? / mask.sum_all()?.maximum(1f64)?)?
    };
    scalar(&mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn matrix(rows: &[[f32; 3]]) -> Tensor {
        Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn padding_neither_overflows_nor_leaks() {
        let logps = Var::from_tensor(&matrix(&[[-1.0, -2.0, -500.0], [-0.5, -900.0, -900.0]])).unwrap();
        let zeros = matrix(&[[0.0; 3]; 2]);
        let mask = matrix(&[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]);
        let batch = Scored {
            logps: logps.as_tensor(),
            entropies: &zeros,
            old_logps: Some(&zeros),
            ref_logps: Some(&zeros),
            advantages: &Tensor::new(&[1f32, -1.0], &Device::Cpu).unwrap(),
            mask: &mask,
        };
        let found = policy_loss(&GrpoConfig::default(), &batch, 1, 3.0).unwrap();
        assert!(found.loss.to_scalar::<f32>().unwrap().is_finite());
        let grads = found.loss.backward().unwrap();
        let grad = grads.get(&logps).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!((grad[0][2], grad[1][1], grad[1][2]), (0.0, 0.0, 0.0));
        assert!(grad[0][0] != 0.0 && grad[1][0] != 0.0);
    }

    #[test]
    fn gradients_agree_with_finite_differences_for_every_loss() {
        let start = [[-1.0f32, -2.0, -0.7], [-0.5, -1.4, -3.0]];
        let old = matrix(&[[-1.02, -1.95, -0.72], [-0.52, -1.36, -2.95]]);
        let reference = matrix(&[[-1.2, -1.7, -0.9], [-0.3, -1.6, -2.5]]);
        let mask = matrix(&[[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]);
        let advantages = Tensor::new(&[0.8f32, -1.1], &Device::Cpu).unwrap();
        for loss_type in [
            LossType::Grpo,
            LossType::Bnpo,
            LossType::DrGrpo,
            LossType::Dapo,
            LossType::Sapo,
            LossType::Luspo,
        ] {
            for importance_sampling_level in [ImportanceSampling::Token, ImportanceSampling::Sequence] {
                let config = GrpoConfig {
                    loss_type,
                    importance_sampling_level,
                    use_bias_correction_kl: true,
                    max_completion_length: 3,
                    ..GrpoConfig::default()
                };
                let at = |rows: &[[f32; 3]]| {
                    let var = Var::from_tensor(&matrix(rows)).unwrap();
                    let batch = Scored {
                        logps: var.as_tensor(),
                        entropies: &mask,
                        old_logps: Some(&old),
                        ref_logps: Some(&reference),
                        advantages: &advantages,
                        mask: &mask,
                    };
                    (policy_loss(&config, &batch, 2, 5.0).unwrap().loss, var)
                };
                let (loss, var) = at(&start);
                let grad = loss.backward().unwrap().get(&var).unwrap().to_vec2::<f32>().unwrap();
                for (i, j) in [(0, 0), (0, 2), (1, 1), (1, 2)] {
                    let moved = |by: f32| {
                        let mut rows = start;
                        rows[i][j] += by;
                        at(&rows).0.to_scalar::<f32>().unwrap()
                    };
                    let slope = (moved(5e-3) - moved(-5e-3)) / 1e-2;
                    assert!(
                        (slope - grad[i][j]).abs() < 2e-4,
                        "{loss_type:?} {i} {j}: {slope} {}",
                        grad[i][j]
                    );
                }
            }
        }
    }
}
