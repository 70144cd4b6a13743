//! VQAThinker's rewards.
//!
//! 1e-6, which the reference meets where its f32 allows: it computes `P` in f32, and near 0 and 1 the square root of the
//! fidelity blows the rounding of P up. There the tolerance is what one rounding of the argument of P and of P itself
//! moves the reward by.

use crate::json;
use juror_lmm::answer::{Number, training_number};
use juror_train::grpo::{ScaleRewards, advantages};
use juror_train::rewards::{
    Answer, Decimals, Decision, Format, Group, Ranking, Regression, Reward, Table, TemporalConsistency,
    Truth, fidelity,
};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    regression_and_format: Vec<Written>,
    fidelity: Vec<Fidelity>,
    rank: Vec<Rank>,
    rank_edge_cases: std::collections::HashMap<String, serde_json::Value>,
    temporal: Vec<Temporal>,
}

#[derive(Deserialize)]
struct Written {
    completion: String,
    why: String,
    label: f64,
    prediction: f64,
    prediction_is_random: bool,
    regression: f64,
    format: f64,
}

#[derive(Deserialize)]
struct Fidelity {
    pred: f64,
    other_mean: f64,
    var: f64,
    other_var: f64,
    target: f64,
    reward: f64,
}

#[derive(Deserialize)]
struct Rank {
    why: String,
    predictions: Vec<Vec<f64>>,
    labels: Vec<f64>,
    rank: Vec<f64>,
}

#[derive(Deserialize)]
struct Temporal {
    why: String,
    num_generations: usize,
    rewards: Vec<Vec<f64>>,
    shuffled_rewards: Vec<Vec<f64>>,
    temporal: After,
    without_temporal: After,
}

#[derive(Deserialize)]
struct After {
    rewards_after: Vec<Vec<f64>>,
    reward_sum: Vec<f64>,
    advantages: Vec<f64>,
}

fn group(target: f64, texts: impl IntoIterator<Item = String>) -> Group {
    let answers = texts.into_iter().map(|text| Answer { text, margin: None }).collect();
    Group { truth: Truth { target, faults: Vec::new() }, answers }
}

fn close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance, "{what}: {got}, reference {want}, allowed {tolerance:.1e}");
}

#[test]
fn golden_regression_and_format() {
    let golden: Golden = json("rewards.json");
    let published = Regression { decimals: Decimals::Parsed, ..Regression::default() };
    assert!(golden.regression_and_format.len() >= 60);
    for row in golden.regression_and_format {
        let groups = [group(row.label, [row.completion.clone()])];
        close(Format.rate(&groups)[0][0], row.format, 0.0, &row.why);
        if row.prediction_is_random {
            // The reference drew an integer; given the same draw the rewards agree, but ours is 0.
            assert_eq!(training_number(&row.completion), None, "{}", row.why);
            assert_eq!(published.rate(&groups), [[0.0]], "{}", row.why);
            let drawn = Number { value: row.prediction, decimals: 0 };
            close(published.of(drawn, row.label), row.regression, TOLERANCE, &row.why);
        } else {
            close(published.rate(&groups)[0][0], row.regression, TOLERANCE, &row.why);
        }
    }
}

/// What f32 arithmetic of the reference may move a fidelity by; `lead / sqrt(variance + 1e-6)` is the argument of Phi.
fn slack(lead: f64, variance: f64, size: f64, target: f64) -> f64 {
    let eps = f64::from(f32::EPSILON);
    let spread = (variance + 1e-6).sqrt();
    let z = lead / spread;
    let p = juror_stats::normal::probability(z);
    let p_error = eps + juror_stats::normal::density(z) * size * eps / spread;
    let root = |share: f64, weight: f64| weight / (2.0 * (share * weight + 1e-6).sqrt());
    p_error * (root(p, target) + root(1.0 - p, 1.0 - target))
}

#[test]
fn golden_fidelity() {
    let golden: Golden = json("rewards.json");
    assert!(!golden.fidelity.is_empty());
    for row in golden.fidelity {
        let (lead, variance) = (row.pred - row.other_mean, row.var + row.other_var);
        let p = juror_stats::normal::probability(lead / (variance + 1e-6).sqrt());
        let tolerance = TOLERANCE + slack(lead, variance, row.pred.abs(), row.target);
        close(
            fidelity(p, row.target),
            row.reward,
            tolerance,
            &format!("{} against {}", row.pred, row.other_mean),
        );
    }
}

#[test]
fn golden_rank() {
    let golden: Golden = json("rewards.json");
    assert!(!golden.rank.is_empty());
    let written = |scores: &[f64]| -> Vec<String> {
        scores.iter().map(|s| format!("<think>t</think><answer>{s}</answer>")).collect()
    };
    let mut strict = 0;
    for row in &golden.rank {
        let groups: Vec<Group> =
            row.predictions.iter().zip(&row.labels).map(|(p, &label)| group(label, written(p))).collect();
        let moments: Vec<(f64, f64)> = row
            .predictions
            .iter()
            .map(|p| {
                let mean = p.iter().sum::<f64>() / p.len() as f64;
                (mean, p.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (p.len() - 1) as f64)
            })
            .collect();
        let mut at = 0;
        for (i, rated) in Ranking.rate(&groups).iter().enumerate() {
            for (rated, &score) in rated.iter().zip(&row.predictions[i]) {
                let others = (0..groups.len()).filter(|z| *z != i);
                let slack = others
                    .map(|z| {
                        let (lead, variance) = (score - moments[z].0, moments[i].1 + moments[z].1);
                        let target = 0.5 * (1.0 + (row.labels[i] - row.labels[z]).signum())
                            - if row.labels[i] == row.labels[z] { 0.5 } else { 0.0 };
                        slack(lead, variance, score.abs(), target)
                    })
                    .sum::<f64>()
                    / (groups.len() - 1) as f64;
                strict += usize::from((rated - row.rank[at]).abs() <= TOLERANCE);
                close(*rated, row.rank[at], TOLERANCE + slack, &row.why);
                at += 1;
            }
        }
        assert_eq!(at, row.rank.len());
    }
    let all: usize = golden.rank.iter().map(|row| row.rank.len()).sum();
    eprintln!("{strict} of {all} ranking rewards within {TOLERANCE:.0e}");
    assert!(strict * 10 >= all * 9, "{strict} of {all}");
    let single = golden.rank_edge_cases["one generation per video"].as_array().unwrap().clone();
    let rated = Ranking.rate(&[group(3.0, written(&[3.0])), group(4.0, written(&[4.0]))]);
    for (rated, known) in rated.iter().flatten().zip(single) {
        close(*rated, known.as_str().unwrap().parse().unwrap(), TOLERANCE, "one generation per video");
    }
}

#[test]
fn golden_temporal_consistency() {
    let golden: Golden = json("rewards.json");
    assert!(!golden.temporal.is_empty());
    for row in golden.temporal {
        let k = row.num_generations;
        let table = |rows: &[Vec<f64>]| Table {
            names: vec!["rank", "regression", "format"],
            weights: vec![1.0; 3],
            sizes: vec![k; rows.len() / k],
            rows: rows.to_vec(),
        };
        let check = |table: &Table, after: &After| {
            for (got, want) in table.rows.iter().flatten().zip(after.rewards_after.iter().flatten()) {
                close(*got, *want, TOLERANCE, &row.why);
            }
            let totals = table.totals();
            for (got, want) in totals.iter().zip(&after.reward_sum) {
                close(*got, *want, TOLERANCE, &row.why);
            }
            // Division by a small deviation magnifies the reference's f32 (its README: 1e-5).
            for (got, want) in
                advantages(&totals, k, ScaleRewards::Group).values.iter().zip(&after.advantages)
            {
                close(*got, *want, 1e-5, &row.why);
            }
        };
        let mut intact = table(&row.rewards);
        check(&intact, &row.without_temporal);
        let published =
            TemporalConsistency { decision: Decision::PerBatch, ..TemporalConsistency::default() };
        published.apply(&mut intact, &table(&row.shuffled_rewards));
        check(&intact, &row.temporal);
    }
}
