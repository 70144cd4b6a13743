//! `juror distort`: files that FFmpeg can read, and none where it fails.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::output::{interrupt, wait_until};
use crate::support::{filters, folder, juror, names, render, run};

/// `key=value` lines of what `ffprobe` says of the video stream, for these entries.
fn probe(file: &Path, entries: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "default=nw=1"]);
    let output = command.args(["-show_entries", &format!("stream={entries}")]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_kinds_are_listed_one_a_line() {
    let ran = run(juror().args(["distort", "--list-kinds"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for kind in ["gaussian-blur", "h264", "hevc", "stutter", "freeze", "shake", "flicker"] {
        assert!(ran.stdout.lines().any(|line| line == kind), "{kind} is missing in\n{}", ran.stdout);
    }
    let levels = run(juror().args(["distort", "--list-levels"])).stdout;
    let blur = levels.lines().find(|line| line.starts_with("gaussian-blur ")).unwrap();
    assert!(blur.split_whitespace().skip(1).take(5).eq(["0.1", "0.5", "1", "2", "5"]), "{blur}");
    assert_eq!(levels.lines().count(), ran.stdout.lines().count());
}

#[test]
fn an_encode_keeps_size_and_frames() {
    let folder = folder();
    let mut command = juror();
    command.current_dir(&folder).args(["distort", "good.mp4", "bad.mp4", "--kind", "h264", "--level", "4"]);
    let ran = run(&mut command);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let entries = "codec_name,width,height,nb_read_frames";
    let (good, bad) = (folder.path().join("good.mp4"), folder.path().join("bad.mp4"));
    assert_eq!(probe(&bad, entries), probe(&good, entries));
    assert!(fs::metadata(&bad).unwrap().len() < fs::metadata(&good).unwrap().len() / 2);
    assert_eq!(names(folder.path()), ["bad.mp4", "good.mp4"]);
}

#[test]
fn chains_and_windows_work_and_the_same_seed_gives_the_same_file() {
    let folder = folder();
    let distort = |output: &str| {
        let mut command = juror();
        command.current_dir(&folder).args(["distort", "good.mp4", output, "--chain", "noise:3,stutter:2.5"]);
        let ran = run(command.args(["--seed", "7", "--start", "0.2", "--end", "0.6", "--quiet"]));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        fs::read(folder.path().join(output)).unwrap()
    };
    assert!(distort("one.mp4") == distort("two.mp4"), "the files differ");
    let frames = probe(&folder.path().join("one.mp4"), "nb_read_frames");
    let frames: u32 = frames.trim().rsplit('=').next().unwrap().parse().unwrap();
    assert!((10..=14).contains(&frames), "{frames} frames of 0.4 s at 30 a second");
}

#[test]
fn failures_leave_no_file_and_name_what_was_typed() {
    let folder = folder();
    fs::write(folder.path().join("text.txt"), "no video").unwrap();
    fs::write(folder.path().join("kept.mp4"), "old").unwrap();
    let before = names(folder.path());
    let _filters = filters(folder.path());
    let mut told = String::new();
    for (input, output) in [
        ("missing.mp4", "kept.mp4"),
        ("text.txt", "out.mp4"),
        ("good.mp4", "good.mp4"),
        ("good.mp4", "out.xyz"),
        ("good.mp4", "no/such/folder/out.mp4"),
        ("good.mp4", "/dev/full"),
    ] {
        let mut command = juror();
        command.current_dir(&folder).args([
            "distort",
            input,
            output,
            "--kind",
            "gaussian-blur",
            "--level",
            "2",
        ]);
        let ran = run(&mut command);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(!ran.stderr.contains(".juror-"), "{}", ran.stderr);
        told += &ran.stderr;
    }
    assert_eq!(names(folder.path()), before);
    assert_eq!(fs::read_to_string(folder.path().join("kept.mp4")).unwrap(), "old");
    insta::assert_snapshot!(told);
}

#[test]
fn a_full_disk_leaves_no_file() {
    let folder = folder();
    let program = env!("CARGO_BIN_EXE_juror");
    let script =
        format!("trap '' XFSZ; ulimit -f 8; '{program}' distort good.mp4 out.mp4 --kind noise --level 5");
    let output = Command::new("bash").current_dir(&folder).args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(folder.path()), ["good.mp4"]);
}

#[test]
fn ctrl_c_leaves_no_file() {
    let folder = folder();
    render("1280x720", "-t 2.8", &folder.path().join("large.mp4"));
    let mut command = juror();
    command.current_dir(&folder).args(["distort", "large.mp4", "out.mp4", "--chain", "noise:3,hevc:1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || names(folder.path()).iter().any(|name| name.starts_with(".juror-")));
    interrupt(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(folder.path()), ["good.mp4", "large.mp4"]);
}
