//! `juror rank`: orders, ties, budgets, resuming, failures, and what it draws.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, ffmpeg, filters, folder, juror, names, png_size, records, run, text};

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
        &["--plot", "plot.bmp"],
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
    rank(folder.path(), &[&ALL[..], &["--plot", "plot.png"]].concat());
    let (width, height) = png_size(&folder.path().join("plot.png"));
    let drawn = |name: &str| -> u32 {
        let (_, rest) = plot.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    assert_eq!((width, height), (2 * drawn(" width"), 2 * drawn(" height")));
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

/// The state at `path` with the margin of each judged pair replaced by what `margin` says of its videos.
fn rewritten(path: &Path, margin: &dyn Fn(&str, &str) -> f64) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut names = std::collections::HashMap::new();
    for line in lines.iter().filter(|line| line["video"].is_string()) {
        names.insert(line["video"].as_str().unwrap().to_owned(), line["path"].as_str().unwrap().to_owned());
    }
    for line in lines.iter_mut().filter(|line| line["margin"].is_number()) {
        let [a, b] = ["a", "b"].map(|side| names[line[side].as_str().unwrap()].clone());
        line["margin"] = margin(&a, &b).into();
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_judge_who_contradicts_itself_is_named_and_still_ranked() {
    let folder = encodes();
    let state = folder.path().join("state.jsonl");
    let arguments = ["good.mp4", "fair.mp4", "poor.mp4", "--state", "state.jsonl", "--interval", "0.001"];
    assert_eq!(rank(folder.path(), &arguments)["comparisons"]["judged"], 3);
    // good > fair > poor > good, by two points each.
    let order = ["good.mp4", "fair.mp4", "poor.mp4"];
    let place = |name: &str| order.iter().position(|known| *known == name).unwrap();
    let circle = rewritten(&state, &|a, b| if (place(a) + 1) % 3 == place(b) { 2.0 } else { -2.0 });
    fs::write(&state, &circle).unwrap();
    let record = rank(folder.path(), &arguments);
    let worst = &record["worst_cycles"][0];
    assert!((number(&worst["margin_sum"]) - 6.0).abs() < 1e-9 && worst["intransitive"] == true, "{record}");
    let mut named: Vec<&str> =
        worst["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, ["fair.mp4", "good.mp4", "poor.mp4"]);
    assert!(number(&record["inconsistency"]) > 1.0 - 1e-9, "no scores explain any of it");
    let items = record["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["rank"] == 1) && items[1]["tied"] == true, "{record}");
    let table = run(juror().current_dir(&folder).arg("rank").args(arguments).args(["--format", "table"]));
    assert!(table.stdout.contains("A circle of 6.00 points: "), "{}", table.stdout);

    // One pair told both ways, each time in favour of the first: a circle of two.
    let both = [&["good.mp4", "poor.mp4", "--state", "both.jsonl"][..]].concat();
    rank(folder.path(), &both);
    let known = rewritten(&folder.path().join("both.jsonl"), &|_, _| 1.0);
    let mut turned: Value = serde_json::from_str(known.lines().last().unwrap()).unwrap();
    let [a, b] = [turned["a"].clone(), turned["b"].clone()];
    (turned["a"], turned["b"]) = (b, a);
    fs::write(folder.path().join("both.jsonl"), format!("{known}{turned}\n")).unwrap();
    let record = rank(folder.path(), &both);
    assert_eq!(record["worst_cycles"][0]["paths"].as_array().unwrap().len(), 2, "{record}");
    assert!((number(&record["worst_cycles"][0]["margin_sum"]) - 2.0).abs() < 1e-9, "{record}");
    assert_eq!((&record["items"][0]["rank"], &record["items"][1]["rank"]), (&1.into(), &1.into()));
}

#[test]
fn a_state_keeps_every_bit() {
    let folder = encodes();
    let arguments = ["good.mp4", "bad.mp4", "--pairs", "--state", "state.jsonl"];
    let record = rank(folder.path(), &arguments);
    assert_eq!(lasting(rank(folder.path(), &arguments)), lasting(record));
    // Margins of all lengths come back as they were written.
    let state = folder.path().join("state.jsonl");
    for k in 1..9 {
        let margin = f64::from(k).sin() * 10f64.powi(k % 5 - 3);
        fs::write(&state, rewritten(&state, &|_, _| margin)).unwrap();
        let record = rank(folder.path(), &arguments);
        assert_eq!(number(&record["graph"][0]["margin"]).to_bits(), margin.to_bits(), "{margin}");
    }
}

/// Runs `juror rank --comparisons` on a table of this text.
fn rank_table(folder: &Path, table: &str, arguments: &[&str]) -> Ran {
    fs::write(folder.join("table.csv"), table).unwrap();
    run(juror().current_dir(folder).args(["rank", "--comparisons", "table.csv"]).args(arguments))
}

#[test]
fn comparisons_made_elsewhere_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let scored = |table: &str, arguments: &[&str]| -> Value {
        let ran = rank_table(folder.path(), table, arguments);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    // Margins that agree but for one: the weight says which is believed.
    let margins = "a,b,margin,weight\nx,y,1,1\ny,z,1,1\nz,x,-2.3,1\nx,y,1,\n";
    let record = scored(margins, &["--pairs", "--plot", "plot.svg", "--html", "page.html"]);
    assert_eq!(
        (&record["type"], &record["model"], &record["stopped"]),
        (&"ranking".into(), &Value::Null, &"given".into())
    );
    assert_eq!((paths(&record), record["graph"].as_array().unwrap().len()), (vec!["x", "y", "z"], 4));
    assert_eq!(record["comparisons"], serde_json::json!({"judged": 3, "possible": 3}));
    // By hand: x - y has twice the weight of the others, so a fifth of the 0.3 goes there and two fifths to each other pair.
    let differences =
        [0, 1].map(|k| number(&record["items"][k]["score"]) - number(&record["items"][k + 1]["score"]));
    assert!((differences[0] - 1.06).abs() < 1e-9 && (differences[1] - 1.12).abs() < 1e-9, "{differences:?}");
    assert!(number(&record["noise"]) > 0.05 && record["items"][0]["ci95"].is_array());
    assert!(fs::read_to_string(folder.path().join("page.html")).unwrap().contains("comparisons as given"));
    let read: juror::Record = serde_json::from_value(record.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), record, "the library reads what the program writes");

    // A tree leaves no contradiction, so that nothing is known of the noise; and pieces are told.
    let record = scored("a,b,margin\nx,y,1\np,q,-0.5\n", &[]);
    assert_eq!((&record["noise"], &record["items"][0]["ci95"]), (&Value::Null, &Value::Null));
    assert!(record["warnings"][0].as_str().unwrap().contains("2 groups of videos unconnected"), "{record}");

    // A circle, and a pair told both ways.
    let record = scored("a,b,margin\nx,y,2\ny,z,2\nz,x,2\nx,w,1\nw,x,1\n", &[]);
    let cycles = record["worst_cycles"].as_array().unwrap();
    let sums: Vec<f64> = cycles.iter().map(|cycle| number(&cycle["margin_sum"]).round()).collect();
    assert_eq!(sums, [6.0, 2.0]);

    // People's choices: 3 of 4 for x is the normal quantile of 3/4 without a prior, and less with one.
    let choices = "a,b,preferred,votes\nx,y,a,3\ny,x,a,1\nx,z,tie,2\n";
    let thurstone = scored(choices, &[]);
    let bradley = scored(choices, &["--choice-model", "bradley-terry"]);
    let lead = |record: &Value| number(&record["items"][0]["score"]) - number(&record["items"][2]["score"]);
    assert!((0.3..0.674).contains(&lead(&thurstone)), "{thurstone}");
    assert!((lead(&thurstone)..1.099).contains(&lead(&bradley)), "{bradley}");
    assert_eq!((&thurstone["inconsistency"], &thurstone["items"][0]["sha256"]), (&Value::Null, &Value::Null));
}

#[test]
fn comparisons_that_make_no_sense_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let _filters = filters(folder.path());
    let mut told = String::new();
    for table in [
        "",
        "a,b,margin\n",
        "a,b\nx,y\n",
        "a,b,margin\nx,x,1\n",
        "a,b,margin\nx,y,much\n",
        "a,b,margin\nx,y,inf\n",
        "a,b,margin\nx,y,1\ny,z,\n",
        "a,b,margin\nx,,1\n",
        "a,b,margin,weight\nx,y,1,0\n",
        "a,b,preferred\nx,y,x\n",
        "a,b,preferred\nx,y,1.5\n",
        "a,b,preferred,votes\nx,y,a,-1\n",
    ] {
        let ran = rank_table(folder.path(), table, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{table:?}");
        told += &format!("{table:?}\n{}\n", ran.stderr);
    }
    insta::assert_snapshot!(told);
    let ran = rank_table(folder.path(), "a,b,margin\nx,y,1\n", &["--budget", "3"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
}
