//! Checkpoint folders: sharded, broken in every way, and as judges from pictures to answers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use juror_lmm::answer::{Reading, ScoreRule};
use juror_lmm::checkpoint::{Source, TensorSpec};
use juror_lmm::error::Error;
use juror_lmm::preprocess::resize::{Arithmetic, resize};
use juror_lmm::published::random::{Known, Scale};
use juror_lmm::published::{Family, OpenOptions, Published, open_folder};
use juror_lmm::qwen2_5_vl::renamed_layout;
use juror_lmm::{JudgeOptions, WatchOptions};
use juror_media::distort::Chain;
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{self, Scene};
use juror_media::{Frame, Rgb, TimeWindow, Video};
use serde_json::{Value, json};

use crate::support::Fixture;
use crate::tiny::{SHARD, checkpoint, write_shards};

fn pictures() -> Vec<Rgb> {
    let fixture = Fixture::open("preprocessing");
    let stack = fixture.input("frames");
    let (count, height, width, _) = stack.dims4().unwrap();
    let data = |i: usize| stack.get(i).unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
    (0..count).map(|i| Rgb::new(width, height, data(i)).unwrap()).collect()
}

fn judge(family: &str, expected: Family) {
    let dir = checkpoint(family);
    let judge = Published::open(dir.path(), &OpenOptions::default()).unwrap();
    assert_eq!(judge.family(), expected);
    assert!(judge.unused_tensors().is_empty());
    let sharp = pictures();
    // The same video after a loss of detail.
    let small = |p: &Rgb| resize(p, p.width() / 4, p.height() / 4, Arithmetic::Pil).unwrap();
    let soft: Vec<Rgb> =
        sharp.iter().map(|p| resize(&small(p), p.width(), p.height(), Arithmetic::Pil).unwrap()).collect();
    let chosen = judge.network().select_frames(sharp.len(), 2.0, None).unwrap();
    assert!(!chosen.is_empty() && chosen.iter().all(|&i| i < sharp.len()));
    let look = |video: &[Rgb]| {
        let seconds: Vec<f64> = (0..video.len()).map(|i| i as f64 / 2.0).collect();
        judge.network().look(video, &seconds).unwrap()
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

#[test]
fn written_scores_are_read_as_asked_for() {
    let dir = checkpoint("internvl3");
    let score = |rule: &str| {
        let options = OpenOptions { answers: rule.parse().unwrap(), ..OpenOptions::default() };
        let judge = Published::open(dir.path(), &options).unwrap();
        let video = judge.network().look(&pictures()[..4], &[0.0, 0.5, 1.0, 1.5]).unwrap();
        judge.score(&video, 4, |_| ()).unwrap()
    };
    // Random weights write no `<answer>`: the published evaluation counts that as 3.
    let scored = score("vqathinker-test");
    assert!(!scored.text.contains("<answer>"), "{}", scored.text);
    assert_eq!(scored.score, Reading::Value(3.0));
    assert_ne!(score("strict").score, Reading::Value(3.0));
    let unknown = "loose".parse::<ScoreRule>().unwrap_err().to_string();
    assert!(unknown.contains("loose") && unknown.contains("strict, vqathinker-test"), "{unknown}");
}

/// The layouts of Qwen2.5-VL's `config.json` and tensors: flat and named as Qwen published them, the decoder's keys in a
/// section and other names (transformers 4.52), the rotary base in `rope_parameters` (transformers 5).
#[test]
fn qwen2_5_vl_in_newer_layouts_judges_the_same() {
    let dir = checkpoint("qwen2_5_vl");
    let judged = |dir: &Path| {
        let judge = Published::open(dir, &OpenOptions::default()).unwrap();
        let videos = [pictures()[..2].to_vec(), pictures()[2..4].to_vec()];
        let [a, b] = videos.map(|video| judge.network().look(&video, &[0.0, 0.5]).unwrap());
        judge.compare(&a, &b).unwrap()
    };
    let flat = judged(dir.path());
    let path = dir.path().join("config.json");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut tensors = BTreeMap::new();
    for shard in [SHARD, "model-00002-of-00002.safetensors"] {
        for (name, tensor) in read_shard(dir.path(), shard) {
            let Source::Name(renamed) = renamed_layout(&name) else { panic!("{name} is split") };
            tensors.insert(renamed, tensor);
        }
    }
    assert!(tensors.contains_key("model.language_model.norm.weight"));
    write_shards(dir.path(), &tensors);
    let top = ["model_type", "architectures", "vision_config", "video_token_id", "image_token_id"];
    let mut nested = json!({ "tie_word_embeddings": false });
    let mut text = config.as_object().unwrap().clone();
    for key in top {
        nested[key] = text.remove(key).unwrap();
    }
    nested["text_config"] = Value::Object(text);
    std::fs::write(&path, nested.to_string()).unwrap();
    assert_eq!(judged(dir.path()), flat);

    let text = nested["text_config"].as_object_mut().unwrap();
    let mut rope = text.remove("rope_scaling").unwrap();
    rope["rope_theta"] = text.remove("rope_theta").unwrap();
    rope["rope_type"] = json!("default");
    text.insert("rope_parameters".to_owned(), rope.clone());
    std::fs::write(&path, nested.to_string()).unwrap();
    assert_eq!(judged(dir.path()), flat);

    // The base is read, not guessed.
    rope["rope_theta"] = json!(100.0);
    nested["text_config"]["rope_parameters"] = rope;
    std::fs::write(&path, nested.to_string()).unwrap();
    assert_ne!(judged(dir.path()), flat);
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
        let judge = open_folder(dir.path(), None, &OpenOptions::default()).unwrap();
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
    match Published::open(dir, &OpenOptions::default()) {
        Err(error) => error,
        Ok(_) => panic!("opened"),
    }
}

fn read_shard(dir: &Path, shard: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(dir.join(shard), &Device::Cpu).unwrap()
}

#[test]
fn missing_misshapen_and_extra_tensors_are_listed() {
    let dir = checkpoint("qwen3_vl");
    let mut tensors = read_shard(dir.path(), SHARD);
    tensors.extend(read_shard(dir.path(), "model-00002-of-00002.safetensors"));
    let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    tensors.insert("extra.weight".into(), Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap());
    write_shards(dir.path(), &tensors);
    assert_eq!(
        Published::open(dir.path(), &OpenOptions::default()).unwrap().unused_tensors(),
        ["extra.weight"]
    );

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
    // A header whose length is right and whose offsets or shapes lie.
    let header = |from: &str, to: &str| {
        let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let text = String::from_utf8(whole[8..8 + length].to_vec()).unwrap();
        assert!(text.contains(from) && from.len() == to.len(), "{text}");
        let changed = [&whole[..8], text.replacen(from, to, 1).as_bytes(), &whole[8 + length..]].concat();
        std::fs::write(&shard, changed).unwrap();
        error(dir.path()).to_string()
    };
    let offsets = header("\"data_offsets\":[0,", "\"data_offsets\":[4,");
    assert!(offsets.contains(SHARD) || offsets.contains("safetensors"), "{offsets}");
    let dtype = header("\"dtype\":\"F32\"", "\"dtype\":\"F64\"");
    assert!(dtype.contains("safetensors"), "{dtype}");
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
    let endless = with(&|c| c["text_config"]["num_hidden_layers"] = json!(1_000_000_000));
    assert!(endless.contains("text_config.num_hidden_layers") && endless.contains("1000"), "{endless}");
    let video = with(&|c| c["video_token_id"] = json!(3));
    assert!(video.contains("video_token_id") && video.contains("<|video_pad|>"), "{video}");
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
    // More words than the embedding table has rows.
    let longer = dir.path().join("config.json");
    let config = std::fs::read_to_string(&longer).unwrap();
    let fewer = checkpoint("internvl3");
    for file in [SHARD, "model-00002-of-00002.safetensors"] {
        let cut = |(name, tensor): (String, Tensor)| {
            let table = name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight");
            (name, if table { tensor.narrow(0, 0, 331).unwrap().contiguous().unwrap() } else { tensor })
        };
        let tensors: HashMap<String, Tensor> = read_shard(fewer.path(), file).into_iter().map(cut).collect();
        candle_core::safetensors::save(&tensors, fewer.path().join(file)).unwrap();
    }
    std::fs::write(fewer.path().join("config.json"), config.replace("737", "331")).unwrap();
    let short = error(fewer.path()).to_string();
    assert!(short.contains("ends at 330") && short.contains("does not belong"), "{short}");
    std::fs::remove_file(&path).unwrap();
    assert!(error(dir.path()).to_string().contains("vocab.json"));
}

#[test]
fn a_template_with_an_error_is_told() {
    let dir = checkpoint("qwen3_vl");
    let template = dir.path().join("chat_template.jinja");
    std::fs::write(&template, "{% for message in messages %}{{ message.role }").unwrap();
    let unclosed = error(dir.path()).to_string();
    assert!(unclosed.contains("chat template"), "{unclosed}");
    // One that fails only when it is rendered, and one that drops the video.
    let render = |text: &str| {
        std::fs::write(&template, text).unwrap();
        let judge = Published::open(dir.path(), &OpenOptions::default()).unwrap();
        let video = judge.network().look(&pictures()[..2], &[0.0, 0.5]).unwrap();
        judge.score_prompt(&video).unwrap_err().to_string()
    };
    let raised = render("{{ raise_exception('no such role') }}");
    assert!(raised.contains("no such role"), "{raised}");
    let dropped = render("{{ messages[0].role }}");
    assert!(dropped.contains("places for media"), "{dropped}");
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
    let adapted = OpenOptions { adapter: Some(adapter.path().to_owned()), ..OpenOptions::default() };
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
    assert!(Published::open(dir.path(), &adapted).is_ok());

    let refused = |module: &str, out: usize| {
        save(module, out);
        match Published::open(dir.path(), &adapted) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("opened"),
        }
    };
    assert!(refused("language_model.model.layers.99.self_attn.q_proj", out).contains("layers.99"));
    assert!(refused(module, out + 1).contains("update"));
}

/// The sizes of the published `config.json` files must give the published numbers of parameters.
#[test]
fn full_size_models_have_the_published_number_of_parameters() {
    let parameters = |known: Known| -> usize {
        let tensors = known.tensors(Scale::Full).unwrap();
        tensors.iter().map(|spec| spec.shape.iter().product::<usize>()).sum()
    };
    assert_eq!(parameters(Known::InternVl3), 7_944_373_760, "InternVL3-8B");
    assert_eq!(parameters(Known::Qwen25Vl), 8_292_166_656, "Qwen2.5-VL-7B");
    assert_eq!(parameters(Known::Qwen3Vl), 4_437_815_808, "Qwen3-VL-4B");
    let plain = Known::InternVl3.tensors(Scale::Full).unwrap();
    let thinker = Known::VqaThinker.tensors(Scale::Full).unwrap();
    let added: Vec<&TensorSpec> = thinker.iter().filter(|spec| !plain.contains(spec)).collect();
    assert!(added.iter().all(|s| s.name.starts_with("slowfast_model.") || s.name.starts_with("motion_mlp.")));
    assert_eq!(added.iter().filter(|s| s.name.starts_with("motion_mlp.")).count(), 6);
}
