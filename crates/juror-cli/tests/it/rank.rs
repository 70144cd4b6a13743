//! `juror rank`: orders, ties, budgets, resuming, failures, and what it draws.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{ffmpeg, filters, folder, juror, names, records, run, text};

/// `good.mp4` and ever cheaper encodes of it: `fair.mp4`, `poor.mp4`, `bad.mp4`.
fn encodes() -> tempfile::TempDir {
    let folder = folder();
    let good = folder.path().join("good.mp4");
    for (name, crf) in [("fair", 36), ("poor", 44), ("bad", 51)] {
        let output = folder.path().join(name).with_extension("mp4");
        ffmpeg(&["-i", text(&good)], &format!("-c:v libx264 -crf {crf}"), &output);
    }
    folder
}

const ALL: [&str; 4] = ["poor.mp4", "good.mp4", "bad.mp4", "fair.mp4"];

fn rank(folder: &Path, arguments: &[&str]) -> Value {
    let ran = run(juror().current_dir(folder).arg("rank").args(arguments));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn paths(record: &Value) -> Vec<&str> {
    record["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap()).collect()
}

/// The record without what may differ between runs.
fn lasting(mut record: Value) -> Value {
    record.as_object_mut().unwrap().remove("timings");
    record
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn the_scores_explain_the_margins_of_compare() {
    let folder = encodes();
    let record = rank(folder.path(), &[&ALL[..], &["--pairs"]].concat());
    assert_eq!((&record["schema"], &record["type"]), (&"juror/1".into(), &"ranking".into()));
    assert_eq!(record["comparisons"], serde_json::json!({"judged": 6, "possible": 6}));
    let order = paths(&record);
    assert_eq!((order[0], order[3]), ("good.mp4", "bad.mp4"), "{record}");
    let items = record["items"].as_array().unwrap();
    let tallied: u64 = ["wins", "losses", "ties"]
        .iter()
        .flat_map(|t| items.iter().map(move |i| i[*t].as_u64().unwrap()))
        .sum();
    assert_eq!(tallied, 12, "each comparison counts for two");
    for pair in items.windows(2) {
        assert!(number(&pair[0]["score"]) >= number(&pair[1]["score"]));
    }
    for item in items {
        let (score, ci95) = (number(&item["score"]), &item["ci95"]);
        assert!(number(&ci95[0]) < score && score < number(&ci95[1]), "{item}");
    }

    // With all pairs judged a score is the mean margin over the others, around the mean of the scores by themselves.
    let graph = record["graph"].as_array().unwrap();
    assert_eq!(graph.len(), 6);
    let ran = run(juror().current_dir(&folder).args(["score", "--no-rationale"]).args(ALL));
    let level = records(&ran).iter().map(|score| number(&score["score"])).sum::<f64>() / 4.0;
    for item in items {
        let path = &item["path"];
        let margins = graph.iter().map(|edge| match (&edge["a"] == path, &edge["b"] == path) {
            (true, _) => number(&edge["margin"]),
            (_, true) => -number(&edge["margin"]),
            _ => 0.0,
        });
        let expected = level + margins.sum::<f64>() / 4.0;
        assert!((number(&item["score"]) - expected).abs() < 1e-9, "{item} instead of {expected}");
    }
    let edge = &graph[0];
    let (a, b) = (edge["a"].as_str().unwrap(), edge["b"].as_str().unwrap());
    let compared = run(juror().current_dir(&folder).args(["compare", a, b, "--no-rationale"]));
    let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
    assert_eq!(edge["margin"], compared["margin"]);

    let read: juror::Record = serde_json::from_value(record.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), record, "the library reads what the program writes");
    let again = rank(folder.path(), &[&ALL[..], &["--pairs", "--threads", "1"]].concat());
    assert_eq!(lasting(again), lasting(record), "threads change nothing");
}

#[test]
fn equal_videos_tie() {
    let folder = encodes();
    fs::copy(folder.path().join("good.mp4"), folder.path().join("copy.mp4")).unwrap();
    for pair in [["good.mp4", "copy.mp4"], ["good.mp4", "good.mp4"]] {
        let record = rank(folder.path(), &pair);
        let [a, b] = &record["items"].as_array().unwrap()[..] else { panic!("{record}") };
        assert_eq!((&a["rank"], &b["rank"], &a["score"]), (&1.into(), &1.into(), &b["score"]));
        assert_eq!((&a["ties"], &b["ties"], &b["tied"]), (&1.into(), &1.into(), &true.into()));
        assert_eq!(record["comparisons"], serde_json::json!({"judged": 1, "possible": 1}));
        assert_eq!(record["inconsistency"], Value::Null, "there is no margin to contradict");
    }
    let record = rank(folder.path(), &["bad.mp4", "copy.mp4", "good.mp4"]);
    let ranks: Vec<&Value> = record["items"].as_array().unwrap().iter().map(|item| &item["rank"]).collect();
    assert_eq!(ranks, [1, 1, 3]);
}

#[test]
fn a_budget_is_kept_and_pieces_are_told() {
    let folder = encodes();
    let record = rank(folder.path(), &[&ALL[..], &["--budget", "1"]].concat());
    assert_eq!((&record["comparisons"]["judged"], &record["stopped"]), (&1.into(), &"budget".into()));
    let groups: Vec<u64> =
        record["items"].as_array().unwrap().iter().map(|item| item["group"].as_u64().unwrap()).collect();
    assert_eq!(groups.iter().max(), Some(&3), "{groups:?}");
    assert!(record["warnings"][0].as_str().unwrap().contains("3 groups of videos unconnected"), "{record}");
    let record = rank(folder.path(), &[&ALL[..], &["--interval", "8"]].concat());
    assert_eq!(record["stopped"], "interval", "{record}");
    assert!(record["comparisons"]["judged"].as_u64().unwrap() < 6, "{record}");
}

#[test]
fn a_ranking_that_was_cut_short_goes_on() {
    let folder = encodes();
    let whole = rank(folder.path(), &[&ALL[..], &["--pairs"]].concat());
    let with_state = [&ALL[..], &["--pairs", "--state", "state.jsonl"]].concat();
    let cut = rank(folder.path(), &[&with_state[..], &["--budget", "2"]].concat());
    assert_eq!(cut["comparisons"]["judged"], 2);
    // A kill may leave half a line.
    let state = folder.path().join("state.jsonl");
    let known = fs::read_to_string(&state).unwrap();
    assert_eq!(known.lines().count(), 1 + 4 + 2, "{known}");
    fs::write(&state, known.clone() + "{\"a\":\"0123").unwrap();
    let resumed = rank(folder.path(), &with_state);
    assert_eq!(lasting(resumed), lasting(whole));

    // What is known is not judged again, and new videos join.
    let three = rank(folder.path(), &["good.mp4", "fair.mp4", "bad.mp4", "--state", "three.jsonl"]);
    assert_eq!(three["comparisons"]["judged"], 3);
    let joined = rank(folder.path(), &[&ALL[..], &["--state", "three.jsonl", "--pairs"]].concat());
    assert_eq!(joined["comparisons"]["judged"], 6);
    let lines = fs::read_to_string(folder.path().join("three.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 1 + 4 + 6, "{lines}");
    assert!(
        joined["graph"].as_array().unwrap()[..3]
            .iter()
            .all(|edge| edge["a"] != "poor.mp4" && edge["b"] != "poor.mp4")
    );
}

#[test]
fn a_state_of_something_else_is_refused() {
    let folder = encodes();
    rank(folder.path(), &["good.mp4", "bad.mp4", "--state", "state.jsonl"]);
    fs::write(folder.path().join("text.jsonl"), "once upon a time\n").unwrap();
    let kept = fs::read_to_string(folder.path().join("state.jsonl")).unwrap();
    fs::write(folder.path().join("broken.jsonl"), kept.replacen("\"margin\"", "\"margarine\"", 1)).unwrap();
    let _filters = filters(folder.path());
    let mut told = String::new();
    for arguments in [
        &["--state", "text.jsonl"][..],
        &["--state", "broken.jsonl"],
        &["--state", "state.jsonl", "--frames", "4"],
        &["--state", "no/such/state.jsonl"],
        &["--plot", "plot.png"],
        &["--budget", "0"],
        &["--interval", "0"],
    ] {
        let ran = run(juror().current_dir(&folder).args(["rank", "good.mp4", "bad.mp4"]).args(arguments));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        told += &format!("$ juror rank good.mp4 bad.mp4 {}\n{}\n", arguments.join(" "), ran.stderr);
    }
    let ran = run(juror().current_dir(&folder).args(["rank", "good.mp4"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    told += &format!("$ juror rank good.mp4\n{}", ran.stderr);
    insta::assert_snapshot!(told);
    assert_eq!(fs::read_to_string(folder.path().join("text.jsonl")).unwrap(), "once upon a time\n");
}

#[test]
fn failing_videos_are_records_and_the_others_are_ranked() {
    let folder = encodes();
    fs::write(folder.path().join("text.mp4"), "no video").unwrap();
    let videos = ["good.mp4", "text.mp4", "bad.mp4", "missing.mp4"];
    let ran = run(juror().current_dir(&folder).arg("rank").args(videos).arg("--continue-on-error"));
    let lines = records(&ran);
    let types: Vec<&Value> = lines.iter().map(|record| &record["type"]).collect();
    assert_eq!(
        (ran.code, types),
        (1, vec![&"error".into(), &"error".into(), &"ranking".into()]),
        "{}",
        ran.stderr
    );
    assert_eq!((&lines[0]["path"], &lines[0]["kind"]), (&"text.mp4".into(), &"not_video".into()));
    assert_eq!(paths(&lines[2]), ["good.mp4", "bad.mp4"]);

    let ran = run(juror().current_dir(&folder).arg("rank").args(videos));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &record["type"], &record["path"]), (2, &"error".into(), &"text.mp4".into()));

    let arguments = ["rank", "good.mp4", "missing.mp4", "--continue-on-error"];
    let ran = run(juror().current_dir(&folder).args(arguments));
    assert_eq!((ran.code, records(&ran).len()), (2, 1));
    assert!(ran.stderr.contains("needs at least two videos; 1 could be read"), "{}", ran.stderr);
}

#[test]
fn table_csv_plot_and_page_show_the_ranking() {
    let folder = encodes();
    let list: String = ALL.iter().map(|name| format!("{name}\n")).collect();
    fs::write(folder.path().join("list.txt"), list).unwrap();
    let mut command = juror();
    command.current_dir(&folder).args(["rank", "--list", "list.txt", "--format", "table"]);
    let ran = run(command.args(["--plot", "plot.svg", "--html", "page.html"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("rank  score"), "{}", ran.stdout);
    assert!(ran.stdout.lines().nth(1).unwrap().ends_with("  good.mp4"), "{}", ran.stdout);
    let plot = fs::read_to_string(folder.path().join("plot.svg")).unwrap();
    assert_eq!(plot.matches("<circle").count(), 4);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert_eq!(page.matches("src=\"data:image/png;base64,iVBOR").count(), 4, "a thumbnail each");
    assert!(page.contains("<svg ") && page.ends_with("</html>\n"));
    assert!(page.len() < 400_000, "{} bytes", page.len());

    let csv = run(juror().current_dir(&folder).arg("rank").args(ALL).args(["--format", "csv"])).stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| rows[row][header.iter().position(|c| c == name).unwrap()].to_owned();
    assert_eq!((rows.len(), cell(0, "path"), cell(0, "rank")), (4, "good.mp4".to_owned(), "1".to_owned()));
    assert_eq!(cell(3, "comparisons.judged"), "6");
    assert!(names(folder.path()).iter().all(|name| !name.starts_with(".juror-")));
}
