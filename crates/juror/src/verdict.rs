//! How numbers become words: levels, preference, intervals and pooling, in one place.
//!
//! A *margin* is the quality of A minus that of B in points of the five-point scale (-4..4); a *score*
//! lies on that scale (1..5). The five level words and their order are those of Compare2Score
//! (arXiv 2405.19298) and its successors; they set the bounds by the noise of human ratings, juror by
//! fixed distances, so that a word means the same whatever the model behind it.

use serde::{Deserialize, Serialize};

/// The smallest absolute margin, in points, that counts as a preference. Below it the margin reads
/// "0.0" in every table, and no viewer could be expected to repeat the choice.
pub const TIE_MARGIN: f64 = 0.05;
/// From this absolute margin on, in points, A and B no longer count as similar.
pub const BETTER_MARGIN: f64 = 0.25;
/// From this absolute margin on, in points, one is superior: a whole step of the five-point scale.
pub const SUPERIOR_MARGIN: f64 = 1.0;

/// The range of margins, in points.
pub const MARGIN_RANGE: [f64; 2] = [-4.0, 4.0];
/// The range of scores, in points.
pub const SCORE_RANGE: [f64; 2] = [1.0, 5.0];

/// How many standard deviations to either side of the mean hold 95 % of a normal distribution.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// How A stands against B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A is worse by [`SUPERIOR_MARGIN`] or more.
    Inferior,
    /// A is worse by [`BETTER_MARGIN`] or more.
    Worse,
    /// Less than [`BETTER_MARGIN`] lies between them.
    Similar,
    /// A is better by [`BETTER_MARGIN`] or more.
    Better,
    /// A is better by [`SUPERIOR_MARGIN`] or more.
    Superior,
}

impl Level {
    /// The level of a margin in points.
    pub fn of_margin(margin: f64) -> Self {
        match margin {
            m if m >= SUPERIOR_MARGIN => Self::Superior,
            m if m >= BETTER_MARGIN => Self::Better,
            m if m > -BETTER_MARGIN => Self::Similar,
            m if m > -SUPERIOR_MARGIN => Self::Worse,
            _ => Self::Inferior,
        }
    }
}

/// Which of two videos looks better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The first video.
    A,
    /// The second video.
    B,
    /// Neither: the margin is smaller than [`TIE_MARGIN`].
    Tie,
}

impl Preference {
    /// The preference that a margin in points stands for.
    pub fn of_margin(margin: f64) -> Self {
        match margin {
            m if m >= TIE_MARGIN => Self::A,
            m if m <= -TIE_MARGIN => Self::B,
            _ => Self::Tie,
        }
    }
}

/// The word of ITU-T P.910 for a score in points: `bad`, `poor`, `fair`, `good`, `excellent`.
pub fn quality_word(score: f64) -> &'static str {
    match score {
        s if s < 1.5 => "bad",
        s if s < 2.5 => "poor",
        s if s < 3.5 => "fair",
        s if s < 4.5 => "good",
        _ => "excellent",
    }
}

/// The 95 % interval `[lo, hi]` of a normal estimate with standard deviation `sd`, kept within `range`.
pub fn ci95(mean: f64, sd: f64, range: [f64; 2]) -> [f64; 2] {
    let half = NORMAL_95 * sd.abs();
    [(mean - half).clamp(range[0], range[1]), (mean + half).clamp(range[0], range[1])]
}

/// Scores of segments summed up in the words of libvmaf's `pooled_metrics`, in points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// Arithmetic mean.
    pub mean: f64,
    /// Harmonic mean, drawn towards the bad segments.
    pub harmonic_mean: f64,
    /// The worst segment.
    pub min: f64,
    /// The 5th percentile, linear between neighbours.
    pub p5: f64,
}

impl Pooled {
    /// Pools the scores of segments (each in 1..5); `None` when there are none.
    pub fn of_scores(scores: &[f64]) -> Option<Self> {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let min = *sorted.first()?;
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let harmonic_mean = count / sorted.iter().map(|score| score.recip()).sum::<f64>();
        let place = 0.05 * (count - 1.0);
        let (below, fraction) = (place as usize, place.fract());
        let above = (below + 1).min(sorted.len() - 1);
        let p5 = sorted[below] + fraction * (sorted[above] - sorted[below]);
        Some(Self { mean, harmonic_mean, min, p5 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_preferences_mirror_when_the_videos_are_swapped() {
        let mirrored = [Level::Superior, Level::Better, Level::Similar, Level::Worse, Level::Inferior];
        for step in -400..=400 {
            let margin = f64::from(step) / 100.0;
            let level = Level::of_margin(margin);
            assert_eq!(Level::of_margin(-margin), mirrored[level as usize], "margin {margin}");
            let swapped = match Preference::of_margin(margin) {
                Preference::A => Preference::B,
                Preference::B => Preference::A,
                Preference::Tie => Preference::Tie,
            };
            assert_eq!(Preference::of_margin(-margin), swapped, "margin {margin}");
        }
    }

    #[test]
    fn bounds_belong_to_the_stronger_word() {
        assert_eq!(Level::of_margin(1.0), Level::Superior);
        assert_eq!(Level::of_margin(0.999), Level::Better);
        assert_eq!(Level::of_margin(-0.25), Level::Worse);
        assert_eq!(Level::of_margin(-0.249), Level::Similar);
        assert_eq!(Preference::of_margin(0.05), Preference::A);
        assert_eq!(Preference::of_margin(-0.049), Preference::Tie);
        assert_eq!(quality_word(1.5), "poor");
        assert_eq!(quality_word(4.499), "good");
    }

    #[test]
    fn intervals_stay_on_the_scale() {
        assert_eq!(ci95(0.0, 0.0, MARGIN_RANGE), [0.0, 0.0]);
        let [lo, hi] = ci95(4.8, 0.5, SCORE_RANGE);
        assert!((lo - 3.820).abs() < 1e-3 && hi == 5.0, "{lo} {hi}");
    }

    #[test]
    fn pooling_follows_its_formulas() {
        assert_eq!(Pooled::of_scores(&[]), None);
        let pooled = Pooled::of_scores(&[4.0, 2.0, 4.0]).unwrap();
        assert_eq!(pooled.min, 2.0);
        assert!((pooled.mean - 10.0 / 3.0).abs() < 1e-12);
        assert!((pooled.harmonic_mean - 3.0).abs() < 1e-12);
        assert!((pooled.p5 - 2.2).abs() < 1e-12, "a tenth of the way from 2 to 4");
        assert_eq!(Pooled::of_scores(&[3.5]).unwrap().p5, 3.5);
    }
}
