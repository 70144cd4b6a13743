//! A whole small training run on rendered scenes: it ends in a model that judges, and goes on after a stop to the
//! same bits.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use juror_lmm::nano::{Nano, Offset, observe_frames};
use juror_lmm::{JudgeOptions, Lmm};
use juror_media::distort::Chain;
use juror_media::scenes::Scene;
use juror_nn::collective::Single;
use juror_train::config::SftConfig;
use juror_train::sft;
use std::path::{Path, PathBuf};

fn config(run_dir: &Path) -> SftConfig {
    let text = format!(
        r#"
run_dir = {run_dir:?}
seed = 5

[data]
scenes = 2
short_sides = [96]
max_frames = 20
versions = 5
held_out_codecs = ["av1", "vp9", "hevc"]
yardstick = "ms-ssim"

[body]
steps = 4
groups = 2
versions = 3
moments = 1
native_places = 2
context_places = 1
dropout = 0.1
learning_rate = 1.0e-3
warmup_steps = 1
weight_decay = 0.05
max_grad_norm = 1.0
ema_decay = 0.9
save_steps = 2

[body.weights]
rank = 1.0
rank_regression = 1.0
score_rank = 1.0
score_regression = 1.0
cross_rank = 1.0
contrast = 1.0
cross_contrast = 1.0
temporal_rank = 1.0
dominant = 1.0
severity = 1.0
aspect = 1.0

[overlay]
steps = 4
batch = 6
dropout = 0.1
learning_rate = 1.0e-3
warmup_steps = 1
weight_decay = 0.0
max_grad_norm = 1.0
ema_decay = 0.9
save_steps = 2

[naming]
steps = 4
batch = 6
dropout = 0.1
learning_rate = 1.0e-3
warmup_steps = 1
weight_decay = 0.0
max_grad_norm = 1.0
ema_decay = 0.9
save_steps = 2

[language]
steps = 4
batch = 4
learning_rate = 1.0e-3
warmup_steps = 1
weight_decay = 0.0
max_grad_norm = 1.0
margin_weight = 1.0
order_weight = 1.0
antisymmetry_weight = 1.0
ema_decay = 0.9
save_steps = 2
"#
    );
    let path = run_dir.join("run.toml");
    std::fs::write(&path, text).unwrap();
    SftConfig::read(&path).unwrap()
}

/// Checkpoints of a stage by name, the newest last.
fn checkpoints(stage: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(stage)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    found.sort();
    found
}

#[test]
fn a_run_that_was_stopped_ends_in_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let model = sft::run(&config, &Single).unwrap();
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();

    // As kills between two checkpoints of a stage leave it: the first is there, all that follows is not.
    std::fs::remove_dir_all(&model).unwrap();
    std::fs::remove_dir_all(dir.path().join("decoder")).unwrap();
    for stage in ["body/0", "overlay", "naming"] {
        let saved = checkpoints(&dir.path().join(stage));
        assert_eq!(saved.len(), 2, "{saved:?}");
        std::fs::remove_file(&saved[1]).unwrap();
    }
    let again = sft::run(&config, &Single).unwrap();
    assert!(weights == std::fs::read(again.join("model.safetensors")).unwrap(), "the weights differ");

    let nano = Nano::from_folder(&again).unwrap();
    let scene: Vec<_> = Scene::random(9).render(96, 96, 25.0, 16).unwrap().collect();
    let blurred = "gaussian-blur:4".parse::<Chain>().unwrap().apply_all(&scene, 1).unwrap();
    let watch = |frames: &[juror_media::Frame]| {
        nano.watched(&observe_frames(frames, nano.config().moments, Offset::default()).unwrap(), None)
            .unwrap()
    };
    let margin = nano.compare(&watch(&scene), &watch(&blurred), &JudgeOptions::PLAIN).unwrap().margin;
    assert!(margin.is_finite() && margin.abs() <= 4.0, "{margin}");
}

#[test]
fn an_unknown_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    config(dir.path());
    let path = dir.path().join("run.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("seed = 5", "sead = 5");
    std::fs::write(&path, text).unwrap();
    let error = format!("{:#}", SftConfig::read(&path).unwrap_err());
    assert!(error.contains("sead") && error.contains("seed"), "{error}");
}

#[test]
fn bodies_of_a_finished_model_join_those_that_are_trained() {
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let start = sft::run(&config(first.path()), &Single).unwrap();
    let mut config = config(second.path());
    (config.seed, config.bodies, config.language.steps) = (6, 2, 0);
    config.joined = vec![start.clone()];
    (config.overlay, config.naming) = (None, None); // those of the finished model stay
    config.shrinkage.temporal = 0.5;
    let model = sft::run(&config, &Single).unwrap();
    let nano = Nano::from_folder(&model).unwrap();
    assert_eq!((nano.config().bodies, nano.config().temporal_gain), (3, 0.5));
    let [before, after] = [&start, &model].map(|folder| {
        candle_core::safetensors::load(folder.join("model.safetensors"), &candle_core::Device::Cpu).unwrap()
    });
    let read = |t: &candle_core::Tensor| {
        t.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    // The sizes of margins are fitted anew.
    for (name, tensor) in before.iter().filter(|(name, _)| !name.starts_with("decoder.margin_")) {
        assert_eq!(read(tensor), read(&after[name]), "{name}");
    }
    let trained = |index: usize| read(&after[&format!("body.{index}.embed.weight")]);
    assert!(trained(0) != trained(1) && trained(1) != trained(2));
    let tokenizer = |folder: &Path| std::fs::read(folder.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer(&start), tokenizer(&model));

    // What is named can be trained alone: whatever else the model had is left as it is, the sizes of margins, too.
    let third = tempfile::tempdir().unwrap();
    let naming = SftConfig {
        run_dir: third.path().to_owned(),
        joined: vec![model.clone()],
        bodies: 0,
        naming: self::config(third.path()).naming,
        ..config.clone()
    };
    let named = sft::run(&naming, &Single).unwrap();
    let renamed =
        candle_core::safetensors::load(named.join("model.safetensors"), &candle_core::Device::Cpu).unwrap();
    assert_eq!(renamed.len(), after.len());
    for (name, tensor) in &after {
        let trained = name.starts_with("overlay.faults.");
        assert_eq!(read(tensor) != read(&renamed[name]), trained, "{name}");
    }
    let calibration = |folder: &Path| Nano::from_folder(folder).unwrap().config().calibration;
    assert_eq!(calibration(&named), calibration(&model));

    let path = start.join("config.json");
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\"model_type\": \"nano\"", "\"model_type\": \"micro\"");
    std::fs::write(&path, text).unwrap();
    let error = format!("{:#}", sft::run(&config, &Single).unwrap_err());
    assert!(error.contains("micro"), "{error}");
}
