//! Choosing pairs and stopping; the full simulation is `examples/tournament.rs`.

use juror_stats::StatsError;
use juror_stats::correlation::{ScorePairs, srcc};
use juror_stats::pair_choice::{Settings, StopReason, StopRules, Tournament};
use juror_stats::scaling::{Comparison, Judge, PairTable, scale_judged};

use crate::properties::Noise;

fn empty(items: usize) -> PairTable {
    PairTable::new(items, vec![]).unwrap()
}

const JUDGE: Judge = Judge { limit: None, noise: 0.3, prior_std: 1.2 };

fn judged(truth: &[f64], pairs: &[(usize, usize)], noise: &mut Noise) -> Vec<Comparison> {
    pairs
        .iter()
        .map(|&(a, b)| Comparison::new(a, b, truth[a] - truth[b] + JUDGE.noise * noise.normal()))
        .collect()
}

fn truth(items: usize, noise: &mut Noise) -> Vec<f64> {
    (0..items).map(|_| 1.0 + 4.0 * noise.unit()).collect()
}

/// All pairs in a seeded random order.
fn shuffled(items: usize, noise: &mut Noise) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(f64, (usize, usize))> =
        (0..items).flat_map(|i| (i + 1..items).map(move |j| (i, j))).map(|p| (noise.unit(), p)).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs.into_iter().map(|p| p.1).collect()
}

/// Judgements until all items share a scale whose SRCC with the truth is 0.95.
fn judgements_needed(items: usize, active: bool, seed: u64) -> usize {
    let mut noise = Noise::new(seed);
    let truth = truth(items, &mut noise);
    let mut random = shuffled(items, &mut noise).into_iter();
    let mut tournament =
        Tournament::new(empty(items), Settings { judge: JUDGE, ..Settings::default() }).unwrap();
    loop {
        let pairs: Vec<_> =
            if active { tournament.next_pairs(8).unwrap() } else { random.by_ref().take(8).collect() };
        for comparison in judged(&truth, &pairs, &mut noise) {
            tournament.record(comparison).unwrap();
        }
        let scale = tournament.fit().unwrap().scale;
        let agreement = srcc(&ScorePairs::new(scale.scores.clone(), truth.clone()).unwrap());
        if scale.components.count() == 1 && agreement.unwrap() >= 0.95 {
            return tournament.pairs().comparisons().len();
        }
    }
}

#[test]
fn active_choice_needs_far_fewer_judgements_than_random_choice() {
    let total = |active: bool| (0..4).map(|seed| judgements_needed(80, active, seed)).sum::<usize>();
    let (active, random) = (total(true), total(false));
    assert!(active as f64 <= 0.55 * random as f64, "{active} against {random}");
}

#[test]
fn intervals_cover_under_active_choice() {
    let (mut covered, mut asked) = (0, 0);
    for seed in 0..12 {
        let mut noise = Noise::new(100 + seed);
        let truth = truth(40, &mut noise);
        let centre = truth.iter().sum::<f64>() / 40.0;
        let mut tournament =
            Tournament::new(empty(40), Settings { judge: JUDGE, ..Settings::default() }).unwrap();
        for _ in 0..10 {
            let pairs = tournament.next_pairs(12).unwrap();
            for comparison in judged(&truth, &pairs, &mut noise) {
                tournament.record(comparison).unwrap();
            }
        }
        let scale = tournament.fit().unwrap().scale;
        covered += (0..40).filter(|&i| scale.interval(i).unwrap().contains(truth[i] - centre)).count();
        asked += 40;
    }
    let share = covered as f64 / f64::from(asked);
    assert!((0.92..=0.98).contains(&share), "{share}");
}

#[test]
fn pairs_are_new_valid_and_join_everything_first() {
    for items in [30, 450] {
        let mut tournament = Tournament::new(empty(items), Settings::default()).unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            for (a, b) in tournament.next_pairs(items / 2).unwrap() {
                assert!(a < b && b < items && seen.insert((a, b)), "{a} {b}");
                tournament.record(Comparison::new(a, b, (a as f64 - b as f64) / items as f64)).unwrap();
            }
        }
        let components = tournament.fit().unwrap().scale.components;
        assert!(components.count() <= items / 20, "{items}: {}", components.count());
    }
    // New items are compared at once.
    let mut tournament = Tournament::new(empty(4), Settings::default()).unwrap();
    for (a, b) in tournament.next_pairs(6).unwrap() {
        tournament.record(Comparison::new(a, b, 0.5)).unwrap();
    }
    assert!(tournament.next_pairs(5).unwrap().is_empty());
    assert_eq!(tournament.stop(&StopRules::default()).unwrap(), Some(StopReason::NoPairsLeft));
    tournament.add_items(1);
    let next = tournament.next_pairs(9).unwrap();
    assert_eq!(next.len(), 4);
    assert!(next.iter().all(|p| p.1 == 4));
}

#[test]
fn it_stops_by_budget_by_width_and_by_order() {
    let settings = Settings { judge: Judge { noise: 0.05, ..JUDGE }, repeats: true, seed: 0 };
    let rules = |budget, interval_width, order_confidence| StopRules {
        budget,
        interval_width,
        order_confidence,
        tie_margin: 0.1,
    };
    let mut tournament = Tournament::new(empty(3), settings).unwrap();
    assert_eq!(tournament.stop(&rules(Some(0), None, None)).unwrap(), Some(StopReason::Budget));
    assert_eq!(tournament.stop(&rules(Some(9), Some(0.3), Some(0.95))).unwrap(), None);
    // Items 1 and 2 are equal: a tie within the margin is settled, an order between them never is.
    for (a, b, margin) in [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 0.0), (0, 1, 1.0), (0, 2, 1.0), (1, 2, 0.0)] {
        tournament.record(Comparison::new(a, b, margin)).unwrap();
    }
    assert_eq!(tournament.stop(&rules(None, Some(0.3), None)).unwrap(), Some(StopReason::IntervalWidth));
    assert_eq!(tournament.stop(&rules(None, Some(0.001), None)).unwrap(), None);
    assert_eq!(tournament.stop(&rules(None, None, Some(0.95))).unwrap(), Some(StopReason::OrderSettled));
    let strict = StopRules { tie_margin: 0.0, ..rules(None, None, Some(0.95)) };
    assert_eq!(tournament.stop(&strict).unwrap(), None);
    assert!(matches!(tournament.stop(&rules(None, None, Some(1.5))), Err(StatsError::Setting { .. })));
}

#[test]
fn intervals_cover_where_most_margins_saturate() {
    let (mut covered, mut asked) = (0, 0);
    let judge = Judge { limit: Some(1.0), noise: 0.5, prior_std: 1.2 };
    for seed in 0..20 {
        let mut noise = Noise::new(500 + seed);
        let truth = truth(30, &mut noise);
        let centre = truth.iter().sum::<f64>() / 30.0;
        let comparisons: Vec<_> = (shuffled(30, &mut noise).into_iter().take(110))
            .map(|(a, b)| {
                Comparison::new(a, b, judge.margin(truth[a] - truth[b]) + judge.noise * noise.normal())
            })
            .collect();
        let scale = scale_judged(&PairTable::new(30, comparisons).unwrap(), judge).unwrap().scale;
        covered += (0..30).filter(|&i| scale.interval(i).unwrap().contains(truth[i] - centre)).count();
        asked += 30;
    }
    let share = covered as f64 / f64::from(asked);
    assert!((0.92..=0.98).contains(&share), "{share}");
}

#[test]
fn a_saturating_judge_is_seen_through() {
    let mut noise = Noise::new(77);
    let truth = truth(25, &mut noise);
    let centre = truth.iter().sum::<f64>() / 25.0;
    let judge = Judge { limit: Some(1.0), noise: 0.1, prior_std: 1.2 };
    let comparisons = (0..25).flat_map(|i| (i + 1..25).map(move |j| (i, j)));
    let comparisons: Vec<_> = comparisons
        .map(|(a, b)| Comparison::new(a, b, judge.margin(truth[a] - truth[b]) + judge.noise * noise.normal()))
        .collect();
    let pairs = PairTable::new(25, comparisons).unwrap();
    let fit = scale_judged(&pairs, judge).unwrap();
    let worst = (0..25).map(|i| (fit.scale.scores[i] - truth[i] + centre).abs()).fold(0.0, f64::max);
    assert!(worst < 0.25, "{worst}");
    assert!((0.08..0.12).contains(&fit.judge.noise), "{}", fit.judge.noise);
    for bad in [0.0, -1.0, f64::NAN] {
        assert!(scale_judged(&pairs, Judge { noise: bad, ..judge }).is_err());
        assert!(scale_judged(&pairs, Judge { limit: Some(bad), ..judge }).is_err());
        assert!(scale_judged(&pairs, Judge { prior_std: bad, ..judge }).is_err());
    }
}
