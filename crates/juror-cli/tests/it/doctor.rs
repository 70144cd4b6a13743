//! `juror doctor`.

use serde_json::Value;

use crate::support::{juror, run};

#[test]
fn the_report_tells_of_this_machine() {
    let ran = run(juror().args(["doctor", "--format", "json"]));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let decoder = |name: &str| {
        let decoders = report["ffmpeg"]["decoders"].as_array().unwrap();
        decoders.iter().find(|codec| codec["name"] == name).unwrap()["by"].clone()
    };
    assert_eq!(decoder("H.264"), "h264");
    assert!(report["ffmpeg"]["libavcodec"].as_str().unwrap().split('.').count() == 3);
    assert!(report["cpu"]["threads"].as_u64().unwrap() >= 1);
    assert_eq!(report["models"][0]["name"], "nano");
    assert_eq!(report["models"][0]["sha256"].as_str().unwrap().len(), 64);
    let missing = report["missing"].as_array().unwrap();
    assert_eq!(ran.code, if missing.is_empty() { 0 } else { 1 });
    for missing in missing {
        assert!(missing["way_out"].as_str().unwrap().contains("apt-get install"), "{missing}");
    }
}

#[test]
fn the_table_names_every_part() {
    let ran = run(juror().args(["doctor", "--format", "table"]));
    for part in ["juror", "FFmpeg", "reads", "encodes", "CPU", "memory", "models", "missing"] {
        assert!(ran.stdout.lines().any(|line| line.starts_with(part)), "no {part} in\n{}", ran.stdout);
    }
}
