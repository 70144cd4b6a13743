//! Tiny random checkpoints on disk, as the published ones are laid out. Other crates' tests include this file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use juror_lmm::checkpoint::{TensorSpec, describe};
use juror_lmm::error::Result;
use juror_lmm::internvl3::{InternVl3, Motion};
use juror_lmm::llava_onevision::LlavaOneVision;
use juror_lmm::prompt::{GRADES, LEVELS};
use juror_lmm::qwen2_5_vl::Qwen25Vl;
use juror_lmm::qwen3_vl::Qwen3Vl;
use juror_lmm::slowfast::{self, SlowFast};
use juror_nn::params::{Init, Params};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The first of the two shards.
pub const SHARD: &str = "model-00001-of-00002.safetensors";

/// The fixtures that the golden tests read, seen from any crate of the workspace.
fn folder(family: &str) -> PathBuf {
    let root = std::env::var_os("JUROR_GOLDEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../juror-lmm/tests/fixtures"),
        PathBuf::from,
    );
    root.join(family)
}

/// A tiny random checkpoint in two shards, with the fixture's tokenizer and the words of levels and grades added to it:
/// `internvl3`, `vqathinker` (with motion), `llava_onevision`, `w2s` (with motion), `qwen2_5_vl` or `qwen3_vl`.
pub fn checkpoint(family: &str) -> TempDir {
    let fixture = match family {
        "vqathinker" => "internvl3",
        "w2s" => "llava_onevision",
        other => other,
    };
    let text = std::fs::read_to_string(folder(fixture).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let text = ["text_config", "llm_config"].into_iter().find(|key| config.get(key).is_some());
    match text {
        Some(key) => config[key]["vocab_size"] = json!(737),
        None => config["vocab_size"] = json!(737),
    }
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(dir.path());
    for (key, token) in [("video_token_id", "<|video_pad|>"), ("video_token_index", "<video>")] {
        if config.get(key).is_some() {
            config[key] = json!(tokenizer[token]);
        }
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let needed = match family {
        "internvl3" => needed(&config, |config, vb| InternVl3::load(config, None, vb)),
        "vqathinker" => {
            let motion = Motion { slowfast: narrow(), ..Motion::test() };
            needed(&config, |config, vb| InternVl3::load(config, Some(&motion), vb))
        }
        "w2s" => {
            let [_, fast] = narrow().feature_widths();
            needed(&config, |config, vb| LlavaOneVision::load(config, Some(fast), vb))
        }
        "llava_onevision" => needed(&config, |config, vb| LlavaOneVision::load(config, None, vb)),
        "qwen2_5_vl" => needed(&config, Qwen25Vl::load),
        "qwen3_vl" => needed(&config, Qwen3Vl::load),
        other => panic!("no family {other}"),
    };
    write_shards(dir.path(), &random(&needed));
    if family == "w2s" {
        write_slowfast(&dir.path().join("slowfast_r50.safetensors"), &narrow());
    }
    dir
}

/// SlowFast with a fraction of its channels.
pub fn narrow() -> slowfast::Config {
    slowfast::Config { stem_dim_outs: [8, 1], ..slowfast::Config::default() }
}

/// A random SlowFast in pytorchvideo's names.
pub fn write_slowfast(path: &Path, config: &slowfast::Config) {
    let needed = describe(|vb| SlowFast::load(config, vb)).unwrap();
    let tensors = random(&needed).into_iter().map(|(name, tensor)| (format!("blocks.{name}"), tensor));
    candle_core::safetensors::save(&tensors.collect::<HashMap<_, _>>(), path).unwrap();
}

fn needed<C: DeserializeOwned, M>(
    config: &Value,
    load: impl Fn(&C, VarBuilder<'static>) -> Result<M>,
) -> Vec<TensorSpec> {
    let config: C = serde_json::from_value(config.clone()).unwrap();
    describe(|vb| load(&config, vb)).unwrap()
}

fn tokenizer(dir: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(folder("tokenizer").join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    let next = added.iter().map(|t| t["id"].as_u64().unwrap()).max().unwrap() + 1;
    for (i, word) in LEVELS.iter().chain(&GRADES).enumerate() {
        added.push(json!({ "id": next + i as u64, "content": word, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": false }));
    }
    let ids = added
        .iter()
        .map(|t| (t["content"].as_str().unwrap().to_owned(), t["id"].as_u64().unwrap() as u32))
        .collect();
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    ids
}

fn random(needed: &[TensorSpec]) -> BTreeMap<String, Tensor> {
    let params = Params::seeded_inference(11, &Device::Cpu);
    let tensor = |spec: &TensorSpec| {
        let centred = ["bias", "running_mean"].iter().any(|end| spec.name.ends_with(end));
        let init = match (spec.shape.len(), centred) {
            (0 | 1, false) => Init::Ones,
            (0 | 1, true) => Init::Zeros,
            _ => Init::Normal(0.08),
        };
        params.get_or_init(&spec.name, spec.shape.clone(), init).unwrap()
    };
    needed.iter().map(|spec| (spec.name.clone(), tensor(spec))).collect()
}

pub fn write_shards(dir: &Path, tensors: &BTreeMap<String, Tensor>) {
    let mut map = BTreeMap::new();
    for shard in 0..2 {
        let file = format!("model-{:05}-of-00002.safetensors", shard + 1);
        let part: HashMap<String, Tensor> = tensors
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 2 == shard)
            .map(|(_, (k, v))| (k.clone(), v.clone()))
            .collect();
        map.extend(part.keys().map(|name| (name.clone(), file.clone())));
        candle_core::safetensors::save(&part, dir.join(file)).unwrap();
    }
    let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}
