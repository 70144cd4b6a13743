//! Published predictions and human choices, kept outside the repository (`../shared/ratings`): they are not ours to
//! ship. The tests say so and pass over when the tables are absent.

use std::path::PathBuf;

use approx::assert_relative_eq;
use juror_stats::correlation::{Coefficients, ScorePairs};
use juror_stats::scaling::{ChoiceModel, ChoiceTable, Choices, scale_choices};

/// `shared/ratings/<file>` in the folder that holds the repository, or further up.
fn find(file: &str) -> Option<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().map(|folder| folder.join("shared/ratings").join(file)).find(|path| path.is_file())
}

/// The table as rows of columns `names`, or `None` (said aloud) when it is absent.
fn columns(file: &str, names: &[&str]) -> Option<Vec<Vec<String>>> {
    let Some(path) = find(file) else {
        eprintln!("SKIPPED: no shared/ratings/{file} beside the repository");
        return None;
    };
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let at: Vec<usize> = names.iter().map(|n| header.iter().position(|h| h == *n).unwrap()).collect();
    Some(
        reader
            .records()
            .map(|r| {
                let r = r.unwrap();
                at.iter().map(|&i| r[i].to_owned()).collect()
            })
            .collect(),
    )
}

fn z_scores(values: Vec<f64>) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.into_iter().map(|v| (v - mean) / std).collect()
}

/// DOVER's fusion of its two branches, as the authors publish it.
fn dover(file: &str) -> Option<Coefficients> {
    let rows = columns(file, &["mos", "technical", "aesthetic"])?;
    let column = |k: usize| rows.iter().map(|r| r[k].parse::<f64>().unwrap()).collect::<Vec<_>>();
    let fused =
        z_scores(column(1)).iter().zip(z_scores(column(2))).map(|(t, a)| 0.572 * t + 0.428 * a).collect();
    Some(Coefficients::new(&ScorePairs::new(fused, column(0)).unwrap()))
}

#[test]
fn dover_on_konvid_and_live_vqc_reproduces_the_published_figures() {
    for (file, srcc, plcc) in [
        ("konvid1k_dover_predictions.csv", 0.8829, 0.8831),
        ("live_vqc_dover_predictions.csv", 0.8312, 0.8539),
    ] {
        let Some(got) = dover(file) else { continue };
        let four_digits = |v: Option<f64>| (v.unwrap() * 1e4).round() / 1e4;
        assert_eq!((four_digits(got.srcc), four_digits(got.plcc)), (srcc, plcc), "{file}");
    }
}

#[test]
fn tone_mapping_trials_scale_as_scipy_and_choix_scale_them() {
    let names = ["scene", "condition_A", "condition_B", "is_A_selected"];
    let Some(rows) = columns("tone_mapping_pairs.csv", &names) else { return };
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tone_mapping_scores.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let mut trials = 0;
    for (scene, want) in golden["scenes"].as_object().unwrap() {
        let conditions: Vec<&str> =
            want["conditions"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        let place = |name: &str| conditions.iter().position(|c| *c == name).unwrap();
        let choices: Vec<Choices> = (rows.iter().filter(|r| r[0] == *scene))
            .map(|r| {
                let (a, b) = (place(&r[1]), place(&r[2]));
                if r[3] == "1" { Choices::win(a, b) } else { Choices::win(b, a) }
            })
            .collect();
        trials += choices.len();
        let table = ChoiceTable::new(conditions.len(), choices).unwrap();
        for (model, key, tolerance) in
            [(ChoiceModel::Thurstone, "thurstone", 1e-8), (ChoiceModel::BradleyTerry, "bradley_terry", 1e-6)]
        {
            let fit = scale_choices(&table, model, golden["lambda"].as_f64().unwrap()).unwrap();
            assert_eq!(fit.scale.components.count(), 1);
            for (got, want) in fit.scale.scores.iter().zip(want[key].as_array().unwrap()) {
                assert_relative_eq!(*got, want.as_f64().unwrap(), epsilon = tolerance);
            }
        }
    }
    assert_eq!(trials, 1213);
}
