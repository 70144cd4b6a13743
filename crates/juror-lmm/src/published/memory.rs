//! How much memory a checkpoint takes, told from its configuration and the headers of its files, before any weight is read.
//!
//! On a CPU the matrices of linear layers and embedding tables are kept in the precision asked for, all other tensors in
//! f32, whatever their type in the files. To them come the largest tensor once more in f32 (it is converted), and for [`TOKENS`] tokens the keys and values of all layers and the activations of one layer, of the decoder
//! and of the vision tower (four patches a token). All but the weights is an estimate; it is small beside them for models
//! of several billion parameters. Left out: decoding of the videos, and towers that `config.json` does not describe.
//!
//! What a step of LoRA training takes tells [`LoraStep`].

use std::path::Path;

use juror_nn::lora::LoraConfig;
use juror_nn::memory::MachineMemory;
use juror_nn::packed::WeightPrecision;
use serde_json::Value;

use super::{Family, OpenOptions, Processor};
use crate::checkpoint::Checkpoint;
use crate::decoder::Spec;
use crate::error::{Error, Result};
use crate::weights::kept_in;

/// Tokens of a prompt with two videos of ten seconds, and of what is written after it.
pub const TOKENS: u64 = 8192;
/// Bytes of a number in memory.
const F32: u64 = 4;
/// Patches of the vision tower that are joined to one token.
const PATCHES: u64 = 4;

/// What a checkpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Parameters.
    pub parameters: u64,
    /// Their bytes in memory.
    pub weights: u64,
    /// What comes to them at work, an estimate in bytes.
    pub work: u64,
}

impl Need {
    /// Of the checkpoint in a folder, on a CPU, in one precision.
    ///
    /// # Errors
    /// A family that is not supported; files that are missing or broken.
    pub fn of_folder(folder: &Path, precision: WeightPrecision) -> Result<Self> {
        Ok(Self::of_each(folder, &[precision])?[0])
    }

    /// Of the checkpoint in a folder, on a CPU, in each of these precisions.
    ///
    /// # Errors
    /// As [`Self::of_folder`].
    pub fn of_each(folder: &Path, precisions: &[WeightPrecision]) -> Result<Vec<Self>> {
        Family::detect(folder)?;
        let config: Value = crate::config::read(&folder.join("config.json"))?;
        let checkpoint = Checkpoint::open(folder)?;
        let tensors = || checkpoint.shapes().iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
        Ok(precisions.iter().map(|&precision| Self::of(&config, tensors(), precision)).collect())
    }

    /// Of tensors of these names and shapes and the values of `config.json`.
    pub fn of<'s>(
        config: &Value,
        tensors: impl Iterator<Item = (&'s str, &'s [usize])>,
        precision: WeightPrecision,
    ) -> Self {
        let (mut parameters, mut weights, mut largest) = (0u64, 0u64, 0u64);
        for (name, shape) in tensors {
            let count = shape.iter().fold(1u64, |product, &side| product.saturating_mul(side as u64));
            parameters = parameters.saturating_add(count);
            largest = largest.max(count);
            weights = weights.saturating_add(match *shape {
                [outputs, inputs] => kept_in(precision, name).bytes(outputs as u64, inputs as u64),
                _ => count.saturating_mul(F32),
            });
        }
        let per_token = per_token(config).saturating_mul(TOKENS);
        Self { parameters, weights, work: largest.saturating_add(per_token).saturating_mul(F32) }
    }

    /// All of it, bytes.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.work)
    }
}

/// Numbers that are kept for every token: keys and values of all layers, and the activations of one layer.
fn per_token(config: &Value) -> u64 {
    let text = ["text_config", "llm_config"].into_iter().find_map(|key| config.get(key)).unwrap_or(config);
    let number = |part: &Value, key: &str| part.get(key).and_then(Value::as_u64).unwrap_or(0);
    let widest = |part: &Value| {
        let (hidden, inner) = (number(part, "hidden_size"), number(part, "intermediate_size"));
        hidden.saturating_mul(6).max(inner.saturating_mul(3))
    };
    let heads = number(text, "num_attention_heads").max(1);
    let head = match number(text, "head_dim") {
        0 => number(text, "hidden_size") / heads,
        head => head,
    };
    let kv_heads = match number(text, "num_key_value_heads") {
        0 => heads,
        heads => heads,
    };
    let cache =
        number(text, "num_hidden_layers").saturating_mul(kv_heads).saturating_mul(head).saturating_mul(2);
    let tower = config.get("vision_config").map_or(0, widest).saturating_mul(PATCHES);
    cache.saturating_add(widest(text)).saturating_add(tower)
}

/// One step of LoRA training of a decoder whose layers are recomputed in the backward pass (`Decoder::forward_on`).
#[derive(Debug, Clone, Copy)]
pub struct LoraStep {
    /// Sequences.
    pub rows: usize,
    /// Tokens of each, the prompt's and what is written.
    pub tokens: usize,
    /// Tokens of each that are learnt: only they need logits.
    pub written: usize,
    /// Bytes of a frozen weight and of an activation: 4 in f32, 2 in bf16.
    pub bytes: u64,
}

/// What such a step takes at its peak, bytes; the vision tower comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoraNeed {
    /// The frozen weights.
    pub weights: u64,
    /// The factors in f32, their gradients and the two moments of AdamW.
    pub adapter: u64,
    /// The inputs of all layers.
    pub inputs: u64,
    /// The logits in f32, and their gradient or the graph of one layer with the gradients in it, whichever is larger.
    pub graph: u64,
}

impl LoraNeed {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.adapter + self.inputs + self.graph
    }
}

impl LoraStep {
    /// Of a decoder of these sizes with these updates; the formula stands in `docs/models.md`.
    #[must_use]
    pub fn need(&self, spec: &Spec, lora: &LoraConfig) -> LoraNeed {
        let wide = |count: usize| count as u64;
        let (hidden, inner) = (wide(spec.hidden_size), wide(spec.intermediate_size));
        let (queries, keys) = (wide(spec.heads * spec.head_dim), wide(spec.kv_heads * spec.head_dim));
        let (layers, vocabulary, rank) = (wide(spec.layers), wide(spec.vocab_size), wide(lora.rank));
        let matrices = [
            ("self_attn.q_proj", hidden, queries, spec.qkv_bias),
            ("self_attn.k_proj", hidden, keys, spec.qkv_bias),
            ("self_attn.v_proj", hidden, keys, spec.qkv_bias),
            ("self_attn.o_proj", queries, hidden, false),
            ("mlp.gate_proj", hidden, inner, false),
            ("mlp.up_proj", hidden, inner, false),
            ("mlp.down_proj", inner, hidden, false),
        ];
        let (mut weights, mut factors, mut outputs) = (2 * hidden, 0, 0);
        for (name, from, to, has_bias) in matrices {
            weights += from * to;
            outputs += to;
            if lora.targets(name) {
                factors += rank * (from + to);
                // x A', x A' B', the same scaled, the sum and a gradient; with the bias where there is one.
                outputs += 4 * to + rank + u64::from(has_bias) * to;
            }
        }
        let tables = if spec.tied { 1 } else { 2 };
        let (tokens, written) = (wide(self.rows * self.tokens), wide(self.rows * self.written));
        // The counts of `hidden` and `inner` hold the gradients under way; they were measured (`tests/lora_training.rs`).
        let per_token = outputs + 4 * hidden + 4 * queries + 3 * keys + 16 * inner;
        let logits = 4 * written * vocabulary;
        LoraNeed {
            weights: self.bytes * (layers * weights + hidden + tables * vocabulary * hidden),
            adapter: 16 * layers * factors,
            inputs: self.bytes * (layers + 1) * tokens * hidden,
            graph: logits + logits.max(self.bytes * tokens * per_token),
        }
    }
}

/// Fails where the machine says that it has less memory than the checkpoint takes, and tells what would fit. The memory
/// of GPUs is not looked at.
///
/// # Errors
/// [`Error::Memory`], and those of [`Need::of_folder`].
pub fn check(folder: &Path, name: &str, options: &OpenOptions) -> Result<()> {
    if options.processor != Processor::Cpu {
        return Ok(());
    }
    let asked = options.precision()?;
    let needs = Need::of_each(folder, &WeightPrecision::ALL)?;
    let each = || WeightPrecision::ALL.into_iter().zip(needs.iter().map(Need::total));
    let needed = each().find(|(precision, _)| *precision == asked).map_or(0, |(_, total)| total);
    match MachineMemory::now() {
        Some(machine) if machine.available < needed => {
            let fits = each().find(|(_, total)| *total <= machine.available);
            let advice = match fits {
                Some((precision, total)) => format!("--precision {precision} takes {}", gib(total)),
                None => "no precision fits; take a smaller model or a machine with more".to_owned(),
            };
            Err(Error::Memory { name: name.to_owned(), needed, available: machine.available, advice })
        }
        _ => Ok(()),
    }
}

/// Bytes for people.
pub(crate) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_need_is_counted_from_shapes_and_configuration() {
        let config = serde_json::json!({ "vision_config": { "hidden_size": 8, "intermediate_size": 10 },
            "text_config": { "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_hidden_layers": 3, "intermediate_size": 200 } });
        let tensors: [(&str, &[usize]); 2] = [("up_proj.weight", &[10, 20]), ("norm.weight", &[300])];
        let need = |precision| Need::of(&config, tensors.into_iter(), precision);
        let f32 = need(WeightPrecision::F32);
        // 3 layers of 2 heads of 16, keys and values; three times the feed-forward; six times the width of 4 patches.
        let per_token = 3 * 2 * 16 * 2 + 3 * 200 + 4 * 6 * 8;
        assert_eq!(f32.parameters, 500);
        assert_eq!(f32.weights, 2000);
        assert_eq!(f32.work, 4 * (300 + 8192 * per_token));
        assert_eq!(f32.total(), f32.weights + f32.work);
        // One panel of 16 outputs with one group of 32 inputs, of values and scales; the vector stays as it is.
        assert_eq!(need(WeightPrecision::Bf16).weights, 16 * 32 * 2 + 1200);
        assert_eq!(need(WeightPrecision::Int8).weights, 16 * 32 + 16 * 2 + 1200);
        assert_eq!(need(WeightPrecision::Int4).weights, 16 * 32 / 2 + 16 * 2 + 1200);
        let table: [(&str, &[usize]); 1] = [("model.embed_tokens.weight", &[10, 20])];
        for precision in [WeightPrecision::Int8, WeightPrecision::Int4] {
            assert_eq!(Need::of(&config, table.into_iter(), precision).weights, 16 * 32 + 16 * 2);
        }
        let lying = serde_json::json!({ "hidden_size": u64::MAX, "num_hidden_layers": u64::MAX });
        for precision in WeightPrecision::ALL {
            let shape: &[usize] = &[usize::MAX, 2];
            assert_eq!(Need::of(&lying, [("a", shape)].into_iter(), precision).total(), u64::MAX);
        }
    }
}
