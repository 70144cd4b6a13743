//! Statistics of natural scenes: the features of BRISQUE and the naturalness distance of NIQE.
//!
//! MSCN coefficients are `(I - mu) / (sigma + 1)`, mean and deviation taken with a Gaussian window of 7 x 7, sigma 7/6,
//! borders replicated (BRISQUE's authors pad with zeros). Their histogram, and those of products of neighbours in four directions, are
//! fitted by generalised Gaussians, symmetric (GGD) and asymmetric (AGGD), by matching moments over shapes 0.2 to
//! 10 in steps of 0.001 as the authors do. Neighbours wrap around at the borders, as in their programs. All is done at
//! full size and at half (bicubic).
//!
//! - [`brisque_features`]: Mittal, Moorthy and Bovik, "No-reference image quality assessment in the spatial domain" (2012):
//!   per scale shape and variance of the MSCN coefficients, then per direction (across, down, both diagonals) shape, mean, left and
//!   right variance. The authors' regression from features to a score is trained on ratings and left out.
//! - [`NaturalModel`]: Mittal, Soundararajan and Bovik, "Making a completely blind image quality analyzer" (2013): 36
//!   features per patch of 96 x 96, a Gaussian over the patches of a picture, and its distance to the Gaussian over
//!   patches of pristine pictures. [`NaturalModel::embedded`] is fitted by `examples/fit_natural_model.rs` to the clips that trained
//!   juror, not to the authors' photographs: distances are smaller for video and not comparable with theirs.

use super::Grey;
use crate::distort::Kernel;
use nalgebra::{DMatrix, DVector};
use std::borrow::Borrow;
use std::sync::OnceLock;

/// Numbers that [`brisque_features`] gives.
pub const BRISQUE_FEATURES: usize = 36;
/// Numbers per patch of a [`NaturalModel`].
pub const NIQE_FEATURES: usize = 36;

/// Side of a patch at full size.
const PATCH: usize = 96;
/// A pristine picture lends the patches that are sharper than this share of its sharpest.
const SHARP: f64 = 0.75;
/// Pairs of neighbours: the pixel and the one this many columns and rows before it.
const DIRECTIONS: [(isize, isize); 4] = [(1, 0), (0, 1), (1, 1), (-1, 1)];
/// The constant that keeps MSCN coefficients finite.
const MSCN_FLOOR: f32 = 1.0;

/// Shape and scales of an asymmetric generalised Gaussian.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Aggd {
    shape: f64,
    /// Mean of the fitted distribution.
    mean: f64,
    left_deviation: f64,
    right_deviation: f64,
    /// Deviations times `sqrt(gamma(1 / shape) / gamma(3 / shape))`: its scale parameters.
    left_scale: f64,
    right_scale: f64,
}

/// `gamma(2/a)^2 / (gamma(1/a) gamma(3/a))` for shapes a from 0.2 by 0.001 to 10; it grows with a.
fn ratios() -> &'static [f64] {
    static RATIOS: OnceLock<Vec<f64>> = OnceLock::new();
    RATIOS.get_or_init(|| {
        let ratio = |a: f64| libm::tgamma(2.0 / a).powi(2) / (libm::tgamma(1.0 / a) * libm::tgamma(3.0 / a));
        (0..9800).map(|i| ratio(shape_at(i))).collect()
    })
}

fn shape_at(index: usize) -> f64 {
    0.2 + 0.001 * index as f64
}

/// The shape of the table's entry nearest to `wanted`, by a distance that grows with the difference of `map`ped ratios.
fn nearest_shape(wanted: f64, map: impl Fn(f64) -> f64) -> f64 {
    let ratios = ratios();
    let at = ratios.partition_point(|&ratio| ratio < wanted).min(ratios.len() - 1);
    let below = at.saturating_sub(1);
    let distance = |i: usize| (map(ratios[i]) - map(wanted)).abs();
    shape_at(if distance(below) <= distance(at) { below } else { at })
}

impl Aggd {
    fn fit(values: impl Iterator<Item = f32>) -> Self {
        let (mut left, mut right, mut lefts, mut rights, mut sum) = (0.0f64, 0.0f64, 0u64, 0u64, 0.0f64);
        for value in values {
            let value = f64::from(value);
            sum += value.abs();
            if value < 0.0 {
                left += value * value;
                lefts += 1;
            } else {
                right += value * value;
                rights += 1;
            }
        }
        let count = (lefts + rights).max(1) as f64;
        let left_deviation = (left / lefts.max(1) as f64).sqrt();
        let right_deviation = (right / rights.max(1) as f64).sqrt();
        // A flat picture has no distribution: call it Gaussian of no width.
        if left + right == 0.0 {
            return Self {
                shape: 2.0,
                mean: 0.0,
                left_deviation,
                right_deviation,
                left_scale: 0.0,
                right_scale: 0.0,
            };
        }
        let ratio = (sum / count).powi(2) / ((left + right) / count);
        // (g^3 + 1)(g + 1) / (g^2 + 1)^2 of g = left / right is the same for g and 1 / g.
        let g = left_deviation.min(right_deviation) / left_deviation.max(right_deviation);
        let shape = nearest_shape(ratio * (g.powi(3) + 1.0) * (g + 1.0) / (g * g + 1.0).powi(2), |r| r);
        let [gamma1, gamma2, gamma3] = [1.0, 2.0, 3.0].map(|k| libm::tgamma(k / shape));
        let scale = (gamma1 / gamma3).sqrt();
        let (left_scale, right_scale) = (scale * left_deviation, scale * right_deviation);
        let mean = (right_scale - left_scale) * gamma2 / gamma1;
        Self { shape, mean, left_deviation, right_deviation, left_scale, right_scale }
    }
}

/// Shape and variance of a generalised Gaussian.
fn fit_ggd(values: impl Iterator<Item = f32>) -> (f64, f64) {
    let (mut count, mut sum, mut squares, mut absolute) = (0u64, 0.0f64, 0.0f64, 0.0f64);
    for value in values {
        let value = f64::from(value);
        count += 1;
        sum += value;
        squares += value * value;
        absolute += value.abs();
    }
    let count = count.max(1) as f64;
    let variance = (squares / count - (sum / count).powi(2)).max(0.0);
    if variance == 0.0 {
        return (2.0, 0.0);
    }
    // Sought by the inverse of the ratio, as the authors do.
    (nearest_shape((absolute / count).powi(2) / variance, |r| 1.0 / r), variance)
}

/// MSCN coefficients of a picture, and its local deviations.
struct Mscn {
    coefficients: Vec<f32>,
    deviations: Vec<f32>,
    width: usize,
}

/// A rectangle of coefficients.
#[derive(Clone, Copy)]
struct Region {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Mscn {
    fn of(grey: &Grey) -> Self {
        let window = Kernel::gaussian_with_radius(7.0 / 6.0, 3);
        let (width, height) = (grey.width, grey.height);
        // Centred, so that the difference of the squares stays exact in `f32`.
        let centred: Vec<f32> = grey.data.iter().map(|v| v - 128.0).collect();
        let (mut mean, mut scratch) = (centred.clone(), Vec::new());
        let mut deviations: Vec<f32> = centred.iter().map(|v| v * v).collect();
        window.convolve(&mut mean, width, height, &mut scratch);
        window.convolve(&mut deviations, width, height, &mut scratch);
        let mut coefficients = centred;
        for ((value, mean), square) in coefficients.iter_mut().zip(&mean).zip(&mut deviations) {
            *square = (*square - mean * mean).max(0.0).sqrt();
            *value = (*value - mean) / (*square + MSCN_FLOOR);
        }
        Self { coefficients, deviations, width }
    }

    fn row(&self, region: Region, y: usize) -> &[f32] {
        &self.coefficients[(region.top + y) * self.width + region.left..][..region.width]
    }

    fn values(&self, region: Region) -> impl Iterator<Item = f32> + '_ {
        (0..region.height).flat_map(move |y| self.row(region, y)).copied()
    }

    /// Products of every coefficient of a region with its neighbour `(columns, rows)` before it, wrapped around.
    fn products(&self, region: Region, (columns, rows): (isize, isize)) -> impl Iterator<Item = f32> + '_ {
        (0..region.height).flat_map(move |y| {
            let other = self.row(region, (y as isize - rows).rem_euclid(region.height as isize) as usize);
            let turned = columns.rem_euclid(region.width as isize) as usize;
            let (tail, head) = other.split_at(region.width - turned);
            self.row(region, y).iter().zip(head.iter().chain(tail)).map(|(a, b)| a * b)
        })
    }

    fn brisque(&self, region: Region) -> impl Iterator<Item = f64> + '_ {
        let (shape, variance) = fit_ggd(self.values(region));
        [shape, variance].into_iter().chain(DIRECTIONS.into_iter().flat_map(move |direction| {
            let fit = Aggd::fit(self.products(region, direction));
            [fit.shape, fit.mean, fit.left_deviation.powi(2), fit.right_deviation.powi(2)]
        }))
    }

    fn niqe(&self, region: Region) -> impl Iterator<Item = f64> + '_ {
        let fit = Aggd::fit(self.values(region));
        [fit.shape, (fit.left_scale + fit.right_scale) / 2.0].into_iter().chain(
            DIRECTIONS.into_iter().flat_map(move |direction| {
                let fit = Aggd::fit(self.products(region, direction));
                [fit.shape, fit.mean, fit.left_scale, fit.right_scale]
            }),
        )
    }
}

/// Half the size by Keys' bicubic kernel (a = -1/2) stretched twofold, as MATLAB's `imresize` and Pillow do inside;
/// borders are replicated, an odd last row or column is dropped.
fn halved(grey: &Grey) -> Grey {
    /// Taps at distances 1/2, 3/2, 5/2 and 7/2 from the new sample's centre.
    const TAPS: [f32; 4] = [0.433_593_75, 0.113_281_25, -0.035_156_25, -0.011_718_75];
    let (width, height) = (grey.width / 2, grey.height / 2);
    let pair = |row: &[f32], x: usize, k: usize| {
        row[(2 * x).saturating_sub(k)] + row[(2 * x + 1 + k).min(row.len() - 1)]
    };
    let mut line = vec![0.0f32; grey.width];
    let mut data = Vec::with_capacity(width * height);
    for y in 0..height {
        line.fill(0.0);
        for (k, tap) in TAPS.iter().enumerate() {
            let (above, below) =
                (grey.row((2 * y).saturating_sub(k)), grey.row((2 * y + 1 + k).min(grey.height - 1)));
            for ((sum, a), b) in line.iter_mut().zip(above).zip(below) {
                *sum += tap * (a + b);
            }
        }
        data.extend(
            (0..width).map(|x| TAPS.iter().enumerate().map(|(k, tap)| tap * pair(&line, x, k)).sum::<f32>()),
        );
    }
    Grey { width, height, data }
}

/// The 36 features of BRISQUE: 18 at full size, 18 at half. `None` for pictures under 16 x 16.
pub fn brisque_features(grey: &Grey) -> Option<[f64; BRISQUE_FEATURES]> {
    if grey.width < 16 || grey.height < 16 {
        return None;
    }
    let mut features = [0.0; BRISQUE_FEATURES];
    for (scale, grey) in [grey, &halved(grey)].into_iter().enumerate() {
        let whole = Region { left: 0, top: 0, width: grey.width, height: grey.height };
        let half = &mut features[scale * BRISQUE_FEATURES / 2..];
        half.iter_mut().zip(Mscn::of(grey).brisque(whole)).for_each(|(slot, feature)| *slot = feature);
    }
    Some(features)
}

/// Features and sharpness of every whole patch of a picture, row by row.
fn patches(grey: &Grey) -> Vec<([f64; NIQE_FEATURES], f64)> {
    let (columns, rows) = (grey.width / PATCH, grey.height / PATCH);
    // As published, the part that is no whole patch is cut off first.
    let (width, height) = (columns * PATCH, rows * PATCH);
    if columns == 0 || rows == 0 {
        return Vec::new();
    }
    let data = (0..height).flat_map(|y| &grey.row(y)[..width]).copied().collect();
    let cropped = Grey { width, height, data };
    let scales = [Mscn::of(&cropped), Mscn::of(&halved(&cropped))];
    let place = |i: usize| (i % columns * PATCH, i / columns * PATCH);
    (0..columns * rows)
        .map(|i| {
            let (left, top) = place(i);
            let mut features = [0.0; NIQE_FEATURES];
            for (scale, mscn) in scales.iter().enumerate() {
                let [left, top, side] = [left, top, PATCH].map(|v| v >> scale);
                let region = Region { left, top, width: side, height: side };
                let half = &mut features[scale * NIQE_FEATURES / 2..];
                half.iter_mut().zip(mscn.niqe(region)).for_each(|(slot, feature)| *slot = feature);
            }
            let deviations =
                (top..top + PATCH).flat_map(|y| &scales[0].deviations[y * width + left..][..PATCH]);
            let sharpness = deviations.map(|&d| f64::from(d)).sum::<f64>() / (PATCH * PATCH) as f64;
            (features, sharpness)
        })
        .collect()
}

/// A Gaussian over the features of patches: what natural pictures look like.
#[derive(Clone, Debug, PartialEq)]
pub struct NaturalModel {
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
}

impl NaturalModel {
    /// Fits the sharp patches of pristine pictures. `None` where they hold fewer than two patches of 96 x 96.
    pub fn fit<G: Borrow<Grey>>(pictures: impl IntoIterator<Item = G>) -> Option<Self> {
        let mut rows = Vec::new();
        for grey in pictures {
            let patches = patches(grey.borrow());
            let sharpest = patches.iter().map(|p| p.1).fold(0.0, f64::max);
            rows.extend(patches.into_iter().filter(|p| p.1 > SHARP * sharpest).map(|p| p.0));
        }
        Self::over(&rows)
    }

    /// The model inside the program: see `examples/fit_natural_model.rs`.
    pub fn embedded() -> &'static Self {
        static MODEL: OnceLock<NaturalModel> = OnceLock::new();
        MODEL.get_or_init(|| {
            let bytes = include_bytes!("natural-model.f32").chunks_exact(4);
            let mut numbers = bytes.map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            let mean = DVector::from_iterator(NIQE_FEATURES, numbers.by_ref().take(NIQE_FEATURES));
            let mut covariance = DMatrix::zeros(NIQE_FEATURES, NIQE_FEATURES);
            for row in 0..NIQE_FEATURES {
                for column in 0..=row {
                    let value = numbers.next().unwrap_or(0.0);
                    covariance[(row, column)] = value;
                    covariance[(column, row)] = value;
                }
            }
            Self { mean, covariance }
        })
    }

    /// The Gaussian of rows of features; covariance over `n - 1`.
    fn over(rows: &[[f64; NIQE_FEATURES]]) -> Option<Self> {
        if rows.len() < 2 {
            return None;
        }
        let table = DMatrix::from_fn(rows.len(), NIQE_FEATURES, |row, column| rows[row][column]);
        let mean = table.row_mean().transpose();
        let centred =
            DMatrix::from_fn(rows.len(), NIQE_FEATURES, |row, column| table[(row, column)] - mean[column]);
        let covariance = centred.transpose() * &centred / (rows.len() - 1) as f64;
        Some(Self { mean, covariance })
    }

    /// The model of given moments: the mean, and the covariance row by row. `None` unless there are 36 and 36 x 36.
    pub fn of_moments(mean: &[f64], covariance: &[f64]) -> Option<Self> {
        let fits = mean.len() == NIQE_FEATURES && covariance.len() == NIQE_FEATURES * NIQE_FEATURES;
        fits.then(|| Self {
            mean: DVector::from_row_slice(mean),
            covariance: DMatrix::from_row_slice(NIQE_FEATURES, NIQE_FEATURES, covariance),
        })
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// The covariance, 36 x 36, row by row (it is symmetric).
    pub fn covariance(&self) -> &[f64] {
        self.covariance.as_slice()
    }

    /// NIQE's distance of a picture: `sqrt(d' ((S1 + S2) / 2)^+ d)` of the difference d of means and the covariances S.
    /// 0 is natural, larger is worse. `None` for pictures with fewer than two patches of 96 x 96.
    pub fn distance(&self, grey: &Grey) -> Option<f64> {
        let rows: Vec<_> = patches(grey).into_iter().map(|p| p.0).collect();
        let own = Self::over(&rows)?;
        let difference = &self.mean - &own.mean;
        let pooled = (&self.covariance + &own.covariance) / 2.0;
        let largest = pooled.symmetric_eigenvalues().max();
        // What lies below rounding of the largest direction is no direction.
        let inverse = pooled.pseudo_inverse(largest * 1e-12).ok()?;
        Some((difference.transpose() * inverse * &difference)[(0, 0)].max(0.0).sqrt())
    }
}
