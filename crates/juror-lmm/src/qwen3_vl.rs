//! Qwen3-VL, the base of VersusQ: deepstack vision tower, Qwen3 decoder with interleaved three-axis rotary positions.
//!
//! Every temporal slice is a span of its own; its time is told by text in front of it
//! ([`crate::prompt::qwen3_video`]). Names are those of the Qwen/Qwen3-VL checkpoints. The mixture-of-experts models are
//! left out.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::decoder::{Decoder, Spec};
use crate::error::Result;
use crate::mrope;
use crate::preprocess::patches::Grid;
use crate::qwen3;
use crate::qwen3_vision::{self, Qwen3Vision, Tokens};
use crate::sequence::{Batch, Prefill, replace, scatter};
use crate::weights::Weights;

/// `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The vision tower.
    pub vision_config: qwen3_vision::Config,
    /// The decoder.
    pub text_config: qwen3::Config,
    /// Id of `<|video_pad|>`.
    pub video_token_id: u32,
    /// Whether the output layer is the embedding table.
    #[serde(default)]
    pub tie_word_embeddings: bool,
}

impl Config {
    /// Checks the values and gives the decoder's sizes.
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn validate(&self) -> Result<Spec> {
        self.vision_config.validate()?;
        let spec = self.text_config.spec("text_config.")?;
        let out = self.vision_config.out_hidden_size;
        check(
            out == spec.hidden_size,
            "vision_config.out_hidden_size",
            out,
            "must equal text_config.hidden_size",
        )?;
        let deepstack = self.vision_config.deepstack_visual_indexes.len();
        let key = "vision_config.deepstack_visual_indexes";
        check(deepstack <= spec.layers, key, deepstack, "at most one per decoder layer")?;
        Ok(Spec { tied: spec.tied || self.tie_word_embeddings, ..spec })
    }
}

/// The model.
pub struct Qwen3Vl {
    /// The vision tower.
    pub visual: Qwen3Vision,
    /// The decoder.
    pub language_model: Decoder,
    video_token_id: u32,
}

impl Qwen3Vl {
    /// Reads the model.
    ///
    /// # Errors
    /// A configuration that makes no model; missing or misshapen tensors.
    pub fn load(config: &Config, vb: impl Into<Weights>) -> Result<Self> {
        let vb: Weights = vb.into();
        let spec = config.validate()?;
        let model = vb.pp("model");
        Ok(Self {
            visual: Qwen3Vision::load(&config.vision_config, model.pp("visual"))?,
            language_model: Decoder::load(&spec, model.pp("language_model"), vb)?,
            video_token_id: config.video_token_id,
        })
    }

    /// Embeddings, positions and deepstack of prompts whose placeholders take the videos' tokens in order.
    ///
    /// # Errors
    /// Placeholders and videos that do not fit each other.
    pub fn prefill(
        &self,
        batch: &Batch,
        tokens: &Tokens,
        grids: &[Grid],
        device: &Device,
    ) -> Result<Prefill> {
        let positions = mrope::positions(batch, self.video_token_id, &mrope::qwen3_spans(grids))?;
        let places = batch.places(self.video_token_id);
        let text = self.language_model.embed(&batch.tensor(device)?)?;
        let embeds = replace(&text, &places, &tokens.embeds)?;
        let after_layer =
            tokens.deepstack.iter().map(|extra| scatter(&text, &places, extra)).collect::<Result<_>>()?;
        Ok(Prefill { embeds, positions, pads: batch.pads.clone(), after_layer })
    }
}
