//! How much memory a checkpoint takes, told from its configuration and the headers of its files, before any weight is read.
//!
//! On a CPU the matrices of linear layers and embedding tables are kept in the precision asked for, all other tensors in
//! f32, whatever their type in the files. To them come the largest tensor once more in f32 (it is converted), and for [`TOKENS`] tokens the keys and values of all layers and the activations of one layer, of the decoder
//! and of the vision tower (four patches a token). All but the weights is an estimate; it is small beside them for models
//! of several billion parameters. Left out: decoding of the videos, and towers that `config.json` does not describe.

use std::path::Path;

use juror_nn::memory::MachineMemory;
use juror_nn::packed::WeightPrecision;
use serde_json::Value;

use super::{Family, OpenOptions, Processor};
use crate::checkpoint::Checkpoint;
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
