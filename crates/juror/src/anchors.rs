//! Anchors: videos of known score, against which others are judged, so that margins become scores.
//!
//! Two sources. [`Anchors::rated`]: videos that people rated on the five-point scale. [`Anchors::scenes`]: procedural scenes,
//! rendered and damaged when they are asked for, so that nothing is shipped but their recipe (`RECIPE`). What a scene's
//! version is worth is measured there and then against the undamaged scene: `1 + 4 size MS-SSIM^12`, the yardstick that
//! training uses where no VMAF is at hand, with `size = 1 / (1 + (80 / short side)^1.3)` for what a picture of few pixels can
//! show at best. It is a measure, not people's opinion.
//!
//! A score is the mean of anchor plus margin. Its interval comes from the anchors themselves: each is scored by the others
//! ([`juror_stats::anchors::AnchorSet`]). Anchors are watched whole, whatever window is asked for.

use std::path::{Path, PathBuf};

use juror_media::distort::{Chain, Distortion, Kind};
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, TimeWindow, quality};
use juror_stats::anchors::{AnchorSet, AnchoredScore};

use crate::error::Error;
use crate::evaluation::Ratings;
use crate::judge::{Juror, Options, Progress, Viewed};
use crate::verdict::SCORE_RANGE;

/// A scene by its family and seed, and the distortions that make one anchor each of it, beside the scene itself.
type SceneRecipe = (Family, u64, [(Kind, f64); 2]);
/// Only kinds that MS-SSIM sees well and no encoder has a part in; noise is left out, which MS-SSIM takes harder than people do.
const RECIPE: [SceneRecipe; 4] = [
    (Family::Leaves, 11, [(Kind::Rescale, 2.5), (Kind::Rescale, 4.2)]),
    (Family::Leaves, 14, [(Kind::GaussianBlur, 4.2), (Kind::GaussianBlur, 5.0)]),
    (Family::Bodies, 15, [(Kind::Rescale, 4.2), (Kind::Rescale, 5.0)]),
    (Family::Bodies, 13, [(Kind::Rescale, 4.2), (Kind::Jpeg, 5.0)]),
];
const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const FPS: f64 = 24.0;
const FRAMES: usize = 24;
/// One frame in this many is measured.
const MEASURED: usize = 6;

/// Anchors that a judge has watched and compared with each other.
pub struct Anchors {
    viewed: Vec<Viewed>,
    set: AnchorSet,
}

impl Anchors {
    /// The procedural scenes, watched by `juror`.
    ///
    /// # Errors
    /// Those of rendering, encoding and watching; [`Error::Model`].
    pub fn scenes(juror: &Juror, options: &Options, progress: Progress<'_>) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(|reason| Error::Anchors(reason.to_string()))?;
        let mut known = Vec::new();
        for (family, seed, distortions) in RECIPE {
            let source: Vec<Frame> = Scene::of(family, seed).render(WIDTH, HEIGHT, FPS, FRAMES)?.collect();
            known.push((write(&source, folder.path(), known.len())?, score_of(&source, &source)?));
            for (kind, level) in distortions {
                let chain = Chain::new(vec![Distortion::new(kind, level)?]);
                let version = chain.apply_all(&source, seed)?;
                known.push((write(&version, folder.path(), known.len())?, score_of(&source, &version)?));
            }
        }
        Self::watched(juror, &known, options, progress)
    }

    /// The videos of `ratings`, whose paths are below `folder`, watched by `juror`.
    ///
    /// # Errors
    /// [`Error::Anchors`] for ratings outside the five-point scale; those of watching; [`Error::Model`].
    pub fn rated(
        juror: &Juror,
        ratings: &Ratings,
        folder: &Path,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        let [lo, hi] = SCORE_RANGE;
        if let Some(odd) = ratings.rows.iter().find(|row| !(lo..=hi).contains(&row.mos)) {
            let (video, mos) = (&odd.video, odd.mos);
            return Err(Error::Anchors(format!(
                "`{video}` is rated {mos}; anchors need the five-point scale, {lo} to {hi}"
            )));
        }
        if ratings.rows.len() < AnchorSet::FEWEST {
            let (have, need) = (ratings.rows.len(), AnchorSet::FEWEST);
            return Err(Error::Anchors(format!("there are {have}; at least {need} are needed")));
        }
        let known: Vec<_> = ratings.rows.iter().map(|row| (folder.join(&row.video), row.mos)).collect();
        Self::watched(juror, &known, options, progress)
    }

    fn watched(
        juror: &Juror,
        known: &[(PathBuf, f64)],
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        let options = Options { window: TimeWindow::ALL, ..options.clone() };
        let mut viewed = Vec::with_capacity(known.len());
        for (done, (path, _)) in known.iter().enumerate() {
            progress(done as f64 / known.len() as f64);
            viewed.push(juror.watch(path, &options, &|_| ())?);
        }
        let scores = known.iter().map(|(_, score)| *score).collect();
        let set = AnchorSet::new(scores, |i, j| {
            Ok::<_, Error>(juror.margin(&viewed[i], &viewed[j], &options)?.points)
        })?;
        Ok(Self { viewed, set })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.viewed.len()
    }

    /// The score of a video by its margin over each anchor, which `margin` finds.
    pub(crate) fn score(
        &self,
        margin: impl FnMut(&Viewed) -> Result<f64, Error>,
    ) -> Result<AnchoredScore, Error> {
        let margins = self.viewed.iter().map(margin).collect::<Result<Vec<f64>, Error>>()?;
        Ok(self.set.score(&margins)?)
    }
}

/// Known score of a version of a scene, points.
fn score_of(source: &[Frame], version: &[Frame]) -> Result<f64, Error> {
    let (mut sum, mut count) = (0.0, 0.0);
    for (source, version) in source.iter().zip(version).step_by(MEASURED) {
        sum += quality::ms_ssim(&source.picture, &version.picture)?;
        count += 1.0;
    }
    let size = 1.0 / (1.0 + (80.0 / HEIGHT as f64).powf(1.3));
    Ok(1.0 + 4.0 * size * (sum / count).clamp(0.0, 1.0).powi(12))
}

/// Writes an anchor without loss.
fn write(frames: &[Frame], folder: &Path, index: usize) -> Result<PathBuf, Error> {
    let path = folder.join(format!("anchor-{index}.mkv"));
    let mut encoder = Encoder::create(&path, FPS, EncodeOptions::lossless_for(&path)?)?;
    for frame in frames {
        encoder.push(frame)?;
    }
    encoder.finish()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_scores_cover_the_scale_and_follow_the_damage() {
        let mut all = Vec::new();
        for (family, seed, distortions) in RECIPE {
            let source: Vec<Frame> =
                Scene::of(family, seed).render(WIDTH, HEIGHT, FPS, FRAMES).unwrap().collect();
            let mut last = score_of(&source, &source).unwrap();
            all.push(last);
            for (kind, level) in distortions {
                let chain = Chain::new(vec![Distortion::new(kind, level).unwrap()]);
                let version = chain.apply_all(&source, seed).unwrap();
                let score = score_of(&source, &version).unwrap();
                assert!(score < last - 0.3, "{family:?}: {score} after {last}");
                all.push(score);
                last = score;
            }
        }
        all.sort_by(f64::total_cmp);
        assert!(all[0] < 1.7 && all[all.len() - 1] > 4.4, "{all:?}");
        let widest = all.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest < 1.0, "no gap in {all:?}");
    }
}
