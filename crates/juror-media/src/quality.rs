//! Full-reference quality of luma: PSNR, SSIM and MS-SSIM. The yardsticks of tests and of training.
//!
//! SSIM follows Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004): Gaussian
//! window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, mean of the map; borders are replicated, where the authors'
//! code keeps only the windows inside the picture. MS-SSIM follows Wang et al., "Multiscale structural similarity for image quality
//! assessment" (2003): five scales halved by 2 x 2 averaging, exponents 0.0448, 0.2856, 0.3001, 0.2363, 0.1333; pictures
//! too small for five scales (short side under 176) use fewer, with the exponents scaled to the same sum.
//! Luma is compared as it is stored (16..=235). Only [`psnr_yuv`] looks at chroma.

use crate::distort::Kernel;
use crate::{MediaError, Picture};

/// Peak signal-to-noise ratio of luma in dB (peak 255); infinite for equal pictures.
///
/// # Errors
/// [`MediaError::Invalid`] when the sizes differ.
pub fn psnr(reference: &Picture, distorted: &Picture) -> Result<f64, MediaError> {
    check_sizes(reference, distorted)?;
    let squares: u64 =
        reference.y().iter().zip(distorted.y()).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    Ok(10.0 * (255.0 * 255.0 * reference.y().len() as f64 / squares as f64).log10())
}

/// PSNR of luma and chroma in dB: squared errors averaged per plane, planes weighted 6 : 1 : 1. What distortions of
/// colour are measured with.
///
/// # Errors
/// [`MediaError::Invalid`] when the sizes differ.
pub fn psnr_yuv(reference: &Picture, distorted: &Picture) -> Result<f64, MediaError> {
    check_sizes(reference, distorted)?;
    let mean_square = |a: &[u8], b: &[u8]| {
        let squares: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
        squares as f64 / a.len() as f64
    };
    let [y, u, v] = [
        mean_square(reference.y(), distorted.y()),
        mean_square(reference.u(), distorted.u()),
        mean_square(reference.v(), distorted.v()),
    ];
    Ok(10.0 * (255.0 * 255.0 * 8.0 / (6.0 * y + u + v)).log10())
}

/// Mean structural similarity of luma, at most 1.
///
/// # Errors
/// [`MediaError::Invalid`] when the sizes differ.
pub fn ssim(reference: &Picture, distorted: &Picture) -> Result<f64, MediaError> {
    let (a, b) = lumas(reference, distorted)?;
    Ok(Similarity::of(&a, &b, reference.width(), reference.height()).whole)
}

/// Multi-scale structural similarity of luma, 0..=1. A negative mean of a scale counts as 0.
///
/// # Errors
/// [`MediaError::Invalid`] when the sizes differ.
pub fn ms_ssim(reference: &Picture, distorted: &Picture) -> Result<f64, MediaError> {
    const EXPONENTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
    let (mut a, mut b) = lumas(reference, distorted)?;
    let (mut width, mut height) = (reference.width(), reference.height());
    // The window of 11 samples must fit into the smallest scale.
    let scales = (1..=5).rev().find(|&n| width.min(height) >> (n - 1) >= 11).unwrap_or(1);
    let sum: f64 = EXPONENTS[..scales].iter().sum();
    let mut product = 1.0;
    for (scale, exponent) in EXPONENTS[..scales].iter().enumerate() {
        let similarity = Similarity::of(&a, &b, width, height);
        let mean = if scale + 1 == scales { similarity.whole } else { similarity.contrast_structure };
        product *= mean.max(0.0).powf(exponent / sum);
        if scale + 1 < scales {
            a = halve(&a, width, height);
            b = halve(&b, width, height);
            (width, height) = (width / 2, height / 2);
        }
    }
    Ok(product)
}

fn check_sizes(a: &Picture, b: &Picture) -> Result<(), MediaError> {
    if (a.width(), a.height()) == (b.width(), b.height()) {
        return Ok(());
    }
    Err(MediaError::invalid(format!(
        "pictures of {}x{} and {}x{} cannot be compared; both must have the same size",
        a.width(),
        a.height(),
        b.width(),
        b.height()
    )))
}

fn lumas(a: &Picture, b: &Picture) -> Result<(Vec<f32>, Vec<f32>), MediaError> {
    check_sizes(a, b)?;
    let floats = |picture: &Picture| picture.y().iter().map(|&y| f32::from(y)).collect();
    Ok((floats(a), floats(b)))
}

/// Means over the picture of the SSIM map and of its contrast-structure part.
struct Similarity {
    whole: f64,
    contrast_structure: f64,
}

impl Similarity {
    /// With s = a + b and d = a - b, four blurs are enough: `ab = (ss - dd) / 4` and `aa + bb = (ss + dd) / 2`, and the same
    /// for products of means. Centring on 128 keeps the cancellation in `f32` harmless.
    fn of(a: &[f32], b: &[f32], width: usize, height: usize) -> Self {
        const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
        const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
        let window = Kernel::gaussian_with_radius(1.5, 5);
        let mut scratch = Vec::new();
        let mut blurred = |of: &dyn Fn(f32, f32) -> f32| {
            let mut plane: Vec<f32> = a.iter().zip(b).map(|(&a, &b)| of(a - 128.0, b - 128.0)).collect();
            window.convolve(&mut plane, width, height, &mut scratch);
            plane
        };
        let sums = blurred(&|a, b| a + b);
        let differences = blurred(&|a, b| a - b);
        let square_sums = blurred(&|a, b| (a + b) * (a + b));
        let square_differences = blurred(&|a, b| (a - b) * (a - b));
        let (mut whole, mut contrast_structure) = (0.0f64, 0.0f64);
        for (((&s, &d), &ss), &dd) in sums.iter().zip(&differences).zip(&square_sums).zip(&square_differences)
        {
            let (variance_sum, variance_difference) = (ss - s * s, dd - d * d);
            let covariance = 2.0 * (variance_sum - variance_difference) / 4.0;
            let variances = (variance_sum + variance_difference) / 2.0;
            let cs = (covariance + C2) / (variances + C2);
            let s = s + 256.0; // back to means of uncentred values
            let luminance = ((s * s - d * d) / 2.0 + C1) / ((s * s + d * d) / 2.0 + C1);
            contrast_structure += f64::from(cs);
            whole += f64::from(luminance * cs);
        }
        let count = a.len().max(1) as f64;
        Self { whole: whole / count, contrast_structure: contrast_structure / count }
    }
}

/// Mean of every 2 x 2 samples; an odd last row or column is dropped.
fn halve(plane: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mut half = Vec::with_capacity((width / 2) * (height / 2));
    for rows in plane.chunks_exact(2 * width).take(height / 2) {
        let (top, bottom) = rows.split_at(width);
        for (t, b) in top.chunks_exact(2).zip(bottom.chunks_exact(2)) {
            half.push((t[0] + t[1] + b[0] + b[1]) / 4.0);
        }
    }
    half
}
