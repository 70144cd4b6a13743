//! `juror bench`: how fast this machine decodes, sees, reads and writes.
//!
//! A model that is here judges a rendered clip from file to record. With `--random-weights` a published network is built
//! at its real size from noise and its parts are timed, so that no checkpoint is needed; several precisions are held
//! against the first one.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use juror::{Juror, OpenOptions, Options, Processor};
use juror_lmm::bench::{Measured, Plan, measure, relative_error};
use juror_lmm::published::random::{Known, Scale};
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{Family, Scene};
use juror_media::{TimeWindow, Video};
use juror_nn::packed::WeightPrecision;
use serde::Serialize;
use serde_json::Value;

use crate::args::{BenchArgs, Format};
use crate::commands::Outcome;
use crate::output::{Destination, json, write_whole};
use crate::progress::Waiting;
use crate::settings::{Report as ReportSettings, bound_threads};

/// The rendered clip: width, height, frames, frames a second.
const CLIP: (usize, usize, usize, f64) = (1280, 720, 90, 30.0);

/// What was measured, and on what.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    r#type: &'static str,
    version: &'static str,
    build: &'static str,
    model: String,
    random_weights: bool,
    device: String,
    /// 0: one per core.
    threads: usize,
    seed: u64,
    /// Of a model that is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    judgement: Option<Judgement>,
    /// Of random weights, one for every precision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run>,
    /// The most memory this process held, bytes; `null` where the system does not say.
    peak_memory_bytes: Option<u64>,
    /// What is taken of the memory of the GPU after the last run, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu_memory_bytes: Option<u64>,
}

/// A clip, from file to record.
#[derive(Debug, Serialize)]
struct Judgement {
    width: usize,
    height: usize,
    frames: usize,
    /// The clip decoded to nothing.
    decode_frames_per_second: f64,
    /// Medians of the parts of `juror score`, seconds.
    watch_seconds: f64,
    vision_seconds: f64,
    language_seconds: f64,
    /// From opening the file to the record.
    total_seconds: f64,
    frames_per_second: f64,
}

/// A network of random weights in one precision.
#[derive(Debug, Serialize)]
struct Run {
    precision: WeightPrecision,
    scale: &'static str,
    /// The keys of `config.json` that decide sizes.
    config: Value,
    parameters: u64,
    weights_bytes: u64,
    build_seconds: f64,
    #[serde(flatten)]
    measured: Measured,
    /// Root mean square of the error of the logits behind the prompt, relative to those of the first precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_error: Option<f64>,
}

/// Measures and prints.
///
/// # Errors
/// On wrong usage, when the model does not open or fit, or when results cannot be written.
pub fn run(args: &BenchArgs) -> anyhow::Result<Outcome> {
    let processor: Processor = args.device.parse()?;
    processor.check_build()?;
    let destination = Destination::open(args.report.output.as_deref())?;
    let threads = args.threads.map_or(0, usize::from);
    bound_threads(threads);
    let mut report = Report {
        schema: "juror/1",
        r#type: "bench",
        version: juror::VERSION,
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        model: args.model.display().to_string(),
        random_weights: args.random_weights,
        device: processor.to_string(),
        threads,
        seed: args.seed,
        judgement: None,
        runs: Vec::new(),
        peak_memory_bytes: None,
        gpu_memory_bytes: None,
    };
    if args.random_weights {
        report.runs = random(args, processor)?;
    } else {
        ensure!(args.precision.len() < 2, "several precisions are compared on --random-weights only");
        report.judgement = Some(judge(args, processor)?);
    }
    report.peak_memory_bytes = juror_nn::memory::peak_bytes();
    report.gpu_memory_bytes = processor.used_bytes();
    let text = match ReportSettings::new(&args.report, false).format {
        Format::Table => table(&report),
        Format::Json => json(&report, true)? + "\n",
        Format::Jsonl => json(&report, false)? + "\n",
        Format::Csv => anyhow::bail!("`bench` has no csv form; allowed are table, json and jsonl"),
    };
    write_whole(destination, text.as_bytes())?;
    Ok(Outcome::All)
}

/// Builds the network in each precision and times it.
fn random(args: &BenchArgs, processor: Processor) -> anyhow::Result<Vec<Run>> {
    let name = args.model.to_string_lossy();
    let known: Known = name.parse()?;
    let scale = args.scale.into();
    let plan = Plan {
        frames: args.frames.map(|frames| frames as usize),
        batches: args.batches.iter().map(|&batch| usize::from(batch)).collect(),
        new_tokens: usize::from(args.new_tokens),
        context: usize::from(args.context),
        clips: usize::from(args.clips),
        rounds: usize::from(args.rounds),
        seed: args.seed,
    };
    let default = OpenOptions { processor, ..OpenOptions::default() }.precision()?;
    let precisions = if args.precision.is_empty() { vec![default] } else { args.precision.clone() };
    let mut runs: Vec<Run> = Vec::new();
    for precision in precisions {
        let options = OpenOptions { processor, precision: Some(precision), ..OpenOptions::default() };
        let started = Instant::now();
        let building = Waiting::new(format!("{name} in {precision}: building"), args.report.quiet);
        let random = known.build(scale, args.seed, &options)?;
        let build_seconds = started.elapsed().as_secs_f64();
        let measured =
            measure(&random, &plan, &|part| building.label(format!("{name} in {precision}: {part}")))?;
        let logits_error = runs.first().map(|first| relative_error(&first.measured.logits, &measured.logits));
        let (parameters, weights_bytes) = (random.parameters, random.weights_bytes);
        let config = known.config(scale);
        let scale = if scale == Scale::Full { "full" } else { "tiny" };
        runs.push(Run {
            precision,
            scale,
            config,
            parameters,
            weights_bytes,
            build_seconds,
            measured,
            logits_error,
        });
    }
    Ok(runs)
}

/// Lets a model that is here score a rendered clip.
fn judge(args: &BenchArgs, processor: Processor) -> anyhow::Result<Judgement> {
    let waiting = Waiting::new("rendering a clip".to_owned(), args.report.quiet);
    let folder = tempfile::tempdir().context("cannot make a folder for a clip")?;
    let clip = folder.path().join("clip.mkv");
    render(&clip)?;
    let options =
        OpenOptions { processor, precision: args.precision.first().copied(), ..OpenOptions::default() };
    waiting.label("opening the model".to_owned());
    let juror = Juror::open_with(&args.model, &options)?
        .with_threads(args.threads.map_or(0, usize::from))
        .with_seed(args.seed);
    let rounds = usize::from(args.rounds);
    let mut decoding = Vec::with_capacity(rounds);
    let mut timings = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        waiting.label(format!("round {round} of {rounds}"));
        let started = Instant::now();
        let video = Video::open(&clip)?;
        let mut frames = video.frames(TimeWindow::default())?;
        while frames.next_frame()?.is_some() {}
        let decoded = started.elapsed().as_secs_f64();
        let score = juror.score(&clip, &Options::default(), &|_| ())?;
        if round > 0 {
            decoding.push(decoded);
            timings.push(score.provenance.timings);
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (width, height, frames, _) = CLIP;
    let total_seconds = median(timings.iter().map(|t| t.total).collect());
    Ok(Judgement {
        width,
        height,
        frames,
        decode_frames_per_second: frames as f64 / median(decoding),
        watch_seconds: median(timings.iter().map(|t| t.decode).collect()),
        vision_seconds: median(timings.iter().map(|t| t.vision).collect()),
        language_seconds: median(timings.iter().map(|t| t.language).collect()),
        total_seconds,
        frames_per_second: frames as f64 / total_seconds,
    })
}

fn render(path: &Path) -> anyhow::Result<()> {
    let (width, height, frames, rate) = CLIP;
    let options = EncodeOptions::lossless_for(path)?;
    let mut encoder = Encoder::create(path, rate, options)?;
    for frame in Scene::of(Family::Leaves, 3).render(width, height, rate, frames)? {
        encoder.push(&frame)?;
    }
    encoder.finish()?;
    Ok(())
}

fn table(report: &Report) -> String {
    let gib = |bytes: u64| format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30));
    let mut text = format!("{} on {} ({} build)\n", report.model, report.device, report.build);
    // Writing to a `String` cannot fail.
    if let Some(j) = &report.judgement {
        let _ = writeln!(
            text,
            "clip of {} frames, {} x {}\n  decode    {:>10.1} frames/s\n  watch     {:>10.3} s\n  vision    {:>10.3} s\n  language  {:>10.3} s\n  score     {:>10.3} s, {:.1} frames/s",
            j.frames,
            j.width,
            j.height,
            j.decode_frames_per_second,
            j.watch_seconds,
            j.vision_seconds,
            j.language_seconds,
            j.total_seconds,
            j.frames_per_second
        );
    }
    for run in &report.runs {
        let m = &run.measured;
        let _ = writeln!(
            text,
            "{}, {} scale: {:.2} billion weights, {}, built in {:.1} s",
            run.precision,
            run.scale,
            run.parameters as f64 / 1e9,
            gib(run.weights_bytes),
            run.build_seconds
        );
        let mut line = |what: &str, tokens: usize, speed: f64| {
            let _ = writeln!(text, "  {what:<24} {tokens:>7} tokens {speed:>12.1} tokens/s");
        };
        line(&format!("vision, {} frames", m.frames), m.vision.tokens, m.vision.tokens_per_second);
        line("prefill", m.prefill.tokens, m.prefill.tokens_per_second);
        for written in &m.decode {
            let what = format!("decode, batch {}", written.batch);
            line(&what, written.speed.tokens, written.speed.tokens_per_second);
        }
        for written in &m.rollouts {
            let what = format!("decode, {} rollouts", written.batch);
            line(&what, written.speed.tokens, written.speed.tokens_per_second);
        }
        if let Some(score) = &m.score {
            let _ = writeln!(
                text,
                "  score, {} clips at once, {} tokens each: {:.2} s, {:.3} clips/s",
                score.clips, score.new_tokens, score.seconds, score.clips_per_second
            );
        }
        if let Some(error) = run.logits_error {
            let _ =
                writeln!(text, "  logits differ by {:.3} % from {}", 100.0 * error, report.runs[0].precision);
        }
    }
    if let Some(bytes) = report.peak_memory_bytes {
        let _ = writeln!(text, "peak memory: {}", gib(bytes));
    }
    if let Some(bytes) = report.gpu_memory_bytes {
        let _ = writeln!(text, "memory of the GPU: {}", gib(bytes));
    }
    text
}
