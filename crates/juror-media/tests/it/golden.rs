//! Measures against reference implementations: see `scripts/golden-measures.py`, which also rendered the pictures. Read
//! from `measures/` in the folder that `JUROR_GOLDEN` names, else from `tests/fixtures`.

use juror_media::measure::{self, Grey, NaturalModel, PictureHash};
use juror_media::{Picture, quality};
use serde_json::Value;
use std::path::PathBuf;

const WIDTH: usize = 224;
const HEIGHT: usize = 200;

fn folder() -> PathBuf {
    let root = std::env::var_os("JUROR_GOLDEN").map(PathBuf::from);
    root.map(|root| root.join("measures"))
        .filter(|folder| folder.is_dir())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/measures"))
}

fn numbers() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("numbers.json")).unwrap()).unwrap()
}

fn samples(name: &str) -> Vec<u8> {
    let file = std::fs::read(folder().join(format!("{name}.pgm"))).unwrap();
    file[file.len() - WIDTH * HEIGHT..].to_vec()
}

fn grey(name: &str) -> Grey {
    Grey::new(WIDTH, HEIGHT, samples(name).into_iter().map(f32::from).collect()).unwrap()
}

/// Luma codes as they are: the full-reference measures compare codes.
fn picture(name: &str) -> Picture {
    let chroma = vec![128; WIDTH / 2 * HEIGHT / 2];
    Picture::new(WIDTH, HEIGHT, samples(name), chroma.clone(), chroma).unwrap()
}

fn close(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, the reference says {expected}");
}

/// Pillow leaves taps beyond the border away where we repeat the border: 2 % at half size.
#[test]
fn golden_brisque_features() {
    for name in ["reference", "worse"] {
        let features = measure::brisque_features(&grey(name)).unwrap();
        let expected = numbers()["pictures"][name]["brisque"].clone();
        for (i, found) in features.into_iter().enumerate() {
            let value = expected[i].as_f64().unwrap();
            let tolerance = if i < 18 { 1e-3 + 1e-3 * value.abs() } else { 4e-3 + 2e-2 * value.abs() };
            close(found, &expected[i], tolerance, &format!("feature {i} of {name}"));
        }
    }
}

#[test]
fn golden_niqe_distance_to_a_given_model() {
    let mean: Vec<f64> = (0..36).map(|i| 0.5 + 0.01 * f64::from(i)).collect();
    let covariance: Vec<f64> = (0..36 * 36)
        .map(|at| 0.01 + if at % 37 == 0 { 0.1 + 0.01 * f64::from(at / 37) } else { 0.0 })
        .collect();
    let model = NaturalModel::of_moments(&mean, &covariance).unwrap();
    for name in ["reference", "worse"] {
        let expected = &numbers()["pictures"][name]["niqe"];
        close(model.distance(&grey(name)).unwrap(), expected, 0.01 * expected.as_f64().unwrap(), name);
    }
}

/// The reference asks Canny which blocks to look at; here all are.
#[test]
fn golden_cpbd() {
    for name in ["reference", "worse"] {
        close(measure::cpbd(&grey(name)).unwrap(), &numbers()["pictures"][name]["cpbd"], 0.01, name);
    }
}

#[test]
fn golden_spatial_and_temporal_information() {
    let numbers = numbers();
    for name in ["reference", "worse"] {
        let expected = &numbers["pictures"][name]["spatial_information"];
        close(measure::spatial_information(&grey(name)), expected, 1e-3, name);
    }
    let found = measure::temporal_information(&grey("reference"), &grey("worse")).unwrap();
    close(found, &numbers["temporal_information"], 1e-3, "TI");
}

/// Up to a bit or two that lie on the median.
#[test]
fn golden_picture_hash() {
    for name in ["reference", "worse"] {
        let all = samples(name);
        let middle = (84..116).flat_map(|y| all[y * WIDTH + 96..][..32].to_vec()).collect();
        let picture = Picture::new(32, 32, middle, vec![128; 256], vec![128; 256]).unwrap();
        let numbers = numbers();
        let expected = numbers["pictures"][name]["phash_of_middle"].as_str().unwrap();
        let expected = PictureHash(u64::from_str_radix(expected, 16).unwrap());
        let distance = PictureHash::of(&picture).unwrap().distance(expected);
        assert!(distance <= 2.0 / 64.0, "{name}: {distance}");
    }
}

/// The references leave out windows that reach over the border; ours repeat it.
#[test]
fn golden_psnr_ssim_and_ms_ssim() {
    let (a, b, numbers) = (picture("reference"), picture("worse"), numbers());
    close(quality::psnr(&a, &b).unwrap(), &numbers["psnr"], 1e-6, "PSNR");
    close(quality::ssim(&a, &b).unwrap(), &numbers["ssim"], 0.01, "SSIM");
    close(quality::ms_ssim(&a, &b).unwrap(), &numbers["ms_ssim"], 0.01, "MS-SSIM");
}
