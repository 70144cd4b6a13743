//! What two videos of one content and size tell about each other's pictures, laid over each other block by block.
//!
//! Alone, a fault must be told from content: film grain from noise, a dark scene from a darkened one. Of two encodes of one scene the
//! content cancels: more energy where the other has it too is detail, and where it has none, noise; what differs between
//! neighbouring frames in the same way belongs to the picture. For each band of the spectra (`spectra.rs`), with the energies `E` of
//! the videos and `R` of their difference, the levels `l` (log energies) of their blocks, and everything averaged over all moments:
//!
//! ```text
//! of A against B, changing sign when they are swapped              of both, the same either way
//!   ln EA - ln EB                                                    correlation (EA + EB - R) / 2 sqrt(EA EB)
//!   mean of lA - lB                                                  ln R
//!   the same as the first of the change between two frames           correlation of the difference in both frames
//!   share of blocks with lA - lB > CLEAR, less that with < -CLEAR    deviation of lA - lB, and share with |lA - lB| > CLEAR
//!   share of blocks that are empty                                   means of level and share of empty blocks
//! ```
//!
//! and the tones' differences and means. `overlay.rs` makes sense of them. Leaves out: videos of different sizes, which cannot be laid over
//! each other, and motion, which `cadence.rs` holds beside each other.

use super::spectra::{BANDS, COEFFICIENTS, Plane, Spectra, mean_square};
use super::tone::TONE_LEN;

/// Numbers that change sign when the videos are swapped.
pub const DIFFERENCES: usize = 5 * BANDS + TONE_LEN;
/// Numbers that do not.
pub const COMMON: usize = 7 * BANDS + TONE_LEN;

/// Log energies of two blocks that differ by more are clearly different.
const CLEAR: f32 = 0.7;
/// Added to energies before their logarithm is taken: far below a code.
const ENERGY_FLOOR: f64 = 0.01;
const CHANGE_FLOOR: f64 = 0.1;

/// What is known of two videos laid over each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Of A against B, `[DIFFERENCES]`.
    pub differences: Vec<f32>,
    /// Of both, `[COMMON]`.
    pub common: Vec<f32>,
}

impl Spectra {
    /// Lays this video over `other`; nothing where their pictures are not of one size, or were not looked at as often.
    #[must_use]
    pub fn over(&self, other: &Self) -> Option<Evidence> {
        if self.size != other.size || self.luma.coefficients.len() != other.luma.coefficients.len() {
            return None;
        }
        let mut evidence =
            Evidence { differences: Vec::with_capacity(DIFFERENCES), common: Vec::with_capacity(COMMON) };
        evidence.push(&self.luma, &other.luma);
        evidence.push(&self.chroma, &other.chroma);
        for (a, b) in self.tone.iter().zip(&other.tone) {
            evidence.differences.push(a - b);
            evidence.common.push((a + b) / 2.0);
        }
        Some(evidence)
    }
}

/// Sums over the blocks of one band.
#[derive(Clone, Copy, Default)]
struct Sums {
    residual: f64,
    persistent: f64,
    lead: f64,
    lead_squared: f64,
    ahead: f64,
    behind: f64,
}

impl Evidence {
    /// Appends those of every band.
    fn push(&mut self, a: &Plane, b: &Plane) {
        let mut sums = vec![Sums::default(); a.bands.len()];
        for ((a0, a1), (b0, b1)) in a.blocks().zip(b.blocks()) {
            let (mut first, mut second) = ([0f32; COEFFICIENTS], [0f32; COEFFICIENTS]);
            for i in 0..first.len() {
                (first[i], second[i]) = (a0[i] - b0[i], a1[i] - b1[i]);
            }
            for (sums, band) in sums.iter_mut().zip(&a.bands) {
                let (first, second) = (&first[band.from..band.to], &second[band.from..band.to]);
                let both: f32 = first.iter().zip(second).map(|(x, y)| x * y).sum();
                sums.residual += f64::from(mean_square(first) + mean_square(second)) / 2.0;
                sums.persistent += f64::from(both / first.len() as f32);
            }
        }
        let bands = a.bands.len();
        for (a, b) in a.levels.chunks_exact(bands).zip(b.levels.chunks_exact(bands)) {
            for ((sums, a), b) in sums.iter_mut().zip(a).zip(b) {
                let lead = a - b;
                sums.lead += f64::from(lead);
                sums.lead_squared += f64::from(lead * lead);
                sums.ahead += f64::from(u8::from(lead > CLEAR));
                sums.behind += f64::from(u8::from(lead < -CLEAR));
            }
        }
        let pairs = (a.coefficients.len() / (2 * COEFFICIENTS)).max(1) as f64; // of frames
        let blocks = 2.0 * pairs;
        for ((sums, a), b) in sums.iter().zip(&a.bands).zip(&b.bands) {
            let (residual, lead) = (sums.residual / pairs, sums.lead / blocks);
            let (of_a, of_b) = (a.energy + ENERGY_FLOOR, b.energy + ENERGY_FLOOR);
            let ratio = |a: f64, b: f64| a.ln() - b.ln();
            let differences = [
                ratio(of_a, of_b),
                lead,
                ratio(a.change + CHANGE_FLOOR, b.change + CHANGE_FLOOR),
                (sums.ahead - sums.behind) / blocks,
                a.empty - b.empty,
            ];
            let common = [
                (a.energy + b.energy - residual) / 2.0 / (of_a * of_b).sqrt(),
                (residual + 2.0 * ENERGY_FLOOR).ln(),
                sums.persistent / pairs / (residual + ENERGY_FLOOR),
                (sums.lead_squared / blocks - lead * lead).max(0.0).sqrt(),
                (sums.ahead + sums.behind) / blocks,
                (a.level + b.level) / 2.0,
                (a.empty + b.empty) / 2.0,
            ];
            self.differences.extend(differences.map(|v| v as f32));
            self.common.extend(common.map(|v| v as f32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fragments::Offset;
    use super::super::observation::observe_frames;
    use super::*;
    use juror_media::Frame;
    use juror_media::distort::{Chain, Distortion, Kind};
    use juror_media::scenes::Scene;

    fn rendered(seed: u64, width: usize, height: usize) -> Vec<Frame> {
        Scene::random(seed).render(width, height, 30.0, 12).unwrap().collect()
    }

    fn spectra(frames: &[Frame]) -> Spectra {
        Spectra::of(&observe_frames(frames, 2, Offset::default()).unwrap())
    }

    fn disturbed(frames: &[Frame], kind: Kind, level: f64) -> Spectra {
        let chain = Chain::new(vec![Distortion::new(kind, level).unwrap()]);
        spectra(&chain.apply_all(frames, 1).unwrap())
    }

    /// One of the numbers of a band of luma.
    fn of_band(numbers: &[f32], each: usize, band: usize, index: usize) -> f32 {
        numbers[band * each + index]
    }

    #[test]
    fn noise_is_no_detail_and_blur_takes_detail_away() {
        for seed in 0..4 {
            let frames = rendered(seed, 320, 180);
            let source = spectra(&frames);
            let noisy = disturbed(&frames, Kind::GaussianNoise, 3.0).over(&source).unwrap();
            let blurred = disturbed(&frames, Kind::GaussianBlur, 3.0).over(&source).unwrap();
            let highest = 6; // the last but one
            assert!(of_band(&noisy.differences, 5, highest, 0) > 0.1, "seed {seed}: noise adds energy");
            assert!(of_band(&blurred.differences, 5, highest, 0) < -0.5, "seed {seed}: blur takes it");
            // What noise adds is another in the next frame, what blur takes is much the same.
            let persistent = |e: &Evidence| of_band(&e.common, 7, 3, 2);
            assert!(persistent(&noisy).abs() < 0.2, "seed {seed}: {}", persistent(&noisy));
            assert!(persistent(&blurred) > persistent(&noisy) + 0.1, "seed {seed}: {}", persistent(&blurred));
            let alike = |e: &Evidence| of_band(&e.common, 7, 1, 0);
            assert!(alike(&noisy) > 0.7 && alike(&blurred) > 0.7, "seed {seed}: one content");
        }
    }

    #[test]
    fn swapped_videos_give_the_opposite_and_a_video_against_itself_nothing() {
        let frames = rendered(5, 320, 180);
        let (a, b) = (spectra(&frames), disturbed(&frames, Kind::Jpeg, 3.0));
        let (forth, back) = (a.over(&b).unwrap(), b.over(&a).unwrap());
        assert_eq!((forth.differences.len(), forth.common.len()), (DIFFERENCES, COMMON));
        assert_eq!(forth.common, back.common);
        assert_eq!(forth.differences, back.differences.iter().map(|v| -v).collect::<Vec<_>>());
        assert!(a.over(&a).unwrap().differences.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn pictures_of_other_sizes_are_not_laid_over_each_other() {
        let [wide, small] = [(320, 180), (160, 90)].map(|(w, h)| spectra(&rendered(1, w, h)));
        assert_eq!(wide.over(&small), None);
        let longer = observe_frames(&rendered(1, 320, 180), 3, Offset::default()).unwrap();
        assert_eq!(wide.over(&Spectra::of(&longer)), None);
    }
}
