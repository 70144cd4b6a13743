//! Sizes of `nano`, as they stand in its `config.json`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the body may name. `compression` is what every lossy video codec does; the stream's own codec gives
/// it its name (`h264`, `hevc`, ...) when results are reported.
pub const KINDS: [&str; 15] = [
    "compression",
    "gaussian-blur",
    "rescale",
    "gaussian-noise",
    "jpeg",
    "banding",
    "darken",
    "brighten",
    "contrast",
    "resolution",
    "stutter",
    "freeze",
    "dropped-frames",
    "shake",
    "flicker",
];

/// The first of `KINDS` that is temporal; all that follow are.
pub const FIRST_TEMPORAL: usize = 10;

/// Sizes of the body and the decoder; equal to `config.json` beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NanoConfig {
    /// Always `"nano"`: tells the family.
    pub model_type: String,
    /// Moments looked at per video.
    pub moments: usize,
    /// Bodies trained apart, whose logits are averaged.
    pub bodies: usize,
    /// Factor on the temporal penalties of rank logits; those of score logits have their own (`ensemble.rs`).
    pub temporal_gain: f64,
    /// Width of a patch in the mixers.
    pub patch_dim: usize,
    /// Mixer blocks.
    pub mixers: usize,
    /// Width of a fragment.
    pub fragment_dim: usize,
    /// Width of the trunk that the heads share.
    pub trunk_dim: usize,
    /// Width of the temporal branch.
    pub temporal_dim: usize,
    /// Width of the network that reads two videos laid over each other; 0: they are not.
    #[serde(default)]
    pub overlay_dim: usize,
    /// Width of the network that names what is wrong with either; 0: there is none.
    #[serde(default)]
    pub naming_dim: usize,
    /// Width of the decoder.
    pub hidden_size: usize,
    /// Blocks of the decoder.
    pub num_hidden_layers: usize,
    /// Attention heads of the decoder.
    pub num_attention_heads: usize,
    /// Width of the decoder's feed-forward part.
    pub intermediate_size: usize,
    /// Pieces the decoder knows.
    pub vocab_size: usize,
    /// Longest sequence of the decoder, video tokens included.
    pub max_position_embeddings: usize,
    /// Errors measured on held-out groups.
    pub calibration: Calibration,
}

/// How far margins and scores are off, in points of the five-point scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Standard deviation of the margin's error.
    pub margin_sd: f64,
    /// Standard deviation of the score's error.
    pub score_sd: f64,
}

impl Default for NanoConfig {
    fn default() -> Self {
        Self {
            model_type: "nano".into(),
            moments: 8,
            bodies: 1,
            temporal_gain: 1.0,
            patch_dim: 64,
            mixers: 2,
            fragment_dim: 160,
            trunk_dim: 192,
            temporal_dim: 96,
            overlay_dim: 48,
            naming_dim: 48,
            hidden_size: 128,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            intermediate_size: 384,
            vocab_size: 512,
            max_position_embeddings: 256,
            calibration: Calibration { margin_sd: 0.5, score_sd: 0.5 },
        }
    }
}

impl NanoConfig {
    /// Says what is wrong with the sizes, if anything.
    ///
    /// # Errors
    /// The first key that cannot be, with its value.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, value: &dyn std::fmt::Display, allowed: &str| {
            Err(Error::ConfigValue { key: key.into(), value: value.to_string(), allowed: allowed.into() })
        };
        if self.model_type != "nano" {
            return refuse("model_type", &self.model_type, "`nano`");
        }
        for (key, value) in [
            ("moments", self.moments),
            ("bodies", self.bodies),
            ("patch_dim", self.patch_dim),
            ("fragment_dim", self.fragment_dim),
            ("trunk_dim", self.trunk_dim),
            ("temporal_dim", self.temporal_dim),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 || value > 65_536 {
                return refuse(key, &value, "1 to 65536 is allowed");
            }
        }
        for (key, value) in [("overlay_dim", self.overlay_dim), ("naming_dim", self.naming_dim)] {
            if value > 4096 {
                return refuse(key, &value, "0 to 4096 is allowed");
            }
        }
        if self.naming_dim > 0 && self.overlay_dim == 0 {
            return refuse("naming_dim", &self.naming_dim, "without an overlay (overlay_dim) 0 is allowed");
        }
        if !(self.temporal_gain.is_finite() && self.temporal_gain >= 0.0) {
            return refuse("temporal_gain", &self.temporal_gain, "a number from 0 is needed");
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return refuse("hidden_size", &self.hidden_size, "a multiple of num_attention_heads is needed");
        }
        Ok(())
    }
}
