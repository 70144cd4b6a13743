//! Odd files: each gets the right record and message, and its neighbours keep their results.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{ffmpeg, filters, folder, is_root, juror, names, records, run, text};

/// Puts the odd files into `folder` (beside `good.mp4`); gives their names with the kind of error due,
/// `None` where there is a result.
fn odd_files(folder: &Path) -> Vec<(&'static str, Option<&'static str>)> {
    let at = |name: &str| folder.join(name);
    fs::write(at("empty.mp4"), "").unwrap();
    fs::write(at("text.mp4"), "Once upon a time there was a text file.\n".repeat(50)).unwrap();
    fs::create_dir(at("folder.mp4")).unwrap();
    let good = at("good.mp4");
    let whole = fs::read(&good).unwrap();
    // The index of this file stands at its end.
    fs::write(at("truncated.mp4"), &whole[..whole.len() / 2]).unwrap();
    ffmpeg(&["-f", "lavfi", "-i", "sine=d=1"], "-c:a aac", &at("audio.m4a"));
    ffmpeg(&["-i", text(&good)], "-frames:v 1", &at("image.png"));
    ffmpeg(&["-i", text(&good)], "-frames:v 1 -c:v libx264", &at("one-frame.mp4"));
    fs::copy(&good, at("wrong-extension.txt")).unwrap();
    vec![
        ("missing.mp4", Some("not_found")),
        ("empty.mp4", Some("not_video")),
        ("text.mp4", Some("not_video")),
        ("folder.mp4", Some("not_video")),
        ("truncated.mp4", Some("truncated")),
        ("audio.m4a", Some("no_video_stream")),
        ("image.png", None),
        ("one-frame.mp4", None),
        ("wrong-extension.txt", None),
    ]
}

#[test]
fn each_odd_file_gets_its_record_and_neighbours_keep_theirs() {
    let folder = folder();
    let odd = odd_files(folder.path());
    let mut command = juror();
    command.current_dir(&folder).args(["score", "--continue-on-error", "--no-rationale", "good.mp4"]);
    command.args(odd.iter().map(|(name, _)| name)).arg("good.mp4");
    let ran = run(&mut command);
    let records = records(&ran);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(records.len(), odd.len() + 2);

    let first = &records[0];
    let last = &records[records.len() - 1];
    assert_eq!(first["type"], "score");
    assert_eq!(first["score"], last["score"], "bad neighbours change nothing");

    for (record, (name, kind)) in records[1..].iter().zip(&odd) {
        match kind {
            None => assert_eq!(record["type"], "score", "{name}: {record}"),
            Some(kind) => {
                assert_eq!((&record["type"], &record["path"]), (&"error".into(), &Value::from(*name)));
                assert_eq!(record["kind"], *kind, "{record}");
                let message = record["message"].as_str().unwrap();
                assert!(message.ends_with(name), "the path comes last: {message}");
                assert!(ran.stderr.contains(message), "people are told too: {message}");
            }
        }
    }
    let _filters = filters(folder.path());
    let failures: Vec<String> =
        records.iter().filter_map(|r| r["message"].as_str().map(str::to_owned)).collect();
    insta::assert_snapshot!(failures.join("\n"));
}

#[test]
fn an_unreadable_file_is_told() {
    use std::os::unix::fs::PermissionsExt;
    if is_root() {
        eprintln!("SKIPPED: root may read every file");
        return;
    }
    let folder = folder();
    let file = folder.path().join("good.mp4");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = run(juror().arg("score").arg(&file));
    assert_eq!(ran.code, 2);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["kind"], "not_found");
}

#[test]
fn without_continue_on_error_the_first_failure_ends_the_work() {
    let folder = folder();
    let mut command = juror();
    command.current_dir(&folder).args(["score", "--no-rationale", "good.mp4", "missing.mp4", "good.mp4"]);
    let ran = run(&mut command);
    let types: Vec<Value> = records(&ran).iter().map(|record| record["type"].clone()).collect();
    assert_eq!(types, ["score", "error"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("1 left"), "{}", ran.stderr);
}

#[test]
fn nothing_done_exits_with_2() {
    let folder = folder();
    let mut command = juror();
    command.current_dir(&folder).args(["score", "missing.mp4", "gone.mp4", "--continue-on-error"]);
    let ran = run(&mut command);
    assert_eq!((ran.code, records(&ran).len()), (2, 2));

    let ran = run(juror().current_dir(&folder).args(["compare", "good.mp4", "missing.mp4"]));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 2);
    assert_eq!((&record["a"], &record["b"]), (&"good.mp4".into(), &"missing.mp4".into()));
    assert_eq!(record["kind"], "not_found");
    assert_eq!(names(folder.path()), ["good.mp4"]);
}

#[test]
fn a_window_beyond_the_end_is_too_short() {
    let folder = folder();
    let ran = run(juror().current_dir(&folder).args(["score", "good.mp4", "--start", "1:00"]));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &record["kind"]), (2, &"too_short".into()), "{record}");
}

#[test]
fn a_missing_model_is_an_error_of_the_model() {
    let folder = folder();
    let ran = run(juror().current_dir(&folder).args(["score", "good.mp4", "--model", "no-such-model"]));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &record["kind"], &record["model"]), (2, &"model".into(), &Value::Null), "{record}");
    assert!(record["message"].as_str().unwrap().contains("no-such-model"), "{record}");
}

#[test]
fn paths_that_are_not_utf8_work() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let name = OsStr::from_bytes(b"caf\xe9.mp4");
    fs::rename(folder.path().join("good.mp4"), folder.path().join(name)).unwrap();
    let ran = run(juror().current_dir(&folder).args(["score", "--no-rationale"]).arg(name));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &record["video"]["path"]), (0, &"caf\u{fffd}.mp4".into()));

    let list = folder.path().join("list.txt");
    fs::write(&list, b"caf\xe9.mp4\r\n\ncaf\xe9.mp4").unwrap();
    let ran = run(juror().current_dir(&folder).args(["score", "--no-rationale", "--list", "list.txt"]));
    assert_eq!((ran.code, records(&ran).len()), (0, 2), "{}", ran.stderr);
}
