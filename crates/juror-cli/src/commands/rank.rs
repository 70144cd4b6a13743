//! `juror rank`: watches every video once, judges the pairs that tell most, and orders the videos; or only scores comparisons
//! that were made before.
//!
//! A video that fails is an error record; it ends the work unless asked otherwise, and takes no part. With `--state`
//! nothing that was watched or judged is lost, whatever ends the work.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use juror::judge::error_record_without_model;
use juror::ranking::{Ranker, Recorded, State};
use juror::record::Subject;
use juror::record::ranking::Ranking;
use juror::{Error, Juror};
use juror_media::TimeWindow;

use crate::args::RankArgs;
use crate::commands::Outcome;
use crate::commands::judge::guarded;
use crate::output::{Columns, Destination, PlotPath, Reporter, chart, complain, page, write_whole};
use crate::progress::{Progress, Waiting};
use crate::settings::{Report, Scaling, Tournament};

/// Ranks videos.
///
/// # Errors
/// On wrong usage, or when results cannot be written.
pub fn run(args: RankArgs) -> anyhow::Result<Outcome> {
    if let Some(job) = Scaling::new(&args)? {
        return scale(&job);
    }
    let job = Tournament::new(args)?;
    // Before any work: a place that cannot be written should not cost hours first.
    let destination = Destination::open(job.report.output.as_deref())?;
    let plot = job.plot.as_ref().map(PlotPath::open).transpose()?;
    let html = job.html.as_deref().map(|path| Destination::open(Some(path))).transpose()?;
    let mut reporter = Reporter::new(destination, job.report.format, job.continue_on_error, Columns::Ranking);
    let juror = match job.model.open() {
        Ok(juror) => juror,
        Err(error) => {
            complain(&format!("error: {error}"));
            let subject = Subject::one(&job.videos[0]);
            let record = error_record_without_model(subject, &error, job.model.seed);
            reporter.emit(&record.into()).context("cannot write the results")?;
            reporter.finish().context("cannot write the results")?;
            return Ok(Outcome::Nothing);
        }
    };
    let state = match &job.state {
        Some(path) => State::open(path, &juror, &job.options)?,
        None => State::default(),
    };
    let ranker = Ranker::new(&juror, job.options.clone(), job.stop, state);
    let (ranking, failed) = rank(&job, &juror, ranker, &mut reporter)?;
    let Some(mut ranking) = ranking else {
        reporter.finish().context("cannot write the results")?;
        return Ok(Outcome::Nothing);
    };
    tell_warnings(&ranking, &job.report);
    if let Some(plot) = plot {
        plot.write(&chart::ranking::draw(&ranking))?;
    }
    if let Some(html) = html {
        let _waiting = Waiting::new("taking thumbnails".to_owned(), job.report.quiet);
        let thumbnails: Vec<_> = (ranking.items.iter()).map(|item| thumbnail(&job, &item.path)).collect();
        let text = page::ranking(&ranking, &thumbnails);
        write_whole(html, text.as_bytes()).context("cannot write the page")?;
    }
    if !job.pairs {
        ranking.graph = None;
    }
    reporter.emit(&ranking.into()).context("cannot write the results")?;
    reporter.finish().context("cannot write the results")?;
    Ok(if failed > 0 { Outcome::Some } else { Outcome::All })
}

/// Scores comparisons that were made before.
fn scale(job: &Scaling) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let recorded = Recorded::read(&job.comparisons)?;
    let destination = Destination::open(job.report.output.as_deref())?;
    let plot = job.plot.as_ref().map(PlotPath::open).transpose()?;
    let html = job.html.as_deref().map(|path| Destination::open(Some(path))).transpose()?;
    let mut reporter = Reporter::new(destination, job.report.format, false, Columns::Ranking);
    let mut ranking = recorded.ranking(job.choice_model, true, job.seed)?;
    ranking.provenance.timings.total = begin.elapsed().as_secs_f64();
    tell_warnings(&ranking, &job.report);
    if let Some(plot) = plot {
        plot.write(&chart::ranking::draw(&ranking))?;
    }
    if let Some(html) = html {
        // Ids of a table need not be files.
        let picture =
            |path: &Path| path.is_file().then(|| page::thumbnail(path, TimeWindow::ALL).ok()).flatten();
        let thumbnails: Vec<_> = ranking.items.iter().map(|item| picture(Path::new(&item.path))).collect();
        write_whole(html, page::ranking(&ranking, &thumbnails).as_bytes())
            .context("cannot write the page")?;
    }
    if !job.pairs {
        ranking.graph = None;
    }
    reporter.emit(&ranking.into()).context("cannot write the results")?;
    reporter.finish().context("cannot write the results")?;
    Ok(Outcome::All)
}

fn tell_warnings(ranking: &Ranking, report: &Report) {
    for warning in ranking.provenance.warnings.iter().filter(|_| !report.quiet) {
        complain(&format!("warning: {warning}"));
    }
}

/// Watches and judges; gives the ranking, unless nothing could be done, and how many failures there were.
fn rank(
    job: &Tournament,
    juror: &Juror,
    mut ranker: Ranker<'_>,
    reporter: &mut Reporter,
) -> anyhow::Result<(Option<Ranking>, usize)> {
    let mut failed = 0;
    let progress = Progress::new(job.videos.len(), job.report.quiet);
    let mut fail = |progress: &Progress, paths: &[PathBuf], error: &Error| {
        failed += 1;
        progress.suspend(|| complain(&format!("error: {error}")));
        let subject = match paths {
            [one] => Subject::one(one),
            [a, b] => Subject::pair(a, b),
            // No matter of the videos: told to people only.
            _ => return Ok(()),
        };
        let record = juror.error_record(subject, error);
        progress.suspend(|| reporter.emit(&record.into())).context("cannot write the results")
    };
    for (index, path) in job.videos.iter().enumerate() {
        progress.begin(path.display().to_string());
        if let Err(error) = guarded(|| ranker.add(path, &|fraction| progress.at(index, fraction))) {
            fail(&progress, std::slice::from_ref(path), &error)?;
            if !job.continue_on_error {
                complain("stopped; --continue-on-error ranks the others");
                return Ok((None, failed));
            }
        }
    }
    drop(progress);
    if ranker.videos() < 2 {
        complain(&format!("error: a ranking needs at least two videos; {} could be read", ranker.videos()));
        return Ok((None, failed));
    }
    let progress = Progress::new(ranker.most_comparisons(), job.report.quiet);
    progress.begin("comparing".to_owned());
    let judged = guarded(|| Ok(ranker.judge(&|done| progress.at(done, 0.0))));
    let failure = match judged {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some((failure.paths, *failure.error)),
        Err(error) => Some((Vec::new(), error)),
    };
    if let Some((paths, error)) = failure {
        fail(&progress, &paths, &error)?;
        if !job.continue_on_error {
            complain("stopped; --continue-on-error ranks by what was judged before");
            return Ok((None, failed));
        }
    }
    drop(progress);
    Ok((Some(ranker.ranking(true)?), failed))
}

/// A picture from the middle of a video; none where it cannot be read again.
fn thumbnail(job: &Tournament, path: &str) -> Option<Vec<u8>> {
    let video = job.videos.iter().find(|video| video.to_string_lossy() == path)?;
    match page::thumbnail(video, job.options.window) {
        Ok(png) => Some(png),
        Err(error) => {
            warn_of_thumbnail(job, video, &error);
            None
        }
    }
}

fn warn_of_thumbnail(job: &Tournament, video: &Path, error: &anyhow::Error) {
    if !job.report.quiet {
        complain(&format!("warning: no thumbnail: {error:#}: {}", video.display()));
    }
}
