//! Checkpoint folders: sharded, broken in every way, and as judges from pictures to answers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use juror_lmm::answer::Reading;
use juror_lmm::checkpoint::{TensorSpec, describe};
use juror_lmm::error::{Error, Result};
use juror_lmm::internvl3::{InternVl3, Motion};
use juror_lmm::llava_onevision::LlavaOneVision;
use juror_lmm::preprocess::resize::{Arithmetic, resize};
use juror_lmm::prompt::{GRADES, LEVELS};
use juror_lmm::published::{Family, Published, open_folder};
use juror_lmm::qwen2_5_vl::Qwen25Vl;
use juror_lmm::qwen3_vl::Qwen3Vl;
use juror_lmm::{JudgeOptions, WatchOptions};
use juror_media::distort::Chain;
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{self, Scene};
use juror_media::{Frame, Rgb, TimeWindow, Video};
use juror_nn::params::{Init, Params};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Fixture, folder};

/// A tiny random checkpoint in two shards, with the fixture's tokenizer and the five levels added to it.
fn checkpoint(family: &str) -> TempDir {
    let mut config: Value = Fixture::open(family).config();
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
        "llava_onevision" => needed(&config, |config, vb| LlavaOneVision::load(config, false, vb)),
        "qwen2_5_vl" => needed(&config, Qwen25Vl::load),
        "qwen3_vl" => needed(&config, Qwen3Vl::load),
        other => panic!("no family {other}"),
    };
    write_shards(dir.path(), &random(&needed));
    dir
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
        let init = match (spec.shape.len(), spec.name.ends_with("bias")) {
            (1, false) => Init::Ones,
            (1, true) => Init::Zeros,
            _ => Init::Normal(0.08),
        };
        params.get_or_init(&spec.name, spec.shape.clone(), init).unwrap()
    };
    needed.iter().map(|spec| (spec.name.clone(), tensor(spec))).collect()
}

fn write_shards(dir: &Path, tensors: &BTreeMap<String, Tensor>) {
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

fn pictures() -> Vec<Rgb> {
    let fixture = Fixture::open("preprocessing");
    let stack = fixture.input("frames");
    let (count, height, width, _) = stack.dims4().unwrap();
    let data = |i: usize| stack.get(i).unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
    (0..count).map(|i| Rgb::new(width, height, data(i)).unwrap()).collect()
}

fn judge(family: &str, expected: Family) {
    let dir = checkpoint(family);
    let judge = Published::open(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(judge.family(), expected);
    assert!(judge.unused_tensors().is_empty());
    let sharp = pictures();
    // The same video after a loss of detail.
    let small = |p: &Rgb| resize(p, p.width() / 4, p.height() / 4, Arithmetic::Pil).unwrap();
    let soft: Vec<Rgb> =
        sharp.iter().map(|p| resize(&small(p), p.width(), p.height(), Arithmetic::Pil).unwrap()).collect();
    let chosen = judge.select_frames(sharp.len(), 2.0, None).unwrap();
    assert!(!chosen.is_empty() && chosen.iter().all(|&i| i < sharp.len()));
    let look = |video: &[Rgb]| {
        let seconds: Vec<f64> = (0..video.len()).map(|i| i as f64 / 2.0).collect();
        judge.look(video, &seconds).unwrap()
    };
    let (a, b) = (look(&sharp), look(&soft));
    let forward = judge.compare(&a, &b).unwrap();
    assert!((forward.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(Published::margin(&forward).abs() <= 4.0);
    assert_ne!(forward, judge.compare(&b, &a).unwrap(), "the order of the videos reaches the model");
    let mut streamed = String::new();
    let scored = judge.score(&a, 12, |text| streamed += text).unwrap();
    assert!(scored.text.starts_with(&streamed));
    if let Reading::Value(score) = scored.score {
        assert!((1.0..=5.0).contains(&score));
    }
    assert_eq!(judge.score(&a, 12, |_| ()).unwrap().text, scored.text);
}

#[test]
fn internvl3_judges_from_pictures() {
    judge("internvl3", Family::InternVl3);
}

#[test]
fn llava_onevision_judges_from_pictures() {
    judge("llava_onevision", Family::LlavaOneVision);
}

#[test]
fn qwen2_5_vl_judges_from_pictures() {
    judge("qwen2_5_vl", Family::Qwen25Vl);
}

#[test]
fn qwen3_vl_judges_from_pictures() {
    judge("qwen3_vl", Family::Qwen3Vl);
}

fn write(path: &Path, frames: &[Frame]) {
    let mut encoder = Encoder::create(path, 30.0, EncodeOptions::lossless_for(path).unwrap()).unwrap();
    frames.iter().for_each(|frame| encoder.push(frame).unwrap());
    encoder.finish().unwrap();
}

#[test]
fn published_checkpoints_judge_files_as_every_judge_does() {
    let clips = tempfile::tempdir().unwrap();
    let frames: Vec<Frame> =
        Scene::of(scenes::Family::Leaves, 3).render(192, 128, 30.0, 45).unwrap().collect();
    let soft = "gaussian-blur:5".parse::<Chain>().unwrap().apply_all(&frames, 1).unwrap();
    let paths = [clips.path().join("a.mkv"), clips.path().join("b.mkv")];
    write(&paths[0], &frames);
    write(&paths[1], &soft);
    for family in ["internvl3", "llava_onevision", "qwen2_5_vl", "qwen3_vl"] {
        let dir = checkpoint(family);
        let judge = open_folder(dir.path()).unwrap();
        assert_eq!(judge.info().sha256.len(), 64);
        let watch = |path: &Path, options: &WatchOptions| {
            judge
                .watch(&mut Video::open(path).unwrap(), options, &|share| {
                    assert!((0.0..=1.0).contains(&share))
                })
                .unwrap()
        };
        let all = WatchOptions::default();
        let [a, b] = paths.each_ref().map(|path| watch(path, &all));
        assert!(a.frames_sampled_secs.is_sorted() && !a.frames_sampled_secs.is_empty());
        let (ab, ba) = (
            judge.compare(&a, &b, &JudgeOptions::PLAIN).unwrap(),
            judge.compare(&b, &a, &JudgeOptions::PLAIN).unwrap(),
        );
        assert_eq!(ab.margin.to_bits(), (-ba.margin).to_bits(), "{family}");
        assert!(ab.margin.abs() <= 4.0 && ab.margin_sd >= 0.0);
        assert!((ab.probability + ba.probability - 1.0).abs() < 1e-12);
        assert_eq!(judge.compare(&a, &a, &JudgeOptions::PLAIN).unwrap().margin, 0.0);
        let score = judge.score(&a, &JudgeOptions::PLAIN).unwrap();
        assert!((1.0..=5.0).contains(&score.score), "{family}: {}", score.score);
        // Part of the clip, and another number of frames.
        let window = TimeWindow::new(Some(0.5), Some(1.0)).unwrap();
        let part = watch(&paths[0], &WatchOptions { window, frames: Some(4), threads: 1 });
        assert_eq!(part.frames_sampled_secs.len(), 4, "{family}");
        assert!(
            part.frames_sampled_secs.iter().all(|t| (0.49..1.01).contains(t)),
            "{:?}",
            part.frames_sampled_secs
        );
        // An untrained model writes no score: it is said, and no number is made up.
        let written = judge.score(&part, &JudgeOptions { rationale: true, ..JudgeOptions::PLAIN });
        assert!(
            matches!(&written, Err(Error::Unparsed(_)))
                || written.is_ok_and(|s| (1.0..=5.0).contains(&s.score))
        );
    }
}

fn error(dir: &Path) -> Error {
    match Published::open(dir, &Device::Cpu) {
        Err(error) => error,
        Ok(_) => panic!("opened"),
    }
}

fn read_shard(dir: &Path, shard: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(dir.join(shard), &Device::Cpu).unwrap()
}

const SHARD: &str = "model-00001-of-00002.safetensors";

#[test]
fn missing_misshapen_and_extra_tensors_are_listed() {
    let dir = checkpoint("qwen3_vl");
    let mut tensors = read_shard(dir.path(), SHARD);
    tensors.extend(read_shard(dir.path(), "model-00002-of-00002.safetensors"));
    let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    tensors.insert("extra.weight".into(), Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap());
    write_shards(dir.path(), &tensors);
    assert_eq!(Published::open(dir.path(), &Device::Cpu).unwrap().unused_tensors(), ["extra.weight"]);

    tensors.remove("lm_head.weight");
    let norm = "model.language_model.norm.weight";
    let shape = tensors[norm].dims().to_vec();
    tensors.insert(norm.into(), Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap());
    write_shards(dir.path(), &tensors);
    let Error::Mismatch(mismatch) = error(dir.path()) else { panic!("another error") };
    assert_eq!(mismatch.missing, ["lm_head.weight"]);
    assert_eq!(mismatch.extra, ["extra.weight"]);
    assert_eq!(mismatch.misshapen, [(norm.to_owned(), shape.clone(), vec![3])]);
    let text = mismatch.to_string();
    assert!(text.contains("lm_head.weight") && text.contains(&format!("[3] instead of {shape:?}")), "{text}");
}

#[test]
fn broken_files_are_told_by_name() {
    let dir = checkpoint("qwen3_vl");
    let shard = dir.path().join(SHARD);
    let whole = std::fs::read(&shard).unwrap();
    for cut in [4, 100, whole.len() - 1] {
        std::fs::write(&shard, &whole[..cut]).unwrap();
        let text = error(dir.path()).to_string();
        assert!(text.contains(SHARD), "cut at {cut}: {text}");
    }
    let mut noise = whole.clone();
    noise[8..40].fill(b'x');
    std::fs::write(&shard, &noise).unwrap();
    assert!(error(dir.path()).to_string().contains("header"));
    std::fs::remove_file(&shard).unwrap();
    assert!(error(dir.path()).to_string().contains(SHARD));
    std::fs::write(&shard, &whole).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    let map = std::fs::read_to_string(&index).unwrap().replace("lm_head.weight", "lm_head.wait");
    std::fs::write(&index, map).unwrap();
    assert!(error(dir.path()).to_string().contains("lm_head.wait"));
    std::fs::remove_file(&index).unwrap();
    assert!(error(dir.path()).to_string().contains("no complete checkpoint"));
}

#[test]
fn a_configuration_that_lies_is_told_by_key() {
    let dir = checkpoint("qwen3_vl");
    let path = dir.path().join("config.json");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = config.clone();
        change(&mut changed);
        std::fs::write(&path, serde_json::to_string_pretty(&changed).unwrap()).unwrap();
        error(dir.path()).to_string()
    };
    let heads = with(&|c| c["text_config"]["num_key_value_heads"] = json!(3));
    assert!(heads.contains("text_config.num_key_value_heads"), "{heads}");
    let word = with(&|c| c["vision_config"]["depth"] = json!("four"));
    assert!(word.contains("vision_config.depth"), "{word}");
    let absent = with(&|c| drop(c["text_config"].as_object_mut().unwrap().remove("head_dim")));
    assert!(absent.contains("head_dim"), "{absent}");
    let sections = with(&|c| c["text_config"]["rope_scaling"]["mrope_section"] = json!([6, 3, 4]));
    assert!(sections.contains("mrope_section"), "{sections}");
    let layers = with(&|c| c["text_config"]["num_hidden_layers"] = json!(5));
    assert!(layers.contains("model.language_model.layers.4."), "{layers}");
    let family = with(&|c| c["model_type"] = json!("llama"));
    assert!(family.contains("llama") && family.contains("qwen3_vl"), "{family}");
}

#[test]
fn a_tokenizer_of_another_model_is_told_by_token() {
    let dir = checkpoint("internvl3");
    let path = dir.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("<IMG_CONTEXT>", "<OTHER>");
    std::fs::write(&path, text).unwrap();
    assert!(error(dir.path()).to_string().contains("<IMG_CONTEXT>"));
    std::fs::remove_file(&path).unwrap();
    assert!(error(dir.path()).to_string().contains("vocab.json"));
}

#[test]
fn an_adapter_is_merged_or_refused() {
    let dir = checkpoint("internvl3");
    let adapter = tempfile::tempdir().unwrap();
    std::fs::write(
        adapter.path().join("adapter_config.json"),
        json!({ "r": 2, "lora_alpha": 6 }).to_string(),
    )
    .unwrap();
    let module = "language_model.model.layers.0.self_attn.q_proj";
    let original = juror_lmm::checkpoint::Checkpoint::open(dir.path()).unwrap();
    let weight = original.tensor(&format!("{module}.weight"), &Device::Cpu).unwrap();
    let (out, inner) = weight.dims2().unwrap();
    let save = |module: &str, out: usize| {
        let tensor = |rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|i| (i % 7) as f32 / 10.0 - 0.3).collect::<Vec<f32>>();
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
        };
        let (a, b) = (tensor(2, inner), tensor(out, 2));
        let name = |part: &str| format!("base_model.model.{module}.{part}.weight");
        let tensors = HashMap::from([(name("lora_A"), a.clone()), (name("lora_B"), b.clone())]);
        candle_core::safetensors::save(&tensors, adapter.path().join("adapter_model.safetensors")).unwrap();
        (b.matmul(&a).unwrap() * 3.0).unwrap()
    };
    let update = save(module, out);
    let merged =
        juror_lmm::checkpoint::Checkpoint::open(dir.path()).unwrap().with_adapter(adapter.path()).unwrap();
    let got = merged.tensor(&format!("{module}.weight"), &Device::Cpu).unwrap();
    let difference = (got - (weight + update).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f32>().unwrap() < 1e-6);
    assert!(Published::open_adapted(dir.path(), Some(adapter.path()), &Device::Cpu).is_ok());

    let refused = |module: &str, out: usize| {
        save(module, out);
        match Published::open_adapted(dir.path(), Some(adapter.path()), &Device::Cpu) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("opened"),
        }
    };
    assert!(refused("language_model.model.layers.99.self_attn.q_proj", out).contains("layers.99"));
    assert!(refused(module, out + 1).contains("update"));
}

fn parameters(needed: &[TensorSpec]) -> usize {
    needed.iter().map(|spec| spec.shape.iter().product::<usize>()).sum()
}

/// The sizes of the published `config.json` files must give the published numbers of parameters.
#[test]
fn full_size_models_have_the_published_number_of_parameters() {
    let internvl3 = json!({
        "vision_config": { "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
            "num_attention_heads": 16, "image_size": 448, "patch_size": 14 },
        "llm_config": { "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
            "num_key_value_heads": 4, "num_hidden_layers": 28, "vocab_size": 151_674, "tie_word_embeddings": false },
    });
    let plain = needed(&internvl3, |config, vb| InternVl3::load(config, None, vb));
    assert_eq!(parameters(&plain), 7_944_373_760, "InternVL3-8B");
    let thinker = needed(&internvl3, |config, vb| InternVl3::load(config, Some(&Motion::test()), vb));
    let added: Vec<&TensorSpec> = thinker.iter().filter(|spec| !plain.contains(spec)).collect();
    assert!(added.iter().all(|s| s.name.starts_with("slowfast_model.") || s.name.starts_with("motion_mlp.")));
    assert_eq!(added.iter().filter(|s| s.name.starts_with("motion_mlp.")).count(), 6);

    let qwen2_5 = json!({
        "vision_config": { "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31] },
        "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4,
        "num_hidden_layers": 28, "vocab_size": 152_064, "video_token_id": 151_656,
        "rope_scaling": { "type": "mrope", "mrope_section": [16, 24, 24] },
    });
    assert_eq!(parameters(&needed(&qwen2_5, Qwen25Vl::load)), 8_292_166_656, "Qwen2.5-VL-7B");

    let qwen3 = json!({
        "vision_config": { "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16,
            "out_hidden_size": 2560, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17] },
        "text_config": { "hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "num_hidden_layers": 36, "vocab_size": 151_936,
            "tie_word_embeddings": true, "rope_scaling": { "mrope_interleaved": true, "mrope_section": [24, 20, 20] } },
        "video_token_id": 151_656, "tie_word_embeddings": true,
    });
    assert_eq!(parameters(&needed(&qwen3, Qwen3Vl::load)), 4_437_815_808, "Qwen3-VL-4B");
}
