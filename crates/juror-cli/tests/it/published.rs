//! Published checkpoints from the command line, on tiny random models: what scripts get, and what goes wrong.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use juror::ranking::{Ranker, State, Stop};
use juror::{Juror, Options};
use juror_lmm::published::{OpenOptions, open_folder};
use juror_lmm::{JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched};
use juror_media::Video;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ran, ffmpeg, juror, render, run, text};
use crate::tiny::{checkpoint, narrow, write_slowfast};

/// `good.mp4`, and `bad.mp4`, which is the same after a loss of detail.
fn clips() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.mp4");
    render("320x180", "-t 0.5 -crf 12", &good);
    ffmpeg(&["-i", text(&good)], "-vf boxblur=6 -c:v libx264 -crf 40", &folder.path().join("bad.mp4"));
    folder
}

fn record(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", ran.stdout, ran.stderr))
}

fn compare(clips: &TempDir, model: &Path, more: &[&str]) -> Ran {
    let mut command = juror();
    // No cache: a network pulled on this machine must not decide.
    command.current_dir(clips).env("HF_HOME", clips.path().join("no-cache")).env_remove("HF_HUB_CACHE");
    command.args(["compare", "good.mp4", "bad.mp4", "--format", "json", "--model", text(model)]);
    run(command.args(more))
}

#[test]
fn every_family_compares_and_scores() {
    let clips = clips();
    for family in ["internvl3", "vqathinker", "llava_onevision", "w2s", "qwen2_5_vl", "qwen3_vl"] {
        let model = checkpoint(family);
        let compared = record(&compare(&clips, model.path(), &["--no-rationale"]));
        assert_eq!(compared["type"], "comparison", "{family}: {compared}");
        let margin = compared["margin"].as_f64().unwrap();
        assert!(margin.abs() <= 4.0 && margin != 0.0, "{family}: {margin}");
        assert!(compared["order_agreement"].is_boolean() && compared["rationale"].is_null());
        assert_eq!((&compared["device"], &compared["warnings"]), (&json!("cpu"), &json!([])), "{family}");
        assert_eq!(compared["model"]["sha256"].as_str().unwrap().len(), 64);
        assert!(!compared["a"]["frames_sampled"].as_array().unwrap().is_empty());

        let mut command = juror();
        command.current_dir(&clips).args(["score", "good.mp4", "--no-rationale", "--format", "json"]);
        let scored = record(&run(command.args(["--model", text(model.path())])));
        if family == "vqathinker" {
            // It writes its scores, and these weights cannot write: said, and no number made up.
            assert_eq!((&scored["type"], &scored["kind"]), (&json!("error"), &json!("model")), "{scored}");
        } else {
            let score = scored["score"].as_f64().unwrap();
            assert!((1.0..=5.0).contains(&score), "{family}: {scored}");
        }
    }
}

#[test]
fn w2s_vqa_takes_its_motion_features_from_a_file_beside_it() {
    let (clips, model) = (clips(), checkpoint("w2s"));
    let margin = |ran: &Ran| record(ran)["margin"].as_f64().unwrap();
    let with = compare(&clips, model.path(), &["--no-rationale"]);
    assert_eq!(record(&with)["warnings"], json!([]));

    let file = model.path().join("slowfast_r50.safetensors");
    let other = juror_lmm::slowfast::Config {
        stem_dim_outs: [8, 2],
        slowfast_channel_reduction_ratio: 4,
        ..narrow()
    };
    write_slowfast(&file, &other);
    let wrong = compare(&clips, model.path(), &["--no-rationale"]);
    assert!(wrong.stderr.contains("64 numbers") && wrong.stderr.contains("takes 32"), "{}", wrong.stderr);

    fs::remove_file(&file).unwrap();
    let without = compare(&clips, model.path(), &["--no-rationale"]);
    assert!(without.stderr.contains("without motion features"), "{}", without.stderr);
    assert_ne!(margin(&with), margin(&without), "the features reach the decoder");
}

#[test]
fn fewer_bits_judge_nearly_the_same() {
    let (clips, model) = (clips(), checkpoint("qwen3_vl"));
    let judged = |precision: &str| {
        let judged = record(&compare(&clips, model.path(), &["--no-rationale", "--precision", precision]));
        (judged["margin"].as_f64().unwrap(), judged["model"]["sha256"].as_str().unwrap().to_owned())
    };
    let (exact, identity) = judged("f32");
    for (precision, most) in [("bf16", 0.05), ("int8", 0.1), ("int4", 1.0)] {
        let (margin, other) = judged(precision);
        assert!((margin - exact).abs() < most, "{precision}: {margin} instead of {exact}");
        assert_ne!(identity, other, "a ranking must not mix precisions");
    }
    let list = run(juror().args(["models", "--need", "--format", "json", text(model.path())]));
    let need = &record(&list)["models"][0]["need"];
    let totals: Vec<u64> =
        need["precisions"].as_array().unwrap().iter().map(|p| p["weights_bytes"].as_u64().unwrap()).collect();
    assert_eq!(need["precisions"][3]["precision"], "int8");
    assert!(totals[0] == need["weights_bytes"].as_u64().unwrap(), "{need}");
    assert!(totals[1] < totals[0] && totals[3] < totals[1] && totals[4] < totals[3], "{need}");

    for (arguments, due) in [
        (["--precision", "int8"], "nano runs on the cpu in f32"),
        (["--adapter", "nowhere"], "nano runs on the cpu in f32"),
    ] {
        let ran = run(juror().current_dir(&clips).args(["score", "good.mp4"]).args(arguments));
        assert!(ran.code == 2 && ran.stderr.contains(due), "{}", ran.stderr);
    }
}

#[test]
fn broken_checkpoints_are_told_and_exit_with_2() {
    let (clips, good) = (clips(), checkpoint("qwen3_vl"));
    type Break = (&'static str, fn(&Path), &'static str);
    let cases: [Break; 6] = [
        (
            "a cut-off shard",
            |folder| {
                let path = folder.join(crate::tiny::SHARD);
                let whole = fs::read(&path).unwrap();
                fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            },
            "get it again",
        ),
        (
            "a lying config",
            |folder| {
                edit(&folder.join("config.json"), |text| {
                    text.replace("\"intermediate_size\":", "\"intermediate_size\":1")
                });
            },
            "does not fit its configuration",
        ),
        (
            "an unknown family",
            |folder| {
                edit(&folder.join("config.json"), |text| text.replace("qwen3_vl", "qwen9_vl"));
            },
            "supported are",
        ),
        (
            "a tokenizer of another model",
            |folder| {
                edit(&folder.join("tokenizer.json"), |text| text.replace("<|im_end|>", "<|other|>"));
            },
            "no token <|im_end|>",
        ),
        (
            "a broken template",
            |folder| {
                fs::write(folder.join("chat_template.jinja"), "{% if").unwrap();
            },
            "chat template",
        ),
        ("no weights", |folder| fs::remove_file(folder.join(crate::tiny::SHARD)).unwrap(), "cannot read"),
    ];
    for (what, harm, due) in cases {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(good.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        harm(copy.path());
        let ran = compare(&clips, copy.path(), &[]);
        let error = record(&ran);
        assert_eq!((ran.code, &error["kind"]), (2, &json!("model")), "{what}: {error}");
        assert!(ran.stderr.contains(due), "{what}: {}", ran.stderr);
    }
    let adapter = tempfile::tempdir().unwrap();
    fs::write(adapter.path().join("adapter_config.json"), r#"{"r": 0, "lora_alpha": 2}"#).unwrap();
    let ran = compare(&clips, good.path(), &["--adapter", text(adapter.path())]);
    assert!(ran.code == 2 && ran.stderr.contains("`r` is 0"), "{}", ran.stderr);
}

fn edit(path: &Path, change: impl Fn(&str) -> String) {
    let before = fs::read_to_string(path).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "{}", path.display());
    fs::write(path, after).unwrap();
}

/// Counts how often the towers run.
struct Counting {
    lmm: Box<dyn Lmm>,
    watched: Arc<AtomicUsize>,
}

impl Lmm for Counting {
    fn info(&self) -> &ModelInfo {
        self.lmm.info()
    }

    fn watch(
        &self,
        video: &mut Video,
        options: &WatchOptions,
        progress: &dyn Fn(f64),
    ) -> juror_lmm::Result<Watched> {
        self.watched.fetch_add(1, Ordering::Relaxed);
        self.lmm.watch(video, options, progress)
    }

    fn compare(&self, a: &Watched, b: &Watched, options: &JudgeOptions) -> juror_lmm::Result<PairJudgement> {
        self.lmm.compare(a, b, options)
    }

    fn score(&self, video: &Watched, options: &JudgeOptions) -> juror_lmm::Result<ScoreJudgement> {
        self.lmm.score(video, options)
    }
}

#[test]
fn a_ranking_runs_the_towers_once_per_video() {
    let (clips, model) = (clips(), checkpoint("w2s"));
    let watched = Arc::new(AtomicUsize::new(0));
    let lmm = open_folder(model.path(), None, &OpenOptions::default()).unwrap();
    let juror = Juror::new(Box::new(Counting { lmm, watched: watched.clone() }));
    let stop = Stop { budget: None, interval_width: Some(0.01) };
    let mut ranker = Ranker::new(&juror, Options::default(), stop, State::default());
    let good = clips.path().join("good.mp4");
    for (name, blur) in [("c.mp4", 2), ("d.mp4", 9)] {
        let filter = format!("-vf boxblur={blur} -c:v libx264 -crf 20");
        ffmpeg(&["-i", text(&good)], &filter, &clips.path().join(name));
    }
    let names = ["good.mp4", "bad.mp4", "c.mp4", "d.mp4"];
    for name in names {
        ranker.add(&clips.path().join(name), &|_| ()).unwrap();
    }
    ranker.judge(&|_| ()).map_err(|failure| failure.error).unwrap();
    let ranking = serde_json::to_value(ranker.ranking(true).unwrap()).unwrap();
    assert_eq!(watched.load(Ordering::Relaxed), names.len());
    assert!(ranking["comparisons"]["judged"].as_u64().unwrap() >= 4, "{ranking}");
}

#[test]
fn reasons_are_told_while_they_are_written() {
    let (clips, model) = (clips(), checkpoint("qwen3_vl"));
    // On a terminal they appear in place of the bar; the record comes after them.
    let out = clips.path().join("out.json");
    let line = format!(
        "{} compare good.mp4 bad.mp4 --single-order --format json --output {} --model {}",
        env!("CARGO_BIN_EXE_juror"),
        text(&out),
        text(model.path())
    );
    let mut command = Command::new("script");
    command.current_dir(&clips).args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let ran = match command.stdin(std::process::Stdio::null()).output() {
        Ok(ran) => ran,
        Err(error) => {
            eprintln!("SKIPPED: no terminal to be had: script: {error}");
            return;
        }
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let shown = String::from_utf8_lossy(&ran.stdout).replace('\r', "");
    let written: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
    let rationale = written["rationale"].as_str().unwrap();
    assert!(rationale.len() > 100, "{rationale}");
    let begin: String = rationale.chars().take_while(|c| !c.is_control()).take(12).collect();
    assert!(shown.contains(&begin), "{begin:?} is not in {shown:?}");
}
