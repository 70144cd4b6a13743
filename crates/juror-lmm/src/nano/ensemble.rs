//! Several bodies trained apart, as one: errors that each makes on contents it has not seen cancel in their mean (deep ensembles,
//! Lakshminarayanan et al. 2017).
//!
//! Logits and contrasts are the means of the members'. On contents whose own motion is uneven, some of a temporal penalty is a false
//! alarm that comes and goes with compression. So that of the rank logit counts `temporal_gain`, and that of the score logit as far as the
//! heads that name distortions confirm it: with the logit `z` of "some temporal kind dominates" and the largest severity logit `s` of those,
//!
//! ```text
//! score_temporal = penalty (LEAST + (1 - LEAST) sigmoid(STEEPNESS ((z + s) / 2 - CONFIRMED)))
//! ```
//!
//! The decoder reads the views of the first member, since hidden features of networks trained apart have no common axes; the verdict that it
//! reads is the mean's. Leaves out: how far the members disagree.

use super::body::{Body, BodyOutput, Numbers, Sides, Views};
use super::config::{FIRST_TEMPORAL, KINDS, NanoConfig};
use candle_core::{D, Result, Tensor};
use juror_nn::params::Params;
use std::collections::BTreeMap;

/// Share of a penalty that counts though nothing confirms it: what is sure in order, however mild, stays in order.
const LEAST: f64 = 0.1;
/// Logit from which on a penalty is confirmed rather than not, and how fast. Chosen on the validation ladders, whose figures hardly change around
/// them.
const CONFIRMED: f64 = 1.0;
const STEEPNESS: f64 = 3.0;

/// The bodies of a model.
pub struct Ensemble {
    members: Vec<Body>,
    temporal_gain: f64,
}

impl Ensemble {
    /// Where the weights of member `index` lie.
    #[must_use]
    pub fn path(index: usize) -> String {
        format!("body.{index}")
    }

    /// The same weights with every body `by` places later.
    #[must_use]
    pub fn moved(weights: BTreeMap<String, Tensor>, by: usize) -> BTreeMap<String, Tensor> {
        let renamed = |name: String| {
            let place = name.strip_prefix("body.").and_then(|rest| rest.split_once('.'));
            match place.and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest))) {
                Some((index, rest)) => format!("{}.{rest}", Self::path(index + by)),
                None => name,
            }
        };
        weights.into_iter().map(|(name, tensor)| (renamed(name), tensor)).collect()
    }

    /// Takes (or draws) the weights of `config.bodies` members.
    ///
    /// # Errors
    /// When a stored tensor has another shape.
    pub fn new(p: &Params, config: &NanoConfig) -> Result<Self> {
        let members = (0..config.bodies).map(|index| Body::new(p, &Self::path(index), config));
        Ok(Self { members: members.collect::<Result<_>>()?, temporal_gain: config.temporal_gain })
    }

    /// As [`Body::forward`].
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn forward(&self, patches: &Tensor, native: usize, numbers: &Numbers) -> Result<BodyOutput> {
        let seen = self.members.iter().map(|body| body.forward(patches, native, numbers));
        let seen = seen.collect::<Result<Vec<_>>>()?;
        let mean = |part: fn(&BodyOutput) -> &Tensor| {
            Tensor::stack(&seen.iter().map(part).collect::<Vec<_>>(), 0)?.mean(0)
        };
        let beside = |part: fn(&Sides) -> &Tensor| {
            Tensor::cat(&seen.iter().map(|out| part(&out.views.sides)).collect::<Vec<_>>(), D::Minus1)
        };
        let sides = Sides { places: beside(|s| &s.places)?, whole: beside(|s| &s.whole)? };
        let (rank_visual, score_visual) = (mean(|o| &o.rank_visual)?, mean(|o| &o.score_visual)?);
        let rank_temporal = (mean(|o| &o.rank_temporal)? * self.temporal_gain)?;
        let (dominant, severity) = (mean(|o| &o.dominant)?, mean(|o| &o.severity)?);
        let score_temporal = (mean(|o| &o.score_temporal)? * confirmed(&dominant, &severity)?)?;
        let Some(first) = seen.into_iter().next() else { candle_core::bail!("a model without a body") };
        let views = Views { sides, ..first.views };
        Ok(BodyOutput { rank_visual, rank_temporal, score_visual, score_temporal, dominant, severity, views })
    }

    /// As [`Body::contrast`], of sides that lie member beside member along the last axis.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn contrast(&self, a: &Sides, b: &Sides) -> Result<Tensor> {
        let own = |sides: &Sides, index: usize| {
            sides.map(|t| {
                let width = t.dim(D::Minus1)? / self.members.len();
                t.narrow(D::Minus1, index * width, width)
            })
        };
        let contrasts = self.members.iter().enumerate();
        let contrasts = contrasts.map(|(i, body)| body.contrast(&own(a, i)?, &own(b, i)?));
        Tensor::stack(&contrasts.collect::<Result<Vec<_>>>()?, 0)?.mean(0)
    }
}

/// Share of each temporal penalty that counts, `[videos]`, from the logits of kinds, `[videos, 1 + KINDS]` and `[videos, KINDS]`.
fn confirmed(dominant: &Tensor, severity: &Tensor) -> Result<Tensor> {
    let temporal = KINDS.len() - FIRST_TEMPORAL;
    let others = dominant.narrow(1, 0, 1 + FIRST_TEMPORAL)?.log_sum_exp(1)?;
    let dominates = (dominant.narrow(1, 1 + FIRST_TEMPORAL, temporal)?.log_sum_exp(1)? - others)?;
    let severest = severity.narrow(1, FIRST_TEMPORAL, temporal)?.max(1)?;
    let logit = (((dominates + severest)? * 0.5)? - CONFIRMED)?;
    candle_nn::ops::sigmoid(&(logit * STEEPNESS)?)?.affine(1.0 - LEAST, LEAST)
}

#[cfg(test)]
mod tests {
    use super::super::fragments::NATIVE_PLACES;
    use super::super::patches::{PATCH_LEN, PATCHES};
    use super::super::profile::PROFILE_LEN;
    use super::super::tone::TONE_LEN;
    use super::*;
    use crate::nano::FACTS_LEN;
    use candle_core::Device;

    #[test]
    fn members_are_averaged_and_the_first_is_shown() {
        let config = NanoConfig {
            bodies: 2,
            temporal_gain: 0.5,
            patch_dim: 8,
            fragment_dim: 12,
            trunk_dim: 10,
            ..NanoConfig::default()
        };
        let params = Params::seeded(3, &Device::Cpu);
        let ensemble = Ensemble::new(&params, &config).unwrap();
        let [first, second] = [0, 1].map(|i| Body::new(&params, &Ensemble::path(i), &config).unwrap());
        let shape = (2, 1, NATIVE_PLACES + 2, PATCHES, PATCH_LEN);
        let count = 2 * (NATIVE_PLACES + 2) * PATCHES * PATCH_LEN;
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
        let patches = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let rows: Vec<_> =
            [0.2f32, 0.7].iter().map(|&v| ([v; PROFILE_LEN], [v; TONE_LEN], [v; FACTS_LEN])).collect();
        let numbers = Numbers::new(rows.iter().map(|(p, t, f)| (&p[..], &t[..], &f[..]))).unwrap();
        let seen = ensemble.forward(&patches, NATIVE_PLACES, &numbers).unwrap();
        let [one, two] = [&first, &second].map(|b| b.forward(&patches, NATIVE_PLACES, &numbers).unwrap());
        let read = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let near = |a: &Tensor, b: &Tensor, c: &Tensor, gain: f32| {
            let means = read(b).into_iter().zip(read(c)).map(|(b, c)| gain * (b + c) / 2.0);
            assert!(read(a).iter().zip(means).all(|(a, mean)| (a - mean).abs() < 1e-5), "{a} {b} {c}");
        };
        near(&seen.rank_visual, &one.rank_visual, &two.rank_visual, 1.0);
        near(&seen.rank_temporal, &one.rank_temporal, &two.rank_temporal, 0.5);
        near(&seen.dominant, &one.dominant, &two.dominant, 1.0);
        near(&seen.severity, &one.severity, &two.severity, 1.0);
        let penalties = read(&((&one.score_temporal + &two.score_temporal).unwrap() / 2.0).unwrap());
        for (found, penalty) in read(&seen.score_temporal).iter().zip(penalties) {
            assert!((penalty..=0.1 * penalty).contains(found), "{found} of {penalty}");
        }
        assert_eq!(read(&seen.views.trunk), read(&one.views.trunk));
        assert_ne!(read(&one.rank_visual), read(&two.rank_visual));

        let side = |sides: &Sides, row: usize| sides.map(|t| t.narrow(0, row, 1)).unwrap();
        let of = |sides: &Sides| [side(sides, 0), side(sides, 1)];
        let ([a, b], [a1, b1], [a2, b2]) =
            (of(&seen.views.sides), of(&one.views.sides), of(&two.views.sides));
        let contrast = ensemble.contrast(&a, &b).unwrap();
        near(&contrast, &first.contrast(&a1, &b1).unwrap(), &second.contrast(&a2, &b2).unwrap(), 1.0);
        assert_eq!(read(&contrast), read(&ensemble.contrast(&b, &a).unwrap().neg().unwrap()));
    }

    #[test]
    fn a_penalty_counts_as_far_as_its_kind_is_named() {
        let kind = |logit: f32, severity: f32| {
            let mut row = vec![0f32; 1 + KINDS.len()];
            row[1 + FIRST_TEMPORAL] = logit;
            let mut severities = vec![-3f32; KINDS.len()];
            severities[FIRST_TEMPORAL] = severity;
            let tensor = |row: Vec<f32>| Tensor::new(vec![row], &Device::Cpu).unwrap();
            confirmed(&tensor(row), &tensor(severities)).unwrap().to_vec1::<f32>().unwrap()[0]
        };
        assert!(kind(8.0, 3.0) > 0.99);
        assert!((0.1..0.101).contains(&kind(-4.0, -3.0)));
        let rising: Vec<f32> = (0..8).map(|i| kind(i as f32, i as f32 - 3.0)).collect();
        assert!(rising.windows(2).all(|w| w[1] >= w[0]), "{rising:?}");
    }
}
