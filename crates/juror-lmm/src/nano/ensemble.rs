//! Several bodies trained apart, as one: errors that each makes on contents it has not seen cancel in their mean (deep ensembles,
//! Lakshminarayanan et al. 2017).
//!
//! Logits and contrasts are the means of the members'. The decoder reads the views of the first, since hidden features of
//! networks trained apart have no common axes; the verdict that it reads is the mean's. Leaves out: how far the members disagree.

use super::body::{Body, BodyOutput, Numbers, Sides, Views};
use super::config::NanoConfig;
use candle_core::{D, Result, Tensor};
use juror_nn::params::Params;

/// The bodies of a model.
pub struct Ensemble {
    members: Vec<Body>,
}

impl Ensemble {
    /// Where the weights of member `index` lie.
    #[must_use]
    pub fn path(index: usize) -> String {
        format!("body.{index}")
    }

    /// Takes (or draws) the weights of `config.bodies` members.
    ///
    /// # Errors
    /// When a stored tensor has another shape.
    pub fn new(p: &Params, config: &NanoConfig) -> Result<Self> {
        let members = (0..config.bodies).map(|index| Body::new(p, &Self::path(index), config));
        Ok(Self { members: members.collect::<Result<_>>()? })
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
        let (rank_visual, rank_temporal) = (mean(|o| &o.rank_visual)?, mean(|o| &o.rank_temporal)?);
        let (score_visual, score_temporal) = (mean(|o| &o.score_visual)?, mean(|o| &o.score_temporal)?);
        let (dominant, severity) = (mean(|o| &o.dominant)?, mean(|o| &o.severity)?);
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
