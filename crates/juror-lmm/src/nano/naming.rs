//! Which distortions are named: of one video alone, and of two of one content beside each other.
//!
//! What the body thinks is wrong with a video is partly its content: a night scene looks darkened, a film grainy. Two videos of one
//! content share that, so what tells them apart is more likely what was done to one of them; and their pictures laid over each other show
//! what it was (`overlay.rs`). With the logits `d` of the dominant kind of both, and `k` those of the overlay against "none" (0 for the kinds that it
//! cannot tell),
//!
//! ```text
//! beside B:  d'A = dA + (dA - dB) + kA
//!            s'A = sA + w (hA - sA),     w = how far softmax(kA) is above chance, 0..1, each kind for itself
//! ```
//!
//! with the logits `s` of severities and those `h` of the overlay: how strong a fault is, too, is seen better beside the other video, where it is sure
//! of the kind. Half of what is added to `d` names nearly as many right. What ails both alike is named of both as before. The decoder reads these logits of two videos (`pair.rs`), so its words follow them.
//! Leaves out: severities of temporal kinds, which stay what they are of each video alone, and videos of different contents.

use super::config::KINDS;
use super::decoder::VideoFeatures;
use super::overlay::{Faults, LAID_KINDS};
use super::sigmoid;
use crate::judge::Attribution;
use candle_core::{Device, IndexOp, Result, Tensor};

/// A severity below this is not reported, unless its kind is likelier than all others together.
const REPORTED_SEVERITY: f64 = 0.12;

/// Where the logits of the dominant kind begin in a verdict, after rank and score logits by aspect; "none" is the first.
const DOMINANT: usize = 4;
/// Where the severity logits begin.
const SEVERITY: usize = DOMINANT + 1 + KINDS.len();

impl VideoFeatures {
    /// These videos as they are named beside `others`, where they are `together` `[videos]`; `laid`: what the overlay tells of them.
    ///
    /// # Errors
    /// When they are not as many.
    pub(super) fn named_beside(&self, others: &Self, together: &Tensor, laid: &[Faults]) -> Result<Self> {
        // Of all kinds, 0 for those that the overlay cannot tell.
        let row = |of: fn(&Faults) -> [f32; LAID_KINDS]| {
            let rows: Vec<f32> = laid.iter().flat_map(of).collect();
            let rows = Tensor::from_vec(rows, (laid.len(), LAID_KINDS), &Device::Cpu)?;
            rows.pad_with_zeros(1, 0, KINDS.len() - LAID_KINDS)
        };
        let together = together.unsqueeze(1)?;
        let dominant = |videos: &Self| videos.verdict.narrow(1, DOMINANT, SEVERITY - DOMINANT);
        let own = dominant(self)?;
        let kinds = row(|f| f.kinds)?.pad_with_zeros(1, 1, 0)?; // before: "none", which they are held against
        let more = ((&own - dominant(others)?)? + kinds)?; // [videos, 1 + KINDS]
        let severity = self.verdict.narrow(1, SEVERITY, KINDS.len())?;
        let change = (row(Faults::sure)? * (row(|f| f.severities)? - &severity)?)?; // [videos, KINDS]
        let verdict = Tensor::cat(
            &[
                self.verdict.narrow(1, 0, DOMINANT)?,
                (own + more.broadcast_mul(&together)?)?,
                (severity + change.broadcast_mul(&together)?)?,
            ],
            1,
        )?;
        Ok(Self { verdict, ..self.clone() })
    }
}

impl Faults {
    /// How far each kind's probability is above that of a mere guess, 0..1.
    fn sure(&self) -> [f32; LAID_KINDS] {
        let guess = 1.0 / (1 + LAID_KINDS) as f32;
        let highest = self.kinds.iter().copied().fold(0.0, f32::max); // "none" has logit 0
        let total: f32 = (-highest).exp() + self.kinds.iter().map(|k| (k - highest).exp()).sum::<f32>();
        self.kinds.map(|k| (((k - highest).exp() / total - guess) / (1.0 - guess)).max(0.0))
    }
}

/// What is wrong with one video, the surest first. `codec_kind` is what compression is called.
///
/// # Errors
/// Only where tensor work fails.
pub(super) fn attributions(
    video: &VideoFeatures,
    codec_kind: Option<&'static str>,
) -> Result<Vec<Attribution>> {
    let verdict: Vec<f32> = video.verdict.i(0)?.to_vec1()?;
    let (dominant, severity) = verdict[DOMINANT..].split_at(SEVERITY - DOMINANT);
    let highest = dominant.iter().copied().fold(f32::MIN, f32::max);
    let total: f32 = dominant.iter().map(|x| (x - highest).exp()).sum();
    let mut seen: Vec<(f64, Attribution)> = KINDS
        .iter()
        .enumerate()
        .map(|(i, &kind)| {
            let probability = f64::from((dominant[i + 1] - highest).exp() / total);
            let severity = sigmoid(f64::from(severity[i]));
            let kind = if kind == "compression" { codec_kind.unwrap_or(kind) } else { kind };
            (probability, Attribution { kind: kind.to_owned(), severity })
        })
        .filter(|(probability, seen)| seen.severity >= REPORTED_SEVERITY || *probability > 0.5)
        .collect();
    seen.sort_by(|a, b| (b.0 + b.1.severity).total_cmp(&(a.0 + a.1.severity)));
    Ok(seen.into_iter().map(|(_, seen)| seen).collect())
}

#[cfg(test)]
mod tests {
    use super::super::overlay::Overlaid;
    use super::super::{NanoConfig, Vision, look, observe_frames};
    use super::*;
    use candle_core::Device;
    use juror_media::scenes::Scene;
    use juror_nn::params::Params;

    fn small() -> NanoConfig {
        NanoConfig { patch_dim: 8, fragment_dim: 12, trunk_dim: 10, ..NanoConfig::default() }
    }

    /// What a small body sees of a rendered scene, with these logits of kinds (the others 0) and severities of .5.
    fn seen(scene: u64, logits: &[(&str, f32)]) -> VideoFeatures {
        let Vision { bodies, .. } = Vision::new(&Params::seeded(3, &Device::Cpu), &small()).unwrap();
        let frames: Vec<_> = Scene::random(scene).render(160, 96, 30.0, 20).unwrap().collect();
        let features = look(&bodies, &observe_frames(&frames, 1, Default::default()).unwrap()).unwrap();
        let mut verdict = vec![0f32; SEVERITY + KINDS.len()];
        for &(kind, logit) in logits {
            verdict[DOMINANT + 1 + KINDS.iter().position(|&k| k == kind).unwrap()] = logit;
        }
        VideoFeatures { verdict: Tensor::new(vec![verdict], &Device::Cpu).unwrap(), ..features }
    }

    fn first(features: &VideoFeatures) -> String {
        attributions(features, Some("hevc")).unwrap()[0].kind.clone()
    }

    /// `own` as it is named beside `other`; `laid`: the kind that the overlay finds in it.
    fn beside(own: &VideoFeatures, other: &VideoFeatures, laid: Option<&str>) -> VideoFeatures {
        let config = NanoConfig { overlay_dim: 0, ..small() };
        let vision = Vision::new(&Params::seeded(3, &Device::Cpu), &config).unwrap();
        let mut overlaid = Overlaid::default();
        if let Some(kind) = laid {
            let kind = KINDS.iter().position(|&k| k == kind).unwrap();
            (overlaid.faults[0].kinds[kind], overlaid.faults[0].severities[kind]) = (6.0, 3.0);
        }
        vision.pair(own, other, &[overlaid]).unwrap().a
    }

    #[test]
    fn what_both_show_is_the_content_and_what_one_shows_is_its_fault() {
        let (own, other) = (
            seen(1, &[("darken", 2.0), ("compression", 1.5)]),
            seen(1, &[("darken", 2.0), ("gaussian-blur", 1.0)]),
        );
        assert_eq!((first(&own), first(&other)), ("darken".into(), "darken".into()), "alone");
        assert_eq!(first(&beside(&own, &other, None)), "hevc");
        let banded = &attributions(&beside(&own, &other, Some("banding")), None).unwrap()[0];
        assert!(banded.kind == "banding" && banded.severity > 0.9, "laid over each other: {banded:?}");
        // Beside its like, and beside another content, a video is what it is alone.
        for (other, laid) in [(&own, None), (&seen(2, &[]), Some("banding"))] {
            let named = beside(&own, other, laid);
            assert_eq!(named.verdict.to_vec2::<f32>().unwrap(), own.verdict.to_vec2::<f32>().unwrap());
        }
    }
}
