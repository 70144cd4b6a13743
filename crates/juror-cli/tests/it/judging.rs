//! Verdicts of the embedded model on real clips, and the records they come in.

use std::path::Path;

use serde_json::Value;

use crate::support::{ffmpeg, filters, folder, juror, run, text};

/// `good.mp4`, and a far cheaper encode of it, `cheap.mp4`.
fn pair() -> tempfile::TempDir {
    let folder = folder();
    let good = folder.path().join("good.mp4");
    ffmpeg(&["-i", text(&good)], "-c:v libx264 -crf 44", &folder.path().join("cheap.mp4"));
    folder
}

fn judge(folder: &Path, arguments: &[&str]) -> Value {
    let ran = run(juror().current_dir(folder).args(arguments).args(["--format", "json"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The record without what may differ between runs.
fn lasting(mut record: Value) -> Value {
    record.as_object_mut().unwrap().remove("timings");
    record
}

#[test]
fn the_better_encode_wins_and_the_reasons_are_written() {
    let folder = pair();
    let record = judge(folder.path(), &["compare", "good.mp4", "cheap.mp4"]);
    assert_eq!(record["prefer"], "a", "{record}");
    assert!(record["margin"].as_f64().unwrap() > 0.25, "{record}");
    assert!(record["rationale"].as_str().unwrap().split_whitespace().count() > 3, "{record}");
}

#[test]
fn swapping_the_videos_flips_the_sign_exactly() {
    let folder = pair();
    let ab = judge(folder.path(), &["compare", "good.mp4", "cheap.mp4", "--no-rationale"]);
    let ba = judge(folder.path(), &["compare", "cheap.mp4", "good.mp4", "--no-rationale"]);
    let margin = |record: &Value| record["margin"].as_f64().unwrap();
    assert!(margin(&ab) != 0.0, "{ab}");
    assert_eq!(margin(&ab), -margin(&ba));
    assert_eq!(ab["distortions"]["a"], ba["distortions"]["b"]);
}

#[test]
fn a_file_against_itself_is_a_tie_of_exactly_0() {
    let folder = pair();
    let record = judge(folder.path(), &["compare", "good.mp4", "good.mp4"]);
    assert_eq!(record["margin"].as_f64(), Some(0.0));
    assert_eq!((&record["prefer"], &record["level"]), (&"tie".into(), &"similar".into()));
}

#[test]
fn threads_do_not_change_a_bit() {
    let folder = pair();
    for command in [&["compare", "good.mp4", "cheap.mp4"][..], &["score", "good.mp4"]] {
        let one = judge(folder.path(), &[command, &["--threads", "1"]].concat());
        let two = judge(folder.path(), &[command, &["--threads", "2"]].concat());
        assert_eq!(lasting(one), lasting(two));
    }
}

#[test]
fn without_rationale_and_second_order_the_fields_are_null() {
    let folder = pair();
    let record =
        judge(folder.path(), &["compare", "good.mp4", "cheap.mp4", "--no-rationale", "--single-order"]);
    assert_eq!((&record["rationale"], &record["order_agreement"]), (&Value::Null, &Value::Null));
    let both = judge(folder.path(), &["compare", "good.mp4", "cheap.mp4", "--no-rationale"]);
    assert!(both["order_agreement"].is_boolean());
}

#[test]
fn segments_are_scored_and_pooled() {
    let folder = pair();
    let record = judge(folder.path(), &["score", "good.mp4", "--segment-seconds", "0.25", "--no-rationale"]);
    let segments = record["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 3, "0.8 s: the rest joins the last segment");
    let worst = segments.iter().map(|segment| segment["score"].as_f64().unwrap()).fold(5.0, f64::min);
    assert_eq!(record["pooled"]["min"].as_f64(), Some(worst));
}

/// The names and order of fields are a contract with scripts.
#[test]
fn records_have_the_fields_of_the_contract() {
    fn shape(value: &Value, depth: usize, text: &mut String) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "text",
                Value::Array(_) => "list",
                Value::Object(_) => "object",
            };
            *text += &format!("{}{key}: {kind}\n", "  ".repeat(depth));
            shape(value, depth + 1, text);
        }
    }
    let folder = pair();
    let mut text = String::new();
    for arguments in [&["compare", "good.mp4", "cheap.mp4"][..], &["score", "good.mp4"]] {
        let value = judge(folder.path(), arguments);
        text += &format!("{}\n", arguments[0]);
        shape(&value, 1, &mut text);
        let record: juror::Record = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            value,
            "the library reads what the program writes"
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_table_starts_with_the_verdict() {
    let folder = pair();
    let _filters = filters(folder.path());
    let table = |arguments: &[&str]| {
        run(juror().current_dir(&folder).args(arguments).args(["--format", "table", "--no-rationale"])).stdout
    };
    let compared = table(&["compare", "good.mp4", "cheap.mp4"]);
    assert!(compared.starts_with("A looks "), "{compared}");
    let scored = table(&["score", "good.mp4"]);
    assert!(scored.starts_with("Looks "), "{scored}");
}

#[test]
fn anchors_bring_margins_to_the_scale() {
    let folder = pair();
    let by_scenes = |name: &str| {
        judge(
            folder.path(),
            &["score", name, "--anchors", "scenes", "--no-rationale", "--segment-seconds", "0.4"],
        )
    };
    let (good, cheap) = (by_scenes("good.mp4"), by_scenes("cheap.mp4"));
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&good["score"]) > number(&cheap["score"]) + 0.25, "{good} {cheap}");
    for record in [&good, &cheap] {
        let (score, ci95) = (number(&record["score"]), &record["ci95"]);
        assert!((1.0..=5.0).contains(&score), "{record}");
        assert!(number(&ci95[0]) <= score && score <= number(&ci95[1]), "{record}");
        assert_eq!(
            (&record["anchors"]["count"], record["segments"].as_array().unwrap().len()),
            (&12.into(), 2)
        );
        let segments: Vec<f64> =
            record["segments"].as_array().unwrap().iter().map(|part| number(&part["score"])).collect();
        assert!((number(&record["pooled"]["mean"]) - segments.iter().sum::<f64>() / 2.0).abs() < 1e-9);
    }

    // Anchors of one's own: the score is the mean of rating plus margin, exactly.
    for (name, crf) in [("fair", 30), ("poor", 38)] {
        let output = folder.path().join(name).with_extension("mp4");
        ffmpeg(&["-i", text(&folder.path().join("good.mp4"))], &format!("-c:v libx264 -crf {crf}"), &output);
    }
    let ratings = "video,mos\ngood.mp4,4.5\nfair.mp4,3.5\npoor.mp4,2\n";
    std::fs::write(folder.path().join("rated.csv"), ratings).unwrap();
    let record = judge(folder.path(), &["score", "cheap.mp4", "--anchors", "rated.csv", "--no-rationale"]);
    let margin = |anchor: &str| {
        number(&judge(folder.path(), &["compare", "cheap.mp4", anchor, "--no-rationale"])["margin"])
    };
    let sum = 4.5 + margin("good.mp4") + 3.5 + margin("fair.mp4") + 2.0 + margin("poor.mp4");
    assert!((number(&record["score"]) - (sum / 3.0).clamp(1.0, 5.0)).abs() < 1e-9, "{record}");
    assert_eq!(record["anchors"]["count"], 3);

    for (ratings, told) in [
        ("video,mos\ngood.mp4,4.5\nfair.mp4,3.5\n", "there are 2; at least 3 are needed"),
        ("video,mos\ngood.mp4,84\nfair.mp4,3.5\npoor.mp4,2\n", "`good.mp4` is rated 84"),
        ("video,mos\ngood.mp4,4\nfair.mp4,3.5\nnone.mp4,2\n", "none.mp4"),
    ] {
        std::fs::write(folder.path().join("rated.csv"), ratings).unwrap();
        let ran = run(juror().current_dir(&folder).args(["score", "good.mp4", "--anchors", "rated.csv"]));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ratings}");
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}
