//! `juror label`: a panel of judges scores videos; a record for each, and for each pair where asked.

use std::path::Path;

use anyhow::Context;
use juror::verdict::Preference;
use juror_train::pairs::label::{self, Labelled, Labels};
use juror_train::panel::scale::Contrast;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{Format, LabelArgs};
use crate::commands::Outcome;
use crate::output::{Destination, complain, json, write_whole};
use crate::progress::Stages;
use crate::settings::{Labelling, bound_threads};

#[derive(Debug, Serialize)]
struct JudgeScore<'a> {
    name: &'a str,
    /// As the judge gave it.
    raw: Option<f64>,
    /// On the five-point scale.
    points: Option<f64>,
}

/// Labels videos.
///
/// # Errors
/// On wrong usage, or when results cannot be written.
pub fn run(args: LabelArgs) -> anyhow::Result<Outcome> {
    let job = Labelling::new(args)?;
    let destination = Destination::open(job.report.output.as_deref())?;
    anyhow::ensure!(
        job.report.format != Format::Csv,
        "`label` has no csv form; allowed are table, json and jsonl"
    );
    bound_threads(job.threads);
    let stages = Stages::new(job.report.quiet);
    let labels =
        label::videos(&job.panel, &job.videos, job.reference.as_deref(), job.state.as_deref(), &stages)?;
    stages.finish();
    let mut failed = 0;
    for (path, video) in job.videos.iter().zip(&labels.videos) {
        if let Err(reason) = video {
            failed += 1;
            complain(&format!("error: {reason}: {}", path.display()));
        }
    }
    let records = records(&job, &labels);
    let text = match job.report.format {
        Format::Table => table(&records),
        Format::Json if records.len() == 1 => json(&records[0], true)? + "\n",
        Format::Json => json(&records, true)? + "\n",
        Format::Jsonl | Format::Csv => {
            records.iter().map(|record| Ok(json(record, false)? + "\n")).collect::<std::io::Result<_>>()?
        }
    };
    write_whole(destination, text.as_bytes()).context("cannot write the results")?;
    Ok(match failed {
        0 => Outcome::All,
        all if all == job.videos.len() => Outcome::Nothing,
        _ => Outcome::Some,
    })
}

fn records(job: &Labelling, labels: &Labels) -> Vec<Value> {
    let mut records = Vec::new();
    let known =
        || job.videos.iter().zip(&labels.videos).filter_map(|(path, v)| Some((path, v.as_ref().ok()?)));
    for (path, video) in job.videos.iter().zip(&labels.videos) {
        records.push(match video {
            Ok(video) => of_video(path, video, labels, job.panel.least_sd),
            Err(reason) => json!({
                "schema": "juror/1", "type": "error", "path": path.to_string_lossy(), "kind": "model",
                "message": reason, "version": juror::VERSION,
            }),
        });
    }
    if job.pairs {
        let videos: Vec<_> = known().collect();
        for (index, (path_a, a)) in videos.iter().enumerate() {
            for (path_b, b) in &videos[index + 1..] {
                let contrast = Contrast::of(&a.label, &b.label, job.panel.least_sd);
                records.push(json!({
                    "schema": "juror/1", "type": "pair",
                    "a": path_a.to_string_lossy(), "b": path_b.to_string_lossy(),
                    "margin": contrast.margin, "level": contrast.level.word(),
                    "prefer": Preference::of_margin(contrast.margin), "source": "real",
                    "sd": contrast.sd, "disagreement": contrast.disagreement, "version": juror::VERSION,
                }));
            }
        }
    }
    records
}

fn of_video(path: &Path, video: &Labelled, labels: &Labels, least_sd: f64) -> Value {
    let judges: Vec<JudgeScore<'_>> = (labels.seats.iter().zip(&video.raw).zip(&video.label.points))
        .map(|((seat, raw), points)| JudgeScore { name: &seat.name, raw: *raw, points: *points })
        .collect();
    json!({
        "schema": "juror/1", "type": "label",
        "video": {"path": path.to_string_lossy(), "sha256": video.sha256},
        "score": video.label.mean, "variance": video.label.variance, "sd": video.label.sd(least_sd),
        "judges": judges, "version": juror::VERSION,
    })
}

fn table(records: &[Value]) -> String {
    let mut text = String::new();
    for record in records {
        let number = |key: &str| record[key].as_f64().unwrap_or(f64::NAN);
        let line = match record["type"].as_str() {
            Some("label") => {
                let judges: Vec<String> = (record["judges"].as_array().into_iter().flatten())
                    .filter_map(|judge| {
                        Some(format!("{} {:.2}", judge["name"].as_str()?, judge["points"].as_f64()?))
                    })
                    .collect();
                let path = record["video"]["path"].as_str().unwrap_or_default();
                format!("{:.2} ± {:.2}  ({})  {path}\n", number("score"), number("sd"), judges.join(", "))
            }
            Some("pair") => {
                let text = |key: &str| record[key].as_str().unwrap_or_default();
                format!("{:+.2}  {:9} {} against {}\n", number("margin"), text("level"), text("a"), text("b"))
            }
            _ => continue,
        };
        text += &line;
    }
    text
}
