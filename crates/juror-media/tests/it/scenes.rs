//! Procedural scenes: reproducible, different from each other, and with the statistics they claim.

use juror_media::Frame;
use juror_media::quality;
use juror_media::scenes::{Family, Scene};

fn render(family: Family, seed: u64, width: usize, height: usize, frames: usize) -> Vec<Frame> {
    Scene::of(family, seed).render(width, height, 25.0, frames).unwrap().collect()
}

/// Mean squared difference of luma at a horizontal distance.
fn structure(frame: &Frame, lag: usize) -> f64 {
    let width = frame.picture.width();
    let squares = frame.picture.y().chunks_exact(width).flat_map(|row| {
        row.iter().zip(&row[lag..]).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).collect::<Vec<_>>()
    });
    let (mut sum, mut count) = (0.0, 0.0);
    for square in squares {
        sum += square;
        count += 1.0;
    }
    sum / count
}

#[test]
fn a_seed_gives_the_same_scene_again_and_another_seed_another() {
    for family in Family::ALL {
        let frames = render(family, 11, 80, 48, 4);
        assert_eq!(frames, render(family, 11, 80, 48, 4), "{family:?}");
        assert_ne!(frames[0].picture, render(family, 12, 80, 48, 1)[0].picture, "{family:?}");
        // Asking for fewer frames changes none of them.
        assert_eq!(frames[..2], render(family, 11, 80, 48, 2), "{family:?}");
    }
    assert_eq!(Scene::random(5), Scene::random(5));
    let families: std::collections::HashSet<_> = (0..40).map(|seed| Scene::random(seed).family()).collect();
    assert_eq!(families.len(), Family::ALL.len());
}

#[test]
fn frames_have_the_size_the_times_and_legal_samples() {
    let mut frames = Scene::random(1).render(97, 55, 50.0, 7).unwrap();
    assert_eq!(frames.size_hint(), (7, Some(7)));
    for i in 0..7 {
        let frame = frames.next().unwrap();
        assert_eq!((frame.picture.width(), frame.picture.height()), (97, 55));
        assert!((frame.pts_secs - f64::from(i) / 50.0).abs() < 1e-12);
    }
    assert!(frames.next().is_none());
    for family in Family::ALL {
        for seed in 0..3 {
            let frame = &render(family, seed, 96, 64, 1)[0];
            // Sensor noise may step over the ends a little; nothing else does.
            assert!(frame.picture.y().iter().all(|y| (8..=245).contains(y)), "{family:?} {seed}");
        }
    }
}

#[test]
fn a_scene_is_the_same_at_another_size() {
    let mut similarities = Vec::new();
    for (family, seed) in [(Family::Leaves, 1), (Family::Bodies, 2), (Family::Drawing, 3)] {
        let small = &render(family, seed, 160, 96, 10)[9];
        let large = &render(family, seed, 320, 192, 10)[9];
        let shrunk = large.picture.resized(160, 96).unwrap();
        similarities.push(quality::ssim(&small.picture, &shrunk).unwrap());
    }
    assert!(similarities.iter().all(|&s| s > 0.7), "{similarities:?}");
}

#[test]
fn leaves_are_rough_at_every_scale_as_nature_is() {
    // A spectrum of 1/f^2 in power makes the structure function grow about linearly with distance: by well under
    // the square (smooth pictures) and well over nothing (white noise).
    let mut growth = 0.0;
    for seed in 0..4 {
        let frame = &render(Family::Leaves, seed, 320, 192, 1)[0];
        growth += (structure(frame, 16) / structure(frame, 2)).log2() / 3.0 / 4.0;
    }
    assert!((0.2..1.4).contains(&growth), "exponent {growth}");
}

#[test]
fn screens_stand_still_between_movements_and_have_flat_areas() {
    let frames = render(Family::Screen, 2, 320, 192, 5);
    let flat = frames[0].picture.y().windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(flat as f64 > 0.5 * frames[0].picture.y().len() as f64);
    // Most of the picture does not change from frame to frame.
    for pair in frames.windows(2) {
        let same = pair[0].picture.y().iter().zip(pair[1].picture.y()).filter(|(a, b)| a == b).count();
        assert!(same as f64 > 0.5 * pair[0].picture.y().len() as f64);
    }
}

#[test]
fn there_are_moving_and_still_scenes() {
    let moves = |seed: u64| {
        let frames = render(Family::Leaves, seed, 64, 48, 12);
        quality::psnr(&frames[0].picture, &frames[11].picture).unwrap() < 30.0
    };
    let moving = (0..12).filter(|&seed| moves(seed)).count();
    assert!((3..12).contains(&moving), "{moving} of 12 move");
}

#[test]
fn impossible_sizes_and_rates_are_refused() {
    let message = |width, height, fps| match Scene::random(0).render(width, height, fps, 1) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{width}x{height} at {fps} was rendered"),
    };
    assert!(message(8, 64, 30.0).contains("16 to 8192"));
    assert!(message(64, 9000, 30.0).contains("16 to 8192"));
    assert!(message(64, 64, 0.0).contains("more than 0"));
    assert!(message(64, 64, f64::NAN).contains("more than 0"));
}
