//! Answers read as VQAThinker's training code reads them.

use juror_lmm::answer::{Reading, ScoreRule, is_well_formed, read_score};
use serde::Deserialize;

use crate::support::{folder, json};

#[derive(Deserialize)]
struct Rewards {
    regression_and_format: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    completion: String,
    why: String,
    prediction: f64,
    prediction_is_random: bool,
    format: f64,
}

#[test]
fn golden_vqathinker_answers() {
    let rewards: Rewards = json(&folder("grpo").join("rewards.json"));
    assert!(!rewards.regression_and_format.is_empty());
    for row in rewards.regression_and_format {
        match read_score(&row.completion, ScoreRule::VqaThinkerTraining) {
            Reading::Value(value) => {
                assert!(!row.prediction_is_random, "{}", row.why);
                assert!(
                    (value - row.prediction).abs() <= 1e-12 * row.prediction.abs(),
                    "{}: {value}",
                    row.why
                );
            }
            Reading::Unparsed(_) => assert!(row.prediction_is_random, "{}", row.why),
        }
        assert_eq!(is_well_formed(&row.completion), row.format == 1.0, "{}", row.why);
    }
}
