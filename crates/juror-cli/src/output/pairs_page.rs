//! The report of a pair set as one HTML page that needs nothing else: what is in it, how it is distributed, how far to trust it.

use std::fmt::Write;

use juror_train::pairs::Summary;
use juror_train::pairs::summary::{Agreement, levels};

use super::chart::escaped;
use super::chart::histogram::{bars, stacked};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
th:first-child,td:first-child{text-align:left}figure{margin:1.5rem 0;overflow-x:auto}footer{color:#666;font-size:13px}";

/// The page. It holds nothing of when or how fast the set was made: equal sets have equal pages.
pub fn page(summary: &Summary, seed: u64) -> String {
    let mut body = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        body,
        "<p>{} pairs of {} videos of {} sources.</p>",
        summary.pairs, summary.videos, summary.sources
    );
    counts(summary, &mut body);
    let figure = |body: &mut String, svg: String| {
        let _ = writeln!(body, "<figure>\n{svg}</figure>");
    };
    let margins: Vec<(&str, &[f64])> = summary.margins.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
    figure(&mut body, stacked("Margins", "A over B, points", [-4.0, 4.0], 32, &margins));
    for (name, scores) in &summary.scores {
        let title =
            if name == "panel" { "Labels of the panel".to_owned() } else { format!("Points by {name}") };
        figure(&mut body, stacked(&title, "points", [1.0, 5.0], 32, &[("videos", scores)]));
    }
    let deviations: &[f64] = &summary.deviations;
    let title = "Disagreement of the judges";
    figure(
        &mut body,
        stacked(title, "standard deviation, points", [0.0, 2.0], 32, &[("videos", deviations)]),
    );
    let most = summary.by_kind.values().copied().max().unwrap_or(1) as f64;
    let kinds: Vec<(String, f64, String)> =
        summary.by_kind.iter().map(|(kind, &n)| (kind.clone(), n as f64, n.to_string())).collect();
    figure(&mut body, bars("Pairs in which a distortion occurs", most, &kinds));
    for (name, values) in &summary.measurements {
        let (low, high) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        // Equal values still need a range to stand in.
        let range = if high > low { [low, high] } else { [low - 0.5, low + 0.5] };
        let title = format!("{} of the sources", capitalised(&name.replace('_', " ")));
        figure(&mut body, stacked(&title, "as measured", range, 20, &[("files", values)]));
    }
    trust(summary, &mut body, figure);
    panel(summary, &mut body);
    left_out(summary, &mut body);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Set of {count} pairs</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Set of {count} pairs</h1>\n{body}\
         <footer>juror {version}, seed {seed}</footer>\n</body>\n</html>\n",
        count = summary.pairs,
        version = escaped(juror::VERSION),
    )
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn counts(summary: &Summary, body: &mut String) {
    let header: String = levels().iter().map(|level| format!("<th>{level}</th>")).collect();
    let _ = writeln!(body, "<table>\n<tr><th>source of the label</th><th>pairs</th>{header}</tr>");
    for (source, by_level) in &summary.by_source {
        let of = |level: &str| by_level.get(level).copied().unwrap_or(0);
        let cells: String = levels().iter().map(|level| format!("<td>{}</td>", of(level))).collect();
        let total: usize = by_level.values().sum();
        let _ = writeln!(body, "<tr><td>{}</td><td>{total}</td>{cells}</tr>", escaped(source));
    }
    body.push_str("</table>\n");
}

fn trust(summary: &Summary, body: &mut String, figure: impl Fn(&mut String, String)) {
    let agreement = &summary.agreement;
    let bar = |(name, agreement): (&String, &Agreement)| {
        let share = agreement.share()?;
        Some((name.clone(), share, format!("{:.1} % of {}", 100.0 * share, agreement.pairs)))
    };
    let title = "Labels that agree with the hidden severity order";
    let whole =
        [("panel".to_owned(), agreement.panel), ("panel, one level apart".to_owned(), agreement.adjacent)];
    let mut rows: Vec<_> = whole.iter().filter_map(|(name, agreement)| bar((name, agreement))).collect();
    rows.extend(agreement.by_judge.iter().filter_map(bar));
    figure(body, bars(title, 1.0, &rows));
    let rows: Vec<_> = agreement.by_kind.iter().filter_map(bar).collect();
    figure(body, bars(&format!("{title}, by distortion"), 1.0, &rows));
    if let Some(share) = summary.student_wrong.as_ref().and_then(Agreement::share) {
        let _ = writeln!(
            body,
            "<p>The student has {:.1} % of the set's severity pairs right.</p>",
            100.0 * share
        );
    }
}

fn panel(summary: &Summary, body: &mut String) {
    body.push_str("<table>\n<tr><th>judge</th><th>videos</th><th>SRCC with the anchors</th><th>RMSE</th><th></th></tr>\n");
    for seat in &summary.judges {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        let mapping = seat.mapping.as_ref();
        let note = match (&seat.left_out, mapping) {
            (Some(reason), _) => format!("left out: {reason}"),
            (None, Some(mapping)) if mapping.logistic.is_none() => "on the scale".to_owned(),
            _ => String::new(),
        };
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&seat.name),
            seat.scored,
            number(mapping.and_then(|mapping| mapping.srcc)),
            number(mapping.and_then(|mapping| mapping.rmse)),
            escaped(&note)
        );
    }
    body.push_str("</table>\n");
}

fn left_out(summary: &Summary, body: &mut String) {
    for (what, list) in
        [("sources left out", &summary.rejects), ("videos that could not be made", &summary.failed)]
    {
        for (reason, count) in list {
            let _ = writeln!(body, "<p>{count} {what}: {}</p>", escaped(reason));
        }
    }
}
