//! Selection: which usable files become sources, by what their pictures measure (C2 of LMM-PVQA, arXiv 2505.03631).
//!
//! The middle `measure_secs` of every file are decoded once: nine low-level measurements at one picture a second, scene cuts,
//! a perceptual hash ([`juror_media::measure`]). What is static, letterboxed beyond use or untagged HDR is left out with the reason,
//! and so is what shows the same as a file before it. With `select`, so many are chosen that their measurements are spread
//! evenly, or as in a table ([`super::matching`]). The stretch that a source gives lies within one shot where a shot is long enough.
//!
//! Left out: whether a near duplicate is the better copy (the first path wins), and what a person would call interesting.

use super::config::{PairsConfig, SourcesConfig};
use super::matching;
use super::sources::{Origin, Reject, Source};
use super::store::Store;
use super::{Progress, side_by_side};
use anyhow::{Context, Result, ensure};
use juror_media::measure::{self, Measurements, RejectRules, SourceReport};
use juror_media::{MediaError, TimeWindow, Video};
use juror_nn::rng;
use rand::RngExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Raised when the same file comes to give other measurements.
const MEASURES: &str = "measures/1";

/// What selection did.
#[derive(Debug, Default)]
pub struct Selection {
    /// The sources to use, scenes included.
    pub sources: Vec<Source>,
    /// Files of no use.
    pub rejects: Vec<Reject>,
    /// Every file that could be measured, in order.
    pub measured: Vec<Measured>,
}

/// A file and what it measures.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The file.
    pub source: Source,
    /// What was measured.
    pub report: SourceReport,
    /// Why it is no source of the set; `None`: it is one.
    pub left_out: Option<String>,
}

impl Measured {
    /// Whether it is a source of the set.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.left_out.is_none()
    }
}

/// Measures all files and chooses.
///
/// # Errors
/// Where the state fails, or the table of `like` cannot be read.
pub fn select(
    config: &PairsConfig,
    sources: Vec<Source>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Selection> {
    let (files, scenes): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|source| matches!(source.origin, Origin::File { .. }));
    progress.begin("measurements", files.len() as u64, 0);
    let reports = side_by_side(&files, |source| {
        let report = measured(&config.sources, source, store)?;
        progress.advance(1);
        Ok(report)
    })?;
    let mut selection = Selection::default();
    let mut kept: Vec<usize> = Vec::new();
    for (mut source, report) in files.into_iter().zip(reports) {
        let path = source.input().map(|input| input.path.clone()).unwrap_or_default();
        let report = match report {
            Ok(report) => report,
            Err((kind, reason)) => {
                selection.rejects.push(Reject { path, kind, reason });
                continue;
            }
        };
        let copy = || {
            let same = |&&i: &&usize| selection.measured[i].report.hash.is_near_duplicate(&report.hash);
            let first = kept.iter().find(same)?;
            Some(format!("it shows the same as {}", selection.measured[*first].source.name))
        };
        let refused = match report.rejects.first() {
            Some(reject) => Some((kind_of(reject), reject.to_string())),
            None => copy().map(|reason| ("near_duplicate", reason)),
        };
        let left_out = refused.map(|(kind, reason)| {
            selection.rejects.push(Reject { path, kind, reason: reason.clone() });
            reason
        });
        if left_out.is_none() {
            kept.push(selection.measured.len());
            source.start_secs = stretch_start(&config.sources, &source, &report);
        }
        selection.measured.push(Measured { source, report, left_out });
    }
    if let Some(count) = config.sources.select.filter(|&count| count < kept.len()) {
        let like = config.sources.like.as_deref().map(read_measurements).transpose()?;
        let pool: Vec<Measurements> =
            kept.iter().map(|&i| selection.measured[i].report.measurements).collect();
        let matched = matching::choose(&pool, like.as_deref(), count);
        progress.note(&format!(
            "{count} of {} files were selected: {:.0} % of them would have to measure otherwise to fit the wanted distribution, of the \
             first {count} {:.0} %",
            pool.len(),
            100.0 * matched.misfit,
            100.0 * matched.misfit_of_first
        ));
        for (place, &index) in kept.iter().enumerate() {
            if matched.chosen.binary_search(&place).is_err() {
                selection.measured[index].left_out = Some("not selected".into());
            }
        }
    }
    let chosen = selection.measured.iter().filter(|m| m.is_used()).map(|m| m.source.clone());
    selection.sources = chosen.chain(scenes).collect();
    Ok(selection)
}

/// The word for a reason, as in records.
fn kind_of(reject: &measure::Reject) -> &'static str {
    match reject {
        measure::Reject::TooShort { .. } => "too_short",
        measure::Reject::Static { .. } => "static",
        measure::Reject::Letterboxed { .. } => "letterboxed",
        measure::Reject::HdrUntagged => "hdr_untagged",
    }
}

/// Length is ruled by the number of frames (`super::sources`); the rest follows the configuration.
fn rules(config: &SourcesConfig) -> RejectRules {
    RejectRules {
        least_secs: 0.0,
        static_change: config.static_change,
        least_active_share: config.least_active_share,
    }
}

type Report = Result<SourceReport, (&'static str, String)>;

/// What a file measures, from the state where it is known.
fn measured(config: &SourcesConfig, source: &Source, store: &Store) -> Result<Report> {
    let (Some(sha256), Some(input)) = (source.content_sha256(), source.input()) else {
        anyhow::bail!("{} is no file", source.name);
    };
    let how = format!("{MEASURES} {} s {:?}", config.measure_secs, rules(config));
    if let Some(known) = store.measurements_of(sha256, &how)? {
        return Ok(Ok(known));
    }
    let work = AssertUnwindSafe(|| measure_file(config, &input.path));
    match catch_unwind(work) {
        Ok(Ok(report)) => {
            store.keep_measurements(sha256, &how, &report)?;
            Ok(Ok(report))
        }
        Ok(Err(error)) => Ok(Err((error.kind(), error.to_string()))),
        Err(_) => Ok(Err(("internal", "measuring it failed".into()))),
    }
}

fn measure_file(config: &SourcesConfig, path: &Path) -> Result<SourceReport, MediaError> {
    let video = Video::open(path)?.with_threads(1);
    let (start_secs, end_secs) = middle(config, video.info().duration_secs);
    measure::measure_source(&video, TimeWindow::new(Some(start_secs), Some(end_secs))?, &rules(config))
}

/// The middle of a file, as far as it is measured: start and end in seconds.
fn middle(config: &SourcesConfig, duration_secs: f64) -> (f64, f64) {
    let start_secs = ((duration_secs - config.measure_secs) / 2.0).max(0.0);
    // A file that states no duration is read as far as allowed.
    let end_secs = if duration_secs > 0.0 { duration_secs } else { f64::INFINITY };
    (start_secs, end_secs.min(start_secs + config.measure_secs))
}

/// Where the stretch of a source begins: anywhere in the measured part, but within one shot where one is long enough, and else at
/// the start of the longest.
fn stretch_start(config: &SourcesConfig, source: &Source, report: &SourceReport) -> f64 {
    let Origin::File { duration_secs, fps, .. } = source.origin else { return 0.0 };
    let wanted_secs = config.stretch_secs(fps);
    start_within(&report.cuts_secs, middle(config, duration_secs), wanted_secs, source.seed)
}

fn start_within(cuts_secs: &[f64], (start_secs, end_secs): (f64, f64), wanted_secs: f64, seed: u64) -> f64 {
    let mut bounds = vec![start_secs];
    bounds.extend(cuts_secs.iter().copied().filter(|&cut| start_secs < cut && cut < end_secs));
    bounds.push(end_secs);
    let shots: Vec<(f64, f64)> = bounds.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).collect();
    let room: f64 = shots.iter().map(|shot| (shot.1 - wanted_secs).max(0.0)).sum();
    let mut at = rng::stream(seed, &[1]).random::<f64>() * room;
    for &(from, secs) in &shots {
        let slack = (secs - wanted_secs).max(0.0);
        if at < slack {
            return from + at;
        }
        at -= slack;
    }
    // No shot is longer than what is wanted.
    shots.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(start_secs, |shot| shot.0)
}

/// The measurements of a table, such as the `sources.csv` of another set, of which only used files count.
fn read_measurements(path: &Path) -> Result<Vec<Measurements>> {
    let context = || format!("cannot read the wanted distribution {}", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(context)?;
    let headers = reader.headers().with_context(context)?.clone();
    let place = |name: &str| headers.iter().position(|header| header == name);
    let used = place("used");
    let places = Measurements::NAMES
        .iter()
        .map(|name| place(name).with_context(|| format!("{}: it has no column `{name}`", context())))
        .collect::<Result<Vec<_>>>()?;
    let mut found = Vec::new();
    for row in reader.records() {
        let row = row.with_context(context)?;
        if used.is_some_and(|used| row.get(used) != Some("yes")) {
            continue;
        }
        let mut values = [0.0; Measurements::NAMES.len()];
        for (value, &place) in values.iter_mut().zip(&places) {
            let text = row.get(place).unwrap_or_default();
            *value = text.trim().parse().ok().filter(|v: &f64| v.is_finite()).with_context(|| {
                format!("{}: `{text}` in column `{}` is no number", context(), &headers[place])
            })?;
        }
        found.push(Measurements::from(values));
    }
    ensure!(!found.is_empty(), "{}: it is empty", context());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::start_within;

    #[test]
    fn a_stretch_lies_within_one_shot_where_one_is_long_enough() {
        for seed in 0..200 {
            let start = start_within(&[4.0, 5.0, 9.0], (2.0, 12.0), 1.5, seed);
            let inside = |from: f64, to: f64| from <= start && start + 1.5 <= to;
            assert!(inside(2.0, 4.0) || inside(5.0, 9.0) || inside(9.0, 12.0), "{start}");
        }
        let starts: std::collections::BTreeSet<u64> =
            (0..50).map(|seed| start_within(&[4.0], (0.0, 8.0), 2.0, seed).to_bits()).collect();
        assert_eq!(starts.len(), 50, "the seed decides");
    }

    #[test]
    fn short_shots_give_the_start_of_the_longest() {
        assert_eq!(start_within(&[1.0, 2.5, 3.0], (0.0, 4.0), 2.0, 5), 1.0);
        assert_eq!(start_within(&[], (0.0, 1.0), 2.0, 5), 0.0);
    }
}
