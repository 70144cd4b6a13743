//! Scores from choices and preferences, and their intervals.

use approx::assert_relative_eq;
use juror_stats::scaling::{
    AnchorPreferences, ChoiceModel, ChoiceTable, Choices, Comparison, Noise, PairTable, scale_choices,
    scale_margins,
};
use juror_stats::{Bootstrap, StatsError};

/// The anchor matrix and the test vectors of papers.md A4 (W2S's published anchors).
const W2S_ANCHORS: [f64; 10] = [
    2.61617695e-2,
    3.31322070e-4,
    1.24748972e-5,
    4.05243728e-6,
    1.90565984e-1,
    1.08383365e-3,
    1.81464739e-5,
    5.00283557e-2,
    7.76283304e-5,
    1.12637685e-2,
];

#[test]
fn w2s_map_has_the_converged_scores() {
    let anchors = AnchorPreferences::from_upper_triangle(5, &W2S_ANCHORS).unwrap();
    for (test, logistic, probit) in [
        ([0.9, 0.8, 0.55, 0.3, 0.1], (0.0635, 52.857), (0.0570, 52.562)),
        ([0.5, 0.3, 0.2, 0.1, 0.05], (-0.5837, 14.370), (-0.5427, 15.250)),
        ([0.99, 0.97, 0.95, 0.9, 0.8], (0.9307, 100.0), (0.8995, 100.0)),
    ] {
        for (model, (score, rescaled)) in
            [(ChoiceModel::BradleyTerry, logistic), (ChoiceModel::Thurstone, probit)]
        {
            let got = anchors.score(&test, model).unwrap();
            assert_relative_eq!(got.score, score, epsilon = 5e-5);
            assert_relative_eq!(got.min_max_rescaled().unwrap(), rescaled, epsilon = 5e-4);
        }
    }
}

#[test]
fn preferences_outside_their_range_are_refused() {
    assert!(AnchorPreferences::from_upper_triangle(5, &W2S_ANCHORS[1..]).is_err());
    assert!(AnchorPreferences::from_upper_triangle(2, &[1.5]).is_err());
    let anchors = AnchorPreferences::from_upper_triangle(1, &[]).unwrap();
    assert!(matches!(
        anchors.score(&[f64::NAN], ChoiceModel::Thurstone),
        Err(StatsError::OutOfRange { index: 0, .. })
    ));
    let even = anchors.score(&[0.5], ChoiceModel::Thurstone).unwrap();
    assert_eq!((even.score, even.min_max_rescaled()), (0.0, None));
}

#[test]
fn undefeated_items_need_a_prior() {
    let table =
        ChoiceTable::new(3, vec![Choices::win(2, 0), Choices::win(2, 1), Choices::tie(0, 1)]).unwrap();
    let error = scale_choices(&table, ChoiceModel::Thurstone, 0.0).err().unwrap();
    assert_eq!(error, StatsError::Unbounded { items: vec![2] });
    let fit = scale_choices(&table, ChoiceModel::Thurstone, 1e-6).unwrap();
    assert!(fit.scale.scores[2] > 2.0 && fit.scale.scores.iter().all(|s| s.is_finite()));
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            scale_choices(&table, ChoiceModel::Thurstone, bad),
            Err(StatsError::Setting { .. })
        ));
    }
}

#[test]
fn errors_against_the_group_do_not_depend_on_a_weak_prior() {
    let wins = [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0), (2, 1), (0, 1), (3, 2), (0, 3), (3, 1)];
    let table = ChoiceTable::new(4, wins.map(|(w, l)| Choices::win(w, l)).to_vec()).unwrap();
    let weak = scale_choices(&table, ChoiceModel::BradleyTerry, 1e-7).unwrap();
    let none = scale_choices(&table, ChoiceModel::BradleyTerry, 0.0).unwrap();
    for i in 0..4 {
        assert_relative_eq!(
            weak.scale.standard_error(i).unwrap(),
            none.scale.standard_error(i).unwrap(),
            max_relative = 1e-5
        );
    }
    assert_eq!(none.posterior_std(0), None);
}

#[test]
fn many_items_are_solved_as_few_are() {
    // A ring of 500 items (iterative solver): each beats the next two of three times.
    let n = 500;
    let choices: Vec<_> = (0..n)
        .map(|i| Choices { a: i, b: (i + 1) % n, a_preferred: 2.0, b_preferred: 1.0 })
        .chain((0..n).map(|i| Choices { a: i, b: (i * 7 + 3) % n, a_preferred: 1.0, b_preferred: 1.5 }))
        .filter(|c| c.a != c.b)
        .collect();
    let table = ChoiceTable::new(n, choices).unwrap();
    let fit = scale_choices(&table, ChoiceModel::Thurstone, 0.1).unwrap();
    // At the optimum the gradient vanishes: every item wins as often as its score says, less the prior's pull.
    let mut gradient: Vec<f64> = fit.scale.scores.iter().map(|q| -0.1 * q).collect();
    for c in table.choices() {
        let d = fit.scale.scores[c.a] - fit.scale.scores[c.b];
        let mills = juror_stats::normal::inverse_mills;
        let slope = c.a_preferred * mills(d) - c.b_preferred * mills(-d);
        gradient[c.a] += slope;
        gradient[c.b] -= slope;
    }
    assert!(gradient.iter().all(|g| g.abs() < 1e-9));
}

#[test]
fn bootstrap_and_hessian_agree_and_repeat() {
    let mut noise = crate::properties::Noise::new(3);
    let truth: Vec<f64> = (0..10).map(|_| noise.normal()).collect();
    let pairs: Vec<(usize, usize)> = (0..10).flat_map(|i| (i + 1..10).map(move |j| (i, j))).collect();
    let margins =
        pairs.iter().map(|&(a, b)| Comparison::new(a, b, truth[a] - truth[b] + 0.5 * noise.normal()));
    let table = PairTable::new(10, margins.collect()).unwrap();
    let fit = scale_margins(&table, Noise::Estimated).unwrap();
    let bootstrap = Bootstrap { replicates: 1000, seed: 5 };
    let intervals = bootstrap.margin_intervals(&table, &fit).unwrap();
    let mean_ratio =
        |widths: Vec<(f64, f64)>| widths.iter().map(|(a, b)| a / b).sum::<f64>() / widths.len() as f64;
    let ratio = mean_ratio(
        (0..10).map(|i| (intervals[i].unwrap().width(), fit.scale.interval(i).unwrap().width())).collect(),
    );
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
    assert_eq!(intervals, bootstrap.margin_intervals(&table, &fit).unwrap());

    let mut choices = Vec::new();
    for &(a, b) in &pairs {
        for _ in 0..20 {
            let a_wins = truth[a] - truth[b] + noise.normal() > 0.0;
            choices.push(if a_wins { Choices::win(a, b) } else { Choices::win(b, a) });
        }
    }
    let table = ChoiceTable::new(10, choices).unwrap();
    let fit = scale_choices(&table, ChoiceModel::Thurstone, 0.01).unwrap();
    let intervals = Bootstrap { replicates: 400, seed: 5 }
        .choice_intervals(&table, ChoiceModel::Thurstone, 0.01)
        .unwrap();
    let ratio = mean_ratio(
        (0..10).map(|i| (intervals[i].unwrap().width(), fit.scale.interval(i).unwrap().width())).collect(),
    );
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
}
