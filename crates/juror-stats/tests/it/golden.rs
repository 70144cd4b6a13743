//! The reference tables of scipy and choix: `ranking.json`, `metrics.json`. They are read from
//! `$JUROR_GOLDEN/grpo/` when that variable is set, else from the repository's copy.

use std::path::PathBuf;

use approx::assert_relative_eq;
use juror_stats::StatsError;
use juror_stats::correlation::{Coefficients, Logistic, ScorePairs};
use juror_stats::scaling::{ChoiceModel, ChoiceTable, scale_choices};
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

#[test]
fn golden_thurstone_and_bradley_terry_map() {
    let cases = table("ranking.json")["cases"].as_object().unwrap().clone();
    assert!(cases.len() >= 11);
    for (name, case) in &cases {
        let counts: Vec<Vec<f64>> = case["counts"].as_array().unwrap().iter().map(numbers).collect();
        let counts = ChoiceTable::from_matrix(&counts).unwrap();
        for (model, key) in
            [(ChoiceModel::Thurstone, "thurstone_map"), (ChoiceModel::BradleyTerry, "bradley_terry_map")]
        {
            for (lambda, want) in case[key].as_object().unwrap() {
                println!("{name} {key} {lambda}");
                let fit = scale_choices(&counts, model, lambda.parse().unwrap()).unwrap();
                for (got, want) in fit.scale.scores.iter().zip(numbers(&want["scores"])) {
                    assert_relative_eq!(*got, want, epsilon = 1e-8);
                }
                assert_relative_eq!(fit.objective, want["objective"].as_f64().unwrap(), epsilon = 1e-8);
                for (item, want) in numbers(&want["std"]).into_iter().enumerate() {
                    assert_relative_eq!(fit.posterior_std(item).unwrap(), want, epsilon = 1e-8);
                }
            }
        }
    }
}

/// The maximum likelihood of Bradley-Terry exists exactly where choix's ILSR has one, and is the same.
#[test]
fn golden_bradley_terry_without_prior() {
    for (name, case) in table("ranking.json")["cases"].as_object().unwrap() {
        println!("{name}");
        let counts: Vec<Vec<f64>> = case["counts"].as_array().unwrap().iter().map(numbers).collect();
        let fit = scale_choices(&ChoiceTable::from_matrix(&counts).unwrap(), ChoiceModel::BradleyTerry, 0.0);
        match case["bradley_terry_mle_choix_ilsr"].as_array() {
            Some(_) => {
                // ILSR stops at 1e-8 of its own.
                for (got, want) in
                    fit.unwrap().scale.scores.iter().zip(numbers(&case["bradley_terry_mle_choix_ilsr"]))
                {
                    assert_relative_eq!(*got, want, epsilon = 1e-6);
                }
            }
            None if case["strong_components"].as_u64().unwrap() > 1 => match name.as_str() {
                // Pieces without contact have finite scores each; an undefeated item has none.
                "disconnected_5" | "item_never_compared_4" => {
                    assert!(fit.unwrap().scale.components.count() == 2)
                }
                _ => assert!(matches!(fit.err(), Some(StatsError::Unbounded { .. }))),
            },
            None => assert!(fit.is_ok()),
        }
    }
}

#[test]
fn golden_logistic_fits() {
    for (name, set, scores) in score_sets() {
        for (key, fit) in [
            ("logistic4", Logistic::fit_four(&scores).unwrap()),
            ("logistic4_start_std", Logistic::fit_four(&scores).unwrap()),
            ("logistic5", Logistic::fit_five(&scores).unwrap()),
        ] {
            let want = &set[key];
            // Optima at infinity, on the way to which the reference stopped (its table says so of the first).
            let tolerance = match (name.as_str(), key) {
                ("ties_small", "logistic4" | "logistic4_start_std") => 1e-4,
                ("nearly_linear", "logistic5") => 1e-5,
                ("non_monotone", "logistic5") => 2e-4,
                _ => 1e-6,
            };
            assert!(fit.sum_of_squares(&scores) <= want["sum_of_squares"].as_f64().unwrap() * (1.0 + 1e-8));
            let figure = |key: &str| want[key].as_f64().unwrap();
            println!("{name} {key}: {fit:?} {} {}", fit.sum_of_squares(&scores), figure("sum_of_squares"));
            assert_relative_eq!(
                fit.sum_of_squares(&scores),
                figure("sum_of_squares"),
                max_relative = tolerance
            );
            let mapped = Coefficients::new(&fit.mapped(&scores));
            assert_relative_eq!(mapped.plcc.unwrap(), figure("plcc"), max_relative = tolerance);
            assert_relative_eq!(mapped.rmse, figure("rmse"), max_relative = tolerance);
            let well_determined = match name.as_str() {
                "saturating" => true,
                "non_monotone" | "outliers" | "inverted" => key != "logistic5",
                _ => false,
            };
            if well_determined {
                let parameters = match &fit {
                    Logistic::Four(b) => b.as_slice(),
                    Logistic::Five(b) => b.as_slice(),
                };
                for (k, (got, want)) in parameters.iter().zip(numbers(&want["parameters"])).enumerate() {
                    // b4 of the 4-parameter form enters through its absolute value.
                    let want = if k == 3 && parameters.len() == 4 { want.abs() } else { want };
                    assert_relative_eq!(*got, want, max_relative = 1e-5);
                }
            }
        }
    }
}
