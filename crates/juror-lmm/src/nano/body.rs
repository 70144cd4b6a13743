//! The body of `nano`: fragments, profile and viewing facts to quality logits, distortions and tokens.
//!
//! ```text
//! patches [videos, moments, places, 16, 384] -> mixers -> mean and deviation over the 16 patches
//!   -> fragment vectors [videos, moments, places, fragment_dim]
//!   -> mean and deviation over native and over context places -> trunk -> visual logits, severities
//! tone [videos, 16], facts [videos, 6] -> trunk as well
//! profile [videos, 109], facts [videos, 6] -> temporal branch -> temporal logits (<= 0)
//! of two videos: fragment vectors place by place, trunk and temporal branch -> contrast, beside the difference of rank logits
//! ```
//!
//! Quality is `visual + temporal`, so that the two aspects add up to the whole. Two such sums are kept: the
//! *rank* logit orders versions of one content, the *score* logit follows the absolute scale (`nano.md`: one
//! head has to trade one for the other). The score of a video is `1 + 4 sigmoid(score logit)`.
//!
//! Mixers instead of attention: measured equal at a fraction of the cost (`nano.md`, row bx).

use super::config::{FIRST_TEMPORAL, KINDS, NanoConfig};
use super::contrast::Contrast;
use super::fragments::{GRID, NATIVE_PLACES};
use super::observation::Observation;
use super::patches::{PATCH_LEN, PATCHES};
use super::profile::PROFILE_LEN;
use super::tone::TONE_LEN;
use candle_core::{D, Device, Result, Tensor};
use juror_nn::ops;
use juror_nn::params::{Init, Params};

/// Numbers that describe how a video is delivered and shown (`Observation::facts`).
pub const FACTS_LEN: usize = 6;
/// Regions along each axis that get a token of their own.
pub const REGIONS: usize = 3;
/// Width of each part of a contrast.
const CONTRAST: usize = 48;
/// The most that a contrast moves the lead of one rank logit over another.
const CONTRAST_BOUND: f64 = 1.5;
const EPS: f64 = 1e-5;

pub(super) struct Linear {
    weight: Tensor, // [out, in]
    bias: Tensor,   // [out]
}

impl Linear {
    pub(super) fn new(p: &Params, name: &str, input: usize, output: usize) -> Result<Self> {
        let std = (1.0 / input as f64).sqrt();
        Self::with_std(p, name, input, output, std)
    }

    pub(super) fn with_std(p: &Params, name: &str, input: usize, output: usize, std: f64) -> Result<Self> {
        Ok(Self {
            weight: p.get_or_init(&format!("{name}.weight"), &[output, input], Init::Normal(std))?,
            bias: p.get_or_init(&format!("{name}.bias"), &[output], Init::Zeros)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &self.weight, Some(&self.bias))
    }

    fn inputs(&self) -> usize {
        self.weight.dims()[1]
    }
}

pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(super) fn new(p: &Params, name: &str, dim: usize) -> Result<Self> {
        Ok(Self {
            weight: p.get_or_init(&format!("{name}.weight"), &[dim], Init::Ones)?,
            bias: p.get_or_init(&format!("{name}.bias"), &[dim], Init::Zeros)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight, Some(&self.bias), EPS)
    }
}

/// MLP-Mixer block (Tolstikhin et al. 2021) over the 16 patches of a fragment.
struct Mixer {
    token_norm: LayerNorm,
    token_up: Linear,
    token_down: Linear,
    channel_norm: LayerNorm,
    channel_up: Linear,
    channel_down: Linear,
}

impl Mixer {
    fn new(p: &Params, name: &str, dim: usize) -> Result<Self> {
        Ok(Self {
            token_norm: LayerNorm::new(p, &format!("{name}.token_norm"), dim)?,
            token_up: Linear::new(p, &format!("{name}.token_up"), PATCHES, 2 * PATCHES)?,
            token_down: Linear::with_std(p, &format!("{name}.token_down"), 2 * PATCHES, PATCHES, 0.05)?,
            channel_norm: LayerNorm::new(p, &format!("{name}.channel_norm"), dim)?,
            channel_up: Linear::new(p, &format!("{name}.channel_up"), dim, 2 * dim)?,
            channel_down: Linear::with_std(p, &format!("{name}.channel_down"), 2 * dim, dim, 0.03)?,
        })
    }

    /// `[n, 16, dim]` to the same shape.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let across = self.token_norm.forward(x)?.transpose(1, 2)?.contiguous()?; // [n, dim, 16]
        let across = self.token_down.forward(&ops::gelu(&self.token_up.forward(&across)?)?)?;
        let x = (x + across.transpose(1, 2)?.contiguous()?)?;
        let along = self.channel_up.forward(&self.channel_norm.forward(&x)?)?;
        &x + self.channel_down.forward(&ops::gelu(&along)?)?
    }
}

/// What is known of whole videos beside their fragments, a row each.
pub struct Numbers {
    profile: Tensor, // [videos, 109]
    tone: Tensor,    // [videos, 16]
    facts: Tensor,   // [videos, 6]
}

impl Numbers {
    /// Stacks rows of (profile, tone, facts).
    ///
    /// # Errors
    /// On rows of another length.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a [f32], &'a [f32], &'a [f32])>) -> Result<Self> {
        let (mut profile, mut tone, mut facts) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            profile.extend_from_slice(row.0);
            tone.extend_from_slice(row.1);
            facts.extend_from_slice(row.2);
        }
        let table = |values: Vec<f32>, width: usize| Tensor::from_vec(values, ((), width), &Device::Cpu);
        Ok(Self {
            profile: table(profile, PROFILE_LEN)?,
            tone: table(tone, TONE_LEN)?,
            facts: table(facts, FACTS_LEN)?,
        })
    }

    /// Those of one video.
    ///
    /// # Errors
    /// Never for an observation made by this crate.
    pub fn of(observation: &Observation) -> Result<Self> {
        Self::new([(&observation.profile[..], &observation.tone[..], &observation.facts[..])])
    }

    /// `[videos, 109]`.
    #[must_use]
    pub fn profile(&self) -> &Tensor {
        &self.profile
    }
}

/// What the body makes of a batch of videos.
pub struct BodyOutput {
    /// Visual part of the rank logit, `[videos]`.
    pub rank_visual: Tensor,
    /// Temporal part of the rank logit, `[videos]`, never positive.
    pub rank_temporal: Tensor,
    /// Visual part of the score logit, `[videos]`.
    pub score_visual: Tensor,
    /// Temporal part of the score logit, `[videos]`, never positive.
    pub score_temporal: Tensor,
    /// Logits of the dominant distortion, `[videos, 1 + KINDS]`; column 0 is "none".
    pub dominant: Tensor,
    /// Severity logits per kind, `[videos, KINDS]`; a sigmoid gives 0..1.
    pub severity: Tensor,
    /// What the decoder's projector reads.
    pub views: Views,
}

/// Features at the grain of the decoder's tokens.
pub struct Views {
    /// Mean and deviation over native and context places, `[videos, moments, 4 fragment_dim]`.
    pub moments: Tensor,
    /// Mean and deviation per region over moments, `[videos, REGIONS * REGIONS, 2 fragment_dim]`; only with
    /// all native places present.
    pub regions: Option<Tensor>,
    /// The trunk, `[videos, trunk_dim]`.
    pub trunk: Tensor,
    /// The temporal branch, `[videos, temporal_dim]`.
    pub temporal: Tensor,
    /// What is laid over another video.
    pub sides: Sides,
}

/// What [`Body::contrast`] reads of each video.
#[derive(Clone)]
pub struct Sides {
    /// Of each place of each moment, `[videos, moments places, 2 CONTRAST]`.
    pub places: Tensor,
    /// Of trunk and temporal branch, `[videos, 1, 2 CONTRAST]`.
    pub whole: Tensor,
}

impl Sides {
    /// The same of each tensor.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { places: f(&self.places)?, whole: f(&self.whole)? })
    }
}

/// The body's weights.
pub struct Body {
    embed: Linear,
    position: Tensor, // [16, patch_dim]
    grain: Tensor,    // [2, patch_dim]: native, context
    mixers: Vec<Mixer>,
    patch_norm: LayerNorm,
    fragment: Linear,
    pooled_norm: LayerNorm,
    facts: Linear,
    tone: Linear,
    trunk: Linear,
    visual: Linear, // rank, score
    temporal_norm: LayerNorm,
    temporal_in: Linear,
    temporal_mid: Linear,
    temporal: Linear, // rank, score
    dominant: Linear,
    severity: Linear,
    place_contrast: Contrast,
    whole_contrast: Contrast,
}

impl Body {
    /// Takes (or draws) the weights under `{name}.`.
    ///
    /// # Errors
    /// When a stored tensor has another shape.
    pub fn new(p: &Params, name: &str, config: &NanoConfig) -> Result<Self> {
        let path = |part: &str| format!("{name}.{part}");
        let (patch, fragment) = (config.patch_dim, config.fragment_dim);
        let (facts_dim, tone_dim) = (32, 48);
        let mixers = (0..config.mixers).map(|i| Mixer::new(p, &path(&format!("mixers.{i}")), patch));
        Ok(Self {
            mixers: mixers.collect::<Result<_>>()?,
            embed: Linear::new(p, &path("embed"), PATCH_LEN, patch)?,
            position: p.get_or_init(&path("position"), &[PATCHES, patch], Init::Normal(0.02))?,
            grain: p.get_or_init(&path("grain"), &[2, patch], Init::Normal(0.02))?,
            patch_norm: LayerNorm::new(p, &path("patch_norm"), patch)?,
            fragment: Linear::new(p, &path("fragment"), 2 * patch, fragment)?,
            pooled_norm: LayerNorm::new(p, &path("pooled_norm"), 4 * fragment)?,
            facts: Linear::new(p, &path("facts"), FACTS_LEN, facts_dim)?,
            tone: Linear::new(p, &path("tone"), TONE_LEN, tone_dim)?,
            trunk: Linear::new(p, &path("trunk"), 4 * fragment + tone_dim + facts_dim, config.trunk_dim)?,
            visual: Linear::new(p, &path("visual"), config.trunk_dim, 2)?,
            temporal_norm: LayerNorm::new(p, &path("temporal_norm"), PROFILE_LEN)?,
            temporal_in: Linear::new(
                p,
                &path("temporal_in"),
                2 * PROFILE_LEN + facts_dim,
                config.temporal_dim,
            )?,
            temporal_mid: Linear::new(p, &path("temporal_mid"), config.temporal_dim, config.temporal_dim)?,
            temporal: Linear::with_std(p, &path("temporal"), config.temporal_dim, 2, 0.05)?,
            dominant: Linear::new(
                p,
                &path("dominant"),
                config.trunk_dim + config.temporal_dim,
                1 + KINDS.len(),
            )?,
            severity: Linear::new(p, &path("severity"), config.trunk_dim + config.temporal_dim, KINDS.len())?,
            place_contrast: Contrast::new(p, &path("place_contrast"), fragment, CONTRAST)?,
            whole_contrast: Contrast::new(
                p,
                &path("whole_contrast"),
                config.trunk_dim + config.temporal_dim,
                CONTRAST,
            )?,
        })
    }

    /// Judges a batch. `patches` is `[videos, moments, places, 16, 384]` with the first `native` places cut at
    /// native size and the rest from the context.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn forward(&self, patches: &Tensor, native: usize, numbers: &Numbers) -> Result<BodyOutput> {
        self.forward_masked(patches, native, numbers, None)
    }

    /// Numbers that trunk and temporal branch read of a video.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.trunk.inputs() + self.temporal_in.inputs()
    }

    /// As [`Body::forward`], with the inputs of trunk and temporal branch multiplied by `mask`, `[videos, inputs]`: dropout in
    /// training.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn forward_masked(
        &self,
        patches: &Tensor,
        native: usize,
        numbers: &Numbers,
        mask: Option<&Tensor>,
    ) -> Result<BodyOutput> {
        let Numbers { profile, tone, facts } = numbers;
        let (videos, moments, places, _, _) = patches.dims5()?;
        let vectors = self.fragments(patches, native)?; // [videos, moments, places, fragment]
        let context = places - native;
        let native_part = vectors.narrow(2, 0, native)?;
        let context_part = vectors.narrow(2, native, context)?;
        let flat = |part: &Tensor, n: usize| part.reshape((videos, moments * n, ()));
        let pooled = Tensor::cat(
            &[
                ops::mean_and_deviation(&flat(&native_part, native)?, EPS)?,
                ops::mean_and_deviation(&flat(&context_part, context)?, EPS)?,
            ],
            D::Minus1,
        )?; // [videos, 4 fragment]
        let facts = ops::gelu(&self.facts.forward(facts)?)?;
        let tone = ops::gelu(&self.tone.forward(tone)?)?;
        let mut trunk = Tensor::cat(&[&self.pooled_norm.forward(&pooled)?, &tone, &facts], D::Minus1)?;
        if let Some(mask) = mask {
            trunk = (trunk * mask.narrow(1, 0, self.trunk.inputs())?)?;
        }
        let trunk = ops::gelu(&self.trunk.forward(&trunk)?)?; // [videos, trunk]

        let mut temporal = Tensor::cat(&[profile, &self.temporal_norm.forward(profile)?, &facts], D::Minus1)?;
        if let Some(mask) = mask {
            temporal = (temporal * mask.narrow(1, self.trunk.inputs(), self.temporal_in.inputs())?)?;
        }
        let temporal = ops::gelu(&self.temporal_in.forward(&temporal)?)?;
        let temporal = ops::gelu(&self.temporal_mid.forward(&temporal)?)?; // [videos, temporal]

        let visual = self.visual.forward(&trunk)?; // [videos, 2]
        let penalty = ops::softplus(&self.temporal.forward(&temporal)?)?.neg()?; // [videos, 2]
        let both = Tensor::cat(&[&trunk, &temporal], D::Minus1)?;
        let column = |t: &Tensor, i: usize| t.narrow(1, i, 1)?.squeeze(1);
        let sides = Sides {
            places: self.place_contrast.parts(&flat(&vectors, places)?)?,
            whole: self.whole_contrast.parts(&both.unsqueeze(1)?)?,
        };
        Ok(BodyOutput {
            rank_visual: column(&visual, 0)?,
            rank_temporal: column(&penalty, 0)?,
            score_visual: column(&visual, 1)?,
            score_temporal: column(&penalty, 1)?,
            dominant: self.dominant.forward(&both)?,
            severity: self.severity.forward(&both)?,
            views: Views {
                moments: per_moment(&native_part, &context_part)?,
                regions: if native == NATIVE_PLACES { Some(regions(&native_part)?) } else { None },
                trunk,
                temporal,
                sides,
            },
        })
    }

    /// How far the rank logit of A leads that of B beyond their difference, `[pairs]`; exactly the negative for B and A. Both have
    /// the same places and moments. Bounded to `CONTRAST_BOUND` logits: it decides between near videos and leaves the size of wide
    /// margins to the ranks, which agree with each other over three videos.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn contrast(&self, a: &Sides, b: &Sides) -> Result<Tensor> {
        let places = self.place_contrast.between(&a.places, &b.places)?;
        let contrast = (places + self.whole_contrast.between(&a.whole, &b.whole)?)?;
        (contrast / CONTRAST_BOUND)?.tanh()? * CONTRAST_BOUND
    }

    /// `[videos, moments, places, 16, 384]` to `[videos, moments, places, fragment_dim]`.
    fn fragments(&self, patches: &Tensor, native: usize) -> Result<Tensor> {
        let (videos, moments, places, _, _) = patches.dims5()?;
        let x = self.embed.forward(patches)?; // [videos, moments, places, 16, patch]
        let grain = Tensor::cat(
            &[
                self.grain.narrow(0, 0, 1)?.broadcast_as((native, self.grain.dim(1)?))?,
                self.grain.narrow(0, 1, 1)?.broadcast_as((places - native, self.grain.dim(1)?))?,
            ],
            0,
        )?; // [places, patch]
        let shift = grain.unsqueeze(1)?.broadcast_add(&self.position)?; // [places, 16, patch]
        let mut x = x.broadcast_add(&shift)?.reshape((videos * moments * places, PATCHES, ()))?;
        for mixer in &self.mixers {
            x = mixer.forward(&x)?;
        }
        let pooled = ops::mean_and_deviation(&self.patch_norm.forward(&x)?, EPS)?; // [n, 2 patch]
        ops::gelu(&self.fragment.forward(&pooled)?)?.reshape((videos, moments, places, ()))
    }
}

/// `[videos, moments, places, fragment]` twice to `[videos, moments, 4 fragment]`.
fn per_moment(native: &Tensor, context: &Tensor) -> Result<Tensor> {
    let (videos, moments, _, dim) = native.dims4()?;
    let pool = |x: &Tensor| {
        let places = x.dim(2)?;
        ops::mean_and_deviation(&x.reshape((videos * moments, places, dim))?, EPS)
    };
    Tensor::cat(&[pool(native)?, pool(context)?], D::Minus1)?.reshape((videos, moments, ()))
}

/// `[videos, moments, 49, fragment]` to `[videos, 9, 2 fragment]`: the 7 x 7 grid in 3 x 3 overlapping regions.
fn regions(native: &Tensor) -> Result<Tensor> {
    let (videos, moments, _, dim) = native.dims4()?;
    let grid = native.reshape((videos, moments, GRID, GRID, dim))?;
    let mut out = Vec::with_capacity(REGIONS * REGIONS);
    for row in 0..REGIONS {
        for column in 0..REGIONS {
            let part = grid.narrow(2, 2 * row, 3)?.narrow(3, 2 * column, 3)?;
            out.push(ops::mean_and_deviation(&part.reshape((videos, moments * 9, dim))?, EPS)?);
        }
    }
    Tensor::stack(&out, 1)
}

/// Index in `KINDS` of `name`.
#[must_use]
pub fn kind_index(name: &str) -> Option<usize> {
    KINDS.iter().position(|&kind| kind == name)
}

/// True for the kinds that only time shows.
#[must_use]
pub fn is_temporal(index: usize) -> bool {
    index >= FIRST_TEMPORAL
}
