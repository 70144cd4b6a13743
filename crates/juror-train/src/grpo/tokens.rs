//! What the loss needs of each written token: its log-probability, the entropy it was drawn at, whether it counts.

use candle_core::{D, DType, Device, Result, Tensor};

/// Log-probabilities `[rows, tokens]` of `targets` `[rows, tokens]` (u32) under `logits` `[rows, tokens, vocab]` divided
/// by `temperature`, with gradient; and the entropies `[rows, tokens]` in nats of the same distributions, without.
///
/// # Errors
/// Shapes that do not fit.
pub fn token_statistics(logits: &Tensor, targets: &Tensor, temperature: f64) -> Result<(Tensor, Tensor)> {
    let scaled = (logits.to_dtype(DType::F32)? / temperature)?;
    let all = candle_nn::ops::log_softmax(&scaled, D::Minus1)?; // [rows, tokens, vocab]
    let chosen = all.gather(&targets.unsqueeze(2)?, 2)?.squeeze(2)?;
    let all = all.detach();
    let entropies = (all.exp()? * &all)?.sum(D::Minus1)?.neg()?;
    Ok((chosen, entropies))
}

/// 1 for tokens up to and including the stop token, 0 behind them, `[rows, longest]` of f32; completions in `cut` count
/// nowhere.
///
/// # Errors
/// Out of memory.
pub fn completion_mask(lengths: &[usize], longest: usize, cut: &[bool], device: &Device) -> Result<Tensor> {
    let value = |row: usize, at: usize| f32::from(!cut.get(row).is_some_and(|c| *c) && at < lengths[row]);
    let values: Vec<f32> =
        (0..lengths.len()).flat_map(|row| (0..longest).map(move |at| value(row, at))).collect();
    Tensor::from_vec(values, (lengths.len(), longest), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_two_logits_are_those_of_a_coin() {
        let logits = Tensor::new(&[[[0f32, 2.0f32.ln()]]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[[1u32]], &Device::Cpu).unwrap();
        let at = |temperature| {
            let (logps, entropies) = token_statistics(&logits, &targets, temperature).unwrap();
            let one = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
            (one(logps), one(entropies))
        };
        let (logp, entropy) = at(1.0);
        assert!((logp - (2.0f32 / 3.0).ln()).abs() < 1e-6 && (entropy - 0.636_514).abs() < 1e-6);
        assert!((at(0.5).0 - (4.0f32 / 5.0).ln()).abs() < 1e-6, "the temperature sharpens");
    }

    #[test]
    fn cut_completions_count_nowhere() {
        let mask = completion_mask(&[2, 3, 1], 3, &[false, true, false], &Device::Cpu).unwrap();
        assert_eq!(mask.to_vec2::<f32>().unwrap(), [[1.0, 1.0, 0.0], [0.0; 3], [1.0, 0.0, 0.0]]);
    }
}
