//! Two videos beside each other: all that is known of both only, in one place.
//!
//! With the rank logits of each video alone, `v + t` of its pictures and its motion, A is ahead of B by
//!
//! ```text
//! (vA + tA) - (vB + tB) + contrast - (1 - alone) (tA - tB) + lead of the cadences + lead of the overlay
//! ```
//!
//! half of what is beside their own logits is added to A's and the other half taken from B's. `contrast` is of what the bodies see (`contrast.rs`),
//! `alone` and the first lead are of how both move (`cadence.rs`), the second of their pictures laid over each other (`overlay.rs`), where both show
//! one content at the same times. What each is said to suffer from follows `naming.rs`.

use super::cadence::Beside;
use super::config::NanoConfig;
use super::decoder::VideoFeatures;
use super::ensemble::Ensemble;
use super::overlay::{Overlaid, Overlay};
use candle_core::{Device, Result, Tensor};
use juror_nn::params::Params;

/// Everything that sees: the bodies and, where there is one, what reads two videos laid over each other.
pub struct Vision {
    /// What sees one video.
    pub bodies: Ensemble,
    /// What sees two.
    pub overlay: Option<Overlay>,
}

/// Pairs of videos, `[pairs, ...]` each.
pub struct PairFeatures {
    /// The first videos, named beside the second.
    pub a: VideoFeatures,
    /// The second, named beside the first.
    pub b: VideoFeatures,
    /// Rank logits of the first, `[pairs]`.
    pub rank_a: Tensor,
    /// Of the second.
    pub rank_b: Tensor,
    /// Share of the difference of their temporal penalties that counts.
    pub(super) alone: Tensor,
    /// Rank logits that A is ahead by, as both move.
    pub(super) temporal_lead: Tensor,
    /// The same, laid over B.
    pub(super) visual_lead: Tensor,
}

impl Vision {
    /// Takes (or draws) the weights under `body.` and `overlay.`.
    ///
    /// # Errors
    /// When a stored tensor has another shape.
    pub fn new(p: &Params, config: &NanoConfig) -> Result<Self> {
        let overlay = (config.overlay_dim > 0).then(|| Overlay::new(p, config)).transpose()?;
        Ok(Self { bodies: Ensemble::new(p, config)?, overlay })
    }

    /// Videos and others beside them; `overlaid` has what laying each over its neighbour tells.
    ///
    /// # Errors
    /// When they are not as many, or were not watched at as many moments.
    pub fn pair(&self, a: &VideoFeatures, b: &VideoFeatures, overlaid: &[Overlaid]) -> Result<PairFeatures> {
        let Beside { together, alone, lead: temporal_lead } = Beside::of(&a.cadence, &b.cadence)?;
        let column = |of: fn(&Overlaid) -> f32| {
            Tensor::new(overlaid.iter().map(of).collect::<Vec<f32>>(), &Device::Cpu)
        };
        let visual_lead = (column(|o| o.lead)? * &together)?;
        let lead = (a.temporal_rank()? - b.temporal_rank()?)?;
        // Less of the temporal lead, more of the other three.
        let contrast = self.bodies.contrast(&a.sides, &b.sides)?;
        let more = (((contrast - (&lead - &lead * &alone)?)? + &temporal_lead)? + &visual_lead)?;
        let half = (more * 0.5)?;
        let (rank_a, rank_b) = ((a.rank()? + &half)?, (b.rank()? - half)?);
        let faults = |side: usize| overlaid.iter().map(|o| o.faults[side]).collect::<Vec<_>>();
        Ok(PairFeatures {
            rank_a,
            rank_b,
            alone,
            temporal_lead,
            visual_lead,
            a: a.named_beside(b, &together, &faults(0))?,
            b: b.named_beside(a, &together, &faults(1))?,
        })
    }
}

impl PairFeatures {
    /// The same pairs the other way round.
    ///
    /// # Errors
    /// Only where tensor work fails.
    pub fn swapped(&self) -> Result<Self> {
        Ok(Self {
            a: self.b.clone(),
            b: self.a.clone(),
            rank_a: self.rank_b.clone(),
            rank_b: self.rank_a.clone(),
            alone: self.alone.clone(),
            temporal_lead: self.temporal_lead.neg()?,
            visual_lead: self.visual_lead.neg()?,
        })
    }
}
