//! Tone mapping of PQ (SMPTE ST 2084) and HLG (ARIB STD-B67, ITU-R BT.2100) pictures to standard dynamic range.
//!
//! One fixed rule, so that two encodes of one source are always mapped alike, whatever their metadata:
//!
//! 1. Code values to display light in cd/m2. PQ by its transfer function; HLG by its inverse OETF and the BT.2100 system
//!    gamma of 1.2 for a display of 1000 cd/m2.
//! 2. Light above 1000 cd/m2 is cut off. The EETF of ITU-R BT.2390 (a Hermite spline in PQ space, straight below its
//!    knee at about 90 cd/m2) compresses 0..1000 to 0..203 cd/m2, the reference white of ITU-R BT.2408. It is taken at the
//!    largest of R, G and B and scales all three, so hue and saturation stay.
//! 3. Primaries to BT.709 (from BT.2020 where the source says nothing); what lies outside is cut off.
//! 4. 203 cd/m2 becomes code 255, encoded by the inverse of the BT.1886 gamma of 2.4.
//!
//! Left out: mastering and dynamic metadata, Dolby Vision, gamut mapping other than cutting off.

use rayon::prelude::*;

use crate::colour::Matrix;
use crate::colour::{Primaries, Range, Transfer};

/// The rule in one line, for `warnings`.
pub(crate) const RULE: &str = "BT.2390 curve from 1000 to 203 cd/m2, BT.709 primaries, gamma 2.4";

const PEAK: f64 = 1000.0;
const WHITE: f64 = 203.0;
/// Entries of the tables. Tables over light are indexed by its fourth root, which spreads the dark end.
const TABLE: usize = 4096;

/// Raw planes of a picture, samples of `bits` bits: `y` is `[height, width]`, chroma `[chroma height, chroma width]`.
pub(crate) struct RawPlanes {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) chroma_width: usize,
    pub(crate) log2_chroma_width: u32,
    pub(crate) log2_chroma_height: u32,
    pub(crate) bits: u32,
    pub(crate) y: Vec<u16>,
    pub(crate) u: Vec<u16>,
    pub(crate) v: Vec<u16>,
}

/// The tables of one mapping.
pub(crate) struct ToneMapper {
    transfer: Transfer,
    /// Code value (of `TABLE`) to light: PQ display light as a share of the peak, HLG scene light.
    light: Vec<f32>,
    /// Fourth root of a share of the peak to the gain which maps it to a share of white.
    gain: Vec<f32>,
    /// Fourth root of a share of white to a code of 8 bits.
    code: Vec<u8>,
    /// Linear source R'G'B' to BT.709.
    to_bt709: [[f32; 3]; 3],
}

fn pq_to_light(code: f64) -> f64 {
    let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 32.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 128.0, 2392.0 / 128.0);
    let x = code.max(0.0).powf(1.0 / m2);
    10000.0 * ((x - c1).max(0.0) / (c2 - c3 * x)).powf(1.0 / m1)
}

fn light_to_pq(light: f64) -> f64 {
    let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 32.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 128.0, 2392.0 / 128.0);
    let x = (light.max(0.0) / 10000.0).powf(m1);
    ((c1 + c2 * x) / (1.0 + c3 * x)).powf(m2)
}

fn hlg_to_scene(code: f64) -> f64 {
    let (a, b, c) = (0.178_832_77, 0.284_668_92, 0.559_910_73);
    if code <= 0.5 { code * code / 3.0 } else { (((code - c) / a).exp() + b) / 12.0 }
}

/// The EETF of BT.2390 from `PEAK` to `WHITE`, both with black at 0: light in, light out, in cd/m2.
fn compress(light: f64) -> f64 {
    let peak = light_to_pq(PEAK);
    let max = light_to_pq(WHITE) / peak;
    let knee = 1.5 * max - 0.5;
    let e = light_to_pq(light) / peak;
    if e < knee {
        return light;
    }
    let t = (e - knee) / (1.0 - knee);
    let (t2, t3) = (t * t, t * t * t);
    let p =
        (2.0 * t3 - 3.0 * t2 + 1.0) * knee + (t3 - 2.0 * t2 + t) * (1.0 - knee) + (3.0 * t2 - 2.0 * t3) * max;
    pq_to_light(p * peak)
}

impl ToneMapper {
    pub(crate) fn new(transfer: Transfer, primaries: Primaries) -> Self {
        let unit = |i: usize| i as f64 / (TABLE - 1) as f64;
        let light = (0..TABLE).map(|i| match transfer {
            Transfer::Hlg => hlg_to_scene(unit(i)) as f32,
            _ => (pq_to_light(unit(i)) / PEAK).min(1.0) as f32,
        });
        let gain = (0..TABLE).map(|i| {
            let light = unit(i).powi(4) * PEAK;
            let gain = if light > 0.0 { compress(light) / light } else { 1.0 };
            (gain * PEAK / WHITE) as f32
        });
        let code = (0..TABLE).map(|i| (unit(i).powf(4.0 / 2.4) * 255.0).round() as u8);
        let to_bt709 = match primaries {
            Primaries::Bt2020 | Primaries::Unspecified => [
                [1.660_491, -0.587_641, -0.072_850],
                [-0.124_55, 1.132_9, -0.008_349],
                [-0.018_151, -0.100_579, 1.118_73],
            ],
            Primaries::P3 => [
                [1.224_94, -0.224_94, 0.0],
                [-0.042_057, 1.042_057, 0.0],
                [-0.019_638, -0.078_636, 1.098_274],
            ],
            _ => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        };
        Self { transfer, light: light.collect(), gain: gain.collect(), code: code.collect(), to_bt709 }
    }

    /// Maps one pixel of R'G'B' in 0..1 to full-range BT.709 codes.
    pub(crate) fn map(&self, rgb: [f32; 3]) -> [u8; 3] {
        let entry = |x: f32| (x.clamp(0.0, 1.0) * (TABLE - 1) as f32 + 0.5) as usize;
        let fourth_root = |x: f32| entry(x.max(0.0).sqrt().sqrt());
        let mut light = rgb.map(|x| self.light[entry(x)]);
        if self.transfer == Transfer::Hlg {
            // BT.2100 OOTF, display light = luminance^(gamma - 1) * scene light.
            let luminance = 0.2627 * light[0] + 0.6780 * light[1] + 0.0593 * light[2];
            let factor = luminance.powf(0.2);
            light = light.map(|x| x * factor);
        }
        let largest = light[0].max(light[1]).max(light[2]);
        let gain = self.gain[fourth_root(largest)];
        self.to_bt709.map(|row| {
            let x = row[0] * light[0] + row[1] * light[1] + row[2] * light[2];
            self.code[fourth_root(x * gain)]
        })
    }

    /// Maps a whole picture; `[height, width, 3]`.
    pub(crate) fn map_planes(&self, planes: &RawPlanes, range: Range, matrix: Matrix) -> Vec<u8> {
        let (kr, kb) = matrix.luma_weights();
        let (kr, kb) = (kr as f32, kb as f32);
        let kg = 1.0 - kr - kb;
        let unit = (1u32 << (planes.bits - 8)) as f32;
        let full = ((1u32 << planes.bits) - 1) as f32;
        let (black, luma_scale, chroma_scale) = match range {
            Range::Limited => (16.0 * unit, 1.0 / (219.0 * unit), 1.0 / (224.0 * unit)),
            Range::Full => (0.0, 1.0 / full, 1.0 / full),
        };
        let middle = 128.0 * unit;
        let mut out = vec![0u8; planes.width * planes.height * 3];
        out.par_chunks_exact_mut(planes.width * 3).enumerate().for_each(|(row, out)| {
            let u = chroma_row(planes, &planes.u, row);
            let v = chroma_row(planes, &planes.v, row);
            let luma = &planes.y[row * planes.width..][..planes.width];
            for (((pixel, &y), u), v) in out.chunks_exact_mut(3).zip(luma).zip(u).zip(v) {
                let y = (f32::from(y) - black) * luma_scale;
                let (cb, cr) = ((u - middle) * chroma_scale, (v - middle) * chroma_scale);
                let r = y + 2.0 * (1.0 - kr) * cr;
                let b = y + 2.0 * (1.0 - kb) * cb;
                let g = (y - kr * r - kb * b) / kg;
                pixel.copy_from_slice(&self.map([r, g, b]));
            }
        });
        out
    }
}

/// One chroma row at luma resolution, interpolated linearly; across, samples sit on even columns.
fn chroma_row(planes: &RawPlanes, plane: &[u16], row: usize) -> Vec<f32> {
    let cw = planes.chroma_width;
    let rows = plane.len() / cw;
    let (near, far) = match planes.log2_chroma_height {
        0 => (row, row),
        1 if row.is_multiple_of(2) => (row / 2, (row / 2).saturating_sub(1)),
        shift => (row >> shift, ((row >> shift) + usize::from(shift == 1)).min(rows - 1)),
    };
    let at = |column: usize| {
        0.75 * f32::from(plane[near * cw + column]) + 0.25 * f32::from(plane[far * cw + column])
    };
    (0..planes.width)
        .map(|x| match planes.log2_chroma_width {
            0 => at(x),
            1 if x % 2 == 1 => 0.5 * (at(x / 2) + at((x / 2 + 1).min(cw - 1))),
            shift => at(x >> shift),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pq_anchors_are_those_of_the_standard() {
        // BT.2408: 203 cd/m2 is 58 % of the PQ signal, 1000 cd/m2 is 75 %.
        assert!((light_to_pq(203.0) - 0.58).abs() < 0.005);
        assert!((light_to_pq(1000.0) - 0.7518).abs() < 0.001);
        for light in [0.01, 1.0, 100.0, 4000.0] {
            assert!((pq_to_light(light_to_pq(light)) / light - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_curve_is_straight_below_its_knee_rises_and_ends_at_white() {
        assert_eq!(compress(50.0), 50.0);
        assert!((compress(PEAK) - WHITE).abs() < 1e-6);
        let curve: Vec<f64> = (0..=1000).map(|i| compress(f64::from(i))).collect();
        assert!(curve.windows(2).all(|pair| pair[1] > pair[0]));
    }

    #[test]
    fn hlg_reference_white_is_three_quarters_of_the_signal() {
        // BT.2408: HLG signal 75 % is 203 cd/m2 on a 1000 cd/m2 display.
        let scene = hlg_to_scene(0.75);
        assert!((PEAK * scene.powf(1.2) - 203.0).abs() < 1.0);
    }

    #[test]
    fn greys_stay_grey_and_rise() {
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            let mapper = ToneMapper::new(transfer, Primaries::Bt2020);
            let greys: Vec<[u8; 3]> = (0..=100).map(|i| mapper.map([i as f32 / 100.0; 3])).collect();
            assert!(greys.iter().all(|g| g[0].abs_diff(g[1]) <= 1 && g[1].abs_diff(g[2]) <= 1));
            assert!(greys.windows(2).all(|pair| pair[1][1] >= pair[0][1]));
            assert_eq!((greys[0], greys[100]), ([0; 3], [255; 3]));
        }
    }
}
