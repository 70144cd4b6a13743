//! The reference tables of scipy and choix: `ranking.json`, `metrics.json`. They are read from
//! `$JUROR_GOLDEN/grpo/` when that variable is set, else from the repository's copy.

use std::path::PathBuf;

use approx::assert_relative_eq;
use juror_stats::correlation::{Coefficients, ScorePairs};
use serde_json::Value;

fn table(name: &str) -> Value {
    let folder = std::env::var_os("JUROR_GOLDEN")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), PathBuf::from);
    let path = folder.join("grpo").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{e}: {}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn score_sets() -> Vec<(String, Value, ScorePairs)> {
    let metrics = table("metrics.json");
    let sets = metrics["sets"].as_object().unwrap();
    assert!(sets.len() >= 6);
    sets.iter()
        .map(|(name, set)| {
            let scores = ScorePairs::new(numbers(&set["predicted"]), numbers(&set["subjective"])).unwrap();
            (name.clone(), set.clone(), scores)
        })
        .collect()
}

#[test]
fn golden_raw_metrics() {
    for (name, set, scores) in score_sets() {
        println!("{name}");
        let raw = &set["raw"];
        let got = Coefficients::new(&scores);
        for (value, key) in
            [(got.srcc, "srcc"), (got.krcc, "krcc"), (got.plcc, "plcc"), (Some(got.rmse), "rmse")]
        {
            let want = raw[key].as_f64().unwrap();
            assert_relative_eq!(value.unwrap(), want, max_relative = 1e-8);
        }
    }
}
