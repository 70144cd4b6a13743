//! What the levels of every simulator do to a rendered clip, and what single kinds promise.

use crate::clips::moving_clip;
use juror_media::distort::{Chain, Distortion, Kind, distort_file};
use juror_media::encode::{Codec, EncodeOptions, Encoder, Rate};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, Picture, TimeWindow, Video, quality};

fn distort(frames: &[Frame], kind: Kind, level: f64) -> Vec<Frame> {
    Chain::from(Distortion::new(kind, level).unwrap()).apply_all(frames, 7).unwrap()
}

/// Mean PSNR (luma and chroma, at most 60 dB a frame) of what is shown at the time of every source frame, at its size.
fn mean_psnr(source: &[Frame], distorted: &[Frame]) -> f64 {
    let shown = |frame: &Frame| {
        let after = distorted.partition_point(|d| d.pts_secs <= frame.pts_secs + 1e-9);
        let picture = &distorted[after.saturating_sub(1)].picture;
        picture.resized(frame.picture.width(), frame.picture.height()).unwrap()
    };
    let psnr = |frame: &Frame| quality::psnr_yuv(&frame.picture, &shown(frame)).unwrap().min(60.0);
    source.iter().map(psnr).sum::<f64>() / source.len() as f64
}

/// A steady pan over a rendered picture: the farther apart two frames are, the less alike.
fn pan(frames: usize) -> Vec<Frame> {
    const WIDTH: usize = 192;
    const HEIGHT: usize = 128;
    let wide = Scene::of(Family::Leaves, 3).render(400, 240, 30.0, 1).unwrap().next().unwrap().picture;
    let cut =
        |plane: &[u8], stride: usize, left: usize, top: usize, width: usize, height: usize| -> Vec<u8> {
            (top..top + height).flat_map(|y| plane[y * stride + left..][..width].to_vec()).collect()
        };
    let frame = |t: usize| {
        let (x, y) = (t, t / 2);
        let chroma = |plane| cut(plane, wide.chroma_width(), x, y, WIDTH / 2, HEIGHT / 2);
        let luma = cut(wide.y(), wide.width(), 2 * x, 2 * y, WIDTH, HEIGHT);
        let picture = Picture::new(WIDTH, HEIGHT, luma, chroma(wide.u()), chroma(wide.v())).unwrap();
        Frame { picture, pts_secs: t as f64 / 30.0 }
    };
    (0..frames).map(frame).collect()
}

#[test]
fn every_kind_is_worse_at_every_higher_level() {
    let scene = |frames| -> Vec<Frame> {
        Scene::of(Family::Leaves, 3).render(192, 128, 30.0, frames).unwrap().collect()
    };
    // Rate control needs some time; faults of time need frames that differ, and enough of them to be hit.
    let (short, long, panned, dense) = (scene(8), scene(96), pan(96), moving_clip(320, 240, 64, 30.0));
    for kind in Kind::ALL {
        let rare = matches!(kind, Kind::BlankFrames | Kind::PacketLoss);
        let frames = match kind {
            Kind::PacketLoss => &dense,
            Kind::AbrLadder => &panned,
            _ if kind.is_temporal() => &panned,
            _ if kind.name().ends_with("-bitrate") => &long,
            _ => &short,
        };
        let levels: &[f64] = match kind {
            // The published blur begins with a sigma that changes nothing.
            Kind::GaussianBlur => &[2.0, 3.0, 4.0, 5.0],
            // So few of so few frames are hit that neighbouring levels may hit the same.
            _ if rare => &[1.0, 3.0, 5.0],
            _ => &[1.0, 2.0, 3.0, 4.0, 5.0],
        };
        let scores: Vec<f64> =
            levels.iter().map(|&level| mean_psnr(frames, &distort(frames, kind, level))).collect();
        assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{kind}: {scores:?}");
        assert!(rare || scores[0] < 60.0, "{kind} changes nothing: {scores:?}");
    }
}

#[test]
fn a_lens_spreads_a_point_over_a_disc_and_motion_over_a_line() {
    let mut picture = Picture::filled(41, 41, [16, 128, 128]).unwrap();
    picture.planes_mut()[0][20 * 41 + 20] = 235;
    let point = [Frame { picture, pts_secs: 0.0 }];
    let lit = |kind: Kind, level: f64| -> Vec<(i32, i32)> {
        let out = distort(&point, kind, level);
        let lit = out[0].picture.y().iter().enumerate().filter(|(_, y)| **y > 16);
        lit.map(|(i, _)| ((i % 41) as i32 - 20, (i / 41) as i32 - 20)).collect()
    };
    // Radius 4 at level 3: what is lit lies within it (and the half pixel of its rim), and fills it.
    let disc = lit(Kind::LensBlur, 3.0);
    assert!(disc.iter().all(|(x, y)| f64::from(x * x + y * y).sqrt() <= 5.2), "{disc:?}");
    assert!((50..=81).contains(&disc.len()), "{disc:?}");
    // Length 6 at level 2: a line through the point.
    let line = lit(Kind::MotionBlur, 2.0);
    assert!((5..=7).contains(&line.len()), "{line:?}");
    assert!(line.iter().all(|(x, y)| line.contains(&(-x, -y))), "{line:?}");
}

#[test]
fn flat_pictures_stay_flat_under_blurs_and_resampling() {
    let flat = [Frame { picture: Picture::filled(75, 53, [99, 90, 170]).unwrap(), pts_secs: 0.0 }];
    let kinds = [
        Kind::LensBlur,
        Kind::MotionBlur,
        Kind::GaussianBlur,
        Kind::RescaleNearest,
        Kind::RescaleBilinear,
        Kind::RescaleLanczos,
        Kind::Pixelate,
        Kind::Sharpen,
        Kind::Interlace,
    ];
    for kind in kinds {
        for level in [0.7, 2.5, 5.0] {
            assert_eq!(distort(&flat, kind, level), flat, "{kind}:{level}");
        }
    }
}

#[test]
fn photon_noise_grows_with_light_as_it_says() {
    let deviation_at = |value: f64| {
        let code = (16.0 + 219.0 * value) as u8;
        let grey = [Frame { picture: Picture::filled(256, 128, [code, 128, 128]).unwrap(), pts_secs: 0.0 }];
        let out = distort(&grey, Kind::ShotNoise, 2.0); // 200 photons at white
        let samples = out[0].picture.y();
        let mean = samples.iter().map(|&y| f64::from(y)).sum::<f64>() / samples.len() as f64;
        assert!((mean - f64::from(code)).abs() < 0.5, "{mean} at {code}");
        (samples.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    };
    for value in [0.1, 0.4, 0.8] {
        let expected = 219.0 * (value / 200.0_f64).sqrt();
        assert!(
            (deviation_at(value) / expected - 1.0).abs() < 0.04,
            "{} against {expected}",
            deviation_at(value)
        );
    }
}

#[test]
fn impulses_hit_their_share_of_the_pixels() {
    let grey = [Frame { picture: Picture::filled(400, 300, [120, 128, 128]).unwrap(), pts_secs: 0.0 }];
    let out = distort(&grey, Kind::ImpulseNoise, 4.0);
    let hit = out[0].picture.y().iter().filter(|y| matches!(y, 16 | 235)).count();
    assert!((2150..=2650).contains(&hit), "{hit} of 120000, 2400 are meant");
    assert_eq!(out[0].picture.y().iter().filter(|&&y| y == 120).count() + hit, 120_000);
}

/// Which source picture every frame of `out` shows.
fn shown(source: &[Frame], out: &[Frame]) -> Vec<usize> {
    let place = |f: &Frame| source.iter().position(|s| s.picture == f.picture).unwrap();
    out.iter().map(place).collect()
}

#[test]
fn orders_keep_their_windows_and_lose_no_picture() {
    let frames = moving_clip(32, 24, 50, 30.0);
    let order = |kind, level| shown(&frames, &distort(&frames, kind, level));
    for (kind, level, window) in [
        (Kind::LocalShuffle, 3.0, 4),
        (Kind::Reverse, 2.0, 6),
        (Kind::Shuffle, 5.0, 48),
        (Kind::Reverse, 5.0, 48),
    ] {
        let order = order(kind, level);
        for (number, places) in order.chunks(window).enumerate() {
            let mut sorted = places.to_vec();
            sorted.sort_unstable();
            let all: Vec<usize> = (number * window..number * window + places.len()).collect();
            assert_eq!(sorted, all, "{kind}");
            if kind == Kind::Reverse {
                assert!(places.is_sorted_by(|a, b| a > b));
            } else {
                assert!(places.iter().zip(&all).all(|(a, b)| a != b), "{kind}: {places:?}");
            }
        }
    }
    assert!(order(Kind::FrameJitter, 5.0).iter().enumerate().all(|(at, &was)| at.abs_diff(was) <= 1));
    let late: Vec<usize> =
        order(Kind::DuplicatedFrames, 3.0).iter().enumerate().map(|(at, &was)| at - was).collect();
    assert!(late.iter().all(|&l| l <= 6) && late.iter().any(|&l| l > 0) && late.contains(&0), "{late:?}");
    assert!(
        late.windows(2).all(|pair| pair[1] <= pair[0] + 1),
        "a picture stands for one frame more: {late:?}"
    );
}

#[test]
fn the_frame_rate_falls_and_what_follows_in_the_chain_knows() {
    let frames = moving_clip(64, 48, 30, 30.0);
    let third = distort(&frames, Kind::FrameRate, 3.0);
    assert_eq!(shown(&frames, &third), (0..30).step_by(3).collect::<Vec<_>>());
    let judder = shown(&frames, &distort(&frames, Kind::Judder, 3.0));
    assert_eq!(judder[..11], [0, 0, 2, 3, 4, 5, 5, 7, 8, 9, 10]);
    // A file at a third of the rate says so.
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.mp4"), folder.path().join("out.mp4"));
    let mut encoder = Encoder::create(&input, 30.0, EncodeOptions::new(Codec::H264, Rate::Lossless)).unwrap();
    frames.iter().for_each(|frame| encoder.push(frame).unwrap());
    encoder.finish().unwrap();
    let chain = "frame-rate:3,h264-bitrate:1".parse().unwrap();
    assert_eq!(distort_file(&input, &output, &chain, 0, TimeWindow::ALL).unwrap().frame_count, 10);
    assert!((Video::open(&output).unwrap().info().fps - 10.0).abs() < 0.5);
}

#[test]
fn woven_fields_keep_the_even_rows_and_take_the_odd_ones_from_before() {
    let frames = moving_clip(40, 30, 6, 30.0);
    let out = distort(&frames, Kind::Interlace, 2.0);
    let row = |frame: &Frame, y: usize| frame.picture.y()[y * 40..][..40].to_vec();
    assert_eq!(row(&out[4], 10), row(&frames[4], 10));
    assert_eq!(row(&out[4], 11), row(&frames[3], 11));
}

#[test]
fn rates_are_kept_and_presets_matter() {
    let frames: Vec<Frame> = Scene::of(Family::Leaves, 5).render(320, 180, 30.0, 60).unwrap().collect();
    let folder = tempfile::tempdir().unwrap();
    let bits_per_pixel = |codec: Codec, preset: Option<&str>, rate: f64| {
        let path = folder.path().join("out.mkv");
        let preset = preset.map(str::to_owned);
        let options = EncodeOptions { preset, ..EncodeOptions::new(codec, Rate::BitsPerPixel(rate)) };
        let mut encoder = Encoder::create(&path, 30.0, options).unwrap();
        frames.iter().for_each(|frame| encoder.push(frame).unwrap());
        encoder.finish().unwrap();
        std::fs::metadata(&path).unwrap().len() as f64 * 8.0 / (60.0 * 320.0 * 180.0)
    };
    // A picture with a 36th of the pixels of 1920x1080 gets 36^(1/4) times the bits per pixel.
    let scaled = 36f64.powf(0.25);
    for (codec, preset) in [(Codec::H264, None), (Codec::H264, Some("ultrafast")), (Codec::Mpeg2, None)] {
        let found = bits_per_pixel(codec, preset, 0.5 / scaled);
        assert!((0.3..0.85).contains(&found), "{codec:?} {preset:?}: {found} bits per pixel");
    }
    let quality =
        |chain: &str| mean_psnr(&frames, &chain.parse::<Chain>().unwrap().apply_all(&frames, 0).unwrap());
    let (quick, slow) = (quality("h264-bitrate@ultrafast:3"), quality("h264-bitrate@medium:3"));
    assert!(slow > quick + 0.3, "{slow} dB against {quick} dB");
    let (once, twice) = (quality("h264:3"), quality("two-generations:3"));
    assert!(twice < once, "{twice} dB against {once} dB");
}

#[test]
fn lost_packets_spare_the_first_frame_and_wear_off_at_a_key_frame() {
    let frames = moving_clip(320, 240, 70, 30.0);
    let out = distort(&frames, Kind::PacketLoss, 4.0);
    assert_eq!(out.len(), frames.len());
    assert_eq!(out, distort(&frames, Kind::PacketLoss, 4.0), "the same seed, the same damage");
    let psnr: Vec<f64> =
        frames.iter().zip(&out).map(|(a, b)| quality::psnr(&a.picture, &b.picture).unwrap()).collect();
    let worst = psnr.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(psnr[0] > worst + 6.0, "{psnr:?}");
    // Damage spreads from frame to frame: what was whole a moment ago stays damaged without new losses.
    let damaged = psnr.iter().filter(|&&p| p < psnr[0] - 3.0).count();
    assert!(damaged > 10, "{damaged} frames are damaged: {psnr:?}");
}

#[test]
fn the_ladder_switches_every_two_seconds() {
    let frames: Vec<Frame> = Scene::of(Family::Leaves, 3).render(160, 96, 10.0, 60).unwrap().collect();
    let out = distort(&frames, Kind::AbrLadder, 5.0);
    let mean = |range: std::ops::Range<usize>| mean_psnr(&frames[range.clone()], &out[range]);
    assert!(mean(0..20) > mean(20..40) + 1.0, "{} {}", mean(0..20), mean(20..40));
    assert!(mean(40..60) > mean(20..40) + 1.0, "{} {}", mean(40..60), mean(20..40));
    // The lower rung has half the frame rate.
    assert!((21..39).step_by(2).all(|at| out[at].picture == out[at - 1].picture));
}

#[test]
fn the_documentation_states_the_levels() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/distortions.md");
    let document = std::fs::read_to_string(path).unwrap();
    for kind in Kind::ALL {
        let row =
            format!("| `{kind}` | {} | {} |", kind.parameter_meaning(), kind.parameters_text().join(" | "));
        assert!(document.lines().any(|line| line == row), "this row is missing: {row}");
    }
}
