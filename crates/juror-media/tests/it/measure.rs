//! What the measurements of sources see: each the damage that it is named after, and none where there is none.

use crate::clips::moving_clip;
use juror_media::distort::Chain;
use juror_media::encode::{Codec, EncodeOptions, Encoder, Rate};
use juror_media::measure::{
    self, Grey, Measurements, NaturalModel, PictureHash, Reject, RejectRules, VideoHash, measure_frames,
    measure_source,
};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, Matrix, Picture, TimeWindow, Video};
use std::path::Path;

fn scene(seed: u64, frames: usize) -> Vec<Frame> {
    Scene::of(Family::Leaves, seed).render(320, 192, 30.0, frames).unwrap().collect()
}

fn after(frames: &[Frame], chain: &str) -> Vec<Frame> {
    chain.parse::<Chain>().unwrap().apply_all(frames, 1).unwrap()
}

fn grey_after(frames: &[Frame], chain: &str) -> Grey {
    Grey::of(&after(frames, chain)[0].picture)
}

#[test]
fn every_measure_sees_its_own_damage() {
    let frames = scene(3, 2);
    let clean = Grey::of(&frames[0].picture);
    let rises = |what: &str, of: &dyn Fn(&Grey) -> f64, chain: &str, least: f64| {
        let (before, worse) = (of(&clean), of(&grey_after(&frames, chain)));
        assert!(worse > least * before, "{what}: {before} and then {worse}");
    };
    rises("blockiness", &measure::blockiness, "jpeg:5", 1.3);
    rises("noise", &measure::noise, "noise:5", 1.5);
    rises("lack of contrast", &|grey| 1.0 / measure::contrast(grey), "contrast:4", 2.0);
    rises("blur", &|grey| 1.0 - measure::cpbd(grey).unwrap(), "lens-blur:3", 1.3);
    rises("loss of detail", &|grey| 1.0 / measure::spatial_information(grey), "blur:4", 1.3);
    let colour = |frames: &[Frame]| measure::colourfulness(&frames[0].picture.to_rgb());
    assert!(colour(&after(&frames, "desaturate:4")) < 0.5 * colour(&frames));
    assert!(colour(&after(&frames, "desaturate:5")) < 1.0);
    let light = |frames: &[Frame]| measure::luminance(&frames[0].picture.to_rgb());
    assert!(light(&after(&frames, "darken:4")) < light(&frames) - 10.0);
}

#[test]
fn known_pictures_give_known_numbers() {
    let grey = |of: &dyn Fn(usize, usize) -> f32| {
        Grey::new(64, 64, (0..64 * 64).map(|i| of(i % 64, i / 64)).collect()).unwrap()
    };
    // Steps of 8 at every eighth column, nothing else: 8 across borders (and none down), none within.
    let blocks = grey(&|x, _| (x / 8 * 8) as f32);
    assert!(measure::blockiness(&blocks) > 20.0);
    assert!((measure::blockiness(&grey(&|x, _| x as f32)) - 1.0).abs() < 0.02);
    assert_eq!(measure::blockiness(&grey(&|_, _| 90.0)), 1.0);
    let halves = grey(&|x, _| if x < 32 { 100.0 } else { 120.0 });
    assert!((measure::contrast(&halves) - 10.0).abs() < 1e-6);
    assert_eq!(measure::flicker(&blocks, &blocks), Some(0.0));
    let brighter = grey(&|x, _| {
        if x < 16 {
            111.0
        } else if x < 32 {
            100.0
        } else {
            120.0
        }
    });
    assert_eq!(measure::flicker(&halves, &brighter), Some(0.25));
    assert!(measure::cpbd(&grey(&|_, _| 90.0)).is_none());
    // Immerkær's estimate on noise of 5 codes is 5.
    let flat = Frame { picture: Picture::filled(320, 240, [126, 128, 128]).unwrap(), pts_secs: 0.0 };
    let noisy = Grey::of(&after(&[flat], "noise:4")[0].picture);
    let expected = (0.005_f64 * 0.5619).sqrt() * 255.0;
    assert!((measure::noise(&noisy) / expected - 1.0).abs() < 0.03, "{} {expected}", measure::noise(&noisy));
    let red = juror_media::Rgb::new(2, 1, vec![255, 0, 0, 255, 0, 0]).unwrap();
    assert!((measure::colourfulness(&red) - 0.3 * 255.0_f64.hypot(127.5)).abs() < 1e-6);
}

#[test]
fn natural_statistics_part_natural_from_damaged_pictures() {
    let pictures: Vec<Grey> = (0..6).map(|seed| Grey::of(&scene(seed, 1)[0].picture)).collect();
    let model = NaturalModel::fit(&pictures).unwrap();
    let other = scene(9, 1);
    let clean = model.distance(&Grey::of(&other[0].picture)).unwrap();
    for chain in ["blur:5", "noise:5", "jpeg:5", "pixelate:4"] {
        let worse = model.distance(&grey_after(&other, chain)).unwrap();
        assert!(worse > clean, "{chain}: {clean} and then {worse}");
    }
    assert!(model.distance(&Grey::new(95, 200, vec![0.0; 95 * 200]).unwrap()).is_none());
    assert!(NaturalModel::of_moments(&[0.0; 3], &[0.0; 9]).is_none());
    let again = NaturalModel::of_moments(model.mean(), model.covariance()).unwrap();
    assert_eq!(again, model);
    let embedded = NaturalModel::embedded();
    let embedded_clean = embedded.distance(&Grey::of(&other[0].picture)).unwrap();
    assert!(embedded.distance(&grey_after(&other, "blur:5")).unwrap() > embedded_clean);
    // A flat picture has statistics too, if poor ones.
    let flat = Grey::new(256, 256, vec![90.0; 256 * 256]).unwrap();
    assert!(model.distance(&flat).unwrap().is_finite());
    assert!(measure::brisque_features(&flat).unwrap().iter().all(|f| f.is_finite()));
}

fn write(path: &Path, frames: &[Frame], fps: f64) -> Video {
    let mut encoder = Encoder::create(path, fps, EncodeOptions::new(Codec::H264, Rate::Crf(12.0))).unwrap();
    frames.iter().for_each(|frame| encoder.push(frame).unwrap());
    encoder.finish().unwrap();
    Video::open(path).unwrap()
}

/// Clips one after the other.
fn spliced(clips: &[&[Frame]]) -> Vec<Frame> {
    let pictures = clips.iter().flat_map(|clip| clip.iter().map(|frame| frame.picture.clone()));
    pictures.enumerate().map(|(i, picture)| Frame { picture, pts_secs: i as f64 / 30.0 }).collect()
}

#[test]
fn cuts_are_found_and_flashes_are_none() {
    let (a, b) = (scene(3, 20), scene(4, 20));
    let mut frames = spliced(&[&a, &b, &a]);
    frames[10].picture.planes_mut()[0].fill(235);
    let folder = tempfile::tempdir().unwrap();
    let video = write(&folder.path().join("cuts.mp4"), &frames, 30.0);
    let rules = RejectRules::default();
    let report = measure_source(&video, TimeWindow::ALL, &rules).unwrap();
    let cuts: Vec<usize> = report.cuts_secs.iter().map(|secs| (secs * 30.0).round() as usize).collect();
    assert_eq!(cuts, [20, 40]);
    assert_eq!(report.rejects, []);
    assert_eq!((report.pictures, report.hash.0.len()), (2, 2));
    // In memory and from a file: the same, up to the encode.
    let in_memory = measure_frames(&frames, 2.0, &rules).unwrap();
    assert_eq!(in_memory.cuts_secs.len(), 2);
    let (file, memory) = (report.measurements.values(), in_memory.measurements.values());
    for ((name, file), memory) in Measurements::NAMES.iter().zip(file).zip(memory) {
        assert!((file - memory).abs() <= 0.1 * memory.abs() + 0.05, "{name}: {file} and {memory}");
    }
}

#[test]
fn useless_sources_are_rejected_with_reasons() {
    let rules = RejectRules::default();
    let moving = moving_clip(320, 192, 40, 30.0);
    let reasons = |frames: &[Frame], secs: f64| measure_frames(frames, secs, &rules).unwrap().rejects;
    assert_eq!(reasons(&moving, 40.0 / 30.0), []);
    assert!(matches!(reasons(&moving[..10], 1.0 / 3.0)[..], [Reject::TooShort { .. }]));
    let still = spliced(&[&moving[..1], &moving[..1], &moving[..1]]);
    assert!(matches!(reasons(&still, 2.0)[..], [Reject::Static { .. }]));
    let mut boxed = moving.clone();
    for frame in &mut boxed {
        let [luma, ..] = frame.picture.planes_mut();
        let rows = luma.len() / 320;
        luma[..320 * 60].fill(16);
        luma[320 * (rows - 60)..].fill(17);
    }
    let rejects = reasons(&boxed, 40.0 / 30.0);
    let [Reject::Letterboxed { active_share }] = rejects[..] else { panic!("{rejects:?}") };
    assert!((active_share - 72.0 / 192.0).abs() < 0.01);
    assert!(rejects[0].to_string().contains("38 %"), "{}", rejects[0]);
    // BT.2020 colour and no word of a transfer.
    let wide: Vec<Frame> = moving
        .iter()
        .map(|f| Frame { picture: f.picture.clone().with_matrix(Matrix::Bt2020), ..f.clone() })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let video = write(&folder.path().join("wide.mp4"), &wide, 30.0);
    let rejects = measure_source(&video, TimeWindow::ALL, &rules).unwrap().rejects;
    assert_eq!(rejects, [Reject::HdrUntagged]);
}

#[test]
fn near_duplicates_hash_alike_and_others_do_not() {
    let hash = |frames: &[Frame]| -> VideoHash {
        VideoHash(frames.iter().step_by(30).map(|f| PictureHash::of(&f.picture).unwrap()).collect())
    };
    let source = scene(3, 121);
    let original = hash(&source);
    for chain in ["h264:3", "resolution:3", "brighten:2", "noise:3"] {
        let copy = hash(&after(&source, chain));
        assert!(original.is_near_duplicate(&copy), "{chain}: {}", original.distance(&copy));
    }
    // A copy that begins a second later.
    assert_eq!(original.distance(&hash(&source[30..])), 0.0);
    for seed in 4..9 {
        let other = hash(&scene(seed, 121));
        assert!(!original.is_near_duplicate(&other), "{seed}: {}", original.distance(&other));
    }
    assert_eq!(original.distance(&VideoHash::default()), 1.0);
}

#[test]
fn tiny_pictures_are_measured_without_complaint() {
    for (width, height) in [(1, 1), (3, 2), (17, 9)] {
        let frames = moving_clip(width, height, 3, 2.0);
        let report = measure_frames(&frames, 1.5, &RejectRules::default()).unwrap();
        assert!(report.measurements.values().iter().all(|value| value.is_finite()), "{report:?}");
    }
}
