//! Where results go: formats, files that appear only when complete, pipes that close, signals.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{folder, juror, names, records, run};

/// Scoring one small clip.
fn score(folder: &Path) -> Command {
    let mut command = juror();
    command.current_dir(folder).args(["score", "--no-rationale", "good.mp4"]);
    command
}

#[test]
fn every_format_holds_the_same_results() {
    let folder = folder();
    let write = |format| {
        let ran = run(score(folder.path()).args(["good.mp4", "missing.mp4", "--format", format]));
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        ran
    };
    let lines = records(&write("jsonl"));
    assert_eq!(lines.len(), 3);
    let array: Vec<Value> = serde_json::from_str(&write("json").stdout).unwrap();
    assert_eq!(array.len(), 3);
    assert_eq!(array[1]["score"], lines[1]["score"]);

    let csv = write("csv").stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| {
        rows[row][header.iter().position(|column| column == name).unwrap()].to_owned()
    };
    assert_eq!(rows.len(), 3);
    assert_eq!(cell(0, "score"), lines[0]["score"].to_string());
    assert_eq!(cell(0, "ci95.lo"), lines[0]["ci95"][0].to_string());
    assert_eq!((cell(2, "video.path"), cell(2, "kind")), ("missing.mp4".into(), "not_found".into()));

    let table = write("table").stdout;
    assert_eq!(table.lines().count(), 3, "a header and two rows:\n{table}");
    let score = lines[0]["score"].as_f64().unwrap();
    assert!(table.lines().nth(1).unwrap().contains(&format!("{score:.1}")), "{table}");
}

#[test]
fn one_input_gives_one_object_by_default() {
    let folder = folder();
    let record: Value = serde_json::from_str(&run(&mut score(folder.path())).stdout).unwrap();
    assert_eq!(record["type"], "score");
}

#[test]
fn an_output_file_appears_complete_and_alone() {
    let folder = folder();
    fs::write(folder.path().join("out.json"), "old").unwrap();
    let ran = run(score(folder.path()).args(["--output", "out.json"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    let written = fs::read_to_string(folder.path().join("out.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["type"], "score");
    assert_eq!(names(folder.path()), ["good.mp4", "out.json"]);
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_the_work() {
    let folder = folder();
    for place in ["no/such/folder/out.json", "."] {
        let ran = run(score(folder.path()).args(["--output", place]));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("cannot write"), "{}", ran.stderr);
    }
    assert_eq!(names(folder.path()), ["good.mp4"]);
}

#[test]
fn a_full_disk_is_told() {
    let folder = folder();
    let ran = run(score(folder.path()).args(["--output", "/dev/full"]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device(), "the device itself stays");

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = score(folder.path()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));

    // A file that grows beyond what it may: written beside its place, so that the old one stays whole.
    fs::write(folder.path().join("out.json"), "old").unwrap();
    let program = env!("CARGO_BIN_EXE_juror");
    let script =
        format!("trap '' XFSZ; ulimit -f 0; '{program}' score --no-rationale good.mp4 --output out.json");
    let output = Command::new("bash").current_dir(&folder).args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(folder.path().join("out.json")).unwrap(), "old");
    assert_eq!(names(folder.path()), ["good.mp4", "out.json"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = folder();
    for arguments in [&["man"][..], &["score", "--no-rationale", "good.mp4", "good.mp4"]] {
        let mut command = juror();
        command.current_dir(&folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_list_may_come_from_standard_input() {
    let folder = folder();
    let mut command = juror();
    command.current_dir(&folder).args(["compare", "--no-rationale", "--list", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"good.mp4\tgood.mp4\ngood.mp4\tgood.mp4\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), lines.lines().count()), (Some(0), 2));

    fs::write(folder.path().join("pairs.txt"), "good.mp4\n").unwrap();
    let ran = run(juror().current_dir(&folder).args(["compare", "--list", "pairs.txt"]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("line 1 is not two paths"), "{}", ran.stderr);
}

#[test]
fn ctrl_c_leaves_no_half_written_file() {
    let folder = folder();
    // Far more work than the test waits for.
    let list = "good.mp4\n".repeat(10_000);
    fs::write(folder.path().join("list.txt"), list).unwrap();
    let mut command = juror();
    command.current_dir(&folder).args(["score", "--list", "list.txt", "--output", "out.jsonl"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || names(folder.path()).iter().any(|name| name.starts_with(".juror-")));
    interrupt(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(folder.path()), ["good.mp4", "list.txt"]);
}

/// Waits for `condition` while `child` runs.
pub fn wait_until(child: &mut Child, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        assert!(begin.elapsed() < Duration::from_secs(60), "it hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What Ctrl-C does.
pub fn interrupt(child: &mut Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}
