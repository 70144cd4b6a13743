//! Separable resampling of planes: enlarging, shrinking and subpixel shifts.
//!
//! The kernel is Keys' cubic convolution with a = -1/2 (Keys, "Cubic convolution interpolation for digital image
//! processing", 1981), stretched by the factor when shrinking so that nothing aliases. Pixel centres lie at `i + 1/2`;
//! borders are replicated.

use crate::distort::blur::to_u8;
use crate::{MediaError, Picture};

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
    fn new(axis: Axis) -> Self {
        let scale = axis.extent / axis.len as f64;
        let stretch = scale.max(1.0);
        let taps = (4.0 * stretch).ceil() as usize + 1;
        let mut first = Vec::with_capacity(axis.len);
        let mut weights = Vec::with_capacity(axis.len * taps);
        for i in 0..axis.len {
            let centre = axis.start + (i as f64 + 0.5) * scale - 0.5;
            let begin = (centre - 2.0 * stretch).floor() as isize + 1;
            first.push(begin);
            let row_start = weights.len();
            weights.extend((0..taps).map(|k| keys((begin + k as isize) as f64 - centre, stretch)));
            let sum: f32 = weights[row_start..].iter().sum();
            weights[row_start..].iter_mut().for_each(|w| *w /= sum);
        }
        Self { first, weights, taps }
    }

    fn row(&self, i: usize) -> (isize, &[f32]) {
        (self.first[i], &self.weights[i * self.taps..(i + 1) * self.taps])
    }
}

fn keys(distance: f64, stretch: f64) -> f32 {
    let x = (distance / stretch).abs();
    let value = if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    };
    value as f32
}

/// Resamples one plane of `width` samples a row. Down the columns first (rows are contiguous), then along each row.
fn resample_plane(plane: &[u8], width: usize, horizontal: &Taps, vertical: &Taps) -> Vec<u8> {
    let height = plane.len() / width;
    let (out_width, out_height) = (horizontal.first.len(), vertical.first.len());
    // Room on both sides of the row holds the replicated border, so that the inner loop needs no clamping.
    let last = horizontal.first.iter().max().copied().unwrap_or(0) + horizontal.taps as isize;
    let before = (-horizontal.first.iter().min().copied().unwrap_or(0)).max(0) as usize;
    let after = (last - width as isize).max(0) as usize;
    let mut padded = vec![0.0f32; before + width + after];
    let mut out = Vec::with_capacity(out_width * out_height);
    for y in 0..out_height {
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
        for x in 0..out_width {
            let (first, weights) = horizontal.row(x);
            let source = &padded[(first + before as isize) as usize..][..weights.len()];
            out.push(to_u8(source.iter().zip(weights).map(|(s, w)| s * w).sum()));
        }
    }
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
    pub(crate) fn new(horizontal: Axis, vertical: Axis) -> Self {
        // `site` is how far left of the middle of its two luma pixels a chroma sample lies, in chroma samples. An odd
        // length leaves half a chroma sample beyond the edge; the scale must stay that of luma.
        let half = |axis: Axis, site: f64| {
            let (len, scale) = (axis.len.div_ceil(2), axis.extent / axis.len as f64);
            let start = axis.start / 2.0 + site * (1.0 - scale);
            Taps::new(Axis { start, extent: scale * len as f64, len })
        };
        Self {
            luma: [Taps::new(horizontal), Taps::new(vertical)],
            chroma: [half(horizontal, 0.25), half(vertical, 0.0)],
        }
    }

    /// The whole picture at a new size.
    pub(crate) fn resize(width: usize, height: usize, new_width: usize, new_height: usize) -> Self {
        Self::new(Axis::whole(width, new_width), Axis::whole(height, new_height))
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
