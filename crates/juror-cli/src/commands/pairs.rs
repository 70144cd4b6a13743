//! `juror pairs`: builds a set of labelled pairs, tells what is in it, or what it would cost.

use std::fmt::Write;

use anyhow::Context;
use juror_train::pairs::{self, Estimate, Finished};
use serde_json::{Value, json};

use crate::args::{Format, PairsArgs};
use crate::commands::Outcome;
use crate::output::{Destination, complain, json, pairs_page, write_whole};
use crate::progress::Stages;
use crate::settings::{Building, bound_threads};

/// Builds a set, or tells its cost.
///
/// # Errors
/// On wrong usage, when nothing can be built, or the machine fails; what was done is kept.
pub fn run(args: PairsArgs) -> anyhow::Result<Outcome> {
    let job = Building::new(args)?;
    let destination = Destination::open(job.report.output.as_deref())?;
    anyhow::ensure!(
        job.report.format != Format::Csv,
        "`pairs` has no csv form; allowed are table, json and jsonl"
    );
    bound_threads(job.threads);
    let stages = Stages::new(job.report.quiet);
    if job.dry_run {
        let estimate = pairs::estimate(&job.config, &stages)?;
        stages.finish();
        let text = form(&job, cost(&estimate), || cost_table(&estimate))?;
        write_whole(destination, text.as_bytes()).context("cannot write the results")?;
        return Ok(Outcome::All);
    }
    let finished = pairs::run(&job.config, &stages)?;
    stages.finish();
    let failed = finished.rejects.iter().filter(|reject| !reject.is_copy()).count();
    for reject in &finished.rejects {
        if !job.report.quiet || !reject.is_copy() {
            let word = if reject.is_copy() { "note" } else { "error" };
            complain(&format!("{word}: left out: {}: {}", reject.reason, reject.path.display()));
        }
    }
    let page = job.config.run_dir.join("report.html");
    let text = pairs_page::page(&finished.summary, job.config.seed);
    write_whole(Destination::open(Some(&page))?, text.as_bytes()).context("cannot write the report")?;
    let text = form(&job, record(&job, &finished), || summary_table(&job, &finished))?;
    write_whole(destination, text.as_bytes()).context("cannot write the results")?;
    Ok(if failed > 0 { Outcome::Some } else { Outcome::All })
}

fn form(job: &Building, record: Value, table: impl FnOnce() -> String) -> anyhow::Result<String> {
    Ok(match job.report.format {
        Format::Table => table(),
        Format::Json => json(&record, true)? + "\n",
        Format::Jsonl | Format::Csv => json(&record, false)? + "\n",
    })
}

fn cost(estimate: &Estimate) -> Value {
    json!({
        "schema": "juror/1", "type": "pair_set_cost", "sources": estimate.sources, "rejects": estimate.rejects,
        "videos": estimate.videos, "videos_to_do": estimate.videos_to_do, "seconds": estimate.seconds,
        "clip_bytes": estimate.clip_bytes, "free_bytes": estimate.free_bytes, "basis": estimate.basis,
        "version": juror::VERSION,
    })
}

fn cost_table(estimate: &Estimate) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let free = estimate.free_bytes.map_or("unknown".to_owned(), |bytes| format!("{:.1} GiB", gib(bytes)));
    format!(
        "{} sources ({} cannot be used), {} videos, {} of them to make and judge\n\
         about {:.1} minutes; clips of {:.2} GiB, {free} free (reckoned from {})\n",
        estimate.sources,
        estimate.rejects,
        estimate.videos,
        estimate.videos_to_do,
        estimate.seconds / 60.0,
        gib(estimate.clip_bytes),
        estimate.basis
    )
}

fn record(job: &Building, finished: &Finished) -> Value {
    let summary = &finished.summary;
    let rejects: Vec<Value> = finished
        .rejects
        .iter()
        .map(|r| json!({"path": r.path.to_string_lossy(), "kind": r.kind, "message": r.reason}))
        .collect();
    let agreement = &summary.agreement;
    let by_judge: serde_json::Map<String, Value> =
        agreement.by_judge.iter().map(|(name, a)| (name.clone(), json!(a.share()))).collect();
    json!({
        "schema": "juror/1", "type": "pair_set",
        "files": finished.files.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        "pairs": summary.pairs, "by_source": summary.by_source, "sources": summary.sources,
        "videos": summary.videos, "failed": summary.failed, "rejects": rejects, "judges": summary.judges,
        "severity_agreement": {
            "pairs": agreement.panel.pairs, "panel": agreement.panel.share(),
            "adjacent": agreement.adjacent.share(), "judges": by_judge,
        },
        "seed": job.config.seed, "version": juror::VERSION,
    })
}

fn summary_table(job: &Building, finished: &Finished) -> String {
    let summary = &finished.summary;
    let mut text = format!(
        "{} pairs of {} videos of {} sources: {}\n",
        summary.pairs,
        summary.videos,
        summary.sources,
        job.config.run_dir.display()
    );
    // Writing to a `String` cannot fail.
    for (source, levels) in &summary.by_source {
        let of = |level: &str| levels.get(level).copied().unwrap_or(0);
        let counts = pairs::summary::levels().map(|level| format!("{level} {}", of(level))).join(", ");
        let _ = writeln!(text, "  {source:10} {:>6}  {counts}", levels.values().sum::<usize>());
    }
    let percent =
        |share: Option<f64>| share.map_or("none".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    let agreement = &summary.agreement;
    let _ = writeln!(
        text,
        "labels agree with the hidden severity order: {} of {} pairs ({} one level apart)",
        percent(agreement.panel.share()),
        agreement.panel.pairs,
        percent(agreement.adjacent.share())
    );
    for seat in &summary.judges {
        let alone = agreement.by_judge.get(&seat.name).and_then(|agreement| agreement.share());
        let mapped = match (&seat.left_out, seat.mapping.as_ref().and_then(|mapping| mapping.srcc)) {
            (Some(reason), _) => format!("left out: {reason}"),
            (None, Some(srcc)) => format!("SRCC {srcc:.3} with the anchors"),
            (None, None) => "gives the scale".to_owned(),
        };
        let _ = writeln!(text, "  {:10} alone {}; {mapped}", seat.name, percent(alone));
    }
    if let Some(wrong) = &summary.student_wrong {
        let right = percent(wrong.share());
        let _ = writeln!(text, "the student has {right} of the severity pairs of the set right");
    }
    text
}
