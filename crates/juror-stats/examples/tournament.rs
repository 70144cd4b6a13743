//! Simulated tournaments: how many judgements active choice saves, and whether the intervals cover.
//!
//! `cargo run --release -p juror-stats --example tournament [items] [tournaments] [batch]`
//!
//! Items have scores drawn evenly from 1 to 5. A judge answers a pair with a margin: the true difference (bounded where the
//! judge saturates) plus normal noise. Random choice draws pairs evenly, none twice. Both are scored by the same estimator.
//! Counted is how many judgements it takes until
//! - *one scale*: all items are joined by comparisons (scores of unjoined groups are not comparable, and juror does not
//!   guess) and the SRCC with the true scores is 0.95;
//! - *guessed*: the SRCC is 0.95 with unjoined groups laid over each other at their means.
//!
//! Coverage is that of the 95 % intervals when one scale is reached.
//!
//! *Best* is for margins to scale: how many judgements no graph whose items are all compared equally often can do without.
//! Short cycles only add variance, so that a graph of degree `d` leaves at least what the infinite tree of that degree leaves
//! (its Green function, Kesten 1959): `noise² 2 (d - 1) / ((d - 2) e + d sqrt(e² - 4 (d - 1)))` with `e = d + noise² / prior²`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use juror_stats::correlation::{ScorePairs, srcc};
use juror_stats::pair_choice::{Settings, Tournament};
use juror_stats::scaling::{Comparison, Judge, PairTable};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// Judgements until one scale, until guessed, and share of covered scores at one scale.
fn play(items: usize, active: bool, judge: Judge, batch: usize, seed: u64) -> [f64; 3] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth: Vec<f64> = (0..items).map(|_| rng.random_range(1.0..5.0)).collect();
    let centre = truth.iter().sum::<f64>() / items as f64;
    let settings = Settings { judge, ..Settings::default() };
    let mut tournament = Tournament::new(PairTable::new(items, vec![]).unwrap(), settings).unwrap();
    let mut random: Vec<(usize, usize)> =
        (0..items).flat_map(|i| (i + 1..items).map(move |j| (i, j))).collect();
    for k in 0..random.len() {
        let other = rng.random_range(k..random.len());
        random.swap(k, other);
    }
    let mut guessed = None;
    let mut judged = 0;
    loop {
        let pairs = if active {
            tournament.next_pairs(batch).unwrap()
        } else {
            random[judged..judged + batch].to_vec()
        };
        judged += pairs.len();
        for (a, b) in pairs {
            let margin = judge.margin(truth[a] - truth[b]) + judge.noise * normal(&mut rng);
            tournament.record(Comparison::new(a, b, margin)).unwrap();
        }
        if judged < items * 3 / 4 {
            continue; // far from 0.95 whatever the judge
        }
        let scale = tournament.fit().unwrap().scale;
        let agreement = srcc(&ScorePairs::new(scale.scores.clone(), truth.clone()).unwrap()).unwrap_or(0.0);
        if agreement >= 0.95 {
            guessed = guessed.or(Some(judged));
            if scale.components.count() == 1 {
                let covered = (0..items)
                    .filter(|&i| scale.interval(i).is_some_and(|ci| ci.contains(truth[i] - centre)))
                    .count();
                return [judged as f64, guessed.unwrap_or(judged) as f64, covered as f64 / items as f64];
            }
        }
    }
}

/// Share of the variance of the true scores that a correlation of 0.95 may leave unexplained.
const UNEXPLAINED: f64 = 1.0 - 0.95 * 0.95;

/// The fewest judgements with which items compared equally often reach a correlation of 0.95, margins being to scale.
fn best(items: usize, noise: f64) -> usize {
    let variance = (5.0f64 - 1.0).powi(2) / 12.0;
    let left = |judgements: usize| {
        let d = 2.0 * judgements as f64 / items as f64;
        let e = d + noise * noise / variance;
        noise * noise * 2.0 * (d - 1.0) / ((d - 2.0) * e + d * (e * e - 4.0 * (d - 1.0)).sqrt())
    };
    (items..).find(|&judgements| left(judgements) <= UNEXPLAINED * variance).unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().unwrap());
    let items = arguments.next().unwrap_or(200);
    let tournaments = arguments.next().unwrap_or(10);
    let batch = arguments.next().unwrap_or(10);
    println!("{items} items, {tournaments} tournaments each, batches of {batch}");
    println!(
        "judge                  | one scale: random  active  share  best | guessed: random  active  share | coverage: random active"
    );
    for (limit, noise) in [
        (None, 0.1),
        (None, 0.2),
        (None, 0.3),
        (None, 0.5),
        (None, 1.0),
        (Some(2.0), 0.2),
        (Some(2.0), 0.5),
        (Some(1.0), 0.2),
        (Some(1.0), 0.5),
    ] {
        let judge = Judge { limit, noise, prior_std: 1.2 };
        let mean = |active: bool| {
            let runs: Vec<_> =
                (0..tournaments).map(|seed| play(items, active, judge, batch, seed as u64)).collect();
            std::array::from_fn::<f64, 3, _>(|k| runs.iter().map(|r| r[k]).sum::<f64>() / tournaments as f64)
        };
        let (random, active) = (mean(false), mean(true));
        let name = limit.map_or("to scale".to_owned(), |l| format!("saturates at {l}"));
        let best = if limit.is_none() { best(items, noise).to_string() } else { "-".to_owned() };
        println!(
            "{name}, noise {noise} | {:.0} {:.0} {:.0} % {best} | {:.0} {:.0} {:.0} % | {:.1} % {:.1} %",
            random[0],
            active[0],
            100.0 * active[0] / random[0],
            random[1],
            active[1],
            100.0 * active[1] / random[1],
            100.0 * random[2],
            100.0 * active[2]
        );
    }
}
