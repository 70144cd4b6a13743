//! Distortions in memory: what a level means, chains, determinism, errors.

use crate::clips::moving_clip as clip;
use juror_media::distort::{Chain, ClipInfo, Distortion, Kind};
use juror_media::{Frame, MediaError, Picture, quality};

fn distort(frames: &[Frame], kind: Kind, level: f64) -> Vec<Frame> {
    Chain::from(Distortion::new(kind, level).unwrap()).apply_all(frames, 7).unwrap()
}

fn repeats(frames: &[Frame]) -> usize {
    frames.windows(2).filter(|pair| pair[0].picture == pair[1].picture).count()
}

#[test]
fn every_kind_keeps_the_number_of_frames_and_their_times() {
    let frames = clip(97, 67, 16, 25.0);
    for kind in Kind::ALL {
        if kind == Kind::FrameRate {
            continue; // its purpose
        }
        let out = distort(&frames, kind, 5.0);
        let times = |frames: &[Frame]| frames.iter().map(|f| f.pts_secs).collect::<Vec<_>>();
        assert_eq!(times(&out), times(&frames), "{kind}");
        if kind != Kind::Resolution {
            assert!(out.iter().all(|f| (f.picture.width(), f.picture.height()) == (97, 67)), "{kind}");
        }
        assert!(out != frames, "{kind} changed nothing");
    }
}

#[test]
fn published_parameters_stand_at_whole_levels() {
    let at = |kind: Kind| [1.0, 2.0, 3.0, 4.0, 5.0].map(|level| kind.parameter(level));
    assert_eq!(at(Kind::GaussianBlur), [0.1, 0.5, 1.0, 2.0, 5.0]);
    assert_eq!(at(Kind::GaussianNoise), [0.001, 0.002, 0.003, 0.005, 0.01]);
    assert_eq!(at(Kind::Darken), [0.05, 0.1, 0.2, 0.4, 0.8]);
    assert_eq!(at(Kind::Rescale), [2.0, 3.0, 4.0, 8.0, 16.0]);
    // Between levels: geometric, so half a level from 2 to 8 is 4.
    assert!((Kind::Rescale.parameter(3.5) - 32f64.sqrt()).abs() < 1e-12);
    for kind in Kind::ALL {
        let parameters: Vec<f64> = (0..=50).map(|i| kind.parameter(f64::from(i) / 10.0)).collect();
        let falls = parameters[0] > parameters[50];
        assert!(
            parameters.windows(2).all(|p| if falls { p[0] > p[1] } else { p[0] < p[1] }),
            "{kind}: {parameters:?}"
        );
    }
}

#[test]
fn noise_has_the_variance_it_says() {
    let grey = Frame { picture: Picture::filled(320, 240, [126, 128, 128]).unwrap(), pts_secs: 0.0 };
    let noisy = distort(&[grey], Kind::GaussianNoise, 4.0);
    let samples = noisy[0].picture.y();
    let mean = samples.iter().map(|&y| f64::from(y)).sum::<f64>() / samples.len() as f64;
    let variance = samples.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / samples.len() as f64;
    // Variance 0.005 on R, G and B is 0.005 * (0.2126^2 + 0.7152^2 + 0.0722^2) on luma, in 219 codes.
    let expected = 0.005 * 0.561_9 * 219.0 * 219.0;
    assert!((variance / expected - 1.0).abs() < 0.03, "{variance} against {expected}");
    assert!((mean - 126.0).abs() < 0.2, "{mean}");
}

#[test]
fn tone_curves_meet_their_reference_points() {
    // KADID: brighten p = 0.4 maps .25/.5/.75 to .40/.70/.90, darken p = 0.4 to .10/.30/.60.
    let code = |x: f64| (16.0 + 219.0 * x).round() as u8;
    let luma_after = |kind: Kind, level: f64, x: f64| {
        let grey = Frame { picture: Picture::filled(2, 2, [code(x), 128, 128]).unwrap(), pts_secs: 0.0 };
        distort(&[grey], kind, level)[0].picture.y()[0]
    };
    for (x, brighter, darker) in [(0.25, 0.4, 0.1), (0.5, 0.7, 0.3), (0.75, 0.9, 0.6)] {
        assert!(luma_after(Kind::Brighten, 3.0, x).abs_diff(code(brighter)) <= 1);
        assert!(luma_after(Kind::Darken, 4.0, x).abs_diff(code(darker)) <= 1);
    }
}

#[test]
fn resolution_delivers_the_rungs() {
    let frames = clip(240, 120, 1, 30.0);
    let sizes = [1.0, 2.0, 3.0, 4.0, 5.0].map(|level| {
        let out = distort(&frames, Kind::Resolution, level);
        (out[0].picture.width(), out[0].picture.height())
    });
    assert_eq!(sizes, [(180, 90), (120, 60), (90, 46), (60, 30), (40, 20)]);
}

#[test]
fn stutter_holds_for_frames_at_30_and_for_time_above() {
    for (fps, per_hold) in [(24.0, 3), (30.0, 3), (60.0, 6)] {
        let frames = clip(48, 32, 120, fps);
        let out = distort(&frames, Kind::Stutter, 2.0);
        let shown = frames.len() - repeats(&out);
        assert!(shown.abs_diff(frames.len() / per_hold) <= 1, "{fps} fps: {shown} different pictures");
    }
}

#[test]
fn repeated_pictures_grow_with_the_level_of_temporal_kinds() {
    let frames = clip(48, 32, 120, 30.0);
    for kind in [Kind::Stutter, Kind::Freeze, Kind::DroppedFrames, Kind::Judder] {
        let counts: Vec<usize> = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0]
            .iter()
            .map(|&level| repeats(&distort(&frames, kind, level)))
            .collect();
        assert!(counts[0] > 0 && counts.windows(2).all(|pair| pair[0] < pair[1]), "{kind}: {counts:?}");
    }
}

#[test]
fn a_freeze_stands_for_its_share_and_then_jumps() {
    let frames = clip(48, 32, 100, 30.0);
    let out = distort(&frames, Kind::Freeze, 4.0);
    assert!(repeats(&out).abs_diff(50) <= 1, "{}", repeats(&out));
    let held = out.windows(2).position(|pair| pair[0].picture == pair[1].picture).unwrap();
    let after = (held..100).find(|&i| out[i].picture != out[held].picture);
    // What comes after the freeze is the picture of that time, not the one after the held picture.
    assert!(after.is_none_or(|i| i > held + 40 && out[i] == frames[i]));
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let frames = clip(64, 48, 8, 30.0);
    let chain: Chain = "shake:2,gaussian-noise:3,dropped-frames:5,h264:2".parse().unwrap();
    let first = chain.apply_all(&frames, 1).unwrap();
    assert_eq!(first, chain.apply_all(&frames, 1).unwrap());
    assert_ne!(first, chain.apply_all(&frames, 2).unwrap());
}

#[test]
fn tiny_pictures_go_through_every_kind() {
    for (width, height) in [(1, 1), (3, 2), (16, 16), (40, 20)] {
        let frames = clip(width, height, 3, 30.0);
        for kind in Kind::ALL {
            let expected = if kind == Kind::FrameRate { 1 } else { 3 };
            assert_eq!(distort(&frames, kind, 5.0).len(), expected, "{kind} at {width}x{height}");
        }
    }
}

#[test]
fn a_chain_is_its_links_in_order() {
    let frames = clip(96, 64, 5, 30.0);
    let chained = "darken:3,h264:4".parse::<Chain>().unwrap().apply_all(&frames, 0).unwrap();
    let by_hand = distort(&distort(&frames, Kind::Darken, 3.0), Kind::H264, 4.0);
    assert_eq!(chained, by_hand);
    let empty = Chain::default().apply_all(&frames, 0).unwrap();
    assert_eq!(empty, frames);
}

#[test]
fn an_error_of_the_source_ends_the_stream() {
    let mut frames: Vec<Result<Frame, MediaError>> = clip(32, 32, 3, 30.0).into_iter().map(Ok).collect();
    frames.insert(1, Err(MediaError::invalid("broken")));
    let chain: Chain = "blur:3".parse().unwrap();
    let info = ClipInfo { fps: 30.0, duration_secs: None };
    let out: Vec<_> = chain.apply(frames, info, 0).collect();
    assert_eq!(out.len(), 2);
    assert!(out[0].is_ok() && out[1].is_err());
}

#[test]
fn names_round_trip_and_mistakes_are_explained() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse::<Kind>().unwrap(), kind);
    }
    let chain: Chain = " blur:2 , h264:4.5 ".parse().unwrap();
    assert_eq!(chain.to_string(), "gaussian-blur:2,h264:4.5");
    let message = |text: &str| text.parse::<Chain>().unwrap_err().to_string();
    assert!(
        message("gausian-blur:2").contains("did you mean `gaussian-blur`"),
        "{}",
        message("gausian-blur:2")
    );
    assert!(message("blur:6").contains("level 6") && message("blur:6").contains("5 (severe)"));
    assert!(message("blur:0").contains("out of range"));
    assert!(message("blur:NaN").contains("out of range"));
    assert!(message("blur:x").contains("`x`"));
    assert!(message("blur").contains("needs a level"));
    assert!(message("").contains("empty"));
    let chain: Chain = "h264@ultrafast:3, av1@10:2".parse().unwrap();
    assert_eq!(chain.to_string(), "h264@ultrafast:3,av1@10:2");
    assert!(message("h264@quick:3").contains("`quick`") && message("h264@quick:3").contains("`veryslow`"));
    assert!(message("blur@fast:3").contains("takes no preset"));
}

#[test]
fn quality_measures_know_equal_and_worse() {
    let frames = clip(200, 180, 1, 30.0);
    let a = &frames[0].picture;
    assert_eq!(quality::psnr(a, a).unwrap(), f64::INFINITY);
    assert!((quality::ssim(a, a).unwrap() - 1.0).abs() < 1e-6);
    assert!((quality::ms_ssim(a, a).unwrap() - 1.0).abs() < 1e-6);
    // Every sample off by 5: 10 log10(255^2 / 25).
    let mut brighter = a.clone();
    brighter.planes_mut()[0].iter_mut().for_each(|y| *y += 5);
    assert!((quality::psnr(a, &brighter).unwrap() - 34.151_4).abs() < 1e-3);
    let smaller = Picture::filled(10, 10, [16, 128, 128]).unwrap();
    assert!(quality::ssim(a, &smaller).unwrap_err().to_string().contains("same size"));
}
