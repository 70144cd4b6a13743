//! The dynamic confidence loss of W2S-VQA (arXiv 2505.03631, appendix C.2.2): cross-entropy of the target text, mixed with
//! the entropy of the predictions the more, the less sure the model still is.
//!
//! With t = step / steps, CE the mean next-token cross-entropy and H the mean entropy (natural log of p + 1e-8):
//!
//! ```text
//! L      = (1 - lambda) CE + lambda H            lambda = alpha min(1, t / 0.1)
//! alpha  = exp(H/T) / (exp(H/T) + exp(CE/T))     without gradient
//! T      = 0.5 - 0.4 t/0.1 up to t = 0.1, then 0.1
//! ```
//!
//! CE counts the tokens of the target only. H counts the same tokens by default; the published code averages it over all
//! positions, prompt and visual tokens included ([`EntropyOver::All`]).

use crate::engine::scalar;
use candle_core::{D, DType, Result, Tensor};
use juror_nn::ops;
use serde::{Deserialize, Serialize};

/// The positions whose entropy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntropyOver {
    /// Those with a target.
    #[default]
    Targets,
    /// All, as published.
    All,
}

/// How the two terms are mixed at one moment of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// T.
    pub temperature: f64,
    /// alpha.
    pub alpha: f64,
    /// lambda.
    pub lambda: f64,
}

impl Mix {
    /// The mix at `progress` (t, 0 to 1) for the present values of both terms.
    #[must_use]
    pub fn at(progress: f64, cross_entropy: f64, entropy: f64) -> Self {
        let ramp = (progress / 0.1).clamp(0.0, 1.0);
        let temperature = 0.5 - 0.4 * ramp;
        let alpha = 1.0 / (1.0 + ((cross_entropy - entropy) / temperature).exp());
        Self { temperature, alpha, lambda: alpha * ramp }
    }
}

/// The loss of `logits` `[positions, vocab]` against `targets` `[positions]` (u32, `ignored` where there is none) at
/// `progress`; and the mix it took.
///
/// # Errors
/// Shapes that do not fit, targets outside the vocabulary.
pub fn confidence_loss(
    logits: &Tensor,
    targets: &Tensor,
    ignored: u32,
    over: EntropyOver,
    progress: f64,
) -> Result<(Tensor, Mix)> {
    let cross_entropy = ops::cross_entropy(logits, targets, Some(ignored))?;
    let p = ops::softmax(logits)?;
    let entropies = (&p * (&p + 1e-8)?.log()?)?.sum(D::Minus1)?.neg()?; // [positions]
    let entropy = match over {
        EntropyOver::All => entropies.mean_all()?,
        EntropyOver::Targets => {
            let counts = targets.ne(ignored)?.to_dtype(DType::F32)?;
            ((entropies * &counts)?.sum_all()? / counts.sum_all()?.maximum(1f64)?)?
        }
    };
    let mix = Mix::at(progress, scalar(&cross_entropy)?, scalar(&entropy)?);
    Ok((((cross_entropy * (1.0 - mix.lambda))? + (entropy * mix.lambda)?)?, mix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_worked_example_of_the_design_comes_out() {
        let (ce, h) = (0.4, 0.3);
        for (t, known) in
            [(0.05, [0.3, 0.417430, 0.208715, 0.379129]), (0.5, [0.1, 0.268941, 0.268941, 0.373106])]
        {
            let mix = Mix::at(t, ce, h);
            let loss = (1.0 - mix.lambda) * ce + mix.lambda * h;
            for (got, known) in [mix.temperature, mix.alpha, mix.lambda, loss].into_iter().zip(known) {
                assert!((got - known).abs() < 1e-6, "t = {t}: {got}, {known}");
            }
        }
        assert_eq!(Mix::at(0.0, 2.0, 2.0).lambda, 0.0);
        assert!(Mix::at(1.0, 1e4, 0.0).alpha == 0.0 && Mix::at(1.0, 0.0, 1e4).alpha == 1.0, "no overflow");
    }

    const LOGITS: [f32; 9] = [0.3, -0.2, 1.0, 0.0, 0.0, 0.0, 2.0, 0.1, -0.5];

    fn loss(logits: &[f32; 9], over: EntropyOver, fixed: Option<Mix>) -> (f64, Vec<f32>, Mix) {
        let var = Var::from_tensor(&Tensor::from_slice(logits, (3, 3), &Device::Cpu).unwrap()).unwrap();
        let targets = Tensor::new(&[2u32, 9, 1], &Device::Cpu).unwrap();
        let (loss, mix) = confidence_loss(var.as_tensor(), &targets, 9, over, 0.07).unwrap();
        let grad = loss.backward().unwrap().get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let by_hand = |mix: Mix| {
            let rows = logits.chunks(3).map(|row| {
                let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                row.iter().map(|x| f64::from(*x).exp() / total).collect::<Vec<f64>>()
            });
            let rows: Vec<Vec<f64>> = rows.collect();
            let ce = -(rows[0][2].ln() + rows[2][1].ln()) / 2.0;
            let entropy = |row: &Vec<f64>| -row.iter().map(|p| p * p.ln()).sum::<f64>();
            let h = match over {
                EntropyOver::All => rows.iter().map(entropy).sum::<f64>() / 3.0,
                EntropyOver::Targets => (entropy(&rows[0]) + entropy(&rows[2])) / 2.0,
            };
            (1.0 - mix.lambda) * ce + mix.lambda * h
        };
        if fixed.is_none() {
            let value = f64::from(loss.to_scalar::<f32>().unwrap());
            assert!((value - by_hand(mix)).abs() < 1e-5, "{over:?}: {value} {}", by_hand(mix));
        }
        (by_hand(fixed.unwrap_or(mix)), grad, mix)
    }

    #[test]
    fn gradients_agree_with_finite_differences_at_a_fixed_mix() {
        for over in [EntropyOver::Targets, EntropyOver::All] {
            let (_, grad, mix) = loss(&LOGITS, over, None);
            for i in 0..9 {
                let moved = |by: f32| {
                    let mut logits = LOGITS;
                    logits[i] += by;
                    loss(&logits, over, Some(mix)).0
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((slope - f64::from(grad[i])).abs() < 1e-4, "{over:?} {i}: {slope} {}", grad[i]);
            }
            // The row without a target is uniform, where entropy is stationary: tilt it to see the difference.
            let mut tilted = LOGITS;
            tilted[4] = 1.0;
            let (_, grad, _) = loss(&tilted, over, None);
            assert_eq!(grad[3..6].iter().all(|g| *g == 0.0), over == EntropyOver::Targets);
        }
    }
}
