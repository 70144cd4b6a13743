//! `juror pairs` and `juror label`: sets that come out the same whatever happens on the way, and input of every kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{ffmpeg, folder, is_root, juror, names, records, render, run};

/// Small and quick: two videos, two scenes, two distortions of each at three levels.
const CONFIG: &str = r#"
run_dir = "set"
seed = 3
[sources]
videos = ["videos"]
scenes = 2
max_secs = 0.5
max_frames = 14
short_side = 80
[versions]
families = 2
levels = [2.0, 3.5, 5.0]
kinds = ["gaussian-blur", "jpeg", "stutter", "h264"]
[choice]
pairs = 80
student = "nano"
"#;

/// A folder with `pairs.toml` and two videos.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let videos = folder.path().join("videos");
    fs::create_dir(&videos).unwrap();
    render("160x120", "-t 0.5 -crf 12", &videos.join("zoom one.mp4"));
    ffmpeg(
        &["-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25"],
        "-t 0.6 -c:v mpeg4 -q:v 2",
        &videos.join("test.avi"),
    );
    fs::write(folder.path().join("pairs.toml"), CONFIG).unwrap();
    folder
}

fn pairs(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = juror();
    command.current_dir(folder).args(["pairs", "--config", "pairs.toml"]).args(arguments);
    if !arguments.contains(&"--threads") {
        command.args(["--threads", "2"]);
    }
    command
}

/// The files of a finished set and its clips, by content.
fn contents(set: &Path) -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = names(set)
        .iter()
        .filter(|name| name.contains("pairs.") || name.ends_with(".json") || name.ends_with(".html"))
        .map(PathBuf::from)
        .collect();
    for shelf in names(&set.join("clips")) {
        let clips = names(&set.join("clips").join(&shelf));
        files.extend(clips.iter().map(|name| Path::new("clips").join(&shelf).join(name)));
    }
    let hash = |file: &PathBuf| format!("{:x?}", Sha256::digest(fs::read(set.join(file)).unwrap()));
    files
        .into_iter()
        .map(|file| {
            let sum = hash(&file);
            (file, sum)
        })
        .collect()
}

fn rows(set: &Path) -> Vec<Value> {
    let text = fs::read_to_string(set.join("pairs.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_set_holds_what_it_promises_and_is_made_once() {
    let folder = workplace();
    let set = folder.path().join("set");
    let estimate = run(&mut pairs(folder.path(), &["--dry-run"]));
    let cost: Value = serde_json::from_str(&estimate.stdout).unwrap();
    assert_eq!((estimate.code, cost["videos"].as_u64()), (0, Some(30)), "{}", estimate.stderr);
    assert!(cost["seconds"].as_f64().unwrap() > 0.0 && cost["clip_bytes"].as_u64().unwrap() > 1000, "{cost}");
    assert!(!set.exists(), "a dry run leaves nothing");

    let ran = run(&mut pairs(folder.path(), &[]));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, record["type"].as_str()), (0, Some("pair_set")), "{}", ran.stderr);
    assert!(record["severity_agreement"]["panel"].as_f64().unwrap() > 0.9, "{record}");
    let rows = rows(&set);
    assert_eq!(record["pairs"].as_u64(), Some(rows.len() as u64));
    let mut better = 0;
    for row in &rows {
        let margin = row["margin"].as_f64().unwrap();
        let prefer = row["prefer"].as_str().unwrap();
        assert!(
            match prefer {
                "a" => margin > 0.0,
                "b" => margin < 0.0,
                _ => margin.abs() < 0.05,
            },
            "{row}"
        );
        better += i32::from(margin > 0.0) - i32::from(margin < 0.0);
        for side in ["a", "b"] {
            let path = row[side].as_str().unwrap();
            let path = if path.starts_with("clips/") { set.join(path) } else { folder.path().join(path) };
            let sha256: String =
                Sha256::digest(fs::read(&path).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(row[format!("{side}_sha256")].as_str(), Some(sha256.as_str()));
        }
        if row["source"] == "severity" {
            assert_eq!(row["a_source"], row["b_source"]);
            assert_ne!(row["level"], "similar", "{row}");
            assert!(row["text"].as_str().unwrap().contains(row["level"].as_str().unwrap()), "{row}");
        }
    }
    assert!(better.abs() <= 12, "as many pairs have the better video first: {better}");
    let sources: Vec<&str> = record["by_source"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(["severity", "distortion", "content", "real"].iter().all(|s| sources.contains(s)), "{sources:?}");
    let manifest: Value = serde_json::from_slice(&fs::read(set.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["sources"].as_array().unwrap().len(), 4);
    assert!(fs::read_to_string(set.join("report.html")).unwrap().contains("</svg>"));
    assert!(fs::read(set.join("pairs.parquet")).unwrap().starts_with(b"PAR1"));

    // Clocks that jump change nothing, and nothing is made twice.
    let before = contents(&set);
    let clip = set.join(&before.last().unwrap().0);
    let made = fs::metadata(&clip).unwrap().modified().unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
    fs::File::options()
        .write(true)
        .open(folder.path().join("videos/test.avi"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(run(&mut pairs(folder.path(), &[])).code, 0);
    assert!(contents(&set) == before, "a second run gives the same bytes");
    assert_eq!(fs::metadata(&clip).unwrap().modified().unwrap(), made);

    // Another thread count and a cache that holds next to nothing: the same pairs.
    let small =
        run(&mut pairs(folder.path(), &["--run-dir", "small", "--threads", "1", "--cache-gib", "1e-6"]));
    assert_eq!(small.code, 0, "{}", small.stderr);
    assert!(small.stderr.contains("clips of the set are not kept"), "{}", small.stderr);
    let lines = |set: &str| fs::read(folder.path().join(set).join("pairs.jsonl")).unwrap();
    assert!(lines("small") == lines("set"));
    let restored = run(&mut pairs(folder.path(), &["--run-dir", "small"]));
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert!(
        !restored.stderr.contains("not what it was") && !restored.stderr.contains("not kept"),
        "{}",
        restored.stderr
    );
    assert!(
        rows.iter()
            .flat_map(|row| [&row["a"], &row["b"]])
            .map(|path| path.as_str().unwrap())
            .all(|path| !path.starts_with("clips/") || folder.path().join("small").join(path).is_file())
    );
}

/// `JUROR_KILLS` says how often; scripts/check-pairs.sh says 20.
#[test]
#[cfg(unix)]
fn a_run_that_is_killed_again_and_again_gives_the_same_bytes() {
    let kills: usize = std::env::var("JUROR_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let folder = workplace();
    let begin = Instant::now();
    assert_eq!(run(&mut pairs(folder.path(), &["--quiet"])).code, 0);
    let whole = begin.elapsed();
    let undisturbed = contents(&folder.path().join("set"));
    fs::rename(folder.path().join("set"), folder.path().join("undisturbed")).unwrap();
    let set = folder.path().join("set");
    let assert_whole = || {
        assert!(contents(&set) == undisturbed);
        let leftovers: Vec<String> = names(&set).into_iter().filter(|n| n.ends_with(".part")).collect();
        assert!(leftovers.is_empty(), "{leftovers:?}");
    };
    let mut state = u64::from(std::process::id());
    let (mut told, mut finished) = (Vec::new(), 0);
    while told.len() < kills {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = whole.mul_f64((state >> 40) as f64 / (1u64 << 24) as f64);
        let mut command = pairs(folder.path(), &["--quiet"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        if child.try_wait().unwrap().is_some() {
            // What earlier kills left needed less time than that: the next one begins anew.
            assert_whole();
            fs::remove_dir_all(&set).unwrap();
            finished += 1;
            assert!(finished < 5 * kills, "runs end too soon to be killed");
            continue;
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        told.push(format!("{:.2} s", moment.as_secs_f64()));
    }
    let ran = run(&mut pairs(folder.path(), &["--quiet"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_whole();
    eprintln!(
        "killed after {} of {:.2} s; {} runs came to an end",
        told.join(", "),
        whole.as_secs_f64(),
        finished + 1
    );
}

#[test]
#[cfg(unix)]
fn odd_files_are_left_out_with_a_reason_and_cost_the_others_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let folder = workplace();
    let videos = folder.path().join("videos");
    let good = fs::read(videos.join("zoom one.mp4")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9 \"quoted\" and\nmore.mp4");
    ffmpeg(
        &["-f", "lavfi", "-i", "life=size=160x120:mold=10:rate=25:seed=5"],
        "-t 0.5 -crf 20",
        &videos.join("plain.mp4"),
    );
    fs::rename(videos.join("plain.mp4"), videos.join(odd)).unwrap();
    render("120x90", "-t 0.5 -crf 32", &videos.join("recoded.mp4"));
    let barred = "scale=160:40,pad=160:120:0:40";
    ffmpeg(
        &["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-vf", barred],
        "-t 0.6",
        &videos.join("barred.mp4"),
    );
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "cellauto=size=160x120:rate=25:rule=110:seed=3",
            "-vf",
            "setparams=color_primaries=bt2020:colorspace=bt2020nc",
        ],
        "-t 0.6 -c:v libx264 -pix_fmt yuv420p -color_primaries bt2020 -colorspace bt2020nc",
        &videos.join("hdr.mp4"),
    );
    fs::write(videos.join("copy.mp4"), &good).unwrap();
    fs::write(videos.join("empty.mp4"), "").unwrap();
    fs::write(videos.join("text.mkv"), "once upon a time").unwrap();
    fs::write(videos.join("cut.mp4"), &good[..good.len() / 3]).unwrap();
    let noise: Vec<u8> = (0..60_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(videos.join("malicious.mp4"), [&good[..200], &noise].concat()).unwrap();
    let source = "testsrc2=size=128x96:rate=25";
    let key = "-encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8";
    ffmpeg(
        &["-f", "lavfi", "-i", source],
        &format!("-t 0.6 -c:v libx264 {key}"),
        &videos.join("encrypted.mp4"),
    );
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=size=32x32:rate=25"], "-t 1", &videos.join("tiny.mp4"));
    ffmpeg(&["-f", "lavfi", "-i", source], "-frames:v 3", &videos.join("short.mp4"));
    ffmpeg(&["-f", "lavfi", "-i", "color=size=128x96:rate=25"], "-t 0.6", &videos.join("static.mp4"));
    let fifo = videos.join("endless.mp4");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", videos.join("zero.mp4")).unwrap();
    std::os::unix::fs::symlink(&videos, videos.join("loop")).unwrap();
    let huge = fs::File::create(videos.join("huge.mp4")).unwrap();
    huge.set_len(80 << 30).unwrap(); // a hole: takes no disk
    let ran = run(&mut pairs(folder.path(), &["--format", "json"]));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let reason = |name: &str| {
        let rejects = record["rejects"].as_array().unwrap();
        let found = rejects.iter().find(|reject| reject["path"].as_str().unwrap().ends_with(name));
        found.map(|reject| {
            format!("{}: {}", reject["kind"].as_str().unwrap(), reject["message"].as_str().unwrap())
        })
    };
    for (name, told) in [
        ("zoom one.mp4", "duplicate"), // its copy comes first
        ("empty.mp4", ""),
        ("text.mkv", "not_video"),
        ("cut.mp4", ""),
        ("malicious.mp4", ""),
        ("encrypted.mp4", ""),
        ("tiny.mp4", "64 pixels a side"),
        ("short.mp4", "3 frames"),
        ("static.mp4", "static: no frame changes"),
        ("recoded.mp4", "near_duplicate: it shows the same as copy.mp4"),
        ("barred.mp4", "only 34 % of the area"),
        ("hdr.mp4", "hdr_untagged"),
        ("endless.mp4", "not a regular file"),
        ("zero.mp4", "not a regular file"),
        ("huge.mp4", "too_large"),
    ] {
        let reason = reason(name).unwrap_or_else(|| panic!("{name} was used: {record}"));
        assert!(reason.contains(told), "{name}: {reason}");
    }
    assert_eq!(record["sources"].as_u64(), Some(5), "three videos and two scenes: {record}");
    // The name that no JSON can hold stands in the set through a link.
    let linked = rows(&folder.path().join("set"))
        .iter()
        .flat_map(|row| [row["a"].clone(), row["b"].clone()])
        .find(|path| path.as_str().unwrap().starts_with("originals/"));
    let linked = folder.path().join("set").join(linked.expect("in some pair").as_str().unwrap());
    assert_eq!(fs::read(linked).unwrap(), fs::read(videos.join(odd)).unwrap());
}

#[test]
fn files_are_selected_by_what_they_measure() {
    let folder = workplace();
    let videos = folder.path().join("videos");
    // Six dark videos of one kind beside two of middling light. The seeds are given: FFmpeg would draw others every time.
    for index in 1..=6 {
        let source = format!("life=mold=9:seed={index}");
        let source = format!("{source}:size=128x96:rate=25");
        ffmpeg(
            &["-f", "lavfi", "-i", &source, "-vf", "lutyuv=y=val*0.3"],
            "-t 0.5 -crf 14",
            &videos.join(format!("dark {index}.mp4")),
        );
    }
    let dry = run(&mut pairs(folder.path(), &["--select", "4", "--dry-run"]));
    assert!(dry.stdout.contains("\"sources\": 6") || dry.stdout.contains("\"sources\":6"), "{}", dry.stdout);
    let ran = run(&mut pairs(folder.path(), &["--select", "4"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("4 of 8 files were selected"), "{}", ran.stderr);
    let used = |set: &str| -> Vec<(String, f64)> {
        let mut table = csv::Reader::from_path(folder.path().join(set).join("sources.csv")).unwrap();
        let headers = table.headers().unwrap().clone();
        let at = |name: &str| headers.iter().position(|h| h == name).unwrap();
        let (file, is_used, luminance) = (at("file"), at("used"), at("luminance"));
        table
            .records()
            .map(Result::unwrap)
            .filter(|row| &row[is_used] == "yes")
            .map(|row| (row[file].to_owned(), row[luminance].parse().unwrap()))
            .collect()
    };
    let even = used("set");
    assert_eq!(even.len(), 4);
    for bright in ["zoom one.mp4", "test.avi"] {
        assert!(
            even.iter().any(|(file, _)| file.ends_with(bright)),
            "an even spread needs {bright}: {even:?}"
        );
    }
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.path().join("set/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["sources"].as_array().unwrap().len(), 6, "four files and two scenes");
    assert!(
        fs::read_to_string(folder.path().join("set/report.html"))
            .unwrap()
            .contains("Luminance of the sources")
    );

    // A table with only the dark ones in it wants dark ones.
    let table = fs::read_to_string(folder.path().join("set/sources.csv")).unwrap();
    let dark: String = table
        .lines()
        .filter(|line| line.starts_with("file") || line.contains("dark"))
        .map(|line| line.replace(",no,not selected,", ",yes,,") + "\n")
        .collect();
    fs::write(folder.path().join("dark.csv"), dark).unwrap();
    let ran = run(&mut pairs(folder.path(), &["--run-dir", "dark", "--select", "4", "--like", "dark.csv"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(used("dark").iter().all(|(file, _)| file.contains("dark")), "{:?}", used("dark"));

    for (content, told) in [("file,luminance\na,1\n", "blockiness"), ("", "no column")] {
        fs::write(folder.path().join("broken.csv"), content).unwrap();
        let ran =
            run(&mut pairs(folder.path(), &["--run-dir", "dark", "--select", "4", "--like", "broken.csv"]));
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(told) && ran.stderr.contains("broken.csv"), "{}", ran.stderr);
    }
}

#[test]
fn wrong_configurations_and_a_second_run_are_refused() {
    let folder = workplace();
    let set = folder.path().join("set");
    fs::create_dir(&set).unwrap();
    let lock = fs::File::create(set.join("lock")).unwrap();
    lock.lock().unwrap();
    let ran = run(&mut pairs(folder.path(), &[]));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("another run is at work in set"), "{}", ran.stderr);
    drop(lock);
    fs::write(
        set.join("state.sqlite"),
        "no database, but a text that is long enough to look like one. ".repeat(20),
    )
    .unwrap();
    let ran = run(&mut pairs(folder.path(), &[]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("in the state set"), "{}", ran.stderr);

    for (line, told) in [
        ("levels = [2.0, 3.5, 5.0]", "levels = [3.0, 2.0]"),
        ("scenes = 2", "scenery = 2"),
        ("max_frames = 14", "max_frames = 3"),
        ("\"jpeg\"", "\"sparkle\""),
        ("student = \"nano\"", "student = \"nobody\""),
    ]
    .map(|(from, to)| (CONFIG.replacen(from, to, 1), to))
    {
        assert_ne!(line, CONFIG);
        fs::write(folder.path().join("pairs.toml"), line).unwrap();
        let ran = run(&mut pairs(folder.path(), &["--run-dir", "other"]));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{told}");
        let word = told.split(['"', ' ']).find(|word| word.len() > 3).unwrap();
        assert!(
            ran.stderr.contains(word) || ran.stderr.contains("sparkle") || ran.stderr.contains("nobody"),
            "{told}: {}",
            ran.stderr
        );
    }
    let ran = run(juror().current_dir(folder.path()).args(["pairs", "--run-dir", "none"]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no source"), "{}", ran.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_ends_the_run_and_the_next_one_goes_on() {
    let folder = workplace();
    assert_eq!(run(&mut pairs(folder.path(), &["--quiet"])).code, 0);
    let set = folder.path().join("set");
    let undisturbed = contents(&set);
    fs::rename(&set, folder.path().join("undisturbed")).unwrap();
    fs::create_dir(&set).unwrap();
    let mount = |options: &str| {
        let ran = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&set).output();
        is_root() && ran.is_ok_and(|ran| ran.status.success())
    };
    if !mount("size=400k") {
        eprintln!("SKIPPED: a small disk cannot be mounted here");
        return;
    }
    let ran = run(&mut pairs(folder.path(), &["--quiet"]));
    let resized = mount("remount,size=200m");
    let again = run(&mut pairs(folder.path(), &["--quiet"]));
    let disturbed = contents(&set);
    let unmounted = Command::new("umount").arg(&set).status().unwrap().success();
    assert!(resized && unmounted);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("space") || ran.stderr.contains("full"), "{}", ran.stderr);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(disturbed == undisturbed);
}

#[test]
#[cfg(unix)]
fn judges_that_go_wrong_are_left_out_and_no_label_is_lost() {
    let folder = workplace();
    // Says how large the file is: another scale, more is better.
    let sizes = r#"while read -r line; do id=${line#*:}; id=${id%%,*}; f=${line#*video\":\"}; f=${f%%\",*}; echo "{\"id\":$id,\"score\":$(wc -c < "$f")}"; done"#;
    fs::write(folder.path().join("sizes.sh"), sizes).unwrap();
    let mut command = pairs(folder.path(), &["--external-timeout", "5", "--external", "sh sizes.sh"]);
    command.args(["--external", "false", "--external", "echo nonsense", "--pairs", "40"]);
    let ran = run(&mut command);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for told in ["judge false gave no score of", "it was not asked any more", "judge echo is left out"] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    let judges = record["judges"].as_array().unwrap();
    let left_out: Vec<bool> = judges.iter().map(|judge| judge["left_out"].is_string()).collect();
    assert_eq!(left_out, [false, false, false, false, true, true], "{record}");
    assert!(judges[3]["mapping"]["logistic"].is_array(), "{record}");

    let slow = run(juror().current_dir(&folder).args([
        "label",
        "videos/zoom one.mp4",
        "--external",
        "sleep 100",
        "--external-timeout",
        "0.2",
    ]));
    let record: Value = serde_json::from_str(&slow.stdout).unwrap();
    assert_eq!((slow.code, record["type"].as_str()), (0, Some("label")), "{}", slow.stderr);
    assert!(slow.stderr.contains("no answer in 0.2 s"), "{}", slow.stderr);
    assert_eq!(record["score"], record["judges"][0]["raw"], "nano alone");
}

#[test]
fn labels_come_with_variance_and_levels_and_go_on_after_a_stop() {
    let folder = folder();
    render("320x180", "-t 0.8 -crf 45", &folder.path().join("bad.mp4"));
    fs::write(folder.path().join("text.mp4"), "no video").unwrap();
    let arguments = ["label", "good.mp4", "bad.mp4", "text.mp4", "--pairs", "--state", "state"];
    let ran = run(juror().current_dir(&folder).args(arguments));
    let records = records(&ran);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let types: Vec<&str> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["label", "label", "error", "pair"]);
    let pair = &records[3];
    assert_eq!((pair["prefer"].as_str(), pair["a"].as_str()), (Some("a"), Some("good.mp4")), "{pair}");
    let margin = records[0]["score"].as_f64().unwrap() - records[1]["score"].as_f64().unwrap();
    assert!((pair["margin"].as_f64().unwrap() - margin).abs() < 1e-12 && margin > 0.0);
    let scored = run(juror().current_dir(&folder).args(["score", "good.mp4", "--no-rationale"]));
    let scored: Value = serde_json::from_str(&scored.stdout).unwrap();
    assert_eq!(scored["score"], records[0]["score"]);
    let again = run(juror().current_dir(&folder).args(arguments));
    assert_eq!(again.stdout, ran.stdout);

    // Ratings give another scale: eleven anchors hold the logistic.
    let mut ratings = "video,mos\n".to_owned();
    let mut videos = Vec::new();
    for step in 0..11 {
        let name = format!("rung{step}.mp4");
        render("160x90", &format!("-t 0.5 -crf {}", 18 + 3 * step), &folder.path().join(&name));
        ratings += &format!("{name},{}\n", 4.8 - 0.3 * f64::from(step));
        videos.push(name);
    }
    fs::write(folder.path().join("ratings.csv"), ratings).unwrap();
    let mut command = juror();
    command.current_dir(&folder).arg("label").args(&videos).args([
        "--anchors",
        "ratings.csv",
        "--judge",
        "nano",
    ]);
    let ran = run(command.args(["--judge", "psnr", "--reference", "rung0.mp4"]));
    let labels = crate::support::records(&ran);
    assert_eq!((ran.code, labels.len()), (0, 11), "{}", ran.stderr);
    let (first, last) = (labels[0]["score"].as_f64().unwrap(), labels[10]["score"].as_f64().unwrap());
    assert!((4.2..=5.0).contains(&first) && (1.0..=2.4).contains(&last), "{first} to {last}");
    assert!(labels.iter().all(|label| label["variance"].is_number()));
}

#[test]
fn classical_judges_see_their_own_fault() {
    let folder = folder();
    let distort = |chain: &str, name: &str| {
        let ran = run(juror().current_dir(&folder).args(["distort", "good.mp4", name, "--chain", chain]));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    };
    distort("gaussian-blur:4", "blurred.mp4");
    distort("mjpeg:5", "blocky.mp4");
    let raw = |judge: &str, name: &str| {
        let ran =
            run(juror().current_dir(&folder).args(["label", name, "--judge", judge, "--judge", "nano"]));
        let record: Value = serde_json::from_str(&ran.stdout).unwrap();
        let judges = record["judges"].as_array().unwrap();
        let own = judges.iter().find(|entry| entry["name"] == judge).unwrap();
        own["raw"].as_f64().unwrap_or_else(|| panic!("{judge} of {name}: {record} {}", ran.stderr))
    };
    assert!(raw("cpbd", "blurred.mp4") < 0.5 * raw("cpbd", "good.mp4"), "blurred edges are not sharp");
    assert!(raw("blockiness", "blocky.mp4") > 1.2 * raw("blockiness", "good.mp4"));
    assert!(raw("niqe", "good.mp4") > 1.0, "a rendered zoom is not natural");
}
