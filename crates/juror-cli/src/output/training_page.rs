//! The report of a training run as one HTML page that needs nothing else: every logged term by step, sampled rollouts, the card of
//! the finished model. A run at work has a report too.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use juror_train::log::{self, Line};
use serde_json::Value;

use super::chart::{escaped, lines};

/// Rollouts shown, the newest.
const ROLLOUTS: usize = 16;
/// Stages of a run lie so deep in its folder: `decoder`, `body/0`, `stage-1/body/0`.
const DEPTH: usize = 3;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:80rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}\
.plots{display:flex;flex-wrap:wrap;gap:.5rem}pre{white-space:pre-wrap;background:#f6f6f6;padding:1rem}footer{color:#666;font-size:13px}";

/// The page of the run in `folder`.
///
/// # Errors
/// When nothing was logged there, or what is there cannot be read.
pub fn page(folder: &Path) -> anyhow::Result<String> {
    let mut stages = Vec::new();
    find_stages(folder, DEPTH, &mut stages)?;
    stages.sort();
    ensure!(!stages.is_empty(), "no training has logged anything (log.jsonl) in {}", folder.display());
    let mut body = String::new();
    for stage in &stages {
        let name = stage.strip_prefix(folder).unwrap_or(stage).display().to_string();
        draw_stage(&name, &log::read(&stage.join("log.jsonl"))?, &mut body);
        draw_rollouts(&stage.join("rollouts.jsonl"), &mut body)?;
    }
    let cards = ["model", "adapter"].map(|finished| folder.join(finished).join("MODEL_CARD.md"));
    if let Some(card) = cards.iter().find(|card| card.exists()) {
        let text =
            std::fs::read_to_string(card).with_context(|| format!("cannot read {}", card.display()))?;
        // Writing to a `String` cannot fail.
        let _ = writeln!(body, "<h2>Model card</h2>\n<pre>{}</pre>", escaped_lines(&text));
    }
    let title = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\
         <footer>juror {version}</footer>\n</body>\n</html>\n",
        title = escaped(&title),
        version = escaped(juror::VERSION),
    ))
}

/// Folders with a log, in `folder` and up to `depth` below.
fn find_stages(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_name() == "log.jsonl" {
            found.push(folder.to_owned());
        } else if depth > 0 && entry.file_type().with_context(context)?.is_dir() {
            find_stages(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

fn draw_stage(name: &str, logged: &[Line], body: &mut String) {
    let _ = writeln!(body, "<h2>{}</h2>", escaped(name));
    let Some(last) = logged.last() else {
        body.push_str("<p>Nothing is logged yet.</p>\n");
        return;
    };
    let _ = writeln!(
        body,
        "<p>{} steps, {:.2} steps/s; at the end {}.</p>\n<div class=\"plots\">",
        last.step,
        last.steps_per_sec,
        escaped(&last.brief())
    );
    let mut terms: Vec<&String> = logged.iter().flat_map(|line| line.means.keys()).collect();
    // What is watched first stands first.
    terms.sort_by_key(|name| (!["loss", "reward", "kl"].contains(&name.as_str()), *name));
    terms.dedup();
    for term in terms {
        let points: Vec<(f64, f64)> =
            logged.iter().filter_map(|line| Some((line.step as f64, *line.means.get(term)?))).collect();
        body.push_str(&lines::draw(term, &points));
    }
    body.push_str("</div>\n");
}

fn draw_rollouts(path: &Path, body: &mut String) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // A half line, as a kill leaves it, is no rollout.
    let rollouts: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let newest = &rollouts[rollouts.len().saturating_sub(ROLLOUTS)..];
    body.push_str("<h3>Sampled rollouts</h3>\n<table>\n<tr><th>step</th><th>prompt</th><th>completion</th><th>margin</th><th>rewards</th><th>advantage</th></tr>\n");
    for rollout in newest {
        let number = |value: &Value| value.as_f64().map_or_else(String::new, |v| format!("{v:.2}"));
        let pairs = |value: &Value| -> String {
            let entry = |(name, value): (&String, &Value)| match value.as_f64() {
                Some(value) => format!("{name} {value:.2}"),
                None => format!("{name} {}", value.as_str().unwrap_or_default()),
            };
            value.as_object().map(|o| o.iter().map(entry).collect::<Vec<_>>().join("; ")).unwrap_or_default()
        };
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            rollout["step"],
            escaped(&pairs(&rollout["prompt"])),
            escaped(rollout["completion"].as_str().unwrap_or_default()),
            number(&rollout["margin"]),
            escaped(&pairs(&rollout["rewards"])),
            number(&rollout["advantage"]),
        );
    }
    body.push_str("</table>\n");
    Ok(())
}

/// As [`escaped`], the ends of lines kept.
fn escaped_lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}
