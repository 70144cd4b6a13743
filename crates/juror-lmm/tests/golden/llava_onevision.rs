//! LLaVA-OneVision in both checkpoint layouts.

use std::collections::{BTreeMap, HashMap};

use candle_core::{D, DType, Tensor};
use juror_lmm::checkpoint::{Checkpoint, Source, canonical, describe};
use juror_lmm::decoder::Input;
use juror_lmm::layers::{LayerNorm, RmsNorm};
use juror_lmm::llava_onevision::{Config, LlavaOneVision, OriginalConfig, original_layout};
use juror_lmm::sequence::Prefill;
use serde::Deserialize;

use crate::support::{Fixture, complete, device, tensors};

const FAMILY: &str = "llava_onevision";

fn load(fixture: &Fixture) -> (LlavaOneVision, Config) {
    let config: Config = fixture.config();
    let checkpoint = fixture.checkpoint();
    let needed = describe(|vb| LlavaOneVision::load(&config, None, vb)).unwrap();
    complete(&checkpoint, &needed, canonical, |_| false);
    let vb = checkpoint.var_builder(canonical, DType::F32, &device());
    (LlavaOneVision::load(&config, None, vb).unwrap(), config)
}

/// Tokens of videos `[videos, frames, 3, size, size]`, one after the other.
fn tokens(model: &LlavaOneVision, videos: &[Tensor]) -> Tensor {
    let all: Vec<Tensor> = videos.iter().map(|v| model.video_tokens(v).unwrap()).collect();
    Tensor::cat(&all, 0).unwrap()
}

#[test]
fn golden_llava_onevision_vision() {
    let fixture = Fixture::open(FAMILY);
    let (model, config) = load(&fixture);
    let videos = fixture.input("pixel_values_videos");
    let frames = videos.flatten_to(1).unwrap();
    fixture.close("vision.embeddings", &model.vision_tower.embed(&frames).unwrap());
    let tower =
        model.vision_tower.forward(&frames, |i, x| fixture.close(&format!("vision.layer_{i}"), x)).unwrap();
    fixture.close("vision.post_layernorm_unused", &model.vision_tower.post_layernorm(&tower).unwrap());
    let projected = model.project(&tower).unwrap();
    fixture.close("projected", &projected);
    let pooled = model.pool(&projected).unwrap();
    fixture.close("pooled", &pooled);
    assert_eq!(pooled.dim(1).unwrap(), config.tokens_per_frame());
    let features = pooled.reshape((videos.dim(0).unwrap(), (), pooled.dim(2).unwrap())).unwrap();
    fixture.close("video_features", &features);
}

#[test]
fn golden_llava_onevision_language_and_greedy() {
    let fixture = Fixture::open(FAMILY);
    let (model, config) = load(&fixture);
    let (lm, video_id) = (&model.language_model, config.video_token_index.unwrap());
    let videos = fixture.input("pixel_values_videos");
    let (first, second) = (videos.get(0).unwrap(), videos.get(1).unwrap());
    let two = tokens(&model, &[first.clone(), second.clone()]);
    let prefill =
        Prefill::plain(lm, &fixture.batch("input_ids", None), video_id, Some(&two), &device()).unwrap();
    fixture.close("inputs_embeds", &prefill.embeds);
    fixture.language(lm, &prefill);
    fixture.greedy("", lm, &prefill);

    let reversed: Vec<u32> = (0..second.dim(0).unwrap() as u32).rev().collect();
    let reversed = second.index_select(&Tensor::new(reversed, &device()).unwrap(), 0).unwrap();
    let three = tokens(&model, &[first, second, reversed]);
    let batch = fixture.batch("batch_input_ids", Some("batch_attention_mask"));
    fixture.greedy("batch_", lm, &Prefill::plain(lm, &batch, video_id, Some(&three), &device()).unwrap());
}

#[test]
fn golden_llava_onevision_norm_epsilons() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let vb = fixture.checkpoint().var_builder(canonical, DType::F32, &device());
    let layer = "vision_tower.vision_model.encoder.layers.0.layer_norm1";
    let name = format!("probe.model.{layer}");
    let width = fixture.output(&name).dim(D::Minus1).unwrap();
    let norm = LayerNorm::load(width, config.vision_config.layer_norm_eps, vb.pp(layer)).unwrap();
    fixture.compare(&name, &norm.forward(fixture.input(&format!("probe_{width}"))).unwrap(), 1e-5, false);
    for path in ["layers.0.input_layernorm", "norm"] {
        let name = format!("probe.model.language_model.{path}");
        let width = fixture.output(&name).dim(D::Minus1).unwrap();
        let weights = vb.pp("language_model.model").pp(path);
        let norm = RmsNorm::load(width, config.text_config.rms_norm_eps, weights).unwrap();
        fixture.compare(&name, &norm.forward(fixture.input(&format!("probe_{width}"))).unwrap(), 1e-5, false);
    }
}

#[derive(Deserialize)]
struct Names {
    tiny: BTreeMap<String, Tiny>,
    original: BTreeMap<String, Full>,
}

#[derive(Deserialize)]
struct Tiny {
    original: String,
}

#[derive(Deserialize)]
struct Full {
    #[serde(rename = "llava-hf")]
    hf: String,
    shape: Vec<usize>,
}

#[test]
fn golden_llava_onevision_original_layout() {
    let fixture = Fixture::open(FAMILY);
    let names: Names = fixture.json("name_map.json");
    let folder = tempfile::tempdir().unwrap();
    let stored = tensors(&fixture.folder.join("model.safetensors"));
    let renamed: HashMap<String, Tensor> =
        stored.into_iter().map(|(name, tensor)| (names.tiny[&name].original.clone(), tensor)).collect();
    candle_core::safetensors::save(&renamed, folder.path().join("model.safetensors")).unwrap();
    let config: Config = fixture.config();
    let checkpoint = std::sync::Arc::new(Checkpoint::open(folder.path()).unwrap());
    let needed = describe(|vb| LlavaOneVision::load(&config, None, vb)).unwrap();
    complete(&checkpoint, &needed, original_layout, |_| false);
    let vb = checkpoint.var_builder(original_layout, DType::F32, &device());
    let model = LlavaOneVision::load(&config, None, vb).unwrap();
    let videos = fixture.input("pixel_values_videos");
    let both = tokens(&model, &[videos.get(0).unwrap(), videos.get(1).unwrap()]);
    let batch = fixture.batch("input_ids", None);
    let lm = &model.language_model;
    let prefill =
        Prefill::plain(lm, &batch, config.video_token_index.unwrap(), Some(&both), &device()).unwrap();
    let input = Input { embeds: &prefill.embeds, positions: &prefill.positions, after_layer: &[] };
    let hidden = lm.forward(&input, &prefill.pads, None, |_, _| ()).unwrap();
    fixture.compare("logits", &lm.logits(&hidden).unwrap(), 3e-4, false);
}

#[test]
fn golden_llava_onevision_full_size_names() {
    let names: Names = Fixture::open(FAMILY).json("name_map.json");
    // The keys of lmms-lab/llava-onevision-qwen2-7b-ov's config.json that decide sizes.
    let config: OriginalConfig = serde_json::from_value(serde_json::json!({
        "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4,
        "num_hidden_layers": 28, "vocab_size": 152_064, "rope_theta": 1e6, "tie_word_embeddings": false,
        "mm_vision_tower": "google/siglip-so400m-patch14-384",
    }))
    .unwrap();
    let config = config.convert().unwrap();
    let ours: BTreeMap<String, (String, Vec<usize>)> = describe(|vb| LlavaOneVision::load(&config, None, vb))
        .unwrap()
        .into_iter()
        .map(|spec| match original_layout(&spec.name) {
            Source::Name(original) => (original, (spec.name, spec.shape)),
            Source::Rows(_) => panic!("{} is split", spec.name),
        })
        .collect();
    let theirs: BTreeMap<String, (String, Vec<usize>)> =
        names.original.into_iter().map(|(original, full)| (original, (full.hf, full.shape))).collect();
    assert_eq!(ours, theirs);
}
