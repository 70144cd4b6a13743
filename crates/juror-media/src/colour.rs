//! Names of colour properties, and the conversion between Y'CbCr and R'G'B' of 8-bit limited-range samples.
//!
//! Code points follow ITU-T H.273. With `Kr`, `Kb` of the matrix and `Kg = 1 - Kr - Kb`:
//! `Y' = Kr R' + Kg G' + Kb B'`, `Cb = (B' - Y') / (2 (1 - Kb))`, `Cr = (R' - Y') / (2 (1 - Kr))`; limited range puts
//! `Y'` on 16..235 and `Cb`, `Cr` on 16..240 around 128. Fixed point with 16 fraction bits, rounded to nearest.

use serde::Serialize;

/// How Y'CbCr is made from R'G'B'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    /// ITU-R BT.601 (also BT.470BG and SMPTE 170M): Kr 0.299, Kb 0.114.
    Bt601,
    /// ITU-R BT.709: Kr 0.2126, Kb 0.0722. Taken where the source says nothing.
    #[default]
    Bt709,
    /// ITU-R BT.2020, non-constant luminance: Kr 0.2627, Kb 0.0593.
    Bt2020,
}

impl Matrix {
    /// The luma weights of red and blue, `(Kr, Kb)`.
    pub fn luma_weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// Which code values stand for black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// 16..235 (at 8 bit); taken where the source says nothing.
    #[default]
    Limited,
    /// 0..255 (at 8 bit).
    Full,
}

impl Matrix {
    /// The matrix of an H.273 code point: `None` where the source says nothing, and the nearest of ours, with `false`,
    /// where we have not that very one.
    pub(crate) fn from_code_point(code: i32) -> Option<(Self, bool)> {
        match code {
            1 => Some((Self::Bt709, true)),
            4..=6 => Some((Self::Bt601, true)),
            7 => Some((Self::Bt709, false)),
            9 => Some((Self::Bt2020, true)),
            10 => Some((Self::Bt2020, false)),
            2 | 3 => None,
            _ => Some((Self::Bt709, false)),
        }
    }
}

impl Range {
    /// The range of FFmpeg's code (`AVColorRange`), `None` where the source says nothing.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Limited),
            2 => Some(Self::Full),
            _ => None,
        }
    }
}

/// The colours that red, green and blue stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Primaries {
    /// ITU-R BT.709 (sRGB).
    Bt709,
    /// ITU-R BT.601, 525 or 625 lines.
    Bt601,
    /// ITU-R BT.2020.
    Bt2020,
    /// SMPTE RP 431-2 or EG 432-1 (DCI P3, Display P3).
    P3,
    /// Others.
    Other,
    /// The source says nothing.
    #[default]
    Unspecified,
}

impl Primaries {
    pub(crate) fn from_code_point(code: i32) -> Self {
        match code {
            1 => Self::Bt709,
            5..=7 => Self::Bt601,
            9 => Self::Bt2020,
            11 | 12 => Self::P3,
            2 | 3 => Self::Unspecified,
            _ => Self::Other,
        }
    }
}

/// How code values map to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transfer {
    /// Standard dynamic range: BT.709 and its relatives, gamma 2.2 or 2.8, sRGB.
    Sdr,
    /// Perceptual quantiser, SMPTE ST 2084.
    Pq,
    /// Hybrid log-gamma, ARIB STD-B67.
    Hlg,
    /// Others (linear, logarithmic): shown as if they were standard dynamic range.
    Other,
    /// The source says nothing: taken as standard dynamic range.
    #[default]
    Unspecified,
}

impl Transfer {
    pub(crate) fn from_code_point(code: i32) -> Self {
        match code {
            1 | 4..=7 | 11..=15 => Self::Sdr,
            16 => Self::Pq,
            18 => Self::Hlg,
            2 | 3 => Self::Unspecified,
            _ => Self::Other,
        }
    }

    /// Whether pictures of this transfer are tone-mapped.
    pub fn is_hdr(self) -> bool {
        matches!(self, Self::Pq | Self::Hlg)
    }
}

const FRACTION_BITS: u32 = 16;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// Limited-range Y'CbCr to full-range R'G'B', 8 bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct YuvToRgb {
    y: i32,
    v_to_r: i32,
    u_to_g: i32,
    v_to_g: i32,
    u_to_b: i32,
}

impl YuvToRgb {
    pub(crate) fn new(matrix: Matrix) -> Self {
        let (kr, kb) = matrix.luma_weights();
        let kg = 1.0 - kr - kb;
        let fixed = |x: f64| (x * f64::from(1 << FRACTION_BITS)).round() as i32;
        let chroma = 255.0 / 224.0;
        Self {
            y: fixed(255.0 / 219.0),
            v_to_r: fixed(2.0 * (1.0 - kr) * chroma),
            u_to_g: fixed(-2.0 * (1.0 - kb) * kb / kg * chroma),
            v_to_g: fixed(-2.0 * (1.0 - kr) * kr / kg * chroma),
            u_to_b: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }

    pub(crate) fn convert(self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let luma = (i32::from(y) - 16) * self.y + HALF;
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let byte = |x: i32| (x >> FRACTION_BITS).clamp(0, 255) as u8;
        [
            byte(luma + v * self.v_to_r),
            byte(luma + u * self.u_to_g + v * self.v_to_g),
            byte(luma + u * self.u_to_b),
        ]
    }
}

/// Full-range R'G'B' to limited-range Y'CbCr, 8 bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RgbToYuv {
    y: [i32; 3],
    u: [i32; 3],
    v: [i32; 3],
}

impl RgbToYuv {
    pub(crate) fn new(matrix: Matrix) -> Self {
        let (kr, kb) = matrix.luma_weights();
        let kg = 1.0 - kr - kb;
        let fixed = |x: f64| (x * f64::from(1 << FRACTION_BITS)).round() as i32;
        let luma = 219.0 / 255.0;
        let chroma = 224.0 / 255.0;
        let (half_u, half_v) = (0.5 * chroma / (1.0 - kb), 0.5 * chroma / (1.0 - kr));
        // Greens are what is left, so that a grey pixel gives exactly 128 in both chroma planes.
        let y = [fixed(kr * luma), fixed(kg * luma), fixed(kb * luma)];
        let (ur, ub) = (fixed(-kr * half_u), fixed((1.0 - kb) * half_u));
        let (vr, vb) = (fixed((1.0 - kr) * half_v), fixed(-kb * half_v));
        Self { y, u: [ur, -ur - ub, ub], v: [vr, -vr - vb, vb] }
    }

    /// `rgb` may be a sum over up to eight pixels (which 32 bits hold); `scale_bits` says the logarithm of their number.
    fn dot(weights: [i32; 3], rgb: [i32; 3], offset: i32, scale_bits: u32) -> u8 {
        let sum = weights[0] * rgb[0] + weights[1] * rgb[1] + weights[2] * rgb[2];
        let bits = FRACTION_BITS + scale_bits;
        (((sum + (1 << (bits - 1))) >> bits) + offset).clamp(0, 255) as u8
    }

    pub(crate) fn luma(self, rgb: [u8; 3]) -> u8 {
        Self::dot(self.y, rgb.map(i32::from), 16, 0)
    }

    pub(crate) fn chroma(self, rgb_sum: [i32; 3], scale_bits: u32) -> (u8, u8) {
        (Self::dot(self.u, rgb_sum, 128, scale_bits), Self::dot(self.v, rgb_sum, 128, scale_bits))
    }
}
