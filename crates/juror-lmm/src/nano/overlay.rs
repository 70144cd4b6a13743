//! Two networks that read two videos laid over each other (`evidence.rs`): who looks better, and what ails whom.
//!
//! With differences `d` and common numbers `c`, a small network `f` says who looks better, and by that the one is ahead; another, `g`, says
//! what was done to A's pictures, and the other way round to B's:
//!
//! ```text
//! order z = f(d, c) - f(-d, c)                  antisymmetric by its form
//! lead of A = BOUND tanh(z / BOUND)             in rank logits
//! kinds of A = g(d, c) - g(0, c)                logits of the dominant kind, the first of which is "none"
//! kinds of B = g(-d, c) - g(0, c)
//! severities of A = h(d, c), of B = h(-d, c)    logits of each kind's severity, if it is the dominant one; h shares g's hidden layers
//! ```
//!
//! The first knows the order better than the size: what it is sure of may still be small. So the lead is bounded, which settles close calls
//! and leaves the size of a margin to the body. Without the bound more pairs yet are told right, but margins of one content are far from
//! what they should be. The second tells nothing where nothing differs: what ails both alike is named as of each alone (`naming.rs`).
//!
//! `juror train sft` trains both on pairs of one content (`juror_train::overlay`). Leaves out: temporal kinds.

use super::body::Linear;
use super::config::{FIRST_TEMPORAL, NanoConfig};
use super::evidence::{COMMON, DIFFERENCES, Evidence};
use super::spectra::Spectra;
use candle_core::{D, Device, Result, Tensor};
use juror_nn::ops;
use juror_nn::params::{Init, Params};

/// Of `KINDS`, the first that are told from pictures laid over each other: all that leave pictures their size and motion.
pub const LAID_KINDS: usize = FIRST_TEMPORAL - 1;

/// The most rank logits that a video is ahead by: less than half a point. Chosen on the validation ladders: with 1 light noise and brightening
/// are ordered less well, with 2 errors of margins grow faster than ladders gain.
const BOUND: f64 = 1.5;
/// Scaled numbers are cut off here.
const LARGEST: f64 = 5.0;

/// What laying A over B tells; the default where it tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overlaid {
    /// Rank logits that A is ahead of B by.
    pub lead: f32,
    /// What ails A and B.
    pub faults: [Faults; 2],
}

/// What ails one of two videos laid over each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Logits of the dominant kind, each against "none".
    pub kinds: [f32; LAID_KINDS],
    /// Logits of each kind's severity, if it is the dominant one.
    pub severities: [f32; LAID_KINDS],
}

impl Overlaid {
    /// Of B over A.
    #[must_use]
    pub fn swapped(self) -> Self {
        let [a, b] = self.faults;
        Self { lead: -self.lead, faults: [b, a] }
    }
}

/// Two hidden layers and what is read off the second.
struct Network {
    first: Linear,
    second: Linear,
    out: Tensor, // [outputs, hidden]
}

impl Network {
    fn new(p: &Params, path: &str, hidden: usize, outputs: usize) -> Result<Self> {
        let name = |part: &str| format!("{path}.{part}");
        Ok(Self {
            first: Linear::new(p, &name("first"), DIFFERENCES + COMMON, hidden)?,
            second: Linear::new(p, &name("second"), hidden, hidden)?,
            out: p.get_or_init(&name("out.weight"), &[outputs, hidden], Init::Normal(0.1))?,
        })
    }

    /// `[rows, outputs]`.
    fn forward(
        &self,
        differences: &[Tensor],
        common: &Tensor,
        masks: Option<&[Tensor; 2]>,
    ) -> Result<Tensor> {
        let rows = differences.iter().map(|d| Tensor::cat(&[d, common], D::Minus1));
        let mut x = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?; // [rows, DIFFERENCES + COMMON]
        for (index, layer) in [&self.first, &self.second].into_iter().enumerate() {
            x = ops::gelu(&layer.forward(&x)?)?;
            if let Some(masks) = masks {
                x = (x * &masks[index])?;
            }
        }
        ops::linear(&x, &self.out, None)
    }
}

/// The networks.
pub struct Overlay {
    difference_scale: Tensor, // [DIFFERENCES]
    common_mean: Tensor,      // [COMMON]
    common_scale: Tensor,     // [COMMON]
    order: Network,
    faults: Option<Network>,
}

impl Overlay {
    /// Takes (or draws) the weights under `overlay.`.
    ///
    /// # Errors
    /// When a stored tensor has another shape.
    pub fn new(p: &Params, config: &NanoConfig) -> Result<Self> {
        let named = config.naming_dim > 0;
        Ok(Self {
            difference_scale: p.get_or_init("overlay.difference_scale", &[DIFFERENCES], Init::Ones)?,
            common_mean: p.get_or_init("overlay.common_mean", &[COMMON], Init::Zeros)?,
            common_scale: p.get_or_init("overlay.common_scale", &[COMMON], Init::Ones)?,
            order: Network::new(p, "overlay", config.overlay_dim, 1)?,
            faults: named
                .then(|| Network::new(p, "overlay.faults", config.naming_dim, 1 + 2 * LAID_KINDS))
                .transpose()?,
        })
    }

    /// Differences and common numbers as the networks read them.
    fn scaled(&self, differences: &Tensor, common: &Tensor) -> Result<(Tensor, Tensor)> {
        let scaled = |t: &Tensor, scale: &Tensor| t.broadcast_div(scale)?.clamp(-LARGEST, LARGEST);
        let common = common.broadcast_sub(&self.common_mean)?;
        Ok((scaled(differences, &self.difference_scale)?, scaled(&common, &self.common_scale)?))
    }

    /// The order z of A before B, `[pairs]`, from `differences` `[pairs, DIFFERENCES]` and `common` `[pairs, COMMON]`. `masks`, of the two hidden
    /// layers, `[2 pairs, hidden]` each: dropout in training.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn order(
        &self,
        differences: &Tensor,
        common: &Tensor,
        masks: Option<&[Tensor; 2]>,
    ) -> Result<Tensor> {
        let pairs = differences.dim(0)?;
        let (differences, common) = self.scaled(differences, common)?;
        let back = differences.neg()?;
        let z = self.order.forward(&[differences, back], &common, masks)?.squeeze(1)?;
        z.narrow(0, 0, pairs)? - z.narrow(0, pairs, pairs)?
    }

    /// Logits of the dominant kind, `[2 pairs, 1 + LAID_KINDS]`, and of severities, `[2 pairs, LAID_KINDS]`: of A of every pair, then of B; nothing
    /// without that network. `masks` as of [`Self::order`], `[3 pairs, hidden]` each.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn faults(
        &self,
        differences: &Tensor,
        common: &Tensor,
        masks: Option<&[Tensor; 2]>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let Some(faults) = &self.faults else { return Ok(None) };
        let pairs = differences.dim(0)?;
        let (differences, common) = self.scaled(differences, common)?;
        let (back, none) = (differences.neg()?, differences.zeros_like()?);
        let seen = faults.forward(&[differences, back, none], &common, masks)?;
        let kinds = seen.narrow(1, 0, 1 + LAID_KINDS)?;
        let none = kinds.narrow(0, 2 * pairs, pairs)?;
        let kinds = (kinds.narrow(0, 0, 2 * pairs)? - Tensor::cat(&[&none, &none], 0)?)?;
        Ok(Some((kinds, seen.narrow(0, 0, 2 * pairs)?.narrow(1, 1 + LAID_KINDS, LAID_KINDS)?)))
    }

    /// What two videos tell; the default where they cannot be laid over each other.
    ///
    /// # Errors
    /// Only where tensor work fails.
    pub fn over(&self, a: &Spectra, b: &Spectra) -> Result<Overlaid> {
        let Some(Evidence { differences, common }) = a.over(b) else { return Ok(Overlaid::default()) };
        let row = |values: Vec<f32>| {
            let n = values.len();
            Tensor::from_vec(values, (1, n), &Device::Cpu)
        };
        let (differences, common) = (row(differences)?, row(common)?);
        let order = f64::from(self.order(&differences, &common, None)?.to_vec1::<f32>()?[0]);
        let mut overlaid = Overlaid { lead: (BOUND * (order / BOUND).tanh()) as f32, ..Overlaid::default() };
        if let Some((kinds, severities)) = self.faults(&differences, &common, None)? {
            let rows = kinds.to_vec2::<f32>()?.into_iter().zip(severities.to_vec2::<f32>()?);
            for (faults, (kinds, severities)) in overlaid.faults.iter_mut().zip(rows) {
                faults.kinds = std::array::from_fn(|kind| kinds[1 + kind] - kinds[0]);
                faults.severities = std::array::from_fn(|kind| severities[kind]);
            }
        }
        Ok(overlaid)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Offset, observe_frames};
    use super::*;
    use juror_media::Frame;
    use juror_media::distort::{Chain, Distortion, Kind};
    use juror_media::scenes::Scene;

    fn spectra(frames: &[Frame]) -> Spectra {
        Spectra::of(&observe_frames(frames, 2, Offset::default()).unwrap())
    }

    #[test]
    fn swapped_videos_give_the_opposite_and_a_video_over_itself_nothing() {
        let scene = |width, height| Scene::random(5).render(width, height, 30.0, 12).unwrap().collect();
        let frames: Vec<Frame> = scene(320, 180);
        let chain = Chain::new(vec![Distortion::new(Kind::Jpeg, 3.0).unwrap()]);
        let (a, b) = (spectra(&frames), spectra(&chain.apply_all(&frames, 1).unwrap()));
        let config = NanoConfig { overlay_dim: 8, naming_dim: 6, ..NanoConfig::default() };
        let overlay = Overlay::new(&Params::seeded(3, &Device::Cpu), &config).unwrap();
        let over = overlay.over(&a, &b).unwrap();
        assert!(over.lead.abs() > 1e-4 && f64::from(over.lead.abs()) <= BOUND, "{over:?}");
        let [of_a, of_b] = over.faults;
        assert!(of_a.kinds != of_b.kinds && of_a.severities != of_b.severities, "{over:?}");
        assert!(of_a.kinds != [0.0; LAID_KINDS], "{over:?}");
        assert_eq!(overlay.over(&b, &a).unwrap(), over.swapped());
        let itself = overlay.over(&a, &a).unwrap();
        assert_eq!((itself.lead, itself.faults.map(|f| f.kinds)), (0.0, [[0.0; LAID_KINDS]; 2]));
        let small = spectra(&scene(160, 90));
        assert_eq!(overlay.over(&a, &small).unwrap(), Overlaid::default());
    }
}
