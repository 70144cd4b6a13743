//! Low-level measurements of one picture, or of two neighbours in time.

use super::{Grey, mean_and_deviation};
use crate::Rgb;

/// Side of the grid on which [`blockiness`] looks: the transform blocks of JPEG, MPEG-2, MPEG-4 and H.264.
const BLOCK: usize = 8;
/// Added to both means of [`blockiness`], in codes, so that a flat picture has none.
const FLAT: f64 = 0.1;
/// A pixel flickers when it changes by more than this, in codes. The published measure leaves it open.
const FLICKER_THRESHOLD: f32 = 10.0;

/// How much stronger neighbouring pixels differ across the borders of 8 x 8 blocks than within them: the ratio of the
/// two means of `|difference|`, of rows and columns together. 1 where no grid shows, larger is blockier.
///
/// The quantity of Romaniak et al., "Perceptual quality assessment for H.264/AVC compression" (2012), which divides the
/// other way. The grid starts at the upper left corner: a picture that was cropped or resized after coding hides it.
pub fn blockiness(grey: &Grey) -> f64 {
    let (mut border, mut borders, mut within, mut withins) = (0.0f64, 0u64, 0.0f64, 0u64);
    for y in 0..grey.height {
        let row = grey.row(y);
        // Sums in `f32` of one row are exact enough, and vectorise.
        let mut sums = [0.0f32; BLOCK];
        for block in row.windows(2).collect::<Vec<_>>().chunks(BLOCK) {
            for (sum, pair) in sums.iter_mut().zip(block) {
                *sum += (pair[1] - pair[0]).abs();
            }
        }
        border += f64::from(sums[BLOCK - 1]);
        within += sums[..BLOCK - 1].iter().copied().map(f64::from).sum::<f64>();
        let pairs = (grey.width - 1) as u64;
        borders += pairs / BLOCK as u64;
        withins += pairs - pairs / BLOCK as u64;
        if y + 1 < grey.height {
            let sum: f32 = row.iter().zip(grey.row(y + 1)).map(|(a, b)| (b - a).abs()).sum();
            let (total, count) = if (y + 1).is_multiple_of(BLOCK) {
                (&mut border, &mut borders)
            } else {
                (&mut within, &mut withins)
            };
            *total += f64::from(sum);
            *count += grey.width as u64;
        }
    }
    let mean = |sum: f64, count: u64| sum / count.max(1) as f64 + FLAT;
    if borders == 0 { 1.0 } else { mean(border, borders) / mean(within, withins) }
}

/// Standard deviation of grey.
pub fn contrast(grey: &Grey) -> f64 {
    mean_and_deviation(grey.data.iter().copied()).1
}

/// Standard deviation of white Gaussian noise, estimated by Immerkær, "Fast noise variance estimation" (1996):
/// `sqrt(pi / 2) / 6` times the mean of `|I * N|` over inner pixels, with N = [1 -2 1; -2 4 -2; 1 -2 1]. Fine texture
/// counts as noise. 0 for pictures under 3 x 3.
pub fn noise(grey: &Grey) -> f64 {
    if grey.width < 3 || grey.height < 3 {
        return 0.0;
    }
    let mut sum = 0.0f64;
    for y in 1..grey.height - 1 {
        let (above, here, below) = (grey.row(y - 1), grey.row(y), grey.row(y + 1));
        // The kernel is separable: [1 -2 1] down, then across.
        let down: Vec<f32> = above.iter().zip(here).zip(below).map(|((a, h), b)| a - 2.0 * h + b).collect();
        let row: f32 = down.windows(3).map(|w| (w[0] - 2.0 * w[1] + w[2]).abs()).sum();
        sum += f64::from(row);
    }
    let inner = ((grey.width - 2) * (grey.height - 2)) as f64;
    (std::f64::consts::PI / 2.0).sqrt() / 6.0 * sum / inner
}

/// Hasler and Süsstrunk, "Measuring colorfulness in natural images" (2003): with `rg = R - G` and `yb = (R + G) / 2 - B`,
/// `sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2)` of deviations s and means m. 0 grey, about 109 extremely colourful.
pub fn colourfulness(rgb: &Rgb) -> f64 {
    let opponents = rgb.data().chunks_exact(3).map(|p| {
        let [r, g, b] = [p[0], p[1], p[2]].map(f32::from);
        (r - g, (r + g) / 2.0 - b)
    });
    let (rg_mean, rg_deviation) = mean_and_deviation(opponents.clone().map(|(rg, _)| rg));
    let (yb_mean, yb_deviation) = mean_and_deviation(opponents.map(|(_, yb)| yb));
    rg_deviation.hypot(yb_deviation) + 0.3 * rg_mean.hypot(yb_mean)
}

/// Mean of `(R + G + B) / 3`, 0..=255.
pub fn luminance(rgb: &Rgb) -> f64 {
    mean_and_deviation(rgb.data().iter().map(|&v| f32::from(v))).0
}

/// SI of one picture to ITU-T P.910 (2008): standard deviation of the magnitude of Sobel's gradient over inner pixels.
/// 0 for pictures under 3 x 3. (The standard's later modes for HDR, in a perceptual domain, are left out.)
pub fn spatial_information(grey: &Grey) -> f64 {
    if grey.width < 3 || grey.height < 3 {
        return 0.0;
    }
    let (mut sum, mut squares) = (0.0f64, 0.0f64);
    for y in 1..grey.height - 1 {
        let (above, here, below) = (grey.row(y - 1), grey.row(y), grey.row(y + 1));
        let (mut row_sum, mut row_squares) = (0.0f32, 0.0f32);
        for ((a, h), b) in above.windows(3).zip(here.windows(3)).zip(below.windows(3)) {
            let across = (a[2] - a[0]) + 2.0 * (h[2] - h[0]) + (b[2] - b[0]);
            let down = (b[0] - a[0]) + 2.0 * (b[1] - a[1]) + (b[2] - a[2]);
            let square = across * across + down * down;
            row_sum += square.sqrt();
            row_squares += square;
        }
        sum += f64::from(row_sum);
        squares += f64::from(row_squares);
    }
    let count = ((grey.width - 2) * (grey.height - 2)) as f64;
    (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
}

/// TI of two neighbouring pictures to ITU-T P.910: standard deviation of their difference. `None` where sizes differ.
pub fn temporal_information(before: &Grey, after: &Grey) -> Option<f64> {
    let differences = differences(before, after)?;
    Some(mean_and_deviation(differences).1)
}

/// Share of pixels that change by more than 10 codes of 255 from one picture to the next. `None` where sizes differ.
pub fn flicker(before: &Grey, after: &Grey) -> Option<f64> {
    let flickering = differences(before, after)?.filter(|d| d.abs() > FLICKER_THRESHOLD).count();
    Some(flickering as f64 / before.data.len().max(1) as f64)
}

fn differences<'a>(before: &'a Grey, after: &'a Grey) -> Option<impl Iterator<Item = f32> + 'a> {
    let alike = (before.width, before.height) == (after.width, after.height);
    alike.then(|| before.data.iter().zip(&after.data).map(|(b, a)| a - b))
}
