//! The embedded model on rendered scenes and on files: order of quality, exact symmetry, same bits.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use juror_lmm::nano::{Nano, Offset, observe_frames};
use juror_lmm::{JudgeOptions, Lmm, WatchOptions, Watched};
use juror_media::distort::Chain;
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, TimeWindow, Video};
use std::path::Path;

const PLAIN: JudgeOptions = JudgeOptions::PLAIN;

/// A scene that moves (some stand still, and there a stutter changes nothing), the first from `seed` on.
fn clip(seed: u64, frames: usize) -> Vec<Frame> {
    let render = |seed| -> Vec<Frame> {
        Scene::of(Family::Leaves, seed).render(384, 288, 30.0, frames.max(12)).unwrap().collect()
    };
    let moves = |clip: &Vec<Frame>| {
        let (a, b) = (clip[0].picture.y(), clip[10].picture.y());
        a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>() > 6 * a.len() as u64
    };
    let mut clip = (seed * 100..).map(render).find(moves).unwrap();
    clip.truncate(frames);
    clip
}

fn distorted(frames: &[Frame], chain: &str) -> Vec<Frame> {
    chain.parse::<Chain>().unwrap().apply_all(frames, 7).unwrap()
}

fn seen(nano: &Nano, frames: &[Frame]) -> Watched {
    nano.watched(&observe_frames(frames, 8, Offset::default()).unwrap(), Some("h264")).unwrap()
}

fn write(path: &Path, frames: &[Frame]) {
    let mut encoder = Encoder::create(path, 30.0, EncodeOptions::lossless_for(path).unwrap()).unwrap();
    frames.iter().for_each(|f| encoder.push(f).unwrap());
    encoder.finish().unwrap();
}

#[test]
fn the_clean_version_wins_against_each_severe_one() {
    let nano = Nano::embedded().unwrap();
    let clean = clip(1, 48);
    let source = seen(&nano, &clean);
    for chain in [
        "gaussian-blur:4",
        "h264:5",
        "rescale:4",
        "gaussian-noise:5",
        "resolution:5",
        "stutter:5",
        "freeze:5",
    ] {
        let judged = nano.compare(&source, &seen(&nano, &distorted(&clean, chain)), &PLAIN).unwrap();
        assert!(judged.margin > 0.2, "{chain}: margin {}", judged.margin);
        assert!(judged.probability > 0.5, "{chain}: probability {}", judged.probability);
    }
}

#[test]
fn swapping_flips_the_margin_exactly_and_a_video_ties_with_itself() {
    let nano = Nano::embedded().unwrap();
    let clean = clip(2, 40);
    let (a, b) = (seen(&nano, &clean), seen(&nano, &distorted(&clean, "h264:4,stutter:2")));
    let (ab, ba) = (nano.compare(&a, &b, &PLAIN).unwrap(), nano.compare(&b, &a, &PLAIN).unwrap());
    assert_eq!(ab.margin.to_bits(), (-ba.margin).to_bits());
    assert_eq!(ab.temporal.to_bits(), (-ba.temporal).to_bits());
    assert!((ab.visual + ab.temporal - ab.margin).abs() < 1e-12);
    assert_eq!(nano.compare(&a, &a, &PLAIN).unwrap().margin, 0.0);
}

#[test]
fn motion_faults_are_blamed_on_motion_and_blur_on_the_picture() {
    let nano = Nano::embedded().unwrap();
    let clean = clip(3, 60);
    let source = seen(&nano, &clean);
    let stutter = nano.compare(&source, &seen(&nano, &distorted(&clean, "stutter:4")), &PLAIN).unwrap();
    assert!(stutter.temporal > stutter.visual.abs(), "{stutter:?}");
    let blur = nano.compare(&source, &seen(&nano, &distorted(&clean, "gaussian-blur:4")), &PLAIN).unwrap();
    assert!(blur.visual > blur.temporal.abs(), "{blur:?}");
}

#[test]
fn a_rationale_is_written_and_repeats_itself() {
    let nano = Nano::embedded().unwrap();
    let clean = clip(4, 40);
    let (a, b) = (seen(&nano, &clean), seen(&nano, &distorted(&clean, "h264:5")));
    let options = JudgeOptions { rationale: true, ..PLAIN };
    let text = nano.compare(&a, &b, &options).unwrap().rationale.unwrap();
    assert!(text.contains("A:") && text.contains("B:"), "{text}");
    assert_eq!(nano.compare(&a, &b, &options).unwrap().rationale.unwrap(), text);
    assert!(!nano.score(&b, &options).unwrap().rationale.unwrap().is_empty());
}

#[test]
fn a_file_is_judged_as_its_frames_are_with_any_number_of_threads() {
    let nano = Nano::embedded().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    let frames = distorted(&clip(5, 48), "h264:3");
    write(&path, &frames);
    let in_memory = nano.watched(&observe_frames(&frames, 8, Offset::default()).unwrap(), None).unwrap();
    let watch = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = WatchOptions { threads, ..WatchOptions::default() };
        pool.install(|| nano.watch(&mut Video::open(&path).unwrap(), &options, &|_| ()).unwrap())
    };
    let (one, two) = (watch(1), watch(2));
    assert_eq!(one.frames_sampled_secs.len(), 8);
    for (a, b) in one.tensors().into_iter().zip(two.tensors()) {
        assert_eq!(bits(a), bits(b), "one thread and two differ");
    }
    // The container rounds times, so the profile's clock may differ in the last digits.
    let (from_file, from_memory) =
        (nano.score(&one, &PLAIN).unwrap(), nano.score(&in_memory, &PLAIN).unwrap());
    assert!((from_file.score - from_memory.score).abs() < 0.02, "{} {}", from_file.score, from_memory.score);
}

fn bits(t: &candle_core::Tensor) -> Vec<u32> {
    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_window_and_a_single_frame_are_enough() {
    let nano = Nano::embedded().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    let frames = clip(6, 60);
    write(&path, &frames);
    let window = TimeWindow::new(Some(1.0), Some(1.5)).unwrap();
    let options = WatchOptions { window, ..WatchOptions::default() };
    let watched = nano.watch(&mut Video::open(&path).unwrap(), &options, &|_| ()).unwrap();
    assert!(
        watched.frames_sampled_secs.iter().all(|t| (0.96..1.5).contains(t)),
        "{:?}",
        watched.frames_sampled_secs
    );
    let single = dir.path().join("single.mkv");
    write(&single, &frames[..1]);
    let watched = nano.watch(&mut Video::open(&single).unwrap(), &WatchOptions::default(), &|_| ()).unwrap();
    let score = nano.score(&watched, &PLAIN).unwrap().score;
    assert!((1.0..=5.0).contains(&score));
}

#[test]
fn a_trained_folder_opens_as_the_judge_it_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/nano");
    let opened = juror_lmm::published::open_folder(&folder, None, &Default::default()).unwrap();
    assert_eq!(opened.info().sha256, Nano::embedded().unwrap().info().sha256);
}
