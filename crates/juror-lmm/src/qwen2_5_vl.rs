//! Qwen2.5-VL: windowed vision tower, Qwen2 decoder with three-axis rotary positions.
//!
//! Canonical names are those of the Qwen/Qwen2.5-VL checkpoints (`visual.*`, `model.*`, `lm_head.weight`);
//! [`renamed_layout`] finds them in checkpoints that transformers 4.52 and later saved.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Source;
use crate::config::check;
use crate::decoder::{Decoder, Spec};
use crate::error::Result;
use crate::mrope::{self, TimeRule};
use crate::preprocess::patches::Grid;
use crate::qwen_vision::{self, QwenVision};
use crate::qwen2;
use crate::sequence::{Batch, Prefill, replace};
use crate::weights::Weights;

/// `config.json` in its flat form: the decoder's keys at the top.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The vision tower.
    pub vision_config: qwen_vision::Config,
    /// The decoder.
    #[serde(flatten)]
    pub text: qwen2::Config,
    /// Id of `<|video_pad|>`.
    pub video_token_id: u32,
}

/// `config.json` as transformers 4.52 and later write it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NestedConfig {
    /// The vision tower.
    pub vision_config: qwen_vision::Config,
    /// The decoder.
    pub text_config: qwen2::Config,
    /// Id of `<|video_pad|>`.
    pub video_token_id: u32,
    /// Whether the output layer is the embedding table (here or in the decoder's section).
    #[serde(default)]
    pub tie_word_embeddings: bool,
}

impl From<NestedConfig> for Config {
    fn from(nested: NestedConfig) -> Self {
        let tied = nested.tie_word_embeddings || nested.text_config.tie_word_embeddings;
        Self {
            vision_config: nested.vision_config,
            text: qwen2::Config { tie_word_embeddings: tied, ..nested.text_config },
            video_token_id: nested.video_token_id,
        }
    }
}

impl Config {
    /// Checks the values and gives the decoder's sizes.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> Result<Spec> {
        self.vision_config.validate()?;
        let spec = self.text.spec("")?;
        let out = self.vision_config.out_hidden_size;
        check(out == spec.hidden_size, "vision_config.out_hidden_size", out, "must equal hidden_size")?;
        Ok(spec)
    }
}

/// Videos as the tower takes them.
#[derive(Debug, Clone)]
pub struct Videos {
    /// Patch rows of all videos, one after the other.
    pub rows: Tensor,
    /// Their grids.
    pub grids: Vec<Grid>,
    /// Seconds per slice (two frames) of each video; 1 where unknown.
    pub slice_seconds: Option<Vec<f32>>,
}

/// The model.
pub struct Qwen25Vl {
    /// The vision tower.
    pub visual: QwenVision,
    /// The decoder.
    pub language_model: Decoder,
    video_token_id: u32,
    tokens_per_second: f32,
    /// How seconds become time indices.
    pub time_rule: TimeRule,
}

impl Qwen25Vl {
    /// Reads the model.
    ///
    /// # Errors
    /// A configuration that makes no model; missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let spec = config.validate()?;
        Ok(Self {
            visual: QwenVision::load(&config.vision_config, vb.pp("visual"))?,
            language_model: Decoder::load(&spec, vb.pp("model"), vb)?,
            video_token_id: config.video_token_id,
            tokens_per_second: config.vision_config.tokens_per_second,
            time_rule: TimeRule::default(),
        })
    }

    /// Embeddings and positions of prompts whose placeholders take the videos' tokens `[tokens, hidden]` in order.
    ///
    /// # Errors
    /// Placeholders and videos that do not fit each other.
    pub fn prefill(
        &self,
        batch: &Batch,
        tokens: &Tensor,
        videos: &Videos,
        device: &Device,
    ) -> Result<Prefill> {
        let seconds = videos.slice_seconds.as_deref();
        let spans = mrope::qwen2_5_spans(&videos.grids, seconds, self.tokens_per_second, self.time_rule);
        let positions = mrope::positions(batch, self.video_token_id, &spans)?;
        let text = self.language_model.embed(&batch.tensor(device)?)?;
        let embeds = replace(&text, &batch.places(self.video_token_id), tokens)?;
        Ok(Prefill { embeds, positions, pads: batch.pads.clone(), after_layer: Vec::new() })
    }

    /// Tokens of all videos, `[patches / 4, hidden]`.
    ///
    /// # Errors
    /// Rows that do not fit the grids.
    pub fn video_tokens(&self, videos: &Videos) -> Result<Tensor> {
        Ok(self.visual.forward(&videos.rows, &videos.grids, |_, _| ())?)
    }
}

/// Finds canonical names in checkpoints saved by transformers 4.52 and later.
pub fn renamed_layout(name: &str) -> Source {
    Source::Name(match name.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None if name.starts_with("visual.") => format!("model.{name}"),
        None => name.to_owned(),
    })
}
