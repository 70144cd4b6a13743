//! Speed and memory at size: 10,000 videos with 200,000 margins, and 1,000,000 pairs of ratings.
//!
//! `cargo run --release -p juror-stats --example speed`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use juror_stats::correlation::{ScorePairs, evaluate};
use juror_stats::scaling::{Comparison, Noise, PairTable, scale_margins, worst_cycles};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut normal = move || {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
    };

    let (items, margins) = (10_000, 200_000);
    let truth: Vec<f64> = (0..items).map(|_| 3.0 + 0.8 * normal()).collect();
    let mut places = ChaCha8Rng::seed_from_u64(2);
    let comparisons: Vec<_> = (0..margins)
        .map(|_| {
            let a = places.random_range(0..items);
            let b = (a + places.random_range(1..items)) % items;
            Comparison::new(a, b, truth[a] - truth[b] + 0.5 * normal())
        })
        .collect();
    let start = Instant::now();
    let pairs = PairTable::new(items, comparisons).unwrap();
    let fit = scale_margins(&pairs, Noise::Estimated).unwrap();
    let centre = truth.iter().sum::<f64>() / items as f64;
    let covered =
        (0..items).filter(|&i| fit.scale.interval(i).unwrap().contains(truth[i] - centre)).count() as f64;
    println!(
        "{items} videos, {margins} margins: scores and intervals in {:.2} s, peak memory {}",
        start.elapsed().as_secs_f64(),
        peak_memory()
    );
    println!(
        "  noise {:.3} (true 0.5), {:.1} % of the 95 % intervals cover",
        fit.noise_std.unwrap(),
        100.0 * covered / items as f64
    );
    let start = Instant::now();
    let cycles = worst_cycles(&pairs, &fit, 10);
    println!("  {} worst cycles in {:.2} s", cycles.len(), start.elapsed().as_secs_f64());

    let n = 1_000_000;
    let subjective: Vec<f64> = (0..n).map(|_| 3.0 + normal()).collect();
    let predicted: Vec<f64> = subjective.iter().map(|s| (0.9 * s + 0.5 * normal()).tanh()).collect();
    let start = Instant::now();
    let scores = ScorePairs::new(predicted, subjective).unwrap();
    let evaluation = evaluate(&scores, None);
    println!(
        "{n} pairs of ratings evaluated in {:.2} s: SRCC {:.4}, KRCC {:.4}, PLCC {:.4}",
        start.elapsed().as_secs_f64(),
        evaluation.srcc.unwrap().value,
        evaluation.krcc.unwrap().value,
        evaluation.plcc.unwrap().value
    );
}

/// Peak resident memory, where the system tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |l| l.trim().to_owned())
}
