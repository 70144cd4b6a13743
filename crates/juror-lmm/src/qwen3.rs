//! Qwen3 decoder: no biases, a norm per head on queries and keys; the language model of Qwen3-VL.

use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::decoder::Spec;
use crate::error::Result;
use crate::layers::Activation;
use crate::qwen2::RopeScaling;

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
    /// Width of a head, independent of the others.
    pub head_dim: usize,
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
    /// Scaling and axes of the rotary frequencies.
    #[serde(alias = "rope_parameters")]
    pub rope_scaling: Option<RopeScaling>,
    /// Trained length.
    #[serde(default = "max_position_embeddings")]
    pub max_position_embeddings: usize,
    /// Whether the projections have biases; only false.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the output layer is the embedding table (here or at the top of `config.json`).
    #[serde(default)]
    pub tie_word_embeddings: bool,
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
    5_000_000.0
}
fn max_position_embeddings() -> usize {
    262_144
}

impl Config {
    /// Checks the values; `section` is the path of this section in `config.json` (empty or ending with a dot).
    ///
    /// # Errors
    /// [`crate::error::Error::ConfigValue`] with the key.
    pub fn spec(&self, section: &str) -> Result<Spec> {
        let key = |name: &str| format!("{section}{name}");
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        let grouped = kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads);
        check(grouped, &key("num_key_value_heads"), kv_heads, "must divide num_attention_heads")?;
        let dim = self.head_dim;
        check(dim > 0 && dim.is_multiple_of(2), &key("head_dim"), dim, "must be even and positive")?;
        check(self.hidden_act == Activation::Silu, &key("hidden_act"), "not silu", "only silu is supported")?;
        check(!self.attention_bias, &key("attention_bias"), true, "only false is supported")?;
        check(self.num_hidden_layers > 0, &key("num_hidden_layers"), 0, "must be positive")?;
        check(self.vocab_size > 0, &key("vocab_size"), 0, "must be positive")?;
        let scaling = self.rope_scaling.as_ref();
        let rotary = RopeScaling::rotary(
            scaling,
            &key("rope_scaling"),
            dim,
            self.rope_theta,
            self.max_position_embeddings,
        )?;
        Ok(Spec {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            heads,
            kv_heads,
            head_dim: dim,
            layers: self.num_hidden_layers,
            vocab_size: self.vocab_size,
            rms_norm_eps: self.rms_norm_eps,
            qkv_bias: false,
            qk_norm: true,
            tied: self.tie_word_embeddings,
            rotary,
        })
    }
}
