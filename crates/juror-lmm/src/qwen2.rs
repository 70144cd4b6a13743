//! Qwen2 decoder: biases on queries, keys and values; the language model of InternVL3, LLaVA-OneVision and Qwen2.5-VL.
//!
//! Keys that a configuration leaves out take the defaults of the published class. Sliding windows are not supported.

use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::decoder::Spec;
use crate::error::Result;
use crate::layers::Activation;
use crate::rotary::{Axes, DynamicScaling, Rotary};

/// The `rope_scaling` section, or `rope_parameters`, as transformers 5 writes it with the base inside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RopeScaling {
    /// `default`, `dynamic` or `mrope`.
    pub rope_type: Option<String>,
    /// The older key for the same.
    #[serde(rename = "type")]
    pub older_type: Option<String>,
    /// Base of the rotary frequencies, instead of the one beside the section.
    pub rope_theta: Option<f64>,
    /// Growth for `dynamic`.
    pub factor: Option<f64>,
    /// Frequencies per axis: time, row, column.
    pub mrope_section: Option<[usize; 3]>,
    /// Whether the axes are interleaved (Qwen3-VL).
    #[serde(default)]
    pub mrope_interleaved: bool,
}

impl RopeScaling {
    fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.older_type.as_deref()).unwrap_or("default")
    }

    /// The rotary tables for heads of `head_dim`; `key` is the section's path in `config.json`, `base` stands beside it.
    ///
    /// # Errors
    /// A kind that is not supported, or sections that do not add up to half a head.
    pub fn rotary(
        section: Option<&Self>,
        key: &str,
        head_dim: usize,
        base: f64,
        trained_tokens: usize,
    ) -> Result<Rotary> {
        let Some(scaling) = section else {
            return Ok(Rotary::new(head_dim, base, Axes::Plain, None));
        };
        let (kind, base) = (scaling.kind(), scaling.rope_theta.unwrap_or(base));
        check(
            ["default", "dynamic", "mrope"].contains(&kind),
            &format!("{key}.rope_type"),
            kind,
            "supported are default, dynamic and mrope",
        )?;
        let dynamic = (kind == "dynamic")
            .then(|| DynamicScaling { factor: scaling.factor.unwrap_or(1.0), trained_tokens });
        let axes = match scaling.mrope_section {
            None => Axes::Plain,
            Some(s) => {
                let sum: usize = s.iter().sum();
                check(
                    sum == head_dim / 2,
                    &format!("{key}.mrope_section"),
                    sum,
                    &format!("the sum must be half a head, {}", head_dim / 2),
                )?;
                if scaling.mrope_interleaved { Axes::Interleaved(s) } else { Axes::Sections(s) }
            }
        };
        Ok(Rotary::new(head_dim, base, axes, dynamic))
    }
}

/// The decoder's part of `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward.
    pub intermediate_size: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Activation of the feed-forward; only `silu`.
    #[serde(default = "silu")]
    pub hidden_act: Activation,
    /// Epsilon of the norms.
    #[serde(default = "rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default = "rope_theta")]
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    #[serde(alias = "rope_parameters")]
    pub rope_scaling: Option<RopeScaling>,
    /// Trained length.
    #[serde(default = "max_position_embeddings")]
    pub max_position_embeddings: usize,
    /// Whether the output layer is the embedding table.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Whether attention looks back only some tokens; not supported.
    #[serde(default)]
    pub use_sliding_window: bool,
    /// Token on which generation ends.
    pub eos_token_id: Option<u32>,
}

fn silu() -> Activation {
    Activation::Silu
}
fn rms_norm_eps() -> f64 {
    1e-6
}
fn rope_theta() -> f64 {
    10_000.0
}
fn max_position_embeddings() -> usize {
    32_768
}

impl Config {
    /// Checks the values; `section` is the path of this section in `config.json` (empty or ending with a dot).
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn spec(&self, section: &str) -> Result<Spec> {
        let key = |name: &str| format!("{section}{name}");
        let heads = self.num_attention_heads;
        check(
            heads > 0 && self.hidden_size.is_multiple_of(heads),
            &key("num_attention_heads"),
            heads,
            "must divide hidden_size",
        )?;
        let kv_heads = self.num_key_value_heads;
        check(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            &key("num_key_value_heads"),
            kv_heads,
            "must divide num_attention_heads",
        )?;
        let head_dim = self.hidden_size / heads;
        check(
            head_dim.is_multiple_of(2),
            &key("hidden_size"),
            self.hidden_size,
            "the width of a head must be even",
        )?;
        check(self.hidden_act == Activation::Silu, &key("hidden_act"), "not silu", "only silu is supported")?;
        check(!self.use_sliding_window, &key("use_sliding_window"), true, "only false is supported")?;
        check(self.num_hidden_layers > 0, &key("num_hidden_layers"), 0, "must be positive")?;
        check(self.vocab_size > 0, &key("vocab_size"), 0, "must be positive")?;
        let scaling_key = key("rope_scaling");
        Ok(Spec {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            heads,
            kv_heads,
            head_dim,
            layers: self.num_hidden_layers,
            vocab_size: self.vocab_size,
            rms_norm_eps: self.rms_norm_eps,
            qkv_bias: true,
            qk_norm: false,
            tied: self.tie_word_embeddings,
            rotary: RopeScaling::rotary(
                self.rope_scaling.as_ref(),
                &scaling_key,
                head_dim,
                self.rope_theta,
                self.max_position_embeddings,
            )?,
        })
    }
}
