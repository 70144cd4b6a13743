//! Separable resampling of planes: enlarging, shrinking and subpixel shifts.
//!
//! Kernels are stretched by the factor when shrinking so that nothing aliases, but for the nearest pixel, which does.
//! Bicubic is Keys' cubic convolution with a = -1/2 (Keys, "Cubic convolution interpolation for digital image
//! processing", 1981). Pixel centres lie at `i + 1/2`; borders are replicated.

use crate::distort::blur::to_u8;
use crate::{MediaError, Picture};
use rayon::prelude::*;

/// How samples between samples are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolation {
    /// The nearest sample.
    Nearest,
    /// A line between the two nearest.
    Bilinear,
    /// Keys' cubic over four.
    Bicubic,
    /// Lanczos' windowed sinc over six.
    Lanczos,
}

impl Interpolation {
    /// How far the kernel reaches on each side, in samples.
    fn reach(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// By how much it is stretched where an output sample covers `scale` samples of the source.
    fn stretch(self, scale: f64) -> f64 {
        if self == Self::Nearest { 1.0 } else { scale.max(1.0) }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            // Of two that are as near, the left one.
            Self::Nearest => f64::from(u8::from(distance > -0.5 && distance <= 0.5)),
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Lanczos if x < 1e-9 => 1.0,
            Self::Lanczos if x < 3.0 => {
                let angle = std::f64::consts::PI * x;
                3.0 * angle.sin() * (angle / 3.0).sin() / (angle * angle)
            }
            Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

/// Where along one axis an output of `len` samples looks: the source interval `start .. start + extent`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    /// First source coordinate, in pixels; may be fractional.
    pub start: f64,
    /// Length of the source interval in pixels.
    pub extent: f64,
    /// Number of output samples.
    pub len: usize,
}

impl Axis {
    /// The whole of `source` samples onto `len` samples.
    pub(crate) fn whole(source: usize, len: usize) -> Self {
        Self { start: 0.0, extent: source as f64, len }
    }
}

/// Filter taps for one axis: output `i` is the sum of `weights[i * taps + k] * source[clamp(first[i] + k)]`.
#[derive(Debug)]
struct Taps {
    first: Vec<isize>,
    weights: Vec<f32>,
    taps: usize,
}

impl Taps {
    fn new(interpolation: Interpolation, axis: Axis) -> Self {
        let scale = axis.extent / axis.len as f64;
        let stretch = interpolation.stretch(scale);
        let reach = interpolation.reach() * stretch;
        let taps = (2.0 * reach).ceil() as usize + 1;
        let mut first = Vec::with_capacity(axis.len);
        let mut weights = Vec::with_capacity(axis.len * taps);
        for i in 0..axis.len {
            let centre = axis.start + (i as f64 + 0.5) * scale - 0.5;
            let begin = (centre - reach).floor() as isize + 1;
            first.push(begin);
            let row_start = weights.len();
            let distance = |k: usize| ((begin + k as isize) as f64 - centre) / stretch;
            weights.extend((0..taps).map(|k| interpolation.weight(distance(k)) as f32));
            let sum: f32 = weights[row_start..].iter().sum();
            weights[row_start..].iter_mut().for_each(|w| *w /= sum);
        }
        Self { first, weights, taps }
    }

    fn row(&self, i: usize) -> (isize, &[f32]) {
        (self.first[i], &self.weights[i * self.taps..(i + 1) * self.taps])
    }
}

/// Resamples one plane of `width` samples a row. Down the columns first (rows are contiguous), then along each row.
fn resample_plane(plane: &[u8], width: usize, horizontal: &Taps, vertical: &Taps) -> Vec<u8> {
    let height = plane.len() / width;
    let (out_width, out_height) = (horizontal.first.len(), vertical.first.len());
    // Room on both sides of the row holds the replicated border, so that the inner loop needs no clamping.
    let last = horizontal.first.iter().max().copied().unwrap_or(0) + horizontal.taps as isize;
    let before = (-horizontal.first.iter().min().copied().unwrap_or(0)).max(0) as usize;
    let after = (last - width as isize).max(0) as usize;
    let mut out = vec![0u8; out_width * out_height];
    out.par_chunks_exact_mut(out_width).enumerate().for_each_init(
        || vec![0.0f32; before + width + after],
        |padded, (y, out)| {
            let (first, weights) = vertical.row(y);
            let row = &mut padded[before..before + width];
            row.fill(0.0);
            for (k, &weight) in weights.iter().enumerate() {
                if weight == 0.0 {
                    continue;
                }
                let source_y = (first + k as isize).clamp(0, height as isize - 1) as usize;
                for (sum, &sample) in row.iter_mut().zip(&plane[source_y * width..]) {
                    *sum += weight * f32::from(sample);
                }
            }
            let (left, right) = (row[0], row[width - 1]);
            padded[..before].fill(left);
            padded[before + width..].fill(right);
            for (x, out) in out.iter_mut().enumerate() {
                let (first, weights) = horizontal.row(x);
                let source = &padded[(first + before as isize) as usize..][..weights.len()];
                *out = to_u8(source.iter().zip(weights).map(|(s, w)| s * w).sum());
            }
        },
    );
    out
}

/// Resamples pictures of one size onto one new size and place; the taps are computed once.
#[derive(Debug)]
pub(crate) struct Resampler {
    luma: [Taps; 2],
    chroma: [Taps; 2],
}

impl Resampler {
    /// `horizontal` and `vertical` in luma pixels of the source.
    pub(crate) fn new(interpolation: Interpolation, horizontal: Axis, vertical: Axis) -> Self {
        // `site` is how far left of the middle of its two luma pixels a chroma sample lies, in chroma samples. An odd
        // length leaves half a chroma sample beyond the edge; the scale must stay that of luma.
        let half = |axis: Axis, site: f64| {
            let (len, scale) = (axis.len.div_ceil(2), axis.extent / axis.len as f64);
            let start = axis.start / 2.0 + site * (1.0 - scale);
            Taps::new(interpolation, Axis { start, extent: scale * len as f64, len })
        };
        Self {
            luma: [Taps::new(interpolation, horizontal), Taps::new(interpolation, vertical)],
            chroma: [half(horizontal, 0.25), half(vertical, 0.0)],
        }
    }

    /// The whole picture at a new size.
    pub(crate) fn resize(
        interpolation: Interpolation,
        width: usize,
        height: usize,
        new_width: usize,
        new_height: usize,
    ) -> Self {
        Self::new(interpolation, Axis::whole(width, new_width), Axis::whole(height, new_height))
    }

    /// Resamples one picture.
    pub(crate) fn apply(&self, picture: &Picture) -> Result<Picture, MediaError> {
        let plane = |bytes: &[u8], width, taps: &[Taps; 2]| resample_plane(bytes, width, &taps[0], &taps[1]);
        let chroma_width = picture.chroma_width();
        let [width, height] = [&self.luma[0], &self.luma[1]].map(|taps| taps.first.len());
        let resampled = Picture::new(
            width,
            height,
            plane(picture.y(), picture.width(), &self.luma),
            plane(picture.u(), chroma_width, &self.chroma),
            plane(picture.v(), chroma_width, &self.chroma),
        )?;
        Ok(resampled.with_matrix(picture.matrix()))
    }
}
