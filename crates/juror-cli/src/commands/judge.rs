//! `juror compare` and `juror score`: one input after the other, a record for each.
//!
//! A failing input becomes an error record and a message. It ends the work unless asked otherwise; what was
//! judged before it stands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use juror::evaluation::{RatingColumns, Ratings};
use juror::judge::error_record_without_model;
use juror::record::Subject;
use juror::{Anchors, Error, Juror, Options, Record};

use crate::args::{CompareArgs, ScoreArgs};
use crate::commands::Outcome;
use crate::inputs::Pair;
use crate::output::{Columns, Destination, Reporter, complain};
use crate::progress::{Progress, Waiting};
use crate::settings::{AnchorSource, Job};

/// Something that can be judged into a record.
trait Input {
    const COLUMNS: Columns;
    fn subject(&self) -> Subject;
    fn judge(
        &self,
        juror: &Juror,
        options: &Options,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Record, Error>;
    /// A name for the progress bar.
    fn label(&self) -> String;
}

impl Input for Pair {
    const COLUMNS: Columns = Columns::Comparison;

    fn subject(&self) -> Subject {
        Subject::pair(&self.a, &self.b)
    }

    fn judge(
        &self,
        juror: &Juror,
        options: &Options,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Record, Error> {
        juror.compare(&self.a, &self.b, options, progress).map(Record::from)
    }

    fn label(&self) -> String {
        format!("{} against {}", self.a.display(), self.b.display())
    }
}

impl Input for PathBuf {
    const COLUMNS: Columns = Columns::Score;

    fn subject(&self) -> Subject {
        Subject::one(self)
    }

    fn judge(
        &self,
        juror: &Juror,
        options: &Options,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Record, Error> {
        juror.score(self, options, progress).map(Record::from)
    }

    fn label(&self) -> String {
        self.display().to_string()
    }
}

/// Compares pairs of videos.
///
/// # Errors
/// On wrong usage, or when results cannot be written.
pub fn compare(args: CompareArgs) -> anyhow::Result<Outcome> {
    run(&Job::of_compare(args)?)
}

/// Scores videos.
///
/// # Errors
/// On wrong usage, or when results cannot be written.
pub fn score(args: ScoreArgs) -> anyhow::Result<Outcome> {
    run(&Job::of_score(args)?)
}

fn run<I: Input>(job: &Job<I>) -> anyhow::Result<Outcome> {
    // Before any work: a place that cannot be written should not cost hours first.
    let destination = Destination::open(job.report.output.as_deref())?;
    let many = job.inputs.len() > 1;
    let mut reporter = Reporter::new(destination, job.report.format, many, I::COLUMNS);
    let (done, failed) = match job.model.open() {
        Ok(juror) => {
            let juror = anchored(juror, job)?;
            judge_all(juror, job, &mut reporter).context("cannot write the results")?
        }
        Err(error) => {
            complain(&format!("error: {error}"));
            let record = error_record_without_model(job.inputs[0].subject(), &error, job.model.seed);
            reporter.emit(&record.into()).context("cannot write the results")?;
            (0, 1)
        }
    };
    reporter.finish().context("cannot write the results")?;
    Ok(match (done, failed) {
        (_, 0) => Outcome::All,
        (0, _) => Outcome::Nothing,
        _ => Outcome::Some,
    })
}

/// The judge with the anchors that were asked for.
fn anchored<I>(juror: Juror, job: &Job<I>) -> anyhow::Result<Juror> {
    let Some(source) = &job.anchors else { return Ok(juror) };
    let _waiting = Waiting::new("watching the anchors".to_owned(), job.report.quiet);
    let anchors = match source {
        AnchorSource::Scenes => Anchors::scenes(&juror, &job.options, &|_| ())?,
        AnchorSource::Rated(path) => {
            let ratings = Ratings::read(path, &RatingColumns::default())?;
            let folder = path.parent().unwrap_or(Path::new(""));
            Anchors::rated(&juror, &ratings, folder, &job.options, &|_| ())?
        }
    };
    Ok(juror.with_anchors(anchors))
}

/// Judges the inputs in order; gives how many were done and how many failed.
fn judge_all<I: Input>(
    juror: Juror,
    job: &Job<I>,
    reporter: &mut Reporter,
) -> std::io::Result<(usize, usize)> {
    let progress = Arc::new(Progress::new(job.inputs.len(), job.report.quiet));
    let speaker = Arc::clone(&progress);
    let juror = juror.with_listener(Box::new(move |text| speaker.say(text)));
    let (mut done, mut failed) = (0, 0);
    for (index, input) in job.inputs.iter().enumerate() {
        progress.begin(input.label());
        let judged = guarded(|| input.judge(&juror, &job.options, &|fraction| progress.at(index, fraction)));
        progress.end_speech();
        let record = match judged {
            Ok(record) => {
                done += 1;
                if !job.report.quiet {
                    progress.suspend(|| warn(&record));
                }
                record
            }
            Err(error) => {
                failed += 1;
                progress.suspend(|| complain(&format!("error: {error}")));
                juror.error_record(input.subject(), &error).into()
            }
        };
        progress.suspend(|| reporter.emit(&record))?;
        if failed > 0 && !job.continue_on_error {
            let left = job.inputs.len() - index - 1;
            if left > 0 {
                complain(&format!("stopped with {left} left; --continue-on-error goes on after failures"));
            }
            break;
        }
    }
    Ok((done, failed))
}

/// Runs `work`; a panic in it becomes an error, so that a defect met on one input costs no other its result.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        Err(Error::Internal(text.to_owned()))
    })
}

/// Tells people what a careful reader of `record` should know.
fn warn(record: &Record) {
    let (subject, warnings) = match record {
        Record::Score(score) => (score.video.path.as_str(), &score.provenance.warnings),
        Record::Comparison(comparison) => ("", &comparison.provenance.warnings),
        Record::Ranking(_) | Record::Evaluation(_) | Record::Calibration(_) | Record::Error(_) => return,
    };
    for warning in warnings {
        let about = if subject.is_empty() { String::new() } else { format!(": {subject}") };
        complain(&format!("warning: {warning}{about}"));
    }
}

#[cfg(test)]
mod tests {
    use juror::ErrorKind;

    use super::*;

    #[test]
    fn a_panic_becomes_an_error_record() {
        let error = guarded::<()>(|| panic!("index {} of {}", 3, 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().contains("index 3 of 2"));
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}
