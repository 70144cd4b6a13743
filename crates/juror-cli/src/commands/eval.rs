//! `juror eval`: scores, from a file or from a model that watches the videos, held against people's ratings; and
//! probabilities of preference against what people chose.
//!
//! Files are read and checked before anything is watched. A video that fails is an error record; it ends the work
//! unless asked otherwise, and is left out of the figures.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use juror::evaluation::{self, Preferences, Ratings, Sample, Scores};
use juror::judge::error_record_without_model;
use juror::record::{EvaluationType, ModelId, Provenance, Schema, Subject};
use juror::{Calibration, Evaluation, Options};

use crate::args::EvalArgs;
use crate::commands::Outcome;
use crate::commands::judge::guarded;
use crate::output::{Columns, Destination, PlotPath, Reporter, chart, complain};
use crate::progress::Progress;
use crate::settings::{Calibrating, Evaluating, Model, ScoreSource, bound_threads};

/// Evaluates scores.
///
/// # Errors
/// On wrong usage, on files that make no sense, or when results cannot be written.
pub fn run(args: EvalArgs) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    if let Some(job) = Calibrating::new(&args)? {
        return calibrate(&job, begin);
    }
    let job = Evaluating::new(args)?;
    bound_threads(job.threads);
    let (ratings, told_of_ratings) = job.ratings.read()?;
    let against = match &job.against {
        Some((path, columns)) => Some(relative(Scores::read(path, columns)?, &job.source)),
        None => None,
    };
    // Before any work: a place that cannot be written should not cost hours first.
    let destination = Destination::open(job.report.output.as_deref())?;
    let plot = job.plot.as_ref().map(PlotPath::open).transpose()?;
    let many = matches!(&job.source, ScoreSource::Model { continue_on_error: true, .. });
    let mut reporter = Reporter::new(destination, job.report.format, many, Columns::Evaluation);

    let mut provenance = Provenance::without_model(job.seed);
    let (scores, failed) = match &job.source {
        ScoreSource::File { path, columns, .. } => (relative(Scores::read(path, columns)?, &job.source), 0),
        ScoreSource::Model { folder, model, options, continue_on_error } => {
            let watching = Watching { folder, model, options, continue_on_error: *continue_on_error };
            watching
                .score_all(&ratings, &mut provenance, job.report.quiet, &mut reporter)
                .context("cannot write the results")?
        }
    };
    if failed > 0 && (!many || scores.videos.is_empty()) {
        reporter.finish().context("cannot write the results")?;
        return Ok(Outcome::Nothing);
    }
    let allow_missing = job.allow_missing || failed > 0;
    let joined = Sample::join(&ratings, &scores, against.as_ref(), allow_missing);
    let sample = match joined {
        Ok(sample) => sample,
        Err(error) => {
            // The records of failures stand.
            reporter.finish().context("cannot write the results")?;
            return Err(told(error));
        }
    };
    let mut findings = sample.findings(job.bootstrap).map_err(told)?;
    findings.warnings.splice(0..0, told_of_ratings);
    if !job.report.quiet {
        for warning in &findings.warnings {
            complain(&format!("warning: {warning}"));
        }
    }
    provenance.warnings.extend(findings.warnings);
    provenance.timings.total = begin.elapsed().as_secs_f64();
    if let Some(plot) = plot {
        let drawing = chart::scatter::draw(sample.pairs(), &findings.agreement);
        plot.write(&drawing)?;
    }
    let scores_file = matches!(job.source, ScoreSource::File { .. }).then(|| readable(&scores.path));
    let record = Evaluation {
        schema: Schema,
        record_type: EvaluationType,
        ratings: readable(&ratings.path),
        scores: scores_file,
        agreement: findings.agreement,
        ladders: findings.ladders,
        per_group: findings.per_group,
        weighted: findings.weighted,
        observers: ratings.observers.clone(),
        against: findings.against,
        missing: sample.missing().clone(),
        provenance,
    };
    reporter.emit(&record.into()).context("cannot write the results")?;
    reporter.finish().context("cannot write the results")?;
    Ok(if failed > 0 { Outcome::Some } else { Outcome::All })
}

/// Holds probabilities of preference against what people chose.
fn calibrate(job: &Calibrating, begin: Instant) -> anyhow::Result<Outcome> {
    let preferences =
        Preferences::read(&job.preferences, &job.comparisons, job.allow_missing).map_err(told)?;
    let destination = Destination::open(job.report.output.as_deref())?;
    let plot = job.plot.as_ref().map(PlotPath::open).transpose()?;
    let mut reporter = Reporter::new(destination, job.report.format, false, Columns::Calibration);
    let kept = preferences.kept().map_err(told)?;
    let mut provenance = Provenance::without_model(job.seed);
    provenance.timings.total = begin.elapsed().as_secs_f64();
    let names = (readable(&job.preferences), readable(&job.comparisons));
    let record = Calibration::new(names.0, names.1, &kept, preferences.missing, provenance);
    if let Some(plot) = plot {
        plot.write(&chart::reliability::draw(&record))?;
    }
    reporter.emit(&record.into()).context("cannot write the results")?;
    reporter.finish().context("cannot write the results")?;
    Ok(Outcome::All)
}

/// Scores whose paths are relative to the folder of the videos, where one is named.
fn relative(scores: Scores, source: &ScoreSource) -> Scores {
    match source {
        ScoreSource::File { folder: None, .. } => scores,
        ScoreSource::File { folder: Some(folder), .. } | ScoreSource::Model { folder, .. } => {
            scores.relative_to(folder)
        }
    }
}

fn readable(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The error, with the way out that this program offers.
fn told(error: evaluation::Error) -> anyhow::Error {
    match &error {
        evaluation::Error::Missing { .. } => anyhow!("--allow-missing leaves these out: {error}"),
        _ => error.into(),
    }
}

/// A model at work on the rated videos.
struct Watching<'a> {
    folder: &'a Path,
    model: &'a Model,
    options: &'a Options,
    continue_on_error: bool,
}

impl Watching<'_> {
    /// Scores the videos in the order of the ratings; gives the scores and how many videos failed.
    fn score_all(
        &self,
        ratings: &Ratings,
        provenance: &mut Provenance<Option<ModelId>>,
        quiet: bool,
        reporter: &mut Reporter,
    ) -> std::io::Result<(Scores, usize)> {
        let mut scores = Scores { path: self.folder.to_owned(), videos: Vec::new(), values: Vec::new() };
        let juror = match self.model.open() {
            Ok(juror) => juror,
            Err(error) => {
                complain(&format!("error: {error}"));
                let subject = Subject::one(&self.folder.join(&ratings.rows[0].video));
                reporter.emit(&error_record_without_model(subject, &error, provenance.seed).into())?;
                return Ok((scores, 1));
            }
        };
        provenance.model = Some(juror.model());
        let progress = Progress::new(ratings.rows.len(), quiet);
        let mut failed = 0;
        for (index, rating) in ratings.rows.iter().enumerate() {
            let path = self.folder.join(&rating.video);
            progress.begin(path.display().to_string());
            match guarded(|| juror.score(&path, self.options, &|fraction| progress.at(index, fraction))) {
                Ok(score) => {
                    let (all, one) = (&mut provenance.timings, score.provenance.timings);
                    all.decode += one.decode;
                    all.vision += one.vision;
                    all.language += one.language;
                    for warning in score.provenance.warnings {
                        let warning = format!("{warning}: {}", path.display());
                        if !quiet {
                            progress.suspend(|| complain(&format!("warning: {warning}")));
                        }
                        provenance.warnings.push(warning);
                    }
                    scores.videos.push(rating.video.clone());
                    scores.values.push(score.score);
                }
                Err(error) => {
                    failed += 1;
                    progress.suspend(|| complain(&format!("error: {error}")));
                    let record = juror.error_record(Subject::one(&path), &error);
                    progress.suspend(|| reporter.emit(&record.into()))?;
                    if !self.continue_on_error {
                        complain("stopped; --continue-on-error leaves failing videos out");
                        break;
                    }
                }
            }
        }
        Ok((scores, failed))
    }
}
