//! Bad input gives typed errors with the value met and what is allowed; odd input gives honest results, never NaN.

use juror_stats::StatsError;
use juror_stats::correlation::{Coefficients, ScorePairs, join_by_id};
use juror_stats::scaling::{Comparison, Noise, PairTable, scale_margins};

#[test]
fn scores_that_are_not_finite_are_refused() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = ScorePairs::new(vec![1.0, bad], vec![1.0, 2.0]).unwrap_err();
        assert!(matches!(error, StatsError::NotFinite { index: 1, .. }), "{error}");
        assert!(error.to_string().contains("finite"), "{error}");
        let pair = Comparison::new(0, 1, bad);
        assert!(matches!(PairTable::new(2, vec![pair]), Err(StatsError::NotFinite { index: 0, .. })));
    }
}

#[test]
fn empty_and_uneven_lists_are_refused() {
    assert!(matches!(ScorePairs::new(vec![], vec![]), Err(StatsError::TooFew { .. })));
    let uneven = ScorePairs::new(vec![1.0], vec![1.0, 2.0]);
    assert!(matches!(uneven, Err(StatsError::LengthMismatch { left: 1, right: 2, .. })));
    assert!(matches!(PairTable::new(0, vec![]), Err(StatsError::TooFew { .. })));
}

#[test]
fn constant_scores_and_one_video_have_no_correlation() {
    // 0.1 + 0.2 rounds: the mean of equal numbers need not equal them.
    for (x, y) in [(vec![0.3; 7], vec![1., 2., 3., 4., 5., 6., 7.]), (vec![2.5], vec![3.0])] {
        let got = Coefficients::new(&ScorePairs::new(x.clone(), y.clone()).unwrap());
        assert_eq!((got.srcc, got.krcc, got.plcc), (None, None, None));
        assert!(got.rmse.is_finite());
        let swapped = Coefficients::new(&ScorePairs::new(y, x).unwrap());
        assert_eq!(
            (swapped.srcc, swapped.krcc, swapped.plcc, swapped.pair_accuracy),
            (None, None, None, None)
        );
    }
}

#[test]
fn pairs_must_name_two_items_that_exist() {
    let unknown = PairTable::new(2, vec![Comparison::new(0, 2, 1.0)]);
    assert!(matches!(unknown, Err(StatsError::UnknownItem { pair: 0, item: 2, items: 2 })));
    let own = PairTable::new(2, vec![Comparison::new(1, 1, 1.0)]);
    assert!(matches!(own, Err(StatsError::SelfComparison { item: 1, .. })));
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let weighted = PairTable::new(2, vec![Comparison { a: 0, b: 1, margin: 1.0, weight }]);
        assert!(matches!(weighted, Err(StatsError::OutOfRange { .. })), "{weight}");
    }
}

#[test]
fn one_video_and_two_equal_videos_have_honest_scales() {
    let alone = scale_margins(&PairTable::new(1, vec![]).unwrap(), Noise::Estimated).unwrap();
    assert_eq!(
        (alone.scale.scores.as_slice(), alone.scale.interval(0), alone.inconsistency),
        ([0.0].as_slice(), None, None)
    );
    let equal = PairTable::new(2, vec![Comparison::new(0, 1, 0.0); 3]).unwrap();
    let equal = scale_margins(&equal, Noise::Estimated).unwrap();
    assert_eq!((equal.scale.scores.as_slice(), equal.inconsistency), ([0.0, 0.0].as_slice(), None));
    assert_eq!(equal.scale.probability_above(0, 1), Some(0.5));
    let standings = equal.scale.standings();
    assert_eq!((standings[0].rank, standings[1].rank), (1, 1));
    assert!(standings[1].tied_with_above);
}

#[test]
fn ids_that_repeat_or_miss_are_listed() {
    let error = join_by_id(&["a", "b", "a"], &["a"]).unwrap_err();
    assert_eq!(error, StatsError::DuplicateId { first: 0, second: 2, id: "a".into() });
    let joined = join_by_id(&["a", "b", "c"], &["c", "d", "a"]).unwrap();
    assert_eq!(joined.both, [(0, 2), (2, 0)]);
    assert_eq!(
        (joined.only_first.clone(), joined.only_second.clone()),
        (vec!["b".to_owned()], vec!["d".to_owned()])
    );
    let message = joined.complete("ratings", "scores").unwrap_err().to_string();
    assert!(
        message.contains("ratings") && message.contains("scores") && message.ends_with(": b"),
        "{message}"
    );
}
