//! Scores from margins.

use approx::assert_relative_eq;
use juror_stats::scaling::{Comparison, Noise, PairTable, scale_margins, worst_cycles};

fn table(items: usize, margins: &[(usize, usize, f64)]) -> PairTable {
    PairTable::new(items, margins.iter().map(|&(a, b, m)| Comparison::new(a, b, m)).collect()).unwrap()
}

#[test]
fn consistent_margins_are_explained_exactly() {
    let truth = [1.5, -0.25, 0.0, 2.0];
    let centre = truth.iter().sum::<f64>() / 4.0;
    let pairs = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)].map(|(a, b)| (a, b, truth[a] - truth[b]));
    let fit = scale_margins(&table(4, &pairs), Noise::Estimated).unwrap();
    for (got, want) in fit.scale.scores.iter().zip(truth) {
        assert_relative_eq!(*got, want - centre, epsilon = 1e-12);
    }
    assert!(fit.inconsistency.unwrap() < 1e-20);
    let ranks: Vec<(usize, usize)> = fit.scale.standings().iter().map(|s| (s.item, s.rank)).collect();
    assert_eq!(ranks, [(3, 1), (0, 2), (2, 3), (1, 4)]);
}

#[test]
fn complete_graph_of_equal_weights_gives_the_mean_margin() {
    // papers.md D3.7: s_i = mean_j m_ij.
    let m = |i: usize, j: usize| ((3 * i + 5 * j) as f64).sin() - ((3 * j + 5 * i) as f64).sin();
    let n = 7;
    let margins: Vec<_> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j, m(i, j)))).collect();
    let fit = scale_margins(&table(n, &margins), Noise::Estimated).unwrap();
    for i in 0..n {
        let mean = (0..n).filter(|&j| j != i).map(|j| m(i, j)).sum::<f64>() / n as f64;
        assert_relative_eq!(fit.scale.scores[i], mean, epsilon = 1e-12);
    }
    // Every score has the variance (n - 1) / n² of a margin's, on the complete graph.
    let error = fit.scale.standard_error(0).unwrap();
    assert_relative_eq!(error, fit.noise_std.unwrap() * ((n - 1) as f64).sqrt() / n as f64, epsilon = 1e-12);
}

#[test]
fn weights_count_as_repetitions() {
    let mut weighted = table(3, &[(0, 1, 1.0), (1, 2, 0.5), (0, 2, 0.0)]).comparisons().to_vec();
    weighted[0].weight = 3.0;
    let weighted = scale_margins(&PairTable::new(3, weighted).unwrap(), Noise::Known(1.0)).unwrap();
    let repeated = table(3, &[(0, 1, 1.0), (1, 0, -1.0), (0, 1, 1.0), (1, 2, 0.5), (0, 2, 0.0)]);
    let repeated = scale_margins(&repeated, Noise::Known(1.0)).unwrap();
    for i in 0..3 {
        assert_relative_eq!(weighted.scale.scores[i], repeated.scale.scores[i], epsilon = 1e-12);
        assert_relative_eq!(
            weighted.scale.standard_error(i).unwrap(),
            repeated.scale.standard_error(i).unwrap(),
            epsilon = 1e-12
        );
    }
}

#[test]
fn a_graph_in_pieces_is_told_and_not_guessed() {
    let pairs = table(5, &[(0, 1, 2.0), (2, 3, 1.0), (3, 2, -1.5)]);
    let fit = scale_margins(&pairs, Noise::Estimated).unwrap();
    assert_eq!(fit.scale.components.members(), [vec![0, 1], vec![2, 3], vec![4]]);
    assert_relative_eq!(fit.scale.scores[0], 1.0, epsilon = 1e-12);
    assert_relative_eq!(fit.scale.scores[2], 0.625, epsilon = 1e-12);
    assert_eq!(fit.scale.probability_above(0, 2), None);
    assert_eq!((fit.scale.interval(4), fit.scale.scores[4]), (None, 0.0));
    assert!(fit.scale.interval(2).is_some());
    let message = fit.scale.connected().err().unwrap().to_string();
    assert!(message.contains("3 unconnected groups"), "{message}");
}

#[test]
fn large_graphs_agree_with_small_ones() {
    // The same margins solved densely (300 items) and, beside 300 further items in another group, iteratively.
    let margins: Vec<_> = (0..300)
        .flat_map(|i| [1, 7, 31, 101].map(move |step| (i, (i + step) % 300, ((i * step) as f64).sin())))
        .collect();
    let small = scale_margins(&table(300, &margins), Noise::Estimated).unwrap();
    let doubled: Vec<_> = margins.iter().flat_map(|&(a, b, m)| [(a, b, m), (a + 300, b + 300, m)]).collect();
    let large = scale_margins(&table(600, &doubled), Noise::Estimated).unwrap();
    assert_eq!(large.scale.components.count(), 2);
    for i in 0..300 {
        assert_relative_eq!(small.scale.scores[i], large.scale.scores[i], epsilon = 1e-10);
        assert_relative_eq!(
            small.scale.standard_error(i).unwrap(),
            large.scale.standard_error(i).unwrap(),
            max_relative = 0.15
        );
    }
}

#[test]
fn long_chains_and_stars_converge() {
    let n = 2000;
    let chain: Vec<_> = (1..n).map(|i| (i, i - 1, 0.001)).collect();
    let fit = scale_margins(&table(n, &chain), Noise::Known(0.1)).unwrap();
    assert_relative_eq!(
        fit.scale.scores[n - 1] - fit.scale.scores[0],
        0.001 * (n - 1) as f64,
        max_relative = 1e-6
    );
    let star: Vec<_> = (1..n).map(|i| (i, 0, (i as f64).cos())).collect();
    let fit = scale_margins(&table(n, &star), Noise::Known(0.1)).unwrap();
    assert_relative_eq!(fit.scale.scores[17] - fit.scale.scores[0], 17f64.cos(), epsilon = 1e-9);
    // A tree explains everything, so it says nothing about its noise.
    let tree = scale_margins(&table(n, &star), Noise::Estimated).unwrap();
    assert_eq!((tree.noise_std, tree.scale.interval(3)), (None, None));
    assert!(tree.inconsistency.unwrap() < 1e-20);
}

#[test]
fn the_worst_cycle_is_named() {
    // A consistent scale but for 1 > 4 > 6 > 1, judged so with margins of 1, 1 and 1.
    let truth = [0.0, 0.1, 3.0, 2.0, 0.2, -2.0, 0.3];
    let mut margins: Vec<_> =
        (0..7).flat_map(|i| (i + 1..7).map(move |j| (i, j, truth[i] - truth[j]))).collect();
    for (a, b, m) in &mut margins {
        match (*a, *b) {
            (1, 4) | (4, 6) => *m = 1.0,
            (1, 6) => *m = -1.0,
            _ => (),
        }
    }
    let pairs = table(7, &margins);
    let fit = scale_margins(&pairs, Noise::Estimated).unwrap();
    let worst = worst_cycles(&pairs, &fit, 3);
    assert_eq!(worst[0].items, [1, 4, 6]);
    assert_relative_eq!(worst[0].margin_sum, 3.0, epsilon = 1e-9);
    assert!(worst[0].intransitive);
    assert!(worst[1].margin_sum <= worst[0].margin_sum);
    assert!(fit.inconsistency.unwrap() > 0.0);
}

#[test]
fn a_cycle_without_triangles_and_a_contradicted_pair_are_named() {
    let pairs = table(6, &[(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0), (3, 0, 1.0), (4, 5, 2.0), (5, 4, 1.0)]);
    let fit = scale_margins(&pairs, Noise::Estimated).unwrap();
    let worst = worst_cycles(&pairs, &fit, 5);
    assert_eq!(worst.len(), 2);
    assert_eq!((worst[0].items.as_slice(), worst[0].margin_sum), ([0, 1, 2, 3].as_slice(), 4.0));
    assert_eq!((worst[1].items.as_slice(), worst[1].margin_sum), ([4, 5].as_slice(), 3.0));
    assert!(worst.iter().all(|c| c.intransitive));
}

#[test]
fn intervals_from_the_hessian_cover_the_truth() {
    // 300 simulated tournaments of 12 items; 95 % intervals of 12 scores each.
    let mut covered = 0;
    let mut noise = crate::properties::Noise::new(7);
    for _ in 0..300 {
        let truth: Vec<f64> = (0..12).map(|_| noise.normal()).collect();
        let centre = truth.iter().sum::<f64>() / 12.0;
        let margins: Vec<_> = (0..12)
            .flat_map(|i| [1, 3, 5].map(|step| (i, (i + step) % 12)))
            .map(|(a, b)| (a, b, truth[a] - truth[b] + 0.7 * noise.normal()))
            .collect();
        let fit = scale_margins(&table(12, &margins), Noise::Estimated).unwrap();
        covered += (0..12).filter(|&i| fit.scale.interval(i).unwrap().contains(truth[i] - centre)).count();
    }
    let share = covered as f64 / 3600.0;
    assert!((0.93..=0.97).contains(&share), "{share}");
}
