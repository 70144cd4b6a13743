//! Properties that hold for any input, and the noise other tests draw from.

use approx::assert_relative_eq;
use juror_stats::Bootstrap;
use juror_stats::correlation::{Coefficients, ScorePairs, evaluate, pair_counts};
use juror_stats::scaling::{Comparison, Noise as MarginNoise, PairTable, scale_margins, worst_cycles};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seeded noise.
pub struct Noise(ChaCha8Rng);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Small integers as scores, so that ties are common.
fn tied_scores() -> impl Strategy<Value = Vec<(i8, i8)>> {
    prop::collection::vec((-4i8..4, -4i8..4), 1..40)
}

proptest! {
    #[test]
    fn pair_counts_equal_counting_one_by_one(values in tied_scores()) {
        let (x, y): (Vec<f64>, Vec<f64>) = values.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).unzip();
        let mut slow = [0u64; 5];
        for i in 0..x.len() {
            for j in 0..i {
                let kind = match ((x[i] - x[j]) * (y[i] - y[j]), x[i] == x[j], y[i] == y[j]) {
                    (_, true, true) => 4,
                    (_, true, _) => 2,
                    (_, _, true) => 3,
                    (p, ..) if p > 0.0 => 0,
                    _ => 1,
                };
                slow[kind] += 1;
            }
        }
        let c = pair_counts(&ScorePairs::new(x, y).unwrap());
        prop_assert_eq!([c.concordant, c.discordant, c.tied_predicted, c.tied_subjective, c.tied_both], slow);
    }

    #[test]
    fn rank_figures_do_not_see_monotone_maps(values in prop::collection::vec((-1e3..1e3f64, -1e3..1e3f64), 2..60)) {
        let (x, y): (Vec<f64>, Vec<f64>) = values.into_iter().unzip();
        let mapped: Vec<f64> = x.iter().map(|v| v * v * v + 5.0 * v).collect();
        let plain = Coefficients::new(&ScorePairs::new(x, y.clone()).unwrap());
        let mapped = Coefficients::new(&ScorePairs::new(mapped, y).unwrap());
        prop_assert_eq!(plain.srcc, mapped.srcc);
        prop_assert_eq!(plain.krcc, mapped.krcc);
        prop_assert_eq!(plain.pair_accuracy, mapped.pair_accuracy);
        for value in [plain.srcc, plain.krcc, plain.plcc, plain.pair_accuracy].into_iter().flatten() {
            prop_assert!((-1.0..=1.0).contains(&value));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the pairs, nothing is NaN, groups are centred, swapped pairs give the same scores, and stretched margins
    /// stretched ones.
    #[test]
    fn any_pairs_have_an_honest_scale(
        judged in prop::collection::vec((0usize..9, 0usize..9, -4.0..4.0f64, 0.01..10.0f64), 0..40),
    ) {
        let judged: Vec<Comparison> = (judged.into_iter())
            .filter(|j| j.0 != j.1)
            .map(|(a, b, margin, weight)| Comparison { a, b, margin, weight })
            .collect();
        let fit = |judged: Vec<Comparison>| {
            scale_margins(&PairTable::new(9, judged).unwrap(), MarginNoise::Estimated).unwrap()
        };
        let plain = fit(judged.clone());
        let swapped = fit(judged.iter().map(|c| Comparison { a: c.b, b: c.a, margin: -c.margin, ..*c }).collect());
        let stretched = fit(judged.iter().map(|c| Comparison { margin: 3.0 * c.margin, ..*c }).collect());
        prop_assert!(plain.inconsistency.is_none_or(|i| (0.0..=1.0).contains(&i)));
        for i in 0..9 {
            prop_assert!(plain.scale.scores[i].is_finite());
            prop_assert!((plain.scale.scores[i] - swapped.scale.scores[i]).abs() < 1e-9);
            prop_assert!((3.0 * plain.scale.scores[i] - stretched.scale.scores[i]).abs() < 1e-9);
            prop_assert!(plain.scale.interval(i).is_none_or(|ci| ci.lo.is_finite() && ci.hi.is_finite()));
        }
        for group in plain.scale.components.members() {
            prop_assert!(group.iter().map(|&i| plain.scale.scores[i]).sum::<f64>().abs() < 1e-9);
        }
        let pairs = PairTable::new(9, judged).unwrap();
        for cycle in worst_cycles(&pairs, &plain, 5) {
            prop_assert!(cycle.margin_sum > 0.0 && cycle.margin_sum.is_finite() && cycle.items.len() >= 2);
        }
        let tallies = pairs.tallies(0.1);
        let wins: usize = tallies.iter().map(|t| t.wins).sum();
        prop_assert_eq!(wins, tallies.iter().map(|t| t.losses).sum::<usize>());
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut noise = Noise::new(40);
    let truth: Vec<f64> = (0..20_000).map(|_| noise.normal()).collect();
    let predicted: Vec<f64> = truth.iter().map(|t| (t + 0.5 * noise.normal()).tanh()).collect();
    let scores = ScorePairs::new(predicted, truth).unwrap();
    let margins: Vec<Comparison> =
        (0..4000).map(|k| Comparison::new(k % 500, (k * 7 + 1 + k / 500) % 500, noise.normal())).collect();
    let margins = margins.into_iter().filter(|c| c.a != c.b).collect();
    let pairs = PairTable::new(500, margins).unwrap();
    let run = || {
        let fit = scale_margins(&pairs, MarginNoise::Estimated).unwrap();
        let bootstrap = Bootstrap { replicates: 20, seed: 3 };
        let intervals: Vec<_> = (0..500).map(|i| fit.scale.interval(i)).collect();
        (evaluate(&scores, Some(bootstrap)), intervals, bootstrap.margin_intervals(&pairs, &fit).unwrap())
    };
    let with =
        |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
    assert!(with(1) == with(3));
}

#[test]
fn perfect_and_inverted_predictions_have_the_extreme_figures() {
    let y: Vec<f64> = (0..50).map(|i| f64::from(i).sqrt()).collect();
    let same = Coefficients::new(&ScorePairs::new(y.clone(), y.clone()).unwrap());
    assert_relative_eq!(same.plcc.unwrap(), 1.0, epsilon = 1e-12);
    assert_eq!((same.krcc, same.pair_accuracy, same.rmse), (Some(1.0), Some(1.0), 0.0));
    let inverted = Coefficients::new(&ScorePairs::new(y.iter().map(|v| -v).collect(), y).unwrap());
    assert_eq!((inverted.krcc, inverted.pair_accuracy), (Some(-1.0), Some(0.0)));
    assert_relative_eq!(inverted.srcc.unwrap(), -1.0, epsilon = 1e-12);
}
