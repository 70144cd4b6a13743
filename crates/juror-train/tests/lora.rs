//! Adapters on tiny random checkpoints: trained on rendered clips, stopped and resumed, opened as judges.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use juror_lmm::published::{OpenOptions, open_folder};
use juror_lmm::{JudgeOptions, Lmm, WatchOptions};
use juror_media::distort::Chain;
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, Video};
use juror_nn::collective::Single;
use juror_train::confidence::EntropyOver;
use juror_train::lora::config::{RankingConfig, ScoringConfig};
use juror_train::lora::{Report, ranking, scoring};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

#[path = "../../juror-lmm/tests/golden/tiny.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod tiny;

/// Three scenes as they are (`0.mkv`, ...) and darkened (`0-dark.mkv`, ...), with tables of both.
fn clips() -> &'static Path {
    static CLIPS: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, frames: &[Frame]| {
            let path = dir.path().join(name);
            let options = EncodeOptions::lossless_for(&path).unwrap();
            let mut encoder = Encoder::create(&path, 24.0, options).unwrap();
            frames.iter().for_each(|frame| encoder.push(frame).unwrap());
            encoder.finish().unwrap();
        };
        let (mut pairs, mut ratings) = (String::new(), "video,mos\n".to_owned());
        for (number, family) in [Family::Leaves, Family::Screen, Family::Drawing].into_iter().enumerate() {
            let frames: Vec<Frame> = Scene::of(family, 3).render(96, 64, 24.0, 16).unwrap().collect();
            write(&format!("{number}.mkv"), &frames);
            let dark = "darken:5".parse::<Chain>().unwrap().apply_all(&frames, 1).unwrap();
            write(&format!("{number}-dark.mkv"), &dark);
            let (a, b) = (format!("{number}.mkv"), format!("{number}-dark.mkv"));
            let row = serde_json::json!({ "a": a, "b": b, "level": "superior", "margin": 2.5, "source": "severity" });
            pairs += &format!("{row}\n");
            ratings += &format!("{a},90\n{b},30\n");
        }
        std::fs::write(dir.path().join("pairs.jsonl"), pairs).unwrap();
        std::fs::write(dir.path().join("ratings.csv"), ratings).unwrap();
        dir
    };
    CLIPS.get_or_init(make).path()
}

/// A configuration with what every run needs, and `more`.
fn config<C: serde::de::DeserializeOwned>(run_dir: &Path, checkpoint: &Path, more: &str) -> C {
    let text = format!(
        "run_dir = {run_dir:?}\nseed = 4\n{more}\n[lora]\nr = 4\nlora_alpha = 8.0\ntarget_modules = [\"q_proj\", \"v_proj\", \"gate_proj\", \"down_proj\"]\n\
         [student]\ncheckpoint = {checkpoint:?}\nframes = 8\n"
    );
    toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn ranking_config(run_dir: &Path, checkpoint: &Path) -> RankingConfig {
    let pairs = clips().join("pairs.jsonl");
    let mut config: RankingConfig = config(
        run_dir,
        checkpoint,
        &format!(
            "pairs = {pairs:?}\nvalidation = {pairs:?}\ntraining = {{ steps = 120, save_steps = 40, learning_rate = 1e-2 }}"
        ),
    );
    // From random weights its entropy term would win before there is anything to be sure of.
    config.training.confidence = None;
    config.training.warmup_steps = 2;
    config
}

fn adapter(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("adapter_model.safetensors")).unwrap()
}

/// The margin of a sharp clip over its dark copy.
fn margin(judge: &dyn Lmm, number: usize) -> f64 {
    let watch = |name: String| {
        let options = WatchOptions { frames: Some(8), ..WatchOptions::default() };
        judge.watch(&mut Video::open(clips().join(name)).unwrap(), &options, &|_| ()).unwrap()
    };
    let (a, b) = (watch(format!("{number}.mkv")), watch(format!("{number}-dark.mkv")));
    judge.compare(&a, &b, &JudgeOptions::PLAIN).unwrap().margin
}

#[test]
fn pairs_are_learnt_and_a_stopped_run_goes_on_to_the_same_bits() {
    let (checkpoint, dir) = (tiny::checkpoint("internvl3"), tempfile::tempdir().unwrap());
    let config = ranking_config(&dir.path().join("run"), checkpoint.path());
    let folder = ranking::run(&config, &Single).unwrap();
    let report: Report =
        serde_json::from_slice(&std::fs::read(config.run_dir.join("report.json")).unwrap()).unwrap();
    let error = "mean error of margins, points";
    assert!(report.after[error] < 0.7 * report.before[error], "{report:?}");
    assert_eq!(report.after["pairs told right"], 1.0, "{report:?}");
    assert!(std::fs::read_to_string(folder.join("MODEL_CARD.md")).unwrap().contains("3 pairs"));

    // The folder by itself, and as an adapter of its checkpoint.
    let options = OpenOptions { adapter: Some(folder.clone()), ..OpenOptions::default() };
    let by_itself = open_folder(&folder, None, &OpenOptions::default()).unwrap();
    let beside = open_folder(checkpoint.path(), None, &options).unwrap();
    let plain = open_folder(checkpoint.path(), None, &OpenOptions::default()).unwrap();
    for number in 0..3 {
        let learnt = margin(&*by_itself, number);
        assert!(learnt > 0.5 && learnt > margin(&*plain, number), "{learnt}");
        assert_eq!(learnt, margin(&*beside, number));
    }

    // What a kill between two checkpoints leaves.
    let whole = adapter(&folder);
    std::fs::remove_file(config.run_dir.join("adapter-training/step-00000120.safetensors")).unwrap();
    assert_eq!(adapter(&ranking::run(&config, &Single).unwrap()), whole);
}

#[test]
fn every_family_is_trained_with_its_layers_run_again_or_not() {
    for family in ["internvl3", "w2s", "qwen2_5_vl", "qwen3_vl"] {
        let (checkpoint, dir) = (tiny::checkpoint(family), tempfile::tempdir().unwrap());
        let trained = |gradient_checkpointing: bool| {
            let mut config =
                ranking_config(&dir.path().join(gradient_checkpointing.to_string()), checkpoint.path());
            (config.training.steps, config.training.gradient_accumulation_steps) = (3, 2);
            (config.validation, config.training.confidence) = (None, Some(EntropyOver::All));
            config.student.gradient_checkpointing = gradient_checkpointing;
            let folder = ranking::run(&config, &Single).unwrap();
            margin(&*open_folder(&folder, None, &OpenOptions::default()).unwrap(), 0)
        };
        let (plain, again) = (trained(false), trained(true));
        let untrained = margin(&*open_folder(checkpoint.path(), None, &OpenOptions::default()).unwrap(), 0);
        assert!((plain - again).abs() < 1e-3, "{family}: {plain}, {again}");
        assert!((plain - untrained).abs() > 1e-3, "{family}: nothing was learnt ({plain})");
    }
}

fn scoring_config(run_dir: &Path, checkpoint: &Path) -> ScoringConfig {
    let ratings = clips().join("ratings.csv");
    config(
        run_dir,
        checkpoint,
        &format!(
            "ratings = {ratings:?}\nvalidation = {ratings:?}\nscale = [0, 100]\n\
             grpo = {{ max_steps = 2, save_steps = 1, logging_steps = 1, per_device_train_batch_size = 8, num_generations = 4, \
             max_completion_length = 12, learning_rate = 1e-2, temperature = 1.0 }}"
        ),
    )
}

#[test]
fn scores_are_trained_by_rewards_and_resumed_to_the_same_bits() {
    let (checkpoint, dir) = (tiny::checkpoint("vqathinker"), tempfile::tempdir().unwrap());
    let config = scoring_config(&dir.path().join("run"), checkpoint.path());
    let folder = scoring::run(&config, &Single).unwrap();
    let rollouts = std::fs::read_to_string(config.run_dir.join("adapter-training/rollouts.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(rollouts.lines().next().unwrap()).unwrap();
    for reward in ["format", "regression", "rank"] {
        assert!(line["rewards"][reward].is_number(), "{line}");
    }
    assert!(
        [3.4 - 1.2, 4.6].contains(&((line["prompt"]["target"].as_f64().unwrap() * 10.0).round() / 10.0)),
        "{line}"
    );
    let weights = adapter(&folder);
    open_folder(&folder, None, &OpenOptions::default()).unwrap();
    std::fs::remove_file(config.run_dir.join("adapter-training/step-00000002.safetensors")).unwrap();
    assert_eq!(adapter(&scoring::run(&config, &Single).unwrap()), weights);
}

#[test]
fn what_cannot_be_trained_on_is_told() {
    let (checkpoint, dir) = (tiny::checkpoint("internvl3"), tempfile::tempdir().unwrap());
    let mut config = ranking_config(&dir.path().join("run"), checkpoint.path());
    let told = |config: &RankingConfig| format!("{:#}", ranking::run(config, &Single).unwrap_err());
    config.lora.target_modules.push("lm_head".into());
    assert!(told(&config).contains("lm_head"), "{}", told(&config));
    config.lora.target_modules.pop();

    config.student.precision = Some("int8".into());
    assert!(told(&config).contains("int8") && told(&config).contains("f32"), "{}", told(&config));
    config.student.precision = None;

    let broken = |text: &str| -> PathBuf {
        let path = dir.path().join("broken.jsonl");
        std::fs::write(&path, text).unwrap();
        path
    };
    config.pairs = broken("\n{\"a\":\"gone.mkv\",\"b\":\"gone.mkv\",\"level\":\"better\"}\n");
    assert!(told(&config).contains("line 2") && told(&config).contains("gone.mkv"), "{}", told(&config));
    config.pairs = broken("{\"a\":\"a\",\"b\":\"b\",\"level\":\"nicer\"}");
    assert!(told(&config).contains("nicer"), "{}", told(&config));
    config.pairs = broken("");
    assert!(told(&config).contains("no pair"), "{}", told(&config));

    let mut scoring = scoring_config(&dir.path().join("scores"), checkpoint.path());
    scoring.scale = [0.0, 50.0];
    let error = format!("{:#}", scoring::run(&scoring, &Single).unwrap_err());
    assert!(error.contains("90") && error.contains("[0, 50]"), "{error}");
    assert!(!dir.path().join("run/adapter").exists() && !dir.path().join("scores").exists());
}
