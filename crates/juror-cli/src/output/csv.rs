//! Records as CSV: one row each (of a ranking: one for each video), nested fields flattened with dots.
//!
//! Scalars keep their JSON form without quotes, `null` is empty. Intervals become `.lo` and `.hi`,
//! distortions `kind:severity` joined by `;`, warnings are joined by `;`. Left out are the lists
//! that have no place in a row: the sampled times, the judged pairs and worst cycles of a ranking, the
//! segments (`pooled` sums these up) and the groups of an evaluation (`weighted` does).
//! Rows of failed inputs fill the paths, `kind` and `message`.

use std::collections::BTreeMap;
use std::io;

use juror::Record;
use serde_json::Value;

/// The columns of an output, known before its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Those of comparisons.
    Comparison,
    /// Those of scores.
    Score,
    /// Those of rankings: a row for each video.
    Ranking,
    /// Those of evaluations.
    Evaluation,
    /// Those of calibrations.
    Calibration,
}

/// What every row ends with: provenance, and the error where there is one.
const COMMON: &[&str] = &[
    "model.name",
    "model.sha256",
    "seed",
    "device",
    "timings.decode",
    "timings.vision",
    "timings.language",
    "timings.total",
    "warnings",
    "version",
    "kind",
    "message",
];

const COMPARISON: &[&str] = &[
    "schema",
    "type",
    "a.path",
    "a.sha256",
    "a.width",
    "a.height",
    "a.fps",
    "a.duration",
    "b.path",
    "b.sha256",
    "b.width",
    "b.height",
    "b.fps",
    "b.duration",
    "margin",
    "margin_ci95.lo",
    "margin_ci95.hi",
    "probability",
    "prefer",
    "level",
    "aspects.visual",
    "aspects.temporal",
    "distortions.a",
    "distortions.b",
    "rationale",
    "order_agreement",
];

const SCORE: &[&str] = &[
    "schema",
    "type",
    "video.path",
    "video.sha256",
    "video.width",
    "video.height",
    "video.fps",
    "video.duration",
    "score",
    "ci95.lo",
    "ci95.hi",
    "aspects.visual",
    "aspects.temporal",
    "distortions",
    "rationale",
    "pooled.mean",
    "pooled.harmonic_mean",
    "pooled.min",
    "pooled.p5",
    "anchors.count",
    "anchors.deviation",
    "anchors.inconsistency",
    "anchors.score_by_itself",
];

const RANKING: &[&str] = &[
    "schema",
    "type",
    "rank",
    "path",
    "score",
    "ci95.lo",
    "ci95.hi",
    "tied",
    "wins",
    "losses",
    "ties",
    "group",
    "sha256",
    "comparisons.judged",
    "comparisons.possible",
    "inconsistency",
    "noise",
    "stopped",
];

const EVALUATION: &[&str] = &[
    "schema",
    "type",
    "ratings",
    "scores",
    "n",
    "srcc.value",
    "srcc.ci95.lo",
    "srcc.ci95.hi",
    "krcc.value",
    "krcc.ci95.lo",
    "krcc.ci95.hi",
    "plcc.value",
    "plcc.ci95.lo",
    "plcc.ci95.hi",
    "plcc_raw.value",
    "plcc_raw.ci95.lo",
    "plcc_raw.ci95.hi",
    "rmse.value",
    "rmse.ci95.lo",
    "rmse.ci95.hi",
    "rmse_raw.value",
    "rmse_raw.ci95.lo",
    "rmse_raw.ci95.hi",
    "pair_accuracy.value",
    "pair_accuracy.ci95.lo",
    "pair_accuracy.ci95.hi",
    "outlier_ratio.value",
    "outlier_ratio.ci95.lo",
    "outlier_ratio.ci95.hi",
    "logistic.b1",
    "logistic.b2",
    "logistic.b3",
    "logistic.b4",
    "ladders.ladders",
    "ladders.ladders_kept",
    "ladders.pairs_kept",
    "ladders.neighbours_kept",
    "weighted.n",
    "weighted.srcc",
    "weighted.krcc",
    "weighted.plcc",
    "weighted.plcc_raw",
    "weighted.pair_accuracy",
    "against.scores",
    "against.srcc.first",
    "against.srcc.second",
    "against.srcc.between",
    "against.srcc.difference_ci95.lo",
    "against.srcc.difference_ci95.hi",
    "against.srcc.williams.statistic",
    "against.srcc.williams.p",
    "against.srcc.steiger.statistic",
    "against.srcc.steiger.p",
    "against.plcc.first",
    "against.plcc.second",
    "against.plcc.between",
    "against.plcc.difference_ci95.lo",
    "against.plcc.difference_ci95.hi",
    "against.plcc.williams.statistic",
    "against.plcc.williams.p",
    "against.plcc.steiger.statistic",
    "against.plcc.steiger.p",
    "missing.without_score",
    "missing.without_rating",
];

const CALIBRATION: &[&str] = &[
    "schema",
    "type",
    "preferences",
    "comparisons",
    "n",
    "votes",
    "agreement",
    "expected_calibration_error",
    "brier",
    "fitted.slope",
    "fitted.expected_calibration_error",
    "fitted.brier",
    "missing",
];

impl Columns {
    /// Their names, in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let own = match self {
            Self::Comparison => COMPARISON,
            Self::Score => SCORE,
            Self::Ranking => RANKING,
            Self::Evaluation => EVALUATION,
            Self::Calibration => CALIBRATION,
        };
        own.iter().chain(COMMON).copied()
    }
}

/// The row of `record`, after the header when `with_header`.
///
/// # Errors
/// When the record has no CSV form.
pub fn rows(record: &Record, columns: Columns, with_header: bool) -> io::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if with_header {
        writer.write_record(columns.names())?;
    }
    for fields in table(record, columns)? {
        writer.write_record(columns.names().map(|name| fields.get(name).map_or("", String::as_str)))?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The rows of a record: its fields by column name.
fn table(record: &Record, columns: Columns) -> io::Result<Vec<BTreeMap<String, String>>> {
    let shared = fields(record, columns)?;
    let Record::Ranking(ranking) = record else { return Ok(vec![shared]) };
    let row = |item| {
        let mut row = shared.clone();
        flatten("", &serde_json::to_value(item)?, &mut row);
        Ok(row)
    };
    ranking.items.iter().map(row).collect()
}

/// All fields of a record by column name.
fn fields(record: &Record, columns: Columns) -> io::Result<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    flatten("", &serde_json::to_value(record)?, &mut fields);
    // The paths of a failure stand where those of a result do; of rankings they have the same name.
    if columns == Columns::Ranking {
        return Ok(fields);
    }
    for (of_error, of_result) in [("path", "video.path"), ("a", "a.path"), ("b", "b.path")] {
        if let Some(path) = fields.remove(of_error) {
            fields.insert(of_result.to_owned(), path);
        }
    }
    Ok(fields)
}

fn flatten(name: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    let dotted = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                flatten(&dotted(key), value, fields);
            }
        }
        Value::Array(ends) if name.ends_with("ci95") => {
            for (key, end) in ["lo", "hi"].into_iter().zip(ends) {
                flatten(&dotted(key), end, fields);
            }
        }
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(listed).collect();
            fields.insert(name.to_owned(), texts.join(";"));
        }
        Value::Null => {}
        Value::String(text) => {
            fields.insert(name.to_owned(), text.clone());
        }
        Value::Bool(_) | Value::Number(_) => {
            fields.insert(name.to_owned(), value.to_string());
        }
    }
}

/// An item of a list: a text as it is, a distortion as `kind:severity`.
fn listed(item: &Value) -> String {
    match (item, item.get("kind").and_then(Value::as_str), item.get("severity")) {
        (Value::String(text), ..) => text.clone(),
        (_, Some(kind), Some(severity)) => format!("{kind}:{severity}"),
        _ => item.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use juror::Score;
    use juror::record::ByAnchors;

    use super::*;
    use crate::output::table::evaluation::tests::evaluation;
    use crate::output::table::ranking::tests::ranking;
    use crate::output::table::tests::{comparison, failure, score};

    /// Every scalar of a record has a column, and every column a field.
    #[test]
    fn columns_cover_the_records() {
        let failed: Record = failure().into();
        let by = ByAnchors { count: 12, deviation: 0.4, inconsistency: Some(0.1), score_by_itself: 4.0 };
        let anchored = Score { anchors: Some(by), ..score(3.8) };
        for (columns, record) in [
            (Columns::Comparison, Record::from(comparison(1.3))),
            (Columns::Score, anchored.into()),
            (Columns::Evaluation, evaluation().into()),
            (Columns::Ranking, ranking().into()),
        ] {
            let failure = fields(&failed, columns).unwrap();
            let fields = table(&record, columns).unwrap().remove(0);
            let has_no_place = |name: &str| {
                name.ends_with("frames_sampled")
                    || ["segments", "items", "graph", "worst_cycles"].contains(&name)
                    || name.starts_with("per_group.")
            };
            for name in fields.keys().filter(|name| !has_no_place(name)) {
                assert!(columns.names().any(|column| column == name), "no column for {name}");
            }
            for name in columns.names() {
                assert!(fields.contains_key(name) || failure.contains_key(name), "nothing fills {name}");
            }
        }
    }

    #[test]
    fn failures_keep_their_place_and_text_is_quoted() {
        let text = rows(&failure().into(), Columns::Score, true).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let row = reader.records().next().unwrap().unwrap();
        let cell = |name| &row[header.iter().position(|column| column == name).unwrap()];
        assert_eq!(cell("video.path"), "clips/no,such.mp4");
        assert_eq!(cell("kind"), "model");
        assert_eq!(cell("score"), "");
    }
}
