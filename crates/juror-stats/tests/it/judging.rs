//! Levels, anchors, pooling, calibration and observers.

use approx::assert_relative_eq;
use juror_stats::anchors::{AnchorJudgement, AnchorSet, pool, score_by_anchors};
use juror_stats::calibration::{Calibration, Outcome, coverage, reliability};
use juror_stats::levels::{Thresholds, level_probabilities, preference};
use juror_stats::observers::{Rating, recover};
use juror_stats::scaling::Noise as MarginNoise;
use juror_stats::{Interval, Level, StatsError};

use crate::properties::Noise;

#[test]
fn levels_have_the_published_thresholds() {
    // papers.md A5, s = 1: bounds belong to the lower level.
    for (d, level) in [
        (2.1, Level::Superior),
        (2.0, Level::Better),
        (1.1, Level::Better),
        (1.0, Level::Similar),
        (0.0, Level::Similar),
        (-0.9, Level::Similar),
        (-1.0, Level::Worse),
        (-1.9, Level::Worse),
        (-2.0, Level::Inferior),
        (-7.0, Level::Inferior),
    ] {
        assert_eq!(Level::of_difference(d, 1.0).unwrap(), level, "{d}");
        assert_eq!(Level::of_scores(3.0 + d, 0.36, 3.0, 0.64).unwrap(), level, "{d}");
    }
    assert_eq!(Level::of_difference(0.0, 0.0).unwrap(), Level::Similar);
    assert_eq!(Level::of_difference(1e-9, 0.0).unwrap(), Level::Superior);
    assert!(Level::of_difference(f64::NAN, 1.0).is_err() && Level::of_difference(1.0, -1.0).is_err());
    assert!(matches!(Level::of_scores(1.0, -0.1, 1.0, 0.1), Err(StatsError::OutOfRange { .. })));
    for level in Level::ALL {
        assert_eq!(Level::from_word(level.word()), Some(level));
        assert_eq!(level.swapped().swapped(), level);
        assert_relative_eq!(level.preference() + level.swapped().preference(), 1.0);
    }
}

#[test]
fn logits_become_the_published_preferences() {
    // papers.md A4.7.
    let logits = [10.0, 14.0, 18.0, 21.0, 16.0];
    for (temperature, want) in [(5.0, 0.639347), (1.0, 0.739379)] {
        assert_relative_eq!(
            preference(&level_probabilities(&logits, temperature).unwrap()),
            want,
            epsilon = 5e-7
        );
    }
    let sure = level_probabilities(&[0.0, 0.0, 0.0, 0.0, 5000.0], 1.0).unwrap();
    assert_eq!(preference(&sure), 1.0);
    assert!(level_probabilities(&[f64::INFINITY, 0.0, 0.0, 0.0, 0.0], 1.0).is_err());
    assert!(level_probabilities(&logits, 0.0).is_err());
}

#[test]
fn level_probabilities_of_a_noisy_difference_are_areas_of_the_normal() {
    let p = Thresholds::new(0.5).unwrap().probabilities(0.0, 0.5).unwrap();
    for (got, want) in p.iter().zip([0.022_750_13, 0.135_905_12, 0.682_689_49, 0.135_905_12, 0.022_750_13]) {
        assert_relative_eq!(*got, want, epsilon = 1e-7);
    }
    assert_eq!(Thresholds::new(0.5).unwrap().probabilities(2.0, 0.0).unwrap(), [0.0, 0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn a_video_is_scored_against_anchors_in_closed_form() {
    let judgement = |anchor_score: f64, margin: f64, weight: f64| AnchorJudgement {
        anchor_score,
        anchor_error: 0.0,
        margin,
        weight,
    };
    // papers.md D3.7: sum w (s + m) / sum w.
    let judged = [judgement(1.0, 2.1, 1.0), judgement(3.0, 0.3, 2.0), judgement(5.0, -2.0, 1.0)];
    let got = score_by_anchors(&judged, MarginNoise::Known(0.2)).unwrap();
    assert_relative_eq!(got.score, (3.1 + 2.0 * 3.3 + 3.0) / 4.0, epsilon = 1e-12);
    assert_relative_eq!(got.standard_error.unwrap(), 0.1, epsilon = 1e-12);
    assert!(got.inconsistency.unwrap() < 0.02);
    let alone = score_by_anchors(&judged[..1], MarginNoise::Estimated).unwrap();
    assert_eq!((alone.score, alone.ci95, alone.inconsistency), (3.1, None, None));
    // Beyond the outermost anchor it goes on.
    let beyond = score_by_anchors(&[judgement(5.0, 1.0, 1.0)], MarginNoise::Known(0.1)).unwrap();
    assert_eq!(beyond.score, 6.0);
    assert!(score_by_anchors(&[], MarginNoise::Estimated).is_err());
    assert!(score_by_anchors(&[judgement(f64::NAN, 1.0, 1.0)], MarginNoise::Estimated).is_err());
    assert!(score_by_anchors(&[judgement(1.0, 1.0, 0.0)], MarginNoise::Estimated).is_err());
}

#[test]
fn anchors_tell_how_far_scores_by_them_are_off() {
    // Four anchors; the judge is wrong about one of them alike in every margin, which no residual shows.
    let (known, seen) = ([1.0, 2.0, 3.5, 4.5], [1.0, 2.0, 4.1, 4.5]);
    let set = AnchorSet::new(known.to_vec(), |i, j| Ok::<_, StatsError>(seen[i] - seen[j])).unwrap();
    // By the others each is off by a third of the difference of its error and theirs.
    let errors = [0.2, 0.2, -0.6, 0.2];
    let deviation = (errors.iter().map(|e: &f64| e * e).sum::<f64>() / 3.0).sqrt();
    assert_relative_eq!(set.deviation(), deviation, epsilon = 1e-12);
    let score = set.score(&seen.map(|anchor| 3.0 - anchor)).unwrap();
    assert_relative_eq!(score.score, 3.0 - 0.6 / 4.0, epsilon = 1e-12);
    assert!(score.ci95.unwrap().contains(3.0) && score.ci95.unwrap().width() > 4.0 * deviation);
    assert!(set.score(&[0.0; 3]).is_err() && set.score(&[f64::NAN; 4]).is_err());
    let two = AnchorSet::new(vec![1.0, 2.0], |_, _| Ok::<_, StatsError>(-1.0));
    assert!(matches!(two, Err(StatsError::TooFew { have: 2, need: 3, .. })), "{two:?}");
}

#[test]
fn intervals_by_anchors_cover_when_the_judge_errs_by_video() {
    let mut noise = Noise::new(31);
    let (mut intervals, mut truths) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let known: Vec<f64> = (0..12).map(|_| 1.0 + 4.0 * noise.unit()).collect();
        let seen: Vec<f64> = known.iter().map(|score| score + 0.5 * noise.normal()).collect();
        let set = AnchorSet::new(known, |i, j| Ok::<_, StatsError>(seen[i] - seen[j])).unwrap();
        for _ in 0..5 {
            let truth = 1.0 + 4.0 * noise.unit();
            let video = truth + 0.5 * noise.normal();
            let margins: Vec<f64> = seen.iter().map(|anchor| video - anchor).collect();
            intervals.push(set.score(&margins).unwrap().ci95.unwrap());
            truths.push(truth);
        }
    }
    let share = coverage(&intervals, &truths).unwrap().unwrap().share;
    assert!((0.93..=0.97).contains(&share), "{share}");
}

#[test]
fn anchored_intervals_cover() {
    let mut noise = Noise::new(12);
    let (mut intervals, mut truths) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        let truth = 1.0 + 4.0 * noise.unit();
        let judged: Vec<_> = [1.5, 2.2, 3.0, 3.9, 4.6]
            .map(|anchor_score| AnchorJudgement {
                anchor_score,
                anchor_error: 0.0,
                margin: truth - anchor_score + 0.4 * noise.normal(),
                weight: 1.0,
            })
            .to_vec();
        intervals.push(score_by_anchors(&judged, MarginNoise::Estimated).unwrap().ci95.unwrap());
        truths.push(truth);
    }
    let share = coverage(&intervals, &truths).unwrap().unwrap().share;
    assert!((0.93..=0.97).contains(&share), "{share}");
    assert_eq!(coverage(&[], &[]).unwrap(), None);
    assert!(coverage(&intervals, &truths[1..]).is_err());
}

#[test]
fn segments_pool_by_the_words_of_libvmaf() {
    let pooled = pool(&[4.0, 2.0, 1.0]).unwrap();
    assert_relative_eq!(pooled.mean, 7.0 / 3.0, epsilon = 1e-12);
    assert_relative_eq!(pooled.harmonic_mean.unwrap(), 3.0 / 1.75, epsilon = 1e-12);
    assert_eq!(pooled.min, 1.0);
    assert_relative_eq!(pooled.p5, 1.1, epsilon = 1e-12);
    assert_eq!(pool(&[0.0, 1.0]).unwrap().harmonic_mean, None);
    assert!(pool(&[]).is_err() && pool(&[f64::NAN]).is_err());
}

#[test]
fn calibration_finds_the_slope_and_reliability_shows_a_wrong_one() {
    let mut noise = Noise::new(21);
    let outcomes: Vec<Outcome> = (0..20_000)
        .map(|_| {
            let margin = 1.5 * noise.normal();
            let p = 1.0 / (1.0 + (-1.7 * margin).exp());
            Outcome { margin, preferred: f64::from(u8::from(noise.unit() < p)), weight: 1.0 }
        })
        .collect();
    let calibration = Calibration::fit(&outcomes).unwrap();
    assert_relative_eq!(calibration.slope, 1.7, max_relative = 0.05);
    assert_relative_eq!(calibration.probability(0.8) + calibration.probability(-0.8), 1.0, epsilon = 1e-12);
    let error_of = |calibration: Calibration| {
        let predicted: Vec<f64> = outcomes.iter().map(|o| calibration.probability(o.margin)).collect();
        reliability(&predicted, &outcomes, 10).unwrap()
    };
    let right = error_of(calibration);
    assert!(right.expected_calibration_error < 0.01, "{}", right.expected_calibration_error);
    assert!(right.bins.iter().filter(|b| b.ci95.contains(b.predicted)).count() >= 8);
    let overconfident = error_of(Calibration { slope: 6.0 });
    assert!(overconfident.expected_calibration_error > 0.05);
    assert!(overconfident.brier > right.brier);
}

#[test]
fn calibration_of_odd_outcomes_is_finite_or_refused() {
    let outcome = |margin: f64, preferred: f64| Outcome { margin, preferred, weight: 1.0 };
    let separated = Calibration::fit(&[outcome(1.0, 1.0), outcome(-2.0, 0.0), outcome(0.5, 1.0)]).unwrap();
    assert!(separated.slope.is_finite() && separated.slope > 1.0);
    let against = Calibration::fit(&[outcome(1.0, 0.0), outcome(-2.0, 1.0), outcome(0.5, 0.3)]).unwrap();
    assert!(against.slope < 0.0);
    assert!(Calibration::fit(&[]).is_err());
    assert!(Calibration::fit(&[outcome(0.0, 1.0)]).is_err());
    assert!(matches!(Calibration::fit(&[outcome(1.0, 1.5)]), Err(StatsError::OutOfRange { .. })));
    assert!(reliability(&[1.2], &[outcome(1.0, 1.0)], 10).is_err());
    assert!(reliability(&[0.5], &[outcome(1.0, 1.0)], 0).is_err());
    let edge = reliability(&[1.0, 0.0], &[outcome(1.0, 1.0), outcome(1.0, 0.0)], 10).unwrap();
    assert_eq!((edge.bins.len(), edge.expected_calibration_error, edge.brier), (2, 0.0, 0.0));
}

#[test]
fn observers_biases_and_inconsistencies_are_recovered() {
    let mut noise = Noise::new(33);
    let quality: Vec<f64> = (0..80).map(|_| 1.0 + 4.0 * noise.unit()).collect();
    let bias: Vec<f64> = (0..20).map(|i| 0.05 * (f64::from(i) - 9.5)).collect();
    // The last two observers rate at random, nearly.
    let inconsistency: Vec<f64> = (0..20).map(|i| if i < 18 { 0.4 } else { 2.5 }).collect();
    let mut ratings = Vec::new();
    for (observer, (b, v)) in bias.iter().zip(&inconsistency).enumerate() {
        for (video, q) in quality.iter().enumerate() {
            // One in five is missing.
            if noise.unit() < 0.8 {
                ratings.push(Rating { observer, video, score: q + b + v * noise.normal() });
            }
        }
    }
    let got = recover(80, 20, &ratings).unwrap();
    assert_eq!(got.groups, 1);
    let rms = |estimate: &[Option<f64>], truth: &[f64]| {
        let squares: f64 = estimate.iter().zip(truth).map(|(e, t)| (e.unwrap() - t).powi(2)).sum();
        (squares / truth.len() as f64).sqrt()
    };
    assert!(rms(&got.quality, &quality) < 0.14, "{}", rms(&got.quality, &quality));
    assert!(rms(&got.quality, &quality) < 0.8 * rms(&got.mos, &quality));
    assert!(rms(&got.inconsistency[..18], &inconsistency[..18]) < 0.08);
    assert!(got.inconsistency[18].unwrap() > 1.8 && got.inconsistency[19].unwrap() > 1.8);
    assert!(rms(&got.bias[..18], &bias[..18]) < 0.12);
    let covered = (0..80).filter(|&j| got.ci95[j].unwrap().contains(quality[j])).count();
    assert!((70..=80).contains(&covered), "{covered} of 80");
}

#[test]
fn odd_ratings_are_honest_or_refused() {
    let rating = |observer, video, score| Rating { observer, video, score };
    assert!(recover(1, 1, &[]).is_err());
    assert!(recover(1, 1, &[rating(0, 1, 3.0)]).is_err());
    assert!(recover(1, 1, &[rating(1, 0, 3.0)]).is_err());
    assert!(recover(1, 1, &[rating(0, 0, f64::NAN)]).is_err());
    let one = recover(2, 2, &[rating(0, 0, 3.0)]).unwrap();
    assert_eq!((one.quality, one.ci95), (vec![Some(3.0), None], vec![None::<Interval>, None]));
    assert_eq!(one.bias, [Some(0.0), None]);
    // Observers who agree to the digit.
    let same: Vec<_> = (0..3).flat_map(|o| (0..4).map(move |v| rating(o, v, v as f64))).collect();
    let same = recover(4, 3, &same).unwrap();
    assert!(same.quality.iter().enumerate().all(|(j, q)| (q.unwrap() - j as f64).abs() < 1e-9));
    // Two groups that share no observer.
    let apart = recover(2, 2, &[rating(0, 0, 1.0), rating(1, 1, 5.0)]).unwrap();
    assert_eq!(apart.groups, 2);
}
