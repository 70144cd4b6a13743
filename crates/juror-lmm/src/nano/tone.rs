//! The tone: how luma and chroma spread over their range, in the samples that the moments keep.
//!
//! A fragment shows texture, but whether a picture is too dark, too bright, flat or posterised is seen in the
//! distribution over all of them: crushed blacks, clipped whites, a narrow range, codes that never occur. All
//! native fragments of the first frame of every moment are counted in one histogram (8-bit video-range luma).
//!
//! Leaves out: when and where the tone changes (the profile and the fragments see that).

use super::fragments::{FRAGMENT_BYTES, NATIVE_PLACES, SIDE};
use super::observation::Moment;

/// Numbers in a tone.
pub const TONE_LEN: usize = 16;

const CODES: usize = 256;
/// Shares of the samples below the quantiles that a tone holds.
const QUANTILES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
/// Luma codes up to this one are black, from `WHITE` on white.
const BLACK: usize = 17;
const WHITE: usize = 234;

/// The tone of a video, `[TONE_LEN]`, each number of order one: seven quantiles of luma, its deviation, the
/// shares of black and white, the share of codes in use that never occur, the longest run of such codes, the
/// roughness of the histogram, mean and 95 % quantile of the chroma's distance from grey, and the share of
/// horizontal neighbours with equal luma.
#[must_use]
pub fn tone(moments: &[Moment]) -> [f32; TONE_LEN] {
    let (mut luma, mut chroma) = ([0u64; CODES], [0u64; CODES]);
    let (mut equal, mut neighbours) = (0u64, 0u64);
    for moment in moments {
        // Both frames of a place lie side by side; the first is read.
        for place in moment.fragments.chunks_exact(2 * FRAGMENT_BYTES).take(NATIVE_PLACES) {
            let (y, uv) = place[..FRAGMENT_BYTES].split_at(SIDE * SIDE);
            let (u, v) = uv.split_at(uv.len() / 2);
            y.iter().for_each(|&code| luma[usize::from(code)] += 1);
            for (&u, &v) in u.iter().zip(v) {
                let distance = (f32::from(u) - 128.0).hypot(f32::from(v) - 128.0);
                chroma[distance as usize] += 1;
            }
            for row in y.chunks_exact(SIDE) {
                equal += row.windows(2).filter(|w| w[0] == w[1]).count() as u64;
                neighbours += SIDE as u64 - 1;
            }
        }
    }
    let share = |count: u64, of: u64| if of > 0 { count as f64 / of as f64 } else { 0.0 };
    let samples: u64 = luma.iter().sum();
    let mean = moment_about(&luma, 0.0, 1);
    let deviation = moment_about(&luma, mean, 2).sqrt();
    let used = &luma[quantile(&luma, QUANTILES[0])..=quantile(&luma, QUANTILES[6])];
    let empty = used.iter().filter(|&&count| count == 0).count();
    let gap = used.split(|&count| count > 0).map(<[u64]>::len).max().unwrap_or(0);
    let rough: f64 = used.windows(3).map(|w| (w[1] as f64 - (w[0] + w[2]) as f64 / 2.0).abs()).sum();

    let mut out = [0f32; TONE_LEN];
    let quantiles = QUANTILES.map(|q| (quantile(&luma, q) as f64 - 128.0) / 64.0);
    let rest = [
        deviation / 64.0,
        share(luma[..=BLACK].iter().sum(), samples).sqrt(),
        share(luma[WHITE..].iter().sum(), samples).sqrt(),
        empty as f64 / used.len() as f64,
        (gap as f64).ln_1p(),
        rough / samples.max(1) as f64,
        moment_about(&chroma, 0.0, 1) / 32.0,
        quantile(&chroma, 0.95) as f64 / 64.0,
        share(equal, neighbours),
    ];
    for (slot, value) in out.iter_mut().zip(quantiles.into_iter().chain(rest)) {
        *slot = value as f32;
    }
    out
}

/// Mean of `(code - centre)^power` over a histogram; 0 for an empty one.
fn moment_about(histogram: &[u64], centre: f64, power: i32) -> f64 {
    let total: u64 = histogram.iter().sum();
    let sum: f64 =
        histogram.iter().enumerate().map(|(i, &n)| n as f64 * (i as f64 - centre).powi(power)).sum();
    sum / total.max(1) as f64
}

/// The first code with at least the share `q` of the samples at or below it.
fn quantile(histogram: &[u64], q: f64) -> usize {
    let wanted = q * histogram.iter().sum::<u64>() as f64;
    let mut below = 0.0;
    for (code, &count) in histogram.iter().enumerate() {
        below += count as f64;
        if below >= wanted {
            return code;
        }
    }
    histogram.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nano::{MOMENT_BYTES, Offset};
    use juror_media::Picture;

    /// The tone of a diagonal ramp of luma after `curve`, with grey chroma.
    fn tone_of(curve: impl Fn(u8) -> u8) -> [f32; TONE_LEN] {
        let (width, height) = (256, 224);
        let y =
            (0..width * height).map(|i| curve((32 + (i % width + i / width) * 160 / 480) as u8)).collect();
        let grey = vec![128; width * height / 4];
        let picture = Picture::new(width, height, y, grey.clone(), grey).unwrap();
        let fragments = super::super::fragments::cut(&picture, &picture, Offset::default()).unwrap();
        assert_eq!(fragments.len(), MOMENT_BYTES);
        tone(&[Moment { pts_secs: 0.0, fragments }])
    }

    #[test]
    fn quantiles_are_in_order_and_follow_the_curve() {
        let plain = tone_of(|y| y);
        assert!(plain[..7].is_sorted(), "{plain:?}");
        let darker = tone_of(|y| y - 16);
        assert!((plain[3] - darker[3] - 0.25).abs() < 0.02, "{} {}", plain[3], darker[3]);
        assert_eq!(plain[13..15], [0.0, 0.0], "grey has no chroma");
    }

    #[test]
    fn crushed_blacks_and_coarse_steps_are_seen() {
        let plain = tone_of(|y| y);
        assert_eq!((plain[8], plain[10]), (0.0, 0.0));
        assert!(tone_of(|y| y.saturating_sub(60).max(16))[8] > 0.3);
        let coarse = tone_of(|y| y / 16 * 16);
        assert!(coarse[10] > 0.8 && coarse[12] > 0.5 && coarse[15] > plain[15], "{coarse:?}");
    }

    #[test]
    fn no_moment_gives_finite_numbers() {
        assert!(tone(&[]).iter().all(|v| v.is_finite()));
    }
}
