//! From raw scores to labels on one scale.
//!
//! Each judge is mapped by the 4-parameter logistic that fits its raw scores to the anchors best (as VQEG maps objective
//! scores to opinions): a judge that tells little about the anchors ends up flat and weighs little. The label of a video is the mean
//! of its mapped scores, with their unbiased variance; five levels of a pair follow from both (A5: ±s and ±2s with
//! `s² = var_a + var_b`).

use super::Member;
use juror::evaluation::{RatingColumns, Ratings};
use juror::verdict::SCORE_RANGE;
use juror_stats::correlation::{Logistic, ScorePairs, srcc};
use juror_stats::levels::Level;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Fewer anchors do not hold four parameters.
pub const LEAST_ANCHORS: usize = 10;
/// More anchors do not change a mapping.
pub const MOST_ANCHORS: usize = 1000;

/// How the raw scores of one judge become points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mapping {
    /// Parameters `b1..b4` of `b2 + (b1 - b2) / (1 + exp(-(x - b3) / b4))`; none where scores are points already.
    pub logistic: Option<[f64; 4]>,
    /// Anchors behind it.
    pub anchors: usize,
    /// Spearman correlation of raw scores with the anchors.
    pub srcc: Option<f64>,
    /// Root mean square distance of mapped scores to the anchors, points.
    pub rmse: Option<f64>,
}

impl Mapping {
    /// Of a judge whose scores are points.
    #[must_use]
    pub fn identity() -> Self {
        Self { logistic: None, anchors: 0, srcc: None, rmse: None }
    }

    /// Fits raw scores to the anchors' points.
    ///
    /// # Errors
    /// Says why no mapping holds: too few anchors, equal scores.
    pub fn fit(raw: &[f64], points: &[f64]) -> Result<Self, String> {
        if raw.len() < LEAST_ANCHORS {
            return Err(format!(
                "{} anchors have its score; {LEAST_ANCHORS} are needed to map it to the scale",
                raw.len()
            ));
        }
        let scores = ScorePairs::new(raw.to_vec(), points.to_vec()).map_err(|error| error.to_string())?;
        let Some(logistic @ Logistic::Four(parameters)) = Logistic::fit_four(&scores) else {
            return Err("its scores of the anchors are all the same".into());
        };
        let rmse = (logistic.sum_of_squares(&scores) / raw.len() as f64).sqrt();
        Ok(Self { logistic: Some(parameters), anchors: raw.len(), srcc: srcc(&scores), rmse: Some(rmse) })
    }

    /// A raw score in points, 1 to 5.
    #[must_use]
    pub fn points(&self, raw: f64) -> f64 {
        let points = self.logistic.map_or(raw, |parameters| Logistic::Four(parameters).map(raw));
        points.clamp(SCORE_RANGE[0], SCORE_RANGE[1])
    }
}

/// A judge that takes part, and how it is mapped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seat {
    /// What people call it.
    pub name: String,
    /// See `Judge::identity`.
    pub identity: String,
    /// To points; none where it was left out.
    pub mapping: Option<Mapping>,
    /// Videos it scored.
    pub scored: usize,
    /// Why it was left out.
    pub left_out: Option<String>,
}

/// What judges said of one video.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// Per judge.
    pub raw: &'a [Option<f64>],
    /// Whether a pristine source was known.
    pub has_reference: bool,
    /// What people say, points.
    pub rating: Option<f64>,
}

/// Finds who takes part and how each is mapped: against ratings where they are given, else against the first judge on the scale; judges
/// that have too few anchors in common with those, against the mean of those that have. The first [`MOST_ANCHORS`] videos
/// that serve are the anchors, so their order should be no choice.
///
/// # Errors
/// When no judge is on the five-point scale and no ratings give one.
pub fn seats(
    panel: &[Member],
    videos: &[Scored<'_>],
    are_rated: bool,
    least_share: f64,
) -> anyhow::Result<Vec<Seat>> {
    let mut seats: Vec<Seat> = panel
        .iter()
        .enumerate()
        .map(|(judge, member)| {
            let asked = videos.iter().filter(|v| v.has_reference || !member.needs_reference()).count();
            let scored = videos.iter().filter(|video| video.raw[judge].is_some()).count();
            let few = (scored as f64) < least_share * asked as f64 || scored == 0;
            Seat {
                name: member.name().to_owned(),
                identity: member.identity(),
                mapping: None,
                scored,
                left_out: few.then(|| format!("it scored {scored} of {asked} videos")),
            }
        })
        .collect();
    let sitting: Vec<usize> = (0..seats.len()).filter(|&judge| seats[judge].left_out.is_none()).collect();
    let giver = sitting.iter().copied().find(|&judge| panel[judge].is_on_scale());
    let targets: Vec<Option<f64>> = match (are_rated, giver) {
        (true, _) => videos.iter().map(|video| video.rating).collect(),
        (false, Some(giver)) => videos.iter().map(|video| video.raw[giver]).collect(),
        (false, None) => anyhow::bail!(
            "nothing gives the five-point scale: no judge on it scored enough videos, and there are no ratings{}",
            complaints(&seats)
        ),
    };
    let fit = |judge: usize, targets: &[Option<f64>]| {
        let anchors =
            videos.iter().zip(targets).filter_map(|(video, target)| Some((video.raw[judge]?, (*target)?)));
        let (raw, points): (Vec<f64>, Vec<f64>) = anchors.take(MOST_ANCHORS).unzip();
        Mapping::fit(&raw, &points)
    };
    let mut second_round = Vec::new();
    for judge in sitting {
        if !are_rated && panel[judge].is_on_scale() {
            seats[judge].mapping = Some(Mapping::identity());
            continue;
        }
        match fit(judge, &targets) {
            Ok(mapping) => seats[judge].mapping = Some(mapping),
            Err(_) => second_round.push(judge),
        }
    }
    let consensus: Vec<Option<f64>> =
        videos.iter().map(|video| label(&seats, video.raw).map(|label| label.mean)).collect();
    for judge in second_round {
        match fit(judge, &consensus) {
            Ok(mapping) => seats[judge].mapping = Some(mapping),
            Err(reason) => seats[judge].left_out = Some(reason),
        }
    }
    Ok(seats)
}

fn complaints(seats: &[Seat]) -> String {
    seats.iter().filter_map(|seat| Some(format!("; {}: {}", seat.name, seat.left_out.as_ref()?))).collect()
}

/// The label of raw scores; none where no judge with a mapping gave one.
#[must_use]
pub fn label(seats: &[Seat], raw: &[Option<f64>]) -> Option<Label> {
    let points = seats.iter().zip(raw).map(|(seat, raw)| Some(seat.mapping.as_ref()?.points((*raw)?)));
    Label::of_points(points.collect())
}

/// Ratings that give the scale.
#[derive(Clone, Debug)]
pub struct Anchors {
    by_video: HashMap<String, f64>,
}

impl Anchors {
    /// Reads a file of ratings (`video,mos`) on the five-point scale.
    ///
    /// # Errors
    /// A file that cannot be read, a rating outside 1 to 5.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let ratings = Ratings::read(path, &RatingColumns::default())?;
        let mut by_video = HashMap::new();
        for rating in ratings.rows {
            anyhow::ensure!(
                (SCORE_RANGE[0]..=SCORE_RANGE[1]).contains(&rating.mos),
                "anchors give the five-point scale: `{}` has {}, 1 to 5 is allowed: {}",
                rating.video,
                rating.mos,
                path.display()
            );
            by_video.insert(rating.video, rating.mos);
        }
        Ok(Self { by_video })
    }

    /// The rating of a video, by path or else by file name.
    #[must_use]
    pub fn of(&self, video: &Path) -> Option<f64> {
        let name = || self.by_video.get(video.file_name()?.to_str()?);
        video.to_str().and_then(|path| self.by_video.get(path)).or_else(name).copied()
    }
}

/// What a panel says of one video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Points, 1 to 5.
    pub mean: f64,
    /// Unbiased variance over the judges; none for a single judge.
    pub variance: Option<f64>,
    /// Mapped score per judge of the panel, in its order.
    pub points: Vec<Option<f64>>,
}

impl Label {
    /// The label of mapped scores; none without any.
    #[must_use]
    pub fn of_points(points: Vec<Option<f64>>) -> Option<Self> {
        let known: Vec<f64> = points.iter().flatten().copied().collect();
        if known.is_empty() {
            return None;
        }
        let count = known.len() as f64;
        let mean = known.iter().sum::<f64>() / count;
        let squares: f64 = known.iter().map(|x| (x - mean).powi(2)).sum();
        let variance = (known.len() > 1).then(|| squares / (count - 1.0));
        Some(Self { mean, variance, points })
    }

    /// Standard deviation of the label, points, at least `least_sd`.
    #[must_use]
    pub fn sd(&self, least_sd: f64) -> f64 {
        self.variance.map_or(least_sd, f64::sqrt).max(least_sd)
    }
}

/// What a panel says of two videos.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// Label of A minus label of B, points.
    pub margin: f64,
    /// Standard deviation behind the levels: `sqrt(var_a + var_b)`.
    pub sd: f64,
    /// Level of A against B.
    pub level: Level,
    /// Standard deviation over the judges that scored both of their own differences; none for a single judge.
    pub disagreement: Option<f64>,
}

impl Contrast {
    /// A against B.
    #[must_use]
    pub fn of(a: &Label, b: &Label, least_sd: f64) -> Self {
        let (sd_a, sd_b) = (a.sd(least_sd), b.sd(least_sd));
        // A difference of what the same judges say, where there are any: others would shift it by their own bias.
        let both = |(a, b): (&Option<f64>, &Option<f64>)| Some((*a)? - (*b)?);
        let differences: Vec<Option<f64>> = a.points.iter().zip(&b.points).map(both).collect();
        let shared = Label::of_points(differences);
        let margin = shared.as_ref().map_or(a.mean - b.mean, |shared| shared.mean);
        let sd = sd_a.hypot(sd_b);
        // Both are finite by construction.
        let level = Level::of_difference(margin, sd).unwrap_or(Level::Similar);
        Self { margin, sd, level, disagreement: shared.and_then(|shared| shared.variance).map(f64::sqrt) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_on_another_scale_lands_on_the_anchors() {
        // 0..100, and the other way round: less is better.
        let points: Vec<f64> = (0..20).map(|i| 1.5 + 3.0 * f64::from(i) / 19.0).collect();
        let raw: Vec<f64> = points.iter().map(|p| 100.0 - 20.0 * p).collect();
        let mapping = Mapping::fit(&raw, &points).expect("enough anchors");
        for (raw, points) in raw.iter().zip(&points) {
            assert!(
                (mapping.points(*raw) - points).abs() < 0.1,
                "{raw}: {} for {points}",
                mapping.points(*raw)
            );
        }
        assert!((mapping.srcc.expect("defined") + 1.0).abs() < 1e-12);
        assert!(mapping.points(1e9) >= 1.0 && mapping.points(-1e9) <= 5.0);
    }

    #[test]
    fn what_cannot_be_mapped_is_told() {
        assert!(Mapping::fit(&[1.0; 9], &[1.0; 9]).unwrap_err().contains("9 anchors"));
        assert!(Mapping::fit(&[1.0; 12], &[2.0; 12]).unwrap_err().contains("the same"));
    }

    #[test]
    fn labels_are_means_with_unbiased_variance() {
        let label = Label::of_points(vec![Some(2.0), None, Some(4.0)]).expect("two scores");
        assert_eq!((label.mean, label.variance, label.sd(0.1)), (3.0, Some(2.0), 2f64.sqrt()));
        let single = Label::of_points(vec![Some(2.0)]).expect("a score");
        assert_eq!((single.variance, single.sd(0.1)), (None, 0.1));
        assert_eq!(Label::of_points(vec![None, None]), None);
    }

    #[test]
    fn pairs_follow_the_published_thresholds() {
        let label =
            |points: &[f64]| Label::of_points(points.iter().copied().map(Some).collect()).expect("scores");
        let (a, b) = (label(&[4.0, 4.2]), label(&[3.0, 3.4]));
        let contrast = Contrast::of(&a, &b, 0.01);
        // s² = .02 + .08, so s = .316; the difference of .9 lies beyond 2s.
        assert!((contrast.margin - 0.9).abs() < 1e-12 && (contrast.sd - 0.1f64.sqrt()).abs() < 1e-12);
        assert_eq!(contrast.level, Level::Superior);
        assert!((contrast.disagreement.expect("two judges") - 0.02f64.sqrt()).abs() < 1e-12);
        assert_eq!(Contrast::of(&b, &a, 0.01).level, Level::Inferior);
        assert_eq!(Contrast::of(&a, &b, 0.4).level, Level::Better, "s = .57");
    }
}
