//! LLaVA-OneVision and, with motion tokens, W2S-VQA (arXiv 2505.03631).
//!
//! SigLIP, a two-layer projector on every patch, bilinear 2x pooling of each frame's grid, one learned newline vector at
//! the end of a video, Qwen2. W2S-VQA puts projected SlowFast features (fast pathway, one per second) directly after a
//! video's tokens. Canonical names are those of the llava-hf checkpoints; [`original_layout`] finds them in the
//! LLaVA-NeXT checkpoints of lmms-lab and W2S-VQA. Tiles of still pictures (anyres) are left out.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Source;
use crate::config::check;
use crate::decoder::Decoder;
use crate::interpolate::{Kernel, resize_grid};
use crate::layers::{Activation, Mlp};
use crate::siglip::{self, Siglip};
use crate::weights::Weights;
use crate::{decoder, qwen2};

/// `config.json` in the layout of llava-hf.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The vision tower.
    pub vision_config: siglip::Config,
    /// The decoder.
    pub text_config: qwen2::Config,
    /// Id of `<video>`; the original layout has none, placeholders are spliced by the program.
    #[serde(alias = "video_token_id")]
    pub video_token_index: Option<u32>,
    /// Which layer's output is used; only the last.
    #[serde(default = "last")]
    pub vision_feature_layer: i64,
    /// Activation of the projector.
    #[serde(default = "gelu")]
    pub projector_hidden_act: Activation,
}

/// `config.json` of the original LLaVA-NeXT layout: the decoder's keys at the top, the tower by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OriginalConfig {
    /// The decoder.
    #[serde(flatten)]
    pub text: qwen2::Config,
    /// Name of the tower; only SigLIP-SO400M at 384 pixels.
    pub mm_vision_tower: String,
    /// Only `mlp2x_gelu`.
    #[serde(default = "mlp2x_gelu")]
    pub mm_projector_type: String,
    /// Only `bilinear`.
    #[serde(default = "bilinear")]
    pub mm_spatial_pool_mode: String,
}

fn last() -> i64 {
    -1
}
fn gelu() -> Activation {
    Activation::Gelu
}
fn mlp2x_gelu() -> String {
    "mlp2x_gelu".into()
}
fn bilinear() -> String {
    "bilinear".into()
}

impl OriginalConfig {
    /// The same model in the terms of [`Config`].
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn convert(self) -> crate::error::Result<Config> {
        let tower = &self.mm_vision_tower;
        check(
            tower.contains("siglip-so400m-patch14-384"),
            "mm_vision_tower",
            tower,
            "only siglip-so400m-patch14-384",
        )?;
        let projector = &self.mm_projector_type;
        check(projector == "mlp2x_gelu", "mm_projector_type", projector, "only mlp2x_gelu is supported")?;
        let pool = &self.mm_spatial_pool_mode;
        check(pool == "bilinear", "mm_spatial_pool_mode", pool, "only bilinear is supported")?;
        Ok(Config {
            vision_config: siglip::Config::so400m(),
            text_config: self.text,
            video_token_index: None,
            vision_feature_layer: last(),
            projector_hidden_act: gelu(),
        })
    }
}

impl Config {
    /// Checks the values and gives the decoder's sizes.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> crate::error::Result<decoder::Spec> {
        self.vision_config.validate()?;
        let layer = self.vision_feature_layer;
        check(layer == -1, "vision_feature_layer", layer, "only -1 is supported")?;
        self.text_config.spec("text_config.")
    }

    /// Tokens of a frame.
    pub fn tokens_per_frame(&self) -> usize {
        self.vision_config.side().div_ceil(2).pow(2)
    }
}

/// The model.
pub struct LlavaOneVision {
    /// The vision tower.
    pub vision_tower: Siglip,
    multi_modal_projector: Mlp,
    image_newline: Tensor,
    slowfast_projector: Option<Mlp>,
    /// The decoder.
    pub language_model: Decoder,
}

impl LlavaOneVision {
    /// Reads the model; with `motion_width` (256 in W2S-VQA), also the projector of motion features of this width.
    ///
    /// # Errors
    /// A configuration that makes no model; missing or misshapen tensors.
    pub fn load(
        config: &Config,
        motion_width: Option<usize>,
        vb: impl Into<Weights>,
    ) -> crate::error::Result<Self> {
        let vb: Weights = vb.into();
        let spec = config.validate()?;
        let hidden = spec.hidden_size;
        let widths = (config.vision_config.hidden_size, hidden, hidden);
        let projector = vb.pp("multi_modal_projector");
        let language = vb.pp("language_model");
        let slowfast_projector = match motion_width {
            Some(width) => Some(Mlp::load(
                (width, hidden, hidden),
                Activation::Gelu,
                ["0", "2"],
                vb.pp("slowfast_projector"),
            )?),
            None => None,
        };
        Ok(Self {
            vision_tower: Siglip::load(&config.vision_config, vb.pp("vision_tower").pp("vision_model"))?,
            multi_modal_projector: Mlp::load(
                widths,
                config.projector_hidden_act,
                ["linear_1", "linear_2"],
                projector,
            )?,
            image_newline: vb.get(hidden, "image_newline")?,
            slowfast_projector,
            language_model: Decoder::load(&spec, language.pp("model"), language)?,
        })
    }

    /// Tower output `[frames, side^2, width]` to `[frames, side^2, hidden]`.
    ///
    /// # Errors
    /// Another width.
    pub fn project(&self, tower: &Tensor) -> Result<Tensor> {
        self.multi_modal_projector.forward(tower)
    }

    /// Frame tokens: `[frames, side^2, hidden]` to `[frames, ceil(side / 2)^2, hidden]`.
    ///
    /// # Errors
    /// A grid that is not square.
    pub fn pool(&self, projected: &Tensor) -> Result<Tensor> {
        let (frames, patches, hidden) = projected.dims3()?;
        let side = patches.isqrt();
        let half = side.div_ceil(2);
        let grid = projected.reshape((frames, side, side, hidden))?;
        resize_grid(&grid, Kernel::Bilinear, (half, half))?.reshape((frames, half * half, hidden))
    }

    /// All tokens of one video's normalised frames `[frames, 3, size, size]`, then the newline:
    /// `[frames * tokens + 1, hidden]`.
    ///
    /// # Errors
    /// Frames smaller than the tower's.
    pub fn video_tokens(&self, frames: &Tensor) -> Result<Tensor> {
        let pooled = self.pool(&self.project(&self.vision_tower.forward(frames, |_, _| ())?)?)?;
        self.with_newline(&pooled)
    }

    /// Pooled frames `[frames, tokens, hidden]` one after the other, then the newline.
    ///
    /// # Errors
    /// Another width.
    pub fn with_newline(&self, pooled: &Tensor) -> Result<Tensor> {
        Tensor::cat(&[pooled.flatten_to(1)?, self.image_newline.unsqueeze(0)?], 0)
    }

    /// Whether the model takes motion features.
    pub fn takes_motion(&self) -> bool {
        self.slowfast_projector.is_some()
    }

    /// W2S-VQA's motion tokens `[seconds, hidden]` of fast-pathway features `[seconds, 256]`.
    ///
    /// # Errors
    /// A model without the projector.
    pub fn motion_tokens(&self, features: &Tensor) -> crate::error::Result<Tensor> {
        let projector = self.slowfast_projector.as_ref().ok_or_else(|| {
            crate::error::Error::Input(
                "this checkpoint has no projector of motion features (slowfast_projector)".into(),
            )
        })?;
        Ok(projector.forward(features)?)
    }
}

/// Finds canonical names in the original LLaVA-NeXT checkpoints.
pub fn original_layout(name: &str) -> Source {
    const PREFIXES: [(&str, &str); 7] = [
        ("language_model.model.", "model."),
        ("language_model.lm_head.", "lm_head."),
        ("vision_tower.", "model.vision_tower.vision_tower."),
        ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
        ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("slowfast_projector.", "model.slowfast_projector."),
        ("image_newline", "model.image_newline"),
    ];
    let renamed = PREFIXES
        .iter()
        .find_map(|(ours, theirs)| name.strip_prefix(ours).map(|rest| format!("{theirs}{rest}")));
    Source::Name(renamed.unwrap_or_else(|| name.to_owned()))
}
