//! Frames per second of every simulator at 1920x1080, and of every measure at 1280x720, on a rendered scene:
//! `cargo run --release -p juror-media --example distort_speed [-- KIND...]`.
//!
//! Prints wall-clock and CPU time per frame (of all threads together: where the machine is busy, frames per second of an
//! idle one lie near `cores / cpu`), and by how much peak memory grew while twice as many frames went through.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use juror_media::distort::{ClipInfo, Distortion, Kind};
use juror_media::measure::{self, Grey};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, Result, quality};

const LEVELS: [f64; 2] = [2.0, 5.0];
const FPS: f64 = 30.0;

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|a| a == name);
    let scene: Vec<Frame> = Scene::of(Family::Leaves, 3).render(1920, 1080, FPS, 12)?.collect();
    println!(
        "| kind, 1920x1080 | level | frames/s | CPU ms/frame | memory grew by MB |\n|---|---|---|---|---|"
    );
    for kind in Kind::ALL.into_iter().filter(|kind| wanted(kind.name())) {
        for level in LEVELS {
            let distortion = Distortion::new(kind, level)?;
            // Encoders look ahead: their memory is flat only once that is filled.
            let holds_back = kind.is_codec()
                || matches!(kind, Kind::PacketLoss | Kind::Shuffle | Kind::Reverse | Kind::LocalShuffle);
            let frames = if holds_back { 96 } else { 12 };
            let run = |count: usize| -> Result<()> {
                let info = ClipInfo { fps: FPS, duration_secs: Some(count as f64 / FPS) };
                let mut stage = distortion.stage(info, 1);
                let mut out = Vec::new();
                for (i, frame) in scene.iter().cycle().take(count).enumerate() {
                    stage.push(Frame { pts_secs: i as f64 / FPS, ..frame.clone() }, &mut out)?;
                    out.clear();
                }
                stage.finish(&mut out)
            };
            run(frames)?;
            let peak = peak_megabytes();
            let (wall, cpu) = time(|| run(2 * frames))?;
            let grown = peak_megabytes() - peak;
            let per_frame = 1.0 / (2 * frames) as f64;
            let (rate, milliseconds) = (1.0 / (wall * per_frame), 1e3 * cpu * per_frame);
            println!("| {kind} | {level} | {rate:.0} | {milliseconds:.1} | {grown:.0} |");
        }
    }
    println!("\n| measure, 1280x720 | pictures/s | CPU ms/picture |\n|---|---|---|");
    let scene: Vec<Frame> = Scene::of(Family::Leaves, 3).render(1280, 720, FPS, 2)?.collect();
    let (a, b) = (&scene[0].picture, &scene[1].picture);
    let (grey, next) = (Grey::of(a), Grey::of(b));
    let rgb = a.to_rgb();
    let model = measure::NaturalModel::fit([&grey, &next]);
    type Measure<'a> = (&'static str, Box<dyn Fn() -> f64 + 'a>);
    let measures: [Measure; 16] = [
        ("blockiness", Box::new(|| measure::blockiness(&grey))),
        ("cpbd", Box::new(|| measure::cpbd(&grey).unwrap_or(0.0))),
        ("contrast", Box::new(|| measure::contrast(&grey))),
        ("noise", Box::new(|| measure::noise(&grey))),
        ("flicker", Box::new(|| measure::flicker(&grey, &next).unwrap_or(0.0))),
        ("colourfulness", Box::new(|| measure::colourfulness(&rgb))),
        ("luminance", Box::new(|| measure::luminance(&rgb))),
        ("spatial information", Box::new(|| measure::spatial_information(&grey))),
        ("temporal information", Box::new(|| measure::temporal_information(&grey, &next).unwrap_or(0.0))),
        ("luma to grey, to RGB", Box::new(|| Grey::of(a).width() as f64 + a.to_rgb().width() as f64)),
        ("brisque features", Box::new(|| measure::brisque_features(&grey).map_or(0.0, |f| f[0]))),
        ("niqe", Box::new(|| model.as_ref().and_then(|m| m.distance(&grey)).unwrap_or(0.0))),
        ("psnr", Box::new(|| quality::psnr(a, b).unwrap_or(0.0))),
        ("psnr with chroma", Box::new(|| quality::psnr_yuv(a, b).unwrap_or(0.0))),
        ("ssim", Box::new(|| quality::ssim(a, b).unwrap_or(0.0))),
        ("ms-ssim", Box::new(|| quality::ms_ssim(a, b).unwrap_or(0.0))),
    ];
    for (name, measure) in measures.iter().filter(|(name, _)| wanted(name)) {
        std::hint::black_box(measure());
        let (wall, cpu) = time(|| {
            for _ in 0..5 {
                std::hint::black_box(measure());
            }
            Ok(())
        })?;
        println!("| {name} | {:.0} | {:.1} |", 5.0 / wall, 1e3 * cpu / 5.0);
    }
    Ok(())
}

/// Wall-clock and CPU seconds of this process while `run` runs.
fn time(run: impl FnOnce() -> Result<()>) -> Result<(f64, f64)> {
    let (start, cpu) = (Instant::now(), cpu_secs());
    run()?;
    Ok((start.elapsed().as_secs_f64(), cpu_secs() - cpu))
}

/// CPU seconds of all threads so far (Linux; 0 elsewhere).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets: state is field 3, user and system time are fields 14 and 15, in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Most memory that was ever resident (Linux; 0 elsewhere).
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
