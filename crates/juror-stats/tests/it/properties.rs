//! Properties that hold for any input, and the noise other tests draw from.

use approx::assert_relative_eq;
use juror_stats::correlation::{Coefficients, ScorePairs, pair_counts};
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
