//! An evaluation for people: the figures with their intervals, then groups, ladders and the second scores.

use juror::Evaluation;
use juror::record::evaluation::{Agreement, Difference, Figure};

use super::{line, wrapped};

/// The evaluation as text.
pub(super) fn text(evaluation: &Evaluation, width: usize) -> String {
    let mut text = String::new();
    let agreement = &evaluation.agreement;
    line(&mut text, &format!("{:<27}95 % interval", format!("{} videos", agreement.n)));
    for (name, figure, note) in figures(agreement) {
        let value = digits(figure.value);
        let interval = figure.ci95.map_or(String::new(), |[lo, hi]| format!("{lo:.4} to {hi:.4}"));
        line(&mut text, format!("  {name:<14} {value:>8}  {interval:<20}{note}").trim_end());
    }
    if let Some(groups) = &evaluation.per_group {
        let rows: Vec<[String; 6]> = (groups.iter())
            .map(|(name, set)| {
                let values = [set.srcc, set.krcc, set.plcc, set.pair_accuracy].map(|f| digits(f.value));
                let [srcc, krcc, plcc, pairs] = values;
                [name.clone(), set.n.to_string(), srcc, krcc, plcc, pairs]
            })
            .chain(evaluation.weighted.map(|mean| {
                let values = [mean.srcc, mean.krcc, mean.plcc, mean.pair_accuracy].map(digits);
                let [srcc, krcc, plcc, pairs] = values;
                ["weighted mean".to_owned(), mean.n.to_string(), srcc, krcc, plcc, pairs]
            }))
            .collect();
        let name_width = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0).max(5);
        line(
            &mut text,
            &format!("\n  {:<name_width$}  videos    SRCC    KRCC    PLCC  pairs right", "group"),
        );
        for [name, n, srcc, krcc, plcc, pairs] in rows {
            let row = format!("  {name:<name_width$}  {n:>6}  {srcc:>6}  {krcc:>6}  {plcc:>6}  {pairs:>11}");
            line(&mut text, &row);
        }
    }
    if let Some(ladders) = &evaluation.ladders {
        let percent = |share: Option<f64>| share.map_or("-".to_owned(), |s| format!("{:.1} %", 100.0 * s));
        let kept = format!(
            "Of {} bitrate ladders {} keep their order: more bits score no lower in {} of the pairs of rungs, \
             {} of the neighbours.",
            ladders.ladders,
            percent(ladders.ladders_kept),
            percent(ladders.pairs_kept),
            percent(ladders.neighbours_kept)
        );
        text.push('\n');
        text += &wrapped(&kept, "", width);
    }
    if let Some(worst) =
        evaluation.observers.iter().max_by(|a, b| a.inconsistency.total_cmp(&b.inconsistency))
    {
        let told = format!(
            "Ratings are recovered from {} observers; the least consistent is {}, by {:.2} points around a bias of {:+.2}.",
            evaluation.observers.len(),
            worst.observer,
            worst.inconsistency,
            worst.bias
        );
        text.push('\n');
        text += &wrapped(&told, "", width);
    }
    if let Some(against) = &evaluation.against {
        line(&mut text, &format!("\nAgainst {}:", against.scores));
        for (name, difference) in [("SRCC", &against.srcc), ("PLCC, raw", &against.plcc)] {
            if let Some(difference) = difference {
                text += &wrapped(&compared(name, difference), "  ", width);
            }
        }
    }
    let missing = &evaluation.missing;
    for (ids, what) in
        [(&missing.without_score, "rated, not scored"), (&missing.without_rating, "scored, not rated")]
    {
        if !ids.is_empty() {
            text += &wrapped(&format!("Left out ({what}): {}", ids.join(", ")), "", width);
        }
    }
    text
}

fn figures(agreement: &Agreement) -> Vec<(&'static str, Figure, &'static str)> {
    let mut figures = vec![
        ("SRCC", agreement.srcc, ""),
        ("KRCC", agreement.krcc, ""),
        ("PLCC", agreement.plcc, "after the logistic"),
        ("PLCC, raw", agreement.plcc_raw, ""),
        ("RMSE", agreement.rmse, "after the logistic"),
        ("RMSE, raw", agreement.rmse_raw, ""),
        ("pair accuracy", agreement.pair_accuracy, ""),
    ];
    if let Some(outliers) = agreement.outlier_ratio {
        figures.push(("outlier ratio", outliers, "after the logistic"));
    }
    figures
}

fn digits(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// Two correlations and whether they differ.
fn compared(name: &str, difference: &Difference) -> String {
    let mut text = format!("{name} {:.4} against {:.4}: ", difference.first, difference.second);
    let chance = |p: f64| if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") };
    let tests = [("Williams", difference.williams), ("Steiger", difference.steiger)];
    let tests: Vec<String> =
        tests.iter().filter_map(|(who, test)| Some(format!("{who} {}", chance((*test)?.p)))).collect();
    text += match difference.williams {
        Some(test) if test.p < 0.05 => "more than chance",
        Some(_) => "no more than chance would",
        None => "no test is possible",
    };
    if !tests.is_empty() {
        text += &format!(" ({})", tests.join(", "));
    }
    if let Some([lo, hi]) = difference.difference_ci95 {
        text += &format!("; difference {lo:+.4} to {hi:+.4} with 95 %");
    }
    text + "."
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use juror::record::evaluation::{Against, LogisticParameters, Missing};
    use juror::record::{EvaluationType, ModelId, Provenance, Schema};
    use juror_stats::correlation::significance::Test;
    use juror_stats::correlation::{LadderOrder, Overall};

    use super::*;

    /// An evaluation with everything in it.
    pub fn evaluation() -> Evaluation {
        let figure = |value: f64| Figure { value: Some(value), ci95: Some([value - 0.02, value + 0.015]) };
        let agreement = Agreement {
            n: 120,
            srcc: figure(0.8829),
            krcc: figure(0.6981),
            plcc: figure(0.8856),
            plcc_raw: figure(0.8831),
            rmse: figure(0.2967),
            rmse_raw: figure(3.2),
            pair_accuracy: figure(0.8491),
            outlier_ratio: Some(figure(0.25)),
            logistic: Some(LogisticParameters { b1: 5.0, b2: 1.0, b3: 0.1, b4: 0.5 }),
        };
        let constant = Agreement { n: 20, srcc: Figure { value: None, ci95: None }, ..agreement.clone() };
        let test = Some(Test { statistic: 2.5, p: 0.013 });
        let difference = Difference {
            first: 0.8829,
            second: 0.86,
            between: 0.9,
            difference_ci95: Some([0.01, 0.03]),
            williams: test,
            steiger: test,
        };
        let same = Difference { williams: Some(Test { statistic: 0.1, p: 0.9 }), ..difference.clone() };
        let model = ModelId { name: "nano".to_owned(), sha256: "11".repeat(32) };
        let mut provenance = Provenance { model: Some(model), ..Provenance::without_model(0) };
        provenance.warnings.push("no correlation in group b".to_owned());
        Evaluation {
            schema: Schema,
            record_type: EvaluationType,
            ratings: "ratings.csv".to_owned(),
            scores: Some("scores.csv".to_owned()),
            per_group: Some(BTreeMap::from([
                ("a".to_owned(), Agreement { n: 100, ..agreement.clone() }),
                ("long name".to_owned(), constant),
            ])),
            agreement,
            ladders: Some(LadderOrder {
                ladders: 8,
                ladders_kept: Some(0.75),
                pairs_kept: Some(0.95),
                neighbours_kept: Some(0.9),
            }),
            weighted: Some(Overall {
                n: 120,
                srcc: Some(0.8829),
                krcc: Some(0.6981),
                plcc: Some(0.8856),
                plcc_raw: Some(0.8831),
                pair_accuracy: Some(0.8491),
            }),
            observers: Vec::new(),
            against: Some(Against {
                scores: "other.csv".to_owned(),
                srcc: Some(difference),
                plcc: Some(same),
            }),
            missing: Missing {
                without_score: vec!["c.mp4".to_owned()],
                without_rating: vec!["d.mp4".to_owned(), "e.mp4".to_owned()],
            },
            provenance,
        }
    }

    #[test]
    fn an_evaluation_reads_as_a_table() {
        insta::assert_snapshot!(text(&evaluation(), 80));
    }
}
