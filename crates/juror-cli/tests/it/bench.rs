//! `juror bench`: the report it writes; no figure of it is asserted.

use serde_json::Value;

use crate::support::{juror, run};

#[test]
fn random_weights_are_timed_in_every_precision() {
    let ran = run(juror().args([
        "bench",
        "--random-weights",
        "--model",
        "llava-onevision",
        "--scale",
        "tiny",
        "--frames",
        "2",
        "--batches",
        "1,3",
        "--new-tokens",
        "2",
        "--context",
        "8",
        "--clips",
        "2",
        "--rounds",
        "1",
        "--precision",
        "f32,bf16,int8,int4",
        "--format",
        "json",
    ]));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stderr));
    assert_eq!((ran.code, &report["type"]), (0, &"bench".into()));
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    for run in runs {
        assert_eq!(run["decode"].as_array().unwrap().len(), 2);
        assert_eq!(run["decode"][1]["tokens"], 6);
        assert_eq!(run["rollouts"].as_array().unwrap().len(), 1, "a single row is no rollout");
        for part in
            [&run["vision"], &run["prefill"], &run["decode"][0], &run["decode"][1], &run["rollouts"][0]]
        {
            assert!(part["tokens_per_second"].as_f64().unwrap() > 0.0, "{run}");
        }
        // 16 tokens of a frame of 8 patches a side, and one line end.
        assert_eq!(run["vision"]["tokens"], 2 * 16 + 1);
        assert!(run["score"]["clips_per_second"].as_f64().unwrap() > 0.0);
    }
    let error = |i: usize| runs[i]["logits_error"].as_f64().unwrap();
    assert!(runs[0]["logits_error"].is_null());
    assert!(0.0 < error(1) && error(1) < error(2) && error(2) < error(3) && error(3) < 1.0, "{runs:?}");
    assert!(runs[3]["weights_bytes"].as_u64() < runs[2]["weights_bytes"].as_u64());
}

#[test]
fn a_model_that_is_here_scores_a_rendered_clip() {
    let ran = run(juror().args(["bench", "--rounds", "1", "--format", "table"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for part in ["decode", "vision", "language", "frames/s", "peak memory"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_is_told_before_it_is_built() {
    let ran = run(juror().args(["bench", "--model", "llama", "--random-weights"]));
    assert!(ran.code == 2 && ran.stderr.contains("qwen3-vl"), "{}", ran.stderr);
    let ran = run(juror().args(["bench", "--model", "qwen3-vl", "--scale", "tiny"]));
    assert!(ran.code == 2 && ran.stderr.contains("--random-weights"), "{}", ran.stderr);
}
