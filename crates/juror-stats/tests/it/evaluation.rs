//! Whole evaluations: intervals, groups, sets, significance, ladders, outliers.

use approx::assert_relative_eq;
use juror_stats::correlation::significance::{steiger, williams};
use juror_stats::correlation::{
    Correlation, Logistic, Overall, ScorePairs, compare_predictors, evaluate, evaluate_groups, half_widths,
    ladder_order, outlier_ratio,
};
use juror_stats::{Bootstrap, StatsError};

use crate::properties::Noise;

/// Predictions that see the truth through noise of this standard deviation.
fn noisy(truth: &[f64], std: f64, noise: &mut Noise) -> Vec<f64> {
    truth.iter().map(|t| t + std * noise.normal()).collect()
}

#[test]
fn evaluation_has_intervals_around_its_figures_and_repeats() {
    let mut noise = Noise::new(1);
    let truth: Vec<f64> = (0..200).map(|_| 3.0 + noise.normal()).collect();
    let scores = ScorePairs::new(noisy(&truth, 0.5, &mut noise), truth).unwrap();
    let bootstrap = Some(Bootstrap { replicates: 300, seed: 9 });
    let evaluation = evaluate(&scores, bootstrap);
    assert_eq!(evaluation, evaluate(&scores, bootstrap));
    for figure in [evaluation.srcc, evaluation.krcc, evaluation.plcc, evaluation.plcc_raw, evaluation.rmse] {
        let figure = figure.unwrap();
        let interval = figure.ci95.unwrap();
        assert!(interval.contains(figure.value) && interval.width() > 0.0 && interval.width() < 0.2);
    }
    let plain = evaluate(&scores, None);
    assert_eq!(plain.srcc.unwrap().value, evaluation.srcc.unwrap().value);
    assert_eq!(plain.srcc.unwrap().ci95, None);
}

#[test]
fn bootstrap_intervals_cover_the_correlation_of_the_population() {
    // Pearson's correlation of (t, t + 0.75 e) is 0.8.
    let mut noise = Noise::new(2);
    let covered = (0..120)
        .filter(|&seed| {
            let truth: Vec<f64> = (0..80).map(|_| noise.normal()).collect();
            let scores = ScorePairs::new(noisy(&truth, 0.75, &mut noise), truth).unwrap();
            let evaluation = evaluate(&scores, Some(Bootstrap { replicates: 100, seed }));
            evaluation.plcc_raw.unwrap().ci95.unwrap().contains(0.8)
        })
        .count();
    assert!((106..=119).contains(&covered), "{covered} of 120");
}

#[test]
fn groups_and_sets_are_evaluated_apart_and_weighted_by_size() {
    let x = vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 7.0];
    let y = vec![1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 5.0];
    let scores = ScorePairs::new(x, y).unwrap();
    let groups = ["b", "b", "b", "a", "a", "a", "a", "c"];
    let evaluated = evaluate_groups(&scores, &groups, None).unwrap();
    let names: Vec<&str> = evaluated.iter().map(|g| g.0.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let sets: Vec<_> = evaluated.into_iter().map(|g| g.1).collect();
    assert_relative_eq!(sets[0].srcc.unwrap().value, -1.0, epsilon = 1e-12);
    assert_eq!(sets[2].srcc, None);
    let overall = Overall::of(&sets);
    assert_eq!(overall.n, 8);
    assert_relative_eq!(overall.srcc.unwrap(), -1.0 / 7.0, epsilon = 1e-12);
    assert!(matches!(evaluate_groups(&scores, &groups[1..], None), Err(StatsError::LengthMismatch { .. })));
}

#[test]
fn dependent_correlations_are_tested_as_in_the_literature() {
    // Computed from Steiger (1980), eq. 7 and 14, with scipy's distributions: see scripts/check-significance.py.
    let t = williams(0.5, 0.3, 0.6, 103).unwrap();
    assert_relative_eq!(t.statistic, WILLIAMS.0, epsilon = 1e-9);
    assert_relative_eq!(t.p, WILLIAMS.1, epsilon = 1e-9);
    let z = steiger(0.5, 0.3, 0.6, 103).unwrap();
    assert_relative_eq!(z.statistic, STEIGER.0, epsilon = 1e-9);
    assert_relative_eq!(z.p, STEIGER.1, epsilon = 1e-9);
    assert_eq!(williams(0.5, 0.3, 0.6, 3), None);
    assert_eq!(steiger(1.0, 1.0, 1.0, 30), None);
}

const WILLIAMS: (f64, f64) = (2.5685932745552686, 0.01168892391658984);
const STEIGER: (f64, f64) = (2.505263513991718, 0.012236019313281455);

#[test]
fn equal_predictors_are_told_apart_as_seldom_as_promised() {
    let mut noise = Noise::new(4);
    let (mut by_williams, mut by_steiger) = (0, 0);
    for _ in 0..1000 {
        let truth: Vec<f64> = (0..60).map(|_| noise.normal()).collect();
        let (a, b) = (noisy(&truth, 0.6, &mut noise), noisy(&truth, 0.6, &mut noise));
        let got = compare_predictors(&a, &b, &truth, Correlation::Plcc, None).unwrap().unwrap();
        by_williams += usize::from(got.williams.unwrap().p < 0.05);
        by_steiger += usize::from(got.steiger.unwrap().p < 0.05);
    }
    assert!((30..=72).contains(&by_williams), "{by_williams} of 1000");
    assert!((30..=72).contains(&by_steiger), "{by_steiger} of 1000");
    // And a better one is found.
    let truth: Vec<f64> = (0..300).map(|_| noise.normal()).collect();
    let (a, b) = (noisy(&truth, 0.3, &mut noise), noisy(&truth, 0.9, &mut noise));
    let got =
        compare_predictors(&a, &b, &truth, Correlation::Srcc, Some(Bootstrap::default())).unwrap().unwrap();
    assert!(got.williams.unwrap().p < 1e-6 && got.steiger.unwrap().p < 1e-6);
    assert!(got.difference_ci95.unwrap().lo > 0.0);
    assert_eq!(compare_predictors(&[1.0; 300], &b, &truth, Correlation::Srcc, None).unwrap(), None);
}

#[test]
fn ladders_keep_the_order_of_bitrates_or_not() {
    let ladder = ["x", "x", "x", "y", "y", "y", "z"];
    let kbps = [500.0, 2000.0, 1000.0, 500.0, 500.0, 900.0, 100.0];
    let score = [2.0, 4.0, 3.0, 3.0, 2.0, 2.5, 1.0];
    let order = ladder_order(&ladder, &kbps, &score, 0.0).unwrap();
    // x is kept whole; in y one of two comparable pairs is lost; z has one rung.
    assert_eq!((order.ladders, order.ladders_kept), (2, Some(0.5)));
    assert_relative_eq!(order.pairs_kept.unwrap(), 4.0 / 5.0);
    assert_relative_eq!(order.neighbours_kept.unwrap(), 3.0 / 4.0);
    assert_eq!(ladder_order(&ladder, &kbps, &score, 0.5).unwrap().pairs_kept, Some(1.0));
    assert_eq!(ladder_order(&ladder[6..], &kbps[6..], &score[6..], 0.0).unwrap().pairs_kept, None);
    assert!(ladder_order(&ladder, &kbps, &score, f64::NAN).is_err());
    assert!(ladder_order(&ladder, &kbps[1..], &score, 0.0).is_err());
}

#[test]
fn outliers_lie_beyond_the_interval_of_their_rating() {
    let mapped = ScorePairs::new(vec![1.0, 2.0, 3.0, 4.0], vec![1.1, 2.5, 3.0, 3.0]).unwrap();
    let by_votes = half_widths(&[0.5; 4], Some(&[4.0, 4.0, 4.0, 4.0])).unwrap(); // 0.49
    assert_relative_eq!(outlier_ratio(&mapped, &by_votes).unwrap(), 0.5);
    let by_std = half_widths(&[0.4; 4], None).unwrap(); // 0.8
    assert_relative_eq!(outlier_ratio(&mapped, &by_std).unwrap(), 0.25);
    assert!(half_widths(&[0.5; 4], Some(&[0.0; 4])).is_err());
    assert!(outlier_ratio(&mapped, &[0.1, f64::NAN, 0.1, 0.1]).is_err());
}

#[test]
fn logistic_of_odd_scores_is_honest() {
    let flat = ScorePairs::new(vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![2.0; 5]).unwrap();
    let fit = Logistic::fit_four(&flat).unwrap();
    assert!(flat.predicted().iter().all(|&x| (fit.map(x) - 2.0).abs() < 1e-9));
    assert_eq!(
        Logistic::fit_four(&ScorePairs::new(vec![1.0; 9], (0..9).map(f64::from).collect()).unwrap()),
        None
    );
    assert_eq!(Logistic::fit_four(&ScorePairs::new(vec![1.0, 2.0, 3.0], vec![1.0, 2.0, 3.0]).unwrap()), None);
    // A step: the mapping gets steep but stays finite.
    let step =
        ScorePairs::new((0..20).map(f64::from).collect(), (0..20).map(|i| f64::from(i / 10)).collect())
            .unwrap();
    let fit = Logistic::fit_four(&step).unwrap();
    assert!(fit.sum_of_squares(&step) < 1e-3);
    assert!(step.predicted().iter().all(|&x| fit.map(x).is_finite()));
    // Huge and tiny units change nothing but units.
    let mut noise = Noise::new(8);
    let truth: Vec<f64> = (0..100).map(|_| noise.normal()).collect();
    let seen = noisy(&truth, 0.4, &mut noise);
    let plain = evaluate(&ScorePairs::new(seen.clone(), truth.clone()).unwrap(), None);
    let scaled =
        ScorePairs::new(seen.iter().map(|v| v * 1e9).collect(), truth.iter().map(|v| v * 1e-9).collect());
    let scaled = evaluate(&scaled.unwrap(), None);
    assert_relative_eq!(plain.plcc.unwrap().value, scaled.plcc.unwrap().value, epsilon = 1e-9);
}
