//! Shrinking what training is too sure of: the contrast of two videos, what they tell laid over each other, the decoder's correction of the
//! margin and the temporal penalties fit contents that are known, and on others push margins about. Last layers are multiplied by
//! factors of the configuration; that of the temporal penalties becomes `temporal_gain` of the model. In the end the two numbers that turn rank logits `r` into points,
//!
//! ```text
//! margin = 4 (sigmoid(s rA + t) - sigmoid(s rB + t))
//! ```
//!
//! are fitted anew by least squares (Gauss-Newton) to pairs of contents kept from training. Leaves out: whatever correction is left,
//! and choosing the factors, which `scripts/validate-nano.sh` serves for.

use crate::config::Shrinkage;
use crate::data::groups::GroupFile;
use crate::decoder::Library;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use juror_lmm::nano::{Ensemble, NanoConfig, Vision};
use juror_nn::params::Params;
use std::collections::BTreeMap;
use std::ops::Range;

const SCALE: &str = "decoder.margin_scale";
const OFFSET: &str = "decoder.margin_offset";
/// Gauss-Newton steps; a handful suffices.
const STEPS: usize = 50;

/// Rank logits of A and of B side by side, and how many points A is better.
type Pair = (f64, f64, f64);

/// Shrinks the contrasts of these bodies.
///
/// # Errors
/// When a tensor is missing.
pub(crate) fn contrasts(
    shrinkage: Shrinkage,
    weights: &mut BTreeMap<String, Tensor>,
    bodies: Range<usize>,
) -> Result<()> {
    for body in bodies {
        for part in ["place_contrast", "whole_contrast"] {
            multiply(weights, &format!("{}.{part}.out.weight", Ensemble::path(body)), shrinkage.contrast)?;
        }
    }
    Ok(())
}

/// Shrinks the leads of videos laid over each other.
///
/// # Errors
/// When a tensor is missing.
pub(crate) fn overlay(shrinkage: Shrinkage, weights: &mut BTreeMap<String, Tensor>) -> Result<()> {
    multiply(weights, "overlay.out.weight", shrinkage.overlay)
}

/// Shrinks the decoder's correction.
///
/// # Errors
/// When a tensor is missing.
pub(crate) fn correction(shrinkage: Shrinkage, weights: &mut BTreeMap<String, Tensor>) -> Result<()> {
    for part in ["weight", "bias"] {
        multiply(weights, &format!("decoder.margin_out.{part}"), shrinkage.correction)?;
    }
    Ok(())
}

fn multiply(weights: &mut BTreeMap<String, Tensor>, name: &str, factor: f64) -> Result<()> {
    let shrunk = (tensor(weights, name)? * factor)?;
    weights.insert(name.to_owned(), shrunk);
    Ok(())
}

fn tensor(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Tensor> {
    weights.get(name).cloned().with_context(|| format!("no `{name}` among the weights"))
}

/// Fits the sizes of margins to `held_out`; with no group there, they stay.
///
/// # Errors
/// When a tensor is missing or a group cannot be read.
pub(crate) fn fit_margins(
    weights: &mut BTreeMap<String, Tensor>,
    model: &NanoConfig,
    held_out: &[GroupFile],
) -> Result<()> {
    if held_out.is_empty() {
        return Ok(());
    }
    let number = |name: &str| -> Result<f64> { Ok(f64::from(tensor(weights, name)?.to_vec1::<f32>()?[0])) };
    let start = (number(SCALE)?, number(OFFSET)?);
    let params = Params::from_tensors(weights.clone(), &Device::Cpu)?;
    let vision = Vision::new(&params, model)?;
    let (scale, offset) = fit(&pairs(&vision, held_out)?, start);
    tracing::info!(
        "margins: scale {scale:.4}, offset {offset:.4}; before shrinking {:.4}, {:.4}",
        start.0,
        start.1
    );
    for (name, value) in [(SCALE, scale), (OFFSET, offset)] {
        weights.insert(name.to_owned(), Tensor::new(&[value as f32], &Device::Cpu)?);
    }
    Ok(())
}

/// All pairs of each group.
fn pairs(vision: &Vision, groups: &[GroupFile]) -> Result<Vec<Pair>> {
    let library = Library::new(vision, groups);
    let mut pairs = Vec::new();
    let mut first = 0;
    for group in groups {
        let rows = first..first + group.examples.len();
        first = rows.end;
        let all: Vec<_> = rows.clone().flat_map(|a| (a + 1..rows.end).map(move |b| (a, b))).collect();
        let seen = library.pair(&all)?;
        let ranks = seen.rank_a.to_vec1::<f32>()?.into_iter().zip(seen.rank_b.to_vec1::<f32>()?);
        let targets = all.iter().map(|&(a, b)| library.margin(a, b));
        pairs.extend(ranks.zip(targets).map(|((a, b), target)| (f64::from(a), f64::from(b), target)));
    }
    Ok(pairs)
}

/// Scale and offset of least squared error, from `start`.
fn fit(pairs: &[Pair], start: (f64, f64)) -> (f64, f64) {
    let quality = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut scale, mut offset) = start;
    for _ in 0..STEPS {
        // Normal equations of the residuals in (scale, offset).
        let (mut ss, mut st, mut tt, mut sr, mut tr) = (1e-9, 0.0, 1e-9, 0.0, 0.0);
        for &(a, b, target) in pairs {
            let (qa, qb) = (quality(scale * a + offset), quality(scale * b + offset));
            let (da, db) = (4.0 * qa * (1.0 - qa), 4.0 * qb * (1.0 - qb));
            let (by_scale, by_offset) = (da * a - db * b, da - db);
            let residual = target - 4.0 * (qa - qb);
            ss += by_scale * by_scale;
            st += by_scale * by_offset;
            tt += by_offset * by_offset;
            sr += by_scale * residual;
            tr += by_offset * residual;
        }
        let determinant = ss * tt - st * st;
        if determinant <= 0.0 {
            break;
        }
        // Half steps: rank logits are wide, and a whole one can leap over the valley.
        scale += 0.5 * (sr * tt - tr * st) / determinant;
        offset += 0.5 * (tr * ss - sr * st) / determinant;
    }
    (scale, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_margins_are_found_again() {
        let quality = |x: f64| 4.0 / (1.0 + (-x).exp());
        let ranks = (0..40).map(|i| (f64::from(i) * 0.7).sin() * 6.0 + 1.0);
        let pairs: Vec<Pair> = ranks
            .clone()
            .zip(ranks.skip(1))
            .map(|(a, b)| (a, b, quality(0.38 * a - 0.1) - quality(0.38 * b - 0.1)))
            .collect();
        let (scale, offset) = fit(&pairs, (0.22, 0.16));
        assert!((scale - 0.38).abs() < 1e-6 && (offset + 0.1).abs() < 1e-6, "{scale} {offset}");
    }
}
