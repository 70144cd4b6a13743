//! Distortions that are a curve over sample values: darken, brighten, contrast, banding, flicker.
//!
//! Curves are defined on normalised RGB in 0..=1. Pictures are video-range Y'CbCr (luma 16..=235, chroma 16..=240), so a
//! curve `f` is applied to luma by table, and chroma is multiplied by the slope `f'` at the luma of its own pixels: the
//! first-order expansion of applying `f` to R, G and B around their grey. No conversion to RGB is needed.
//! KADID-10k brightens by a mix of this curve and the same curve on CIELAB lightness; only the former is done here.

use crate::Picture;
use rayon::prelude::*;

/// A tone curve with its derivative, tabulated for video-range samples.
#[derive(Clone, Debug)]
pub(crate) struct ToneCurve {
    luma: [u8; 256],
    /// Chroma gain at a luma code, in units of 1/256.
    gain: [i32; 256],
}

impl ToneCurve {
    /// Tabulates `curve`, which maps a normalised value to its new value and the slope there. The value is clamped to
    /// 0..=1, and where it is clamped the slope counts as zero (no colour is left in crushed or clipped areas).
    pub(crate) fn new(curve: impl Fn(f64) -> (f64, f64)) -> Self {
        let mut table = Self { luma: [0; 256], gain: [0; 256] };
        for code in 0..256 {
            let x = ((code as f64 - 16.0) / 219.0).clamp(0.0, 1.0);
            let (value, slope) = curve(x);
            let slope = if (0.0..=1.0).contains(&value) { slope.max(0.0) } else { 0.0 };
            table.luma[code] = (16.0 + 219.0 * value.clamp(0.0, 1.0)).round() as u8;
            table.gain[code] = (slope * 256.0).round() as i32;
        }
        table
    }

    /// KADID-10k's darkening: `f(x) = (1 - 2p) x + 2p x^2`, the parabola through (0, 0), (1/2, 1/2 - p/2), (1, 1).
    pub(crate) fn darken(p: f64) -> Self {
        Self::new(|x| ((1.0 - 2.0 * p) * x + 2.0 * p * x * x, 1.0 - 2.0 * p + 4.0 * p * x))
    }

    /// KADID-10k's brightening: `f(x) = (1 + 2p) x - 2p x^2`, the parabola through (0, 0), (1/2, 1/2 + p/2), (1, 1).
    pub(crate) fn brighten(p: f64) -> Self {
        Self::new(|x| ((1.0 + 2.0 * p) * x - 2.0 * p * x * x, 1.0 + 2.0 * p - 4.0 * p * x))
    }

    /// Contrast reduced to `gain` of the original around mid grey.
    pub(crate) fn contrast(gain: f64) -> Self {
        Self::new(|x| (0.5 + gain * (x - 0.5), gain))
    }

    /// All values multiplied by `gain`.
    pub(crate) fn gain(gain: f64) -> Self {
        Self::new(|x| (gain * x, gain))
    }

    /// Applies the curve in place.
    pub(crate) fn apply(&self, picture: &mut Picture) {
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        let [luma, u, v] = picture.planes_mut();
        let chroma_rows = u.par_chunks_exact_mut(chroma_width).zip(v.par_chunks_exact_mut(chroma_width));
        luma.par_chunks_mut(2 * width).zip(chroma_rows).for_each(|(luma_rows, (u_row, v_row))| {
            let (top, bottom) = luma_rows.split_at(width);
            let bottom = if bottom.is_empty() { top } else { bottom };
            for (x, (u, v)) in u_row.iter_mut().zip(v_row).enumerate() {
                let (left, right) = (2 * x, (2 * x + 1).min(width - 1));
                let sum = |row: &[u8]| usize::from(row[left]) + usize::from(row[right]);
                let gain = self.gain[(sum(top) + sum(bottom) + 2) / 4];
                *u = scale_chroma(*u, gain);
                *v = scale_chroma(*v, gain);
            }
            for y in luma_rows {
                *y = self.luma[usize::from(*y)];
            }
        });
    }
}

fn scale_chroma(sample: u8, gain: i32) -> u8 {
    (128 + (((i32::from(sample) - 128) * gain + 128) >> 8)).clamp(16, 240) as u8
}

/// Uniform quantisation without dither: smooth gradients break into bands.
#[derive(Clone, Debug)]
pub(crate) struct Banding {
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl Banding {
    /// `step` is the distance of the remaining values in 8-bit codes; luma counts from black, chroma from neutral.
    pub(crate) fn new(step: f64) -> Self {
        let quantise = |code: usize, origin: f64, low: f64, high: f64| {
            let value = origin + ((code as f64 - origin) / step).round() * step;
            value.clamp(low, high).round() as u8
        };
        let mut banding = Self { luma: [0; 256], chroma: [0; 256] };
        for code in 0..256 {
            banding.luma[code] = quantise(code, 16.0, 0.0, 255.0);
            banding.chroma[code] = quantise(code, 128.0, 0.0, 255.0);
        }
        banding
    }

    /// Quantises all planes in place.
    pub(crate) fn apply(&self, picture: &mut Picture) {
        let [luma, u, v] = picture.planes_mut();
        for (plane, table) in [(luma, &self.luma), (u, &self.chroma), (v, &self.chroma)] {
            for sample in plane {
                *sample = table[usize::from(*sample)];
            }
        }
    }
}
