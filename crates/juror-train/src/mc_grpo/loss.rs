//! The coupled terms (`docs/mc-grpo.md`, equations 3 to 5).
//!
//! Prompts 2i and 2i + 1 of a micro-batch are one pair in both orders; K rollouts stand side by side per prompt. With
//! the margin m_pk of rollout k, read behind its reasons, and q_p, read right after the question, H the Huber loss:
//!
//! ```text
//! regression     mean_p sum_k w_pk H(m_pk - m*_p),   w_p. = softmax(A_p. / tau) or 1/K, without gradient
//! antisymmetry   mean_i H(mean_k m_2i,k + mean_k m_2i+1,k)
//! question       mean_p H(q_p - m*_p) + mu mean_i H(q_2i + q_2i+1)
//! ```

use super::config::{Coupling, RolloutWeights};
use crate::engine::scalar;
use candle_core::{Device, Result, Tensor};

/// Margins of a micro-batch, in points.
pub(super) struct Margins<'a> {
    /// `[prompts * K]`.
    pub behind: &'a Tensor,
    /// `[prompts]`.
    pub question: &'a Tensor,
    /// `[prompts]`.
    pub targets: &'a [f64],
    /// `[prompts * K]`.
    pub advantages: &'a [f64],
}

/// The weighted sum of the terms, scalar; and the terms, for the log.
pub(super) fn coupled_loss(
    settings: &Coupling,
    margins: &Margins<'_>,
) -> Result<(Tensor, Vec<(&'static str, f64)>)> {
    let prompts = margins.targets.len();
    let k = margins.advantages.len() / prompts.max(1);
    let row = |values: Vec<f32>| Tensor::new(values, &Device::Cpu);
    let target = row(margins.targets.iter().map(|t| *t as f32).collect())?; // [prompts]
    let weights: Vec<f32> =
        margins.advantages.chunks(k.max(1)).flat_map(|group| rollout_weights(settings, group)).collect();
    let weights = row(weights)?.reshape((prompts, k))?;
    let behind = margins.behind.reshape((prompts, k))?;
    let error = behind.broadcast_sub(&target.unsqueeze(1)?)?; // [prompts, K]
    let regression = ((huber(&error, settings.huber)? * weights)?.sum_all()? / prompts as f64)?;
    let antisymmetry = mirrored(&behind.mean(1)?, settings.huber)?;
    let question = (huber(&(margins.question - &target)?, settings.huber)?.mean_all()?
        + (mirrored(margins.question, settings.huber)? * settings.antisymmetry)?)?;
    let loss = ((&regression * settings.regression)? + (&antisymmetry * settings.antisymmetry)?)?;
    let loss = (loss + (&question * settings.question)?)?;
    let terms = vec![
        ("coupling/regression", scalar(&regression)?),
        ("coupling/antisymmetry", scalar(&antisymmetry)?),
        ("coupling/question", scalar(&question)?),
        ("coupling/margin_error", scalar(&error.detach().abs()?.mean_all()?)?),
    ];
    Ok((loss, terms))
}

/// Weights of the rollouts of one prompt; they add up to 1.
fn rollout_weights(settings: &Coupling, advantages: &[f64]) -> Vec<f32> {
    let raw: Vec<f64> = match settings.weights {
        RolloutWeights::Uniform => vec![1.0; advantages.len()],
        RolloutWeights::Advantage => {
            let top = advantages.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            advantages.iter().map(|a| ((a - top) / settings.temperature).exp()).collect()
        }
    };
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|w| (w / sum) as f32).collect()
}

/// Mean Huber loss of what a pair's two orders add up to; `margins` `[prompts]`.
fn mirrored(margins: &Tensor, huber_at: f64) -> Result<Tensor> {
    let pairs = margins.reshape(((), 2))?;
    huber(&pairs.sum(1)?, huber_at)?.mean_all()
}

/// `e² / (2 beta)` up to beta, `|e| - beta/2` beyond.
fn huber(error: &Tensor, beta: f64) -> Result<Tensor> {
    let size = error.abs()?;
    let inside = size.minimum(beta)?;
    (inside.sqr()? / (2.0 * beta))? + (size - inside)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    const TARGETS: [f64; 4] = [1.5, -1.5, 0.1, -0.1];
    const ADVANTAGES: [f64; 8] = [1.0, -1.0, 0.0, 0.0, -0.5, 0.5, 1.2, -1.2];

    fn at(settings: &Coupling, behind: &[f32], question: &[f32]) -> (Tensor, Var, Var) {
        let var = |values: &[f32]| Var::from_tensor(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
        let (behind, question) = (var(behind), var(question));
        let margins = Margins {
            behind: behind.as_tensor(),
            question: question.as_tensor(),
            targets: &TARGETS,
            advantages: &ADVANTAGES,
        };
        let (loss, _) = coupled_loss(settings, &margins).unwrap();
        (loss, behind, question)
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let behind = [1.1f32, 1.9, -1.0, -1.45, 0.6, 0.15, -0.9, 0.3];
        let question = [1.3f32, -1.0, 0.05, 0.2];
        for weights in [RolloutWeights::Advantage, RolloutWeights::Uniform] {
            let settings = Coupling { weights, antisymmetry: 0.7, ..Coupling::default() };
            let (loss, behind_var, question_var) = at(&settings, &behind, &question);
            let grads = loss.backward().unwrap();
            let step = 2e-3f32;
            let slope = |which: usize, i: usize| {
                let moved = |by: f32| {
                    let (mut behind, mut question) = (behind, question);
                    if which == 0 {
                        behind[i] += by
                    } else {
                        question[i] += by
                    }
                    at(&settings, &behind, &question).0.to_scalar::<f32>().unwrap()
                };
                (moved(step) - moved(-step)) / (2.0 * step)
            };
            for (which, var, n) in [(0, &behind_var, 8), (1, &question_var, 4)] {
                let grad = grads.get(var).unwrap().to_vec1::<f32>().unwrap();
                for (i, grad) in grad.iter().enumerate().take(n) {
                    let slope = slope(which, i);
                    assert!((slope - grad).abs() < 1e-3, "{weights:?} {which} {i}: {slope} {grad}");
                }
            }
        }
    }

    #[test]
    fn better_rollouts_pull_harder_unless_uncoupled() {
        let settings =
            |weights| Coupling { weights, antisymmetry: 0.0, question: 0.0, ..Coupling::default() };
        let pull = |weights| {
            // Both rollouts of the first prompt are off by as much.
            let (loss, behind, _) =
                at(&settings(weights), &[0.5, 0.5, -1.5, -1.5, 0.1, 0.1, -0.1, -0.1], &[0.0; 4]);
            loss.backward().unwrap().get(&behind).unwrap().to_vec1::<f32>().unwrap()
        };
        let coupled = pull(RolloutWeights::Advantage);
        assert!(
            (coupled[0] / coupled[1] - 2f32.exp()).abs() < 1e-3,
            "e to the difference of advantages: {coupled:?}"
        );
        let uniform = pull(RolloutWeights::Uniform);
        assert_eq!(uniform[0], uniform[1]);
        assert!((coupled[0] + coupled[1] - uniform[0] - uniform[1]).abs() < 1e-6, "weights add up to 1");
    }

    #[test]
    fn exact_antisymmetric_margins_cost_nothing() {
        let (loss, ..) =
            at(&Coupling::default(), &[1.5, 1.5, -1.5, -1.5, 0.1, 0.1, -0.1, -0.1], &[1.5, -1.5, 0.1, -0.1]);
        assert!(loss.to_scalar::<f32>().unwrap() < 1e-9);
        // Off by the same on both sides: regression sees it, antisymmetry only where the sum is not 0.
        let only = Coupling { regression: 0.0, question: 0.0, antisymmetry: 1.0, ..Coupling::default() };
        let (shrunk, ..) = at(&only, &[1.0, 1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0], &[0.0; 4]);
        assert_eq!(shrunk.to_scalar::<f32>().unwrap(), 0.0);
        let (biased, ..) = at(&only, &[1.0, 1.0, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0], &[0.0; 4]);
        assert!((biased.to_scalar::<f32>().unwrap() - 0.5 * (0.5 - 0.125)).abs() < 1e-6);
    }
}
