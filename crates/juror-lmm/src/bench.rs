//! How fast a network is on this machine: visual tokens, prompt tokens and written tokens a second.
//!
//! Pictures are noise of 1280 x 720 pixels, as many as the family looks at in ten seconds; the prompt is their tokens and
//! 64 words. Each part is run once to warm up, then timed `rounds` times; the median counts. Vision takes the resizing of pictures in,
//! writing takes the way of the logits to the CPU and the choice of the token in, decoding of videos is left out.

use std::time::Instant;

use candle_core::{D, Device};
use juror_media::Rgb;
use juror_nn::rng;
use rand::RngExt;
use serde::Serialize;

use crate::error::Result;
use crate::generate::{Options, Session, generate};
use crate::published::VideoTokens;
use crate::published::random::Random;
use crate::sequence::{Batch, Prefill};

/// Size of the pictures, pixels.
const PICTURE: [usize; 2] = [1280, 720];
/// A clip of ten seconds: frames, and frames a second.
const CLIP: (usize, f64) = (300, 30.0);
/// Tokens of text in a prompt.
const WORDS: usize = 64;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Frames of a video; the family's own number by default.
    pub frames: Option<usize>,
    /// Rows that are written at once.
    pub batches: Vec<usize>,
    /// Tokens that are written.
    pub new_tokens: usize,
    /// Tokens before the first one that is written, at most.
    pub context: usize,
    /// Videos that are scored with text at once, from pictures to words; 0: none.
    pub clips: usize,
    /// Timed runs of each part.
    pub rounds: usize,
    /// Of pictures and words.
    pub seed: u64,
}

/// Tokens in a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens.
    pub tokens: usize,
    /// Median wall time, seconds.
    pub seconds: f64,
    /// Tokens a second.
    pub tokens_per_second: f64,
}

impl Speed {
    fn new(tokens: usize, seconds: f64) -> Self {
        Self { tokens, seconds, tokens_per_second: tokens as f64 / seconds.max(1e-9) }
    }
}

/// The speed of writing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Writing {
    /// Rows at once.
    pub batch: usize,
    /// Tokens before the first one, per row.
    pub context: usize,
    /// Over all rows.
    #[serde(flatten)]
    pub speed: Speed,
}

/// Scoring videos with text, from pictures to words.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scoring {
    /// Videos at once.
    pub clips: usize,
    /// Written tokens per video.
    pub new_tokens: usize,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Videos a second.
    pub clips_per_second: f64,
}

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Frames of a video.
    pub frames: usize,
    /// The grid of patches of a video (Qwen): slices, rows, columns.
    pub grid: Option<[usize; 3]>,
    /// Visual tokens, from pictures.
    pub vision: Speed,
    /// Tokens of a prompt with one video.
    pub prefill: Speed,
    /// Tokens one by one, each row behind a prompt of its own.
    pub decode: Vec<Writing>,
    /// The same, all rows behind one prompt: rollouts, which share its keys and values.
    pub rollouts: Vec<Writing>,
    /// Whole answers.
    pub score: Option<Scoring>,
    /// The logits behind the prompt, to hold precisions against each other.
    #[serde(skip)]
    pub logits: Vec<f32>,
}

/// Times a network; `progress` is told what comes next.
///
/// # Errors
/// Tensor work that fails, such as memory that runs out.
pub fn measure(random: &Random, plan: &Plan, progress: &dyn Fn(&str)) -> Result<Measured> {
    let network = &random.network;
    let decoder = network.decoder();
    let indices = network.select_frames(CLIP.0, CLIP.1, plan.frames)?;
    let seconds: Vec<f64> = indices.iter().map(|&i| i as f64 / CLIP.1).collect();
    let pictures = noise(indices.len(), plan.seed)?;

    progress("vision");
    let look = || network.look(&pictures, &seconds);
    let (video, vision) = timed(network.device(), plan.rounds, look)?;

    progress("prefill");
    let batch =
        |rows: usize| Batch { ids: vec![prompt(random, &video, plan.seed); rows], pads: vec![0; rows] };
    let read = |rows: usize| {
        let prefill = network.prefill(&batch(rows), random.placeholder, &vec![&video; rows])?;
        Session::start(decoder, &prefill)
    };
    let (session, prefill) = timed(network.device(), plan.rounds, || read(1))?;
    let logits = session.logits()?.flatten_all()?.to_vec1()?;
    drop(session);

    let (mut decode, mut rollouts) = (Vec::new(), Vec::new());
    for &rows in &plan.batches {
        progress(&format!("decode, batch {rows}"));
        decode.push(write(random, plan, rows, 1)?);
        if rows > 1 {
            progress(&format!("{rows} rollouts"));
            rollouts.push(write(random, plan, 1, rows)?);
        }
    }

    let mut score = None;
    if plan.clips > 0 {
        progress(&format!("score {} videos", plan.clips));
        let options = Options::greedy(plan.new_tokens, Vec::new());
        let run = || {
            let videos: Vec<VideoTokens> = (0..plan.clips).map(|_| look()).collect::<Result<_>>()?;
            let videos: Vec<&VideoTokens> = videos.iter().collect();
            let prefill = network.prefill(&batch(plan.clips), random.placeholder, &videos)?;
            generate(decoder, &prefill, &options, |_, _, _| ())
        };
        let (_, seconds) = timed(network.device(), 1, run)?;
        let clips_per_second = plan.clips as f64 / seconds.max(1e-9);
        score = Some(Scoring { clips: plan.clips, new_tokens: plan.new_tokens, seconds, clips_per_second });
    }
    Ok(Measured {
        frames: pictures.len(),
        grid: video.grid.map(|grid| [grid.slices, grid.rows, grid.columns]),
        vision: Speed::new(video.tokens.dim(0)?, vision),
        prefill: Speed::new(batch(1).tokens(), prefill),
        decode,
        rollouts,
        score,
        logits,
    })
}

/// Times the writing of rows behind `prompts` prompts of words, `rollouts` of each.
fn write(random: &Random, plan: &Plan, prompts: usize, rollouts: usize) -> Result<Writing> {
    let (network, decoder) = (&random.network, random.network.decoder());
    let ids = words(plan.context, plan.seed);
    let batch = Batch { ids: vec![ids; prompts], pads: vec![0; prompts] };
    let prefill = Prefill::plain(decoder, &batch, u32::MAX, None, network.device())?;
    let prompt = Session::start(decoder, &prefill)?;
    let run = || {
        let mut session = prompt.fork(rollouts)?;
        // The first token is not timed: copying the cache is no writing.
        let next =
            |session: &Session| -> Result<Vec<u32>> { Ok(session.logits()?.argmax(D::Minus1)?.to_vec1()?) };
        let tokens = next(&session)?;
        session.push(&tokens)?;
        network.device().synchronize()?;
        let started = Instant::now();
        for _ in 0..plan.new_tokens {
            let tokens = next(&session)?;
            session.push(&tokens)?;
        }
        network.device().synchronize()?;
        Ok(started.elapsed().as_secs_f64())
    };
    let mut times: Vec<f64> = (0..=plan.rounds).map(|_| run()).collect::<Result<_>>()?;
    times.remove(0);
    let rows = prompts * rollouts;
    Ok(Writing {
        batch: rows,
        context: plan.context,
        speed: Speed::new(rows * plan.new_tokens, median(times)),
    })
}

/// The last result of `run` and the median of its times, after one run to warm up.
fn timed<T>(device: &Device, rounds: usize, run: impl Fn() -> Result<T>) -> Result<(T, f64)> {
    let mut result = run()?;
    device.synchronize()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        result = run()?;
        device.synchronize()?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok((result, median(times)))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A prompt: the places of a video, then words.
fn prompt(random: &Random, video: &VideoTokens, seed: u64) -> Vec<u32> {
    // Qwen's families find a video, or each of its slices, as one unbroken run of places.
    let places = video.tokens.dim(0).unwrap_or(0);
    let runs = random.network.runs(video);
    let mut ids = Vec::new();
    for _ in 0..runs {
        ids.push(1);
        ids.extend(std::iter::repeat_n(random.placeholder, places / runs));
    }
    ids.extend(words(WORDS, seed));
    ids
}

/// Ids of words, none of them special.
fn words(count: usize, seed: u64) -> Vec<u32> {
    let mut stream = rng::stream(seed, &[1]);
    (0..count).map(|_| 10 + (stream.random::<f64>() * 1000.0) as u32).collect()
}

fn noise(count: usize, seed: u64) -> Result<Vec<Rgb>> {
    let [width, height] = PICTURE;
    let mut stream = rng::stream(seed, &[0]);
    let mut picture = || Rgb::new(width, height, (0..3 * width * height).map(|_| stream.random()).collect());
    Ok((0..count).map(|_| picture()).collect::<std::result::Result<_, _>>()?)
}

/// The root of the mean square of the difference of two rows of logits over that of the first: what a precision costs.
pub fn relative_error(exact: &[f32], rounded: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = exact.iter().zip(rounded).map(|(a, b)| square(a - b)).sum();
    (difference / exact.iter().map(|&x| square(x)).sum::<f64>().max(f64::MIN_POSITIVE)).sqrt()
}
