//! InternVL3 and, with a motion token, VQAThinker (arXiv 2508.06051).
//!
//! InternViT, pixel shuffle (2 x 2 patches to one token), projector `mlp1`, Qwen2. VQAThinker adds SlowFast on the same
//! frames and a projector `motion_mlp`; its vector overwrites the **last** `<IMG_CONTEXT>` of a sequence. Canonical
//! names are those of the OpenGVLab checkpoints; [`hf_layout`] finds them in transformers' `-hf` checkpoints.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Source;
use crate::config::check;
use crate::decoder::{Decoder, Spec};
use crate::intern_vit::{self, InternVit};
use crate::layers::{Activation, LayerNorm, Linear};
use crate::qwen2;
use crate::slowfast::{self, SlowFast};
use crate::weights::Weights;

/// `config.json` of either layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The vision tower.
    pub vision_config: intern_vit::Config,
    /// The decoder (`text_config` in transformers' layout).
    #[serde(alias = "text_config")]
    pub llm_config: qwen2::Config,
    /// Side of the pixel shuffle, inverted; only 0.5.
    #[serde(default = "half")]
    pub downsample_ratio: f64,
    /// Which layer's output is used; only the last (`vision_feature_layer` in transformers' layout).
    #[serde(default = "last", alias = "vision_feature_layer")]
    pub select_layer: i64,
    /// Order of the pixel shuffle; only `v2`.
    #[serde(default = "v2")]
    pub ps_version: String,
    /// Id of `<IMG_CONTEXT>`; the original layout leaves it to the tokenizer.
    pub image_token_id: Option<u32>,
}

fn half() -> f64 {
    0.5
}
fn last() -> i64 {
    -1
}
fn v2() -> String {
    "v2".into()
}

impl Config {
    /// Checks the values and gives the decoder's sizes.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> crate::error::Result<Spec> {
        self.vision_config.validate()?;
        check(
            self.downsample_ratio == 0.5,
            "downsample_ratio",
            self.downsample_ratio,
            "only 0.5 is supported",
        )?;
        check(self.select_layer == -1, "select_layer", self.select_layer, "only -1 is supported")?;
        check(self.ps_version == "v2", "ps_version", &self.ps_version, "only v2 is supported")?;
        self.llm_config.spec("llm_config.")
    }
}

/// VQAThinker's constants, which stand in its code and not in `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Motion {
    /// Sizes of the motion tower.
    #[serde(flatten)]
    pub slowfast: slowfast::Config,
    /// The slow pathway has a frame for so many frames.
    pub slow_frames_divisor: usize,
    /// Repetition of each time step before the pools.
    pub repeat_interleave: usize,
}

impl Motion {
    /// As the published model is tested: 12 frames, 4 to a slow one.
    pub fn test() -> Self {
        Self { slowfast: slowfast::Config::default(), slow_frames_divisor: 4, repeat_interleave: 4 }
    }

    /// As it is trained: 6 frames, 3 to a slow one.
    pub fn training() -> Self {
        Self { slow_frames_divisor: 3, repeat_interleave: 6, ..Self::test() }
    }
}

/// Layer norm and two linear layers with exact GELU between them (`mlp1`, `motion_mlp`).
struct Projector {
    norm: LayerNorm,
    first: Linear,
    second: Linear,
}

impl Projector {
    fn load(input: usize, output: usize, vb: Weights) -> Result<Self> {
        Ok(Self {
            // PyTorch's default epsilon, not the tower's.
            norm: LayerNorm::load(input, 1e-5, vb.pp(0))?,
            first: Linear::load(input, output, true, vb.pp(1))?,
            second: Linear::load(output, output, true, vb.pp(3))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&Activation::Gelu.apply(&self.first.forward(&self.norm.forward(x)?)?)?)
    }
}

/// The motion tower and its projector.
struct MotionPart {
    slowfast: SlowFast,
    motion_mlp: Projector,
    slow_frames_divisor: usize,
    repeat: usize,
}

/// The model.
pub struct InternVl3 {
    /// The vision tower.
    pub vision_model: InternVit,
    mlp1: Projector,
    motion: Option<MotionPart>,
    /// The decoder.
    pub language_model: Decoder,
}

impl InternVl3 {
    /// Reads the model; with `motion`, also VQAThinker's `slowfast_model` and `motion_mlp`.
    ///
    /// # Errors
    /// A configuration that makes no model; missing or misshapen tensors.
    pub fn load(
        config: &Config,
        motion: Option<&Motion>,
        vb: impl Into<Weights>,
    ) -> crate::error::Result<Self> {
        let vb: Weights = vb.into();
        let spec = config.validate()?;
        let motion = match motion {
            None => None,
            Some(m) => Some(MotionPart {
                slowfast: SlowFast::load(&m.slowfast, vb.pp("slowfast_model").pp("feature_extraction"))?,
                motion_mlp: Projector::load(
                    m.slowfast.feature_widths().iter().sum(),
                    spec.hidden_size,
                    vb.pp("motion_mlp"),
                )?,
                slow_frames_divisor: m.slow_frames_divisor,
                repeat: m.repeat_interleave,
            }),
        };
        let language = vb.pp("language_model");
        Ok(Self {
            vision_model: InternVit::load(&config.vision_config, vb.pp("vision_model"))?,
            mlp1: Projector::load(4 * config.vision_config.hidden_size, spec.hidden_size, vb.pp("mlp1"))?,
            motion,
            language_model: Decoder::load(&spec, language.pp("model"), language)?,
        })
    }

    /// Frame tokens: tower output `[frames, 1 + patches, width]` to `[frames, patches / 4, hidden]`.
    ///
    /// # Errors
    /// A grid with an odd side.
    pub fn project(&self, tower: &Tensor) -> Result<Tensor> {
        self.mlp1.forward(&pixel_shuffle(tower)?)
    }

    /// Normalised frames `[frames, 3, side, side]` to frame tokens `[frames, patches / 4, hidden]`.
    ///
    /// # Errors
    /// Sides that are not multiples of two patches.
    pub fn frame_tokens(&self, frames: &Tensor) -> Result<Tensor> {
        self.project(&self.vision_model.forward(frames, |_, _| ())?)
    }

    /// The motion feature `[1, slow + fast]` of one video's normalised frames `[frames, 3, side, side]`.
    ///
    /// # Errors
    /// A model without a motion tower; a number of frames that it cannot take.
    pub fn motion_feature(&self, frames: &Tensor) -> crate::error::Result<Tensor> {
        let part = self.motion_part()?;
        let clip = frames.transpose(0, 1)?.contiguous()?.unsqueeze(0)?;
        Ok(part.slowfast.motion(&SlowFast::pack(&clip, part.slow_frames_divisor)?, part.repeat)?)
    }

    /// The motion token `[1, hidden]` of a motion feature.
    ///
    /// # Errors
    /// A model without a motion tower.
    pub fn motion_token(&self, feature: &Tensor) -> crate::error::Result<Tensor> {
        Ok(self.motion_part()?.motion_mlp.forward(feature)?)
    }

    /// Whether the model has a motion tower.
    pub fn has_motion(&self) -> bool {
        self.motion.is_some()
    }

    fn motion_part(&self) -> crate::error::Result<&MotionPart> {
        self.motion.as_ref().ok_or_else(|| {
            crate::error::Error::Input("this checkpoint has no motion tower (slowfast_model.*)".into())
        })
    }

    /// All tokens of one video in the order of their placeholders, `[frames * patches / 4 (+ 1), hidden]`.
    ///
    /// # Errors
    /// Those of [`Self::frame_tokens`] and [`Self::motion_feature`].
    pub fn video_tokens(&self, frames: &Tensor) -> crate::error::Result<Tensor> {
        let tokens = self.frame_tokens(frames)?.flatten_to(1)?;
        if self.motion.is_none() {
            return Ok(tokens);
        }
        Ok(Tensor::cat(&[tokens, self.motion_token(&self.motion_feature(frames)?)?], 0)?)
    }
}

/// Pixel shuffle v2 without the class token: `[n, 1 + side^2, c]` to `[n, side^2 / 4, 4c]`, channel blocks in the order
/// (2i, 2j), (2i, 2j+1), (2i+1, 2j), (2i+1, 2j+1).
///
/// # Errors
/// A grid that is not square or has an odd side.
pub fn pixel_shuffle(tower: &Tensor) -> Result<Tensor> {
    let (count, tokens, channels) = tower.dims3()?;
    let side = (tokens - 1).isqrt();
    if side * side != tokens - 1 || !side.is_multiple_of(2) {
        candle_core::bail!("{} patches are no square grid of even side", tokens - 1);
    }
    tower
        .narrow(1, 1, tokens - 1)?
        .reshape(&[count, side / 2, 2, side / 2, 2, channels][..])?
        .permute(vec![0, 1, 3, 2, 4, 5])?
        .contiguous()?
        .reshape((count, side * side / 4, 4 * channels))
}

/// Finds canonical names in transformers' `-hf` checkpoints.
pub fn hf_layout(name: &str) -> Source {
    if let Some(rest) = name.strip_prefix("vision_model.") {
        return intern_vit::hf_source(rest);
    }
    let renamed = match name.strip_prefix("mlp1.") {
        Some(rest) => format!(
            "multi_modal_projector.{}",
            rest.replace("0.", "layer_norm.").replace("1.", "linear_1.").replace("3.", "linear_2.")
        ),
        None => name.to_owned(),
    };
    Source::Name(renamed)
}
