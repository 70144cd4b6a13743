//! Opening a model and judging videos with it: files in, records out.
//!
//! Each video is watched once (decoding and the vision stage) and its tokens are kept in a [`Viewed`], so that
//! one viewing serves any number of comparisons. Records hold finite numbers only: a model that answers
//! otherwise is an error. On a CPU the same files, model, seed and version give the same record (but for
//! `timings`), whatever the number of threads.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use juror_lmm::nano::Nano;
use juror_lmm::published::{OpenOptions, open_folder};
use juror_lmm::remote::{Media, Remote};
use juror_lmm::{Attribution, JudgeOptions, Lmm, WatchOptions, Watched};
use juror_media::{TimeWindow, Video, VideoInfo};
use juror_net::chat::Service;
use juror_net::hub::{Cache, MAIN, RepoId};
use juror_stats::anchors::AnchoredScore;

use crate::anchors::Anchors;
use crate::error::Error;
use crate::hash::sha256_of_file;
use crate::record::{
    Aspects, ByAnchors, Comparison, ComparisonType, Distortion, ErrorRecord, Input, ModelId, PairDistortions,
    Provenance, Schema, Score, ScoreType, Segment, Subject, Timings,
};
use crate::segment;
use crate::verdict::{Level, MARGIN_RANGE, Pooled, Preference, SCORE_RANGE, ci95};

/// The models inside the program, by name.
pub const EMBEDDED: [&str; 1] = ["nano"];

/// The device where no model was opened.
pub(crate) const DEVICE: &str = "cpu";
/// The share of a call's progress that watching takes; the rest is for the judgement and its text.
const WATCHING: f64 = 0.9;

/// Told how far a call has come, 0..1; may be called from any thread.
pub type Progress<'a> = &'a (dyn Fn(f64) + Sync);

/// How videos are watched and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The part of each video to watch.
    pub window: TimeWindow,
    /// How many moments to look at closely; `None`: as the model was trained.
    pub frames: Option<usize>,
    /// Whether to write down the reasons.
    pub rationale: bool,
    /// Judge a pair only as A-B, not as B-A too: faster, but an order bias stays in.
    pub single_order: bool,
    /// The length of segments to score besides the whole, seconds.
    pub segment_secs: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: TimeWindow::ALL,
            frames: None,
            rationale: true,
            single_order: false,
            segment_secs: None,
        }
    }
}

/// A video that was watched: all that a judgement needs of it.
pub struct Viewed {
    input: Input,
    watched: Watched,
    warnings: Vec<String>,
    info: VideoInfo,
    total_secs: f64,
}

impl Viewed {
    /// The video as it stands in records.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// What a careful reader should know of it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Seconds spent on decoding and on the vision stage.
    pub fn seconds(&self) -> (f64, f64) {
        (self.watched.decode_secs, self.watched.vision_secs)
    }
}

/// A margin by itself, without the rest of a [`Comparison`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// Quality of A minus that of B, points (-4..4).
    pub points: f64,
    /// Standard deviation of its error, as the model states it, points.
    pub sd: f64,
}

/// A judge of video quality: a model ready to compare and score.
pub struct Juror {
    lmm: Box<dyn Lmm>,
    anchors: Option<Anchors>,
    threads: usize,
    seed: u64,
    listener: Listener,
}

/// Told the reasons piece by piece while they are written.
pub type Listener = Box<dyn Fn(&str) + Send + Sync>;

impl Juror {
    /// Opens a model: the name of an embedded one ([`EMBEDDED`]), the folder of a checkpoint (nano's layout, or a published
    /// family), or the name of a checkpoint that was pulled, with `@REVISION` where it is not the main one.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`]; [`Error::Model`] when the files of the model are damaged or need more memory than there is.
    pub fn open(model: impl AsRef<OsStr>) -> Result<Self, Error> {
        Self::open_with(model, &OpenOptions::default())
    }

    /// [`Self::open`] on another device, in another precision, or with an adapter.
    ///
    /// # Errors
    /// Those of [`Self::open`]; [`Error::Model`] where the model or this machine does not have what is asked for.
    pub fn open_with(model: impl AsRef<OsStr>, options: &OpenOptions) -> Result<Self, Error> {
        let model = model.as_ref();
        let folder = Path::new(model);
        if EMBEDDED.iter().any(|name| model == *name) {
            options.check_nano()?;
            Ok(Self::new(Box::new(Nano::embedded()?)))
        } else if folder.is_dir() {
            Ok(Self::new(open_folder(folder, None, options)?))
        } else if let Some(pulled) = pulled(model) {
            Ok(Self::new(open_folder(&pulled, Some(&model.to_string_lossy()), options)?))
        } else {
            Err(Error::NoSuchModel { name: model.to_string_lossy().into_owned() })
        }
    }

    /// A judge that asks a model served elsewhere. Nothing is sent before the first judgement.
    ///
    /// # Errors
    /// [`Error::Model`] where the settings make no sense.
    pub fn remote(service: Service, media: Media) -> Result<Self, Error> {
        Ok(Self::new(Box::new(Remote::new(service, media)?)))
    }

    /// A judge with any model, on all cores, with seed 0.
    pub fn new(lmm: Box<dyn Lmm>) -> Self {
        Self { lmm, anchors: None, threads: 0, seed: 0, listener: Box::new(|_| ()) }
    }

    /// The same judge on this many threads (0, the default: one per core). Judgements do not depend on it.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The same judge with this seed (default 0).
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same judge, which tells `listener` the reasons while they are written. `nano` writes too fast to bother.
    pub fn with_listener(mut self, listener: Listener) -> Self {
        self.listener = listener;
        self
    }

    /// The same judge scoring by margins over these anchors, which it watched, instead of each video by itself.
    pub fn with_anchors(mut self, anchors: Anchors) -> Self {
        self.anchors = Some(anchors);
        self
    }

    /// The seed of everything random.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The model's name and the SHA-256 of its weights.
    pub fn model(&self) -> ModelId {
        let info = self.lmm.info();
        ModelId { name: info.name.clone(), sha256: info.sha256.clone() }
    }

    /// Watches the video at `path`: decoding and the vision stage.
    ///
    /// # Errors
    /// Those of reading video; [`Error::Model`] when the model cannot take it.
    pub fn watch(&self, path: &Path, options: &Options, progress: Progress<'_>) -> Result<Viewed, Error> {
        self.watch_on(self.threads, path, options, progress)
    }

    fn watch_on(
        &self,
        threads: usize,
        path: &Path,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<Viewed, Error> {
        let begin = Instant::now();
        let mut video = Video::open(path)?.with_threads(threads);
        let info = video.info().clone();
        let watch = WatchOptions { window: options.window, frames: options.frames, threads };
        let (watched, sha256) =
            sha256_of_file(path, || self.lmm.watch(&mut video, &watch, &|fraction| progress(fraction)))?;
        let mut warnings = info.warnings.clone();
        warnings.extend(watched.warnings.iter().filter(|warning| !info.warnings.contains(warning)).cloned());
        let known = |value: f64| (value.is_finite() && value > 0.0).then_some(value);
        let input = Input {
            path: path.to_string_lossy().into_owned(),
            sha256,
            width: info.width,
            height: info.height,
            fps: known(info.fps),
            duration: known(info.duration_secs),
            frames_sampled: watched.frames_sampled_secs.clone(),
        };
        Ok(Viewed { input, watched, warnings, info, total_secs: begin.elapsed().as_secs_f64() })
    }

    /// Compares two videos that were watched.
    ///
    /// # Errors
    /// [`Error::Model`] when the model gives no usable answer.
    pub fn compare_viewed(&self, a: &Viewed, b: &Viewed, options: &Options) -> Result<Comparison, Error> {
        let begin = Instant::now();
        let judge = self.judge_options(options);
        let judged = self.lmm.compare_aloud(&a.watched, &b.watched, &judge, &self.listener)?;
        let margin = finite("margin", judged.margin)?.clamp(MARGIN_RANGE[0], MARGIN_RANGE[1]);
        let aspects = Aspects {
            visual: finite("visual margin", judged.visual)?,
            temporal: finite("temporal margin", judged.temporal)?,
        };
        let timings = Timings {
            decode: a.watched.decode_secs + b.watched.decode_secs,
            vision: a.watched.vision_secs + b.watched.vision_secs,
            language: judged.language_secs,
            total: a.total_secs + b.total_secs + begin.elapsed().as_secs_f64(),
        };
        let warnings = tagged(&a.warnings, "a").chain(tagged(&b.warnings, "b")).collect();
        Ok(Comparison {
            schema: Schema,
            record_type: ComparisonType,
            a: a.input.clone(),
            b: b.input.clone(),
            margin,
            margin_ci95: ci95(margin, finite("margin's deviation", judged.margin_sd)?, MARGIN_RANGE),
            probability: finite("probability", judged.probability)?.clamp(0.0, 1.0),
            prefer: Preference::of_margin(margin),
            level: Level::of_margin(margin),
            aspects,
            distortions: PairDistortions {
                a: distortions(&judged.distortions_a)?,
                b: distortions(&judged.distortions_b)?,
            },
            rationale: judged.rationale,
            order_agreement: judged.order_agreement,
            provenance: self.provenance(self.model(), timings, warnings),
        })
    }

    /// The margin of two videos that were watched, without reasons: all that a ranking needs.
    ///
    /// # Errors
    /// [`Error::Model`] when the model gives no usable answer.
    pub fn margin(&self, a: &Viewed, b: &Viewed, options: &Options) -> Result<Margin, Error> {
        let options = JudgeOptions { rationale: false, ..self.judge_options(options) };
        let judged = self.lmm.compare(&a.watched, &b.watched, &options)?;
        let points = finite("margin", judged.margin)?.clamp(MARGIN_RANGE[0], MARGIN_RANGE[1]);
        Ok(Margin { points, sd: finite("margin's deviation", judged.margin_sd)?.abs() })
    }

    /// The score of a video that was watched, points (1..5), without reasons.
    ///
    /// # Errors
    /// [`Error::Model`] when the model gives no usable answer.
    pub fn score_viewed(&self, viewed: &Viewed) -> Result<f64, Error> {
        let options = JudgeOptions { rationale: false, ..self.judge_options(&Options::default()) };
        in_score_range("score", self.lmm.score(&viewed.watched, &options)?.score)
    }

    /// Tells which of two videos looks better, by how much, and why.
    ///
    /// # Errors
    /// Those of [`Self::watch`] and [`Self::compare_viewed`].
    pub fn compare(
        &self,
        a: &Path,
        b: &Path,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<Comparison, Error> {
        let begin = Instant::now();
        let (a, b) = self.watch_both(a, b, options, progress)?;
        let mut comparison = self.compare_viewed(&a, &b, options)?;
        comparison.provenance.timings.total = begin.elapsed().as_secs_f64();
        progress(1.0);
        Ok(comparison)
    }

    /// Watches both videos of a pair side by side: while one waits for its vision stage or its disk, the other
    /// decodes. Each decoder has a thread per core, so that the one that takes longer has them all in the end; a
    /// bound on the threads is shared out in halves.
    fn watch_both(
        &self,
        a: &Path,
        b: &Path,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<(Viewed, Viewed), Error> {
        let (threads_a, threads_b) = match self.threads {
            0 => (0, 0),
            bound => (bound - bound / 2, bound / 2),
        };
        let done = Mutex::new([0.0; 2]);
        let report = |which: usize, fraction: f64| {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done[which] = fraction;
            progress(WATCHING * (done[0] + done[1]) / 2.0);
        };
        let watch = |which, path, threads| self.watch_on(threads, path, options, &|done| report(which, done));
        if self.threads == 1 {
            return Ok((watch(0, a, 1)?, watch(1, b, 1)?));
        }
        std::thread::scope(|scope| {
            let watching_b = scope.spawn(|| watch(1, b, threads_b));
            let a = watch(0, a, threads_a);
            let b = watching_b.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((a?, b?))
        })
    }

    /// Scores one video, and its segments where `options` ask for them.
    ///
    /// # Errors
    /// Those of [`Self::watch`]; [`Error::Model`] when the model gives no usable answer.
    pub fn score(&self, path: &Path, options: &Options, progress: Progress<'_>) -> Result<Score, Error> {
        let begin = Instant::now();
        let share = if options.segment_secs.is_some() { WATCHING / 2.0 } else { WATCHING };
        let viewed = self.watch(path, options, &|fraction| progress(share * fraction))?;
        let judge = self.judge_options(options);
        let judged = if options.rationale {
            self.lmm.score_aloud(&viewed.watched, &judge, &self.listener)?
        } else {
            self.lmm.score(&viewed.watched, &judge)?
        };
        let itself = in_score_range("score", judged.score)?;
        let (score, interval, anchors) = match self.by_anchors(&viewed.watched, options)? {
            Some(found) => {
                let by_anchors = ByAnchors {
                    count: self.anchors.as_ref().map_or(0, Anchors::count),
                    deviation: found.standard_error.unwrap_or(0.0),
                    inconsistency: found.inconsistency,
                    score_by_itself: itself,
                };
                let interval = found.ci95.map_or(SCORE_RANGE, |ci95| [ci95.lo, ci95.hi].map(on_scale));
                (on_scale(found.score), interval, Some(by_anchors))
            }
            None => {
                let sd = finite("score's deviation", judged.score_sd)?;
                (itself, ci95(itself, sd, SCORE_RANGE), None)
            }
        };
        let mut timings = Timings {
            decode: viewed.watched.decode_secs,
            vision: viewed.watched.vision_secs,
            language: judged.language_secs,
            total: 0.0,
        };
        let segments = match options.segment_secs {
            Some(length_secs) => {
                let windows = segment::windows(options.window, viewed.info.duration_secs, length_secs)?;
                let count = windows.len() as f64;
                let mut segments = Vec::with_capacity(windows.len());
                for (index, window) in windows.into_iter().enumerate() {
                    let part = |fraction| progress(share * (1.0 + (index as f64 + fraction) / count));
                    segments.push(self.score_segment(path, window, options, &mut timings, &part)?);
                }
                segments
            }
            None => Vec::new(),
        };
        let scores: Vec<f64> = segments.iter().map(|segment| segment.score).collect();
        let whole = Pooled { mean: score, harmonic_mean: score, min: score, p5: score };
        let aspects = Aspects {
            visual: in_score_range("visual score", judged.visual)?,
            temporal: in_score_range("temporal score", judged.temporal)?,
        };
        timings.total = begin.elapsed().as_secs_f64();
        progress(1.0);
        Ok(Score {
            schema: Schema,
            record_type: ScoreType,
            score,
            ci95: interval,
            aspects,
            distortions: distortions(&judged.distortions)?,
            rationale: judged.rationale,
            segments,
            pooled: Pooled::of_scores(&scores).unwrap_or(whole),
            anchors,
            provenance: self.provenance(self.model(), timings, viewed.warnings),
            video: viewed.input,
        })
    }

    /// The error record of `subject`, which this judge failed on.
    pub fn error_record(&self, subject: Subject, error: &Error) -> ErrorRecord {
        let provenance = self.provenance(Some(self.model()), Timings::default(), Vec::new());
        ErrorRecord::new(subject, error, provenance)
    }

    fn score_segment(
        &self,
        path: &Path,
        window: segment::Window,
        options: &Options,
        timings: &mut Timings,
        progress: Progress<'_>,
    ) -> Result<Segment, Error> {
        let mut video = Video::open(path)?.with_threads(self.threads);
        let watch = WatchOptions { window: window.to_time()?, frames: options.frames, threads: self.threads };
        let watched = self.lmm.watch(&mut video, &watch, &|fraction| progress(fraction))?;
        timings.decode += watched.decode_secs;
        timings.vision += watched.vision_secs;
        let score = match self.by_anchors(&watched, options)? {
            Some(found) => on_scale(found.score),
            None => {
                let judge = JudgeOptions { rationale: false, ..self.judge_options(options) };
                let judged = self.lmm.score(&watched, &judge)?;
                timings.language += judged.language_secs;
                in_score_range("segment's score", judged.score)?
            }
        };
        Ok(Segment { start: window.start_secs, end: window.end_secs, score })
    }

    /// The score by margins over the anchors, where there are some; not bounded by the scale.
    fn by_anchors(&self, watched: &Watched, options: &Options) -> Result<Option<AnchoredScore>, Error> {
        let Some(anchors) = &self.anchors else { return Ok(None) };
        let options = JudgeOptions { rationale: false, ..self.judge_options(options) };
        let margin =
            |anchor: &Viewed| finite("margin", self.lmm.compare(watched, &anchor.watched, &options)?.margin);
        anchors.score(margin).map(Some)
    }

    fn judge_options(&self, options: &Options) -> JudgeOptions {
        JudgeOptions { rationale: options.rationale, single_order: options.single_order, seed: self.seed }
    }

    pub(crate) fn provenance<M>(&self, model: M, timings: Timings, warnings: Vec<String>) -> Provenance<M> {
        Provenance {
            model,
            seed: self.seed,
            device: self.lmm.device().to_owned(),
            timings,
            warnings,
            version: crate::VERSION.to_owned(),
        }
    }
}

/// The folder of a model in the cache, by the name under which it was pulled.
pub fn pulled(model: &OsStr) -> Option<PathBuf> {
    let name = model.to_str()?;
    let (repo, revision) = name.split_once('@').unwrap_or((name, MAIN));
    Cache::of_environment().find(&RepoId::parse(repo).ok()?, revision).ok()?
}

/// The error record of `subject` where no model could be opened.
pub fn error_record_without_model(subject: Subject, error: &Error, seed: u64) -> ErrorRecord {
    ErrorRecord::new(subject, error, Provenance::without_model(seed))
}

/// `value`, unless the model went astray.
fn finite(what: &str, value: f64) -> Result<f64, Error> {
    if value.is_finite() { Ok(value) } else { Err(Error::Answer(format!("its {what} is {value}"))) }
}

/// The nearest point of the five-point scale.
fn on_scale(score: f64) -> f64 {
    score.clamp(SCORE_RANGE[0], SCORE_RANGE[1])
}

fn in_score_range(what: &str, value: f64) -> Result<f64, Error> {
    Ok(on_scale(finite(what, value)?))
}

/// The model's attributions, in its order: the dominant one first.
fn distortions(attributions: &[Attribution]) -> Result<Vec<Distortion>, Error> {
    let mut list = Vec::with_capacity(attributions.len());
    for attribution in attributions {
        let severity = finite("severity", attribution.severity)?.clamp(0.0, 1.0);
        list.push(Distortion { kind: attribution.kind.clone(), severity });
    }
    Ok(list)
}

/// Warnings of a pair say which video they are about.
fn tagged<'a>(warnings: &'a [String], which: &'a str) -> impl Iterator<Item = String> + 'a {
    warnings.iter().map(move |warning| format!("{which}: {warning}"))
}
