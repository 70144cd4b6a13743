//! How good `nano` is: figures on clips it never saw, as the model card and the README quote them.
//!
//! Ladders are made of each clip, shrunk to the short side of the configuration, and kept on disk as groups: six CRF
//! rungs per codec (level 0.5 to 5), the source and five sizes, and five levels of every other kind. Then
//!
//! - *SRCC*: rank correlation with the order of severity, per clip and ladder, averaged; of `score`, and of the sums of `compare`'s
//!   margins over the other rungs, which is their order by least squares (`rank`);
//! - *pairs*: share of pairs of one ladder in which `compare` prefers the milder (the source is level 0), for
//!   levels two or more apart and for neighbours; pairs with equal pictures are left out;
//! - *intact*: the same of the source against its versions at level 1 or more;
//! - *order agreement*: share of pairs in which A-B and B-A agree before averaging;
//! - *dominant*: share of versions at level 2 or more whose first-named distortion is the one applied, by `score`, and by `compare`
//!   beside the source;
//! - *severity*: mean distance, over the same versions, of the severity that the distortion applied is given (0 where it is not reported) from a
//!   fifth of its level, by both;
//! - *cross-content*: SRCC of `score` with the yardstick over the versions of all clips: over those that VMAF can judge (as in `nano.md`:
//!   without exposure, contrast and temporal kinds), and over all, where exposure and contrast count as `100 - 12 level` and temporal
//!   kinds as `100 - 15 level`, as in training (`data/groups.rs`).

use crate::config::DataConfig;
use crate::data::groups::{self, Example, GroupFile, Recipe};
use crate::data::sources::Source;
use crate::data::versions::{Step, Version};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use juror_lmm::nano::{Calibration, KINDS, Nano, NanoConfig, Offset};
use juror_lmm::{Attribution, JudgeOptions, Lmm, Watched};
use juror_media::distort::Kind;
use juror_stats::correlation::{ScorePairs, srcc};
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A figure and over how many it is the mean.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Mean {
    /// Mean.
    pub value: f64,
    /// Over how many.
    pub n: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.join(Self { value, n: 1 });
    }

    fn join(&mut self, other: Self) {
        self.n += other.n;
        self.value += (other.value - self.value) * other.n as f64 / self.n.max(1) as f64;
    }
}

/// All figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Clips that could be used.
    pub clips: usize,
    /// Mean SRCC of `score` per clip, by ladder.
    pub srcc: BTreeMap<&'static str, Mean>,
    /// The same of the margins by `compare`, summed over the other rungs.
    pub srcc_compared: BTreeMap<&'static str, Mean>,
    /// Pairs two or more levels apart, by ladder.
    pub pairs_far: BTreeMap<&'static str, Mean>,
    /// Neighbouring levels, by ladder.
    pub pairs_near: BTreeMap<&'static str, Mean>,
    /// The source against versions from level 1 on, by ladder.
    pub intact: BTreeMap<&'static str, Mean>,
    /// Agreement of the two orders.
    pub order_agreement: Mean,
    /// Dominant distortion named by `score`, by ladder.
    pub dominant: BTreeMap<&'static str, Mean>,
    /// The same named by `compare`, beside the source.
    pub dominant_compared: BTreeMap<&'static str, Mean>,
    /// How far the severity of that distortion is off by `score`.
    pub severity_error: Mean,
    /// And by `compare`.
    pub severity_error_compared: Mean,
    /// SRCC of `score` with the yardstick over the versions it can judge; absent where it cannot be told.
    pub cross_content: Option<f64>,
    /// The same over all versions.
    pub cross_content_all: Option<f64>,
    /// All versions.
    #[serde(skip)]
    pub rated: Vec<Rated>,
}

/// What a version got.
#[derive(Clone, Copy, Debug)]
pub struct Rated {
    /// Score, in points.
    pub score: f64,
    /// What the yardstick or, where it is none, the level says.
    pub yardstick: f64,
    /// Whether it was the yardstick.
    pub judged: bool,
}

/// Ladders, in the order of reporting.
const CODEC_LEVELS: [f64; 6] = [0.5, 1.4, 2.3, 3.2, 4.1, 5.0];
const LEVELS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
/// Rungs that a rank correlation needs.
const LEAST_RUNGS: usize = 3;

/// Whether a ladder's kind belongs to a class.
type Holds = fn(Kind) -> bool;

/// Rows that sum up the table.
const CLASSES: [(&str, Holds); 5] = [
    ("H.264, HEVC, VP9, AV1", |kind| kind.is_codec() && kind != Kind::Mpeg4),
    ("size", |kind| kind == Kind::Resolution),
    ("other visual", |kind| !kind.is_temporal() && !kind.is_codec() && kind != Kind::Resolution),
    ("temporal", Kind::is_temporal),
    ("all", |_| true),
];

/// The ladders of these kinds of every source, made where they are not in `dir` yet.
///
/// # Errors
/// When a group cannot be written; clips that cannot be loaded are told and left out.
pub fn ladders(
    config: &DataConfig,
    model: &NanoConfig,
    sources: &[Source],
    kinds: &[Kind],
    dir: &Path,
) -> Result<Vec<GroupFile>> {
    groups::prepare_recipes(config, model, sources, dir, |rng| {
        let mut versions = vec![Version::source()];
        for &kind in kinds {
            let levels: &[f64] = if kind.is_codec() && kind != Kind::Mpeg4 { &CODEC_LEVELS } else { &LEVELS };
            versions.extend(
                levels
                    .iter()
                    .map(|&level| Version::whole(vec![Step { kind: kind.name().to_owned(), level }])),
            );
        }
        let seed = rng.random(); // for all: a higher level drops the frames of a lower one and more
        let recipe = |version| Recipe { version, seed, offset: Offset::default() };
        versions.into_iter().map(recipe).collect()
    })
}

/// Measures `nano` on groups it was not trained on. Ladders are the versions of one family.
///
/// # Errors
/// When a version cannot be judged.
pub fn measure(nano: &Nano, groups: &[GroupFile]) -> Result<Report> {
    Ok(Report::of(each_clip(groups, |group| tally(nano, &judge_clip(nano, group)?))?))
}

/// As [`measure`], with the errors of scores and of the margins of all pairs of a group, root-mean-square, in points.
///
/// # Errors
/// As [`measure`].
pub fn measure_and_calibrate(nano: &Nano, groups: &[GroupFile]) -> Result<(Report, Calibration)> {
    let clips = each_clip(groups, |group| {
        let clip = judge_clip(nano, group)?;
        Ok((tally(nano, &clip)?, squared_errors(nano, &clip)?))
    })?;
    let (clips, errors): (Vec<Report>, Vec<[Mean; 2]>) = clips.into_iter().unzip();
    let [mut margin, mut score] = [Mean::default(); 2];
    for [margins, scores] in errors {
        margin.join(margins);
        score.join(scores);
    }
    Ok((Report::of(clips), Calibration { margin_sd: margin.value.sqrt(), score_sd: score.value.sqrt() }))
}

/// What `of` makes of each group.
fn each_clip<T: Send>(groups: &[GroupFile], of: impl Fn(&GroupFile) -> Result<T> + Sync) -> Result<Vec<T>> {
    let bar = ProgressBar::new(groups.len() as u64).with_prefix("validate");
    let clips = groups.par_iter().map(|group| of(group).inspect(|_| bar.inc(1))).collect();
    bar.finish_and_clear();
    clips
}

/// A version and what `nano` says of it.
struct Judgement<'a> {
    example: &'a Example,
    score: f64,
    distortions: Vec<Attribution>,
    watched: Watched,
}

impl Judgement<'_> {
    fn level(&self) -> f64 {
        self.example.version.steps.first().map_or(0.0, |step| step.level)
    }
}

/// Whether the yardstick measures all that was done to a version.
fn can_be_judged(version: &Version) -> bool {
    version.steps.iter().all(|step| step.kind.parse().is_ok_and(groups::is_measured))
}

fn judge_clip<'a>(nano: &Nano, group: &'a GroupFile) -> Result<Vec<Judgement<'a>>> {
    let judge = |(version, example)| {
        let watched = nano.watched(&group.observation(version)?, None)?;
        let judged = nano.score(&watched, &JudgeOptions::PLAIN)?;
        Ok(Judgement { example, score: judged.score, distortions: judged.distortions, watched })
    };
    group.examples.iter().enumerate().map(judge).collect()
}

/// Mean squared errors of margins and of scores, in points.
fn squared_errors(nano: &Nano, clip: &[Judgement]) -> Result<[Mean; 2]> {
    let [mut margin, mut score] = [Mean::default(); 2];
    let points = |judgement: &Judgement| 1.0 + 4.0 * judgement.example.quality;
    for (i, one) in clip.iter().enumerate() {
        score.add((one.score - points(one)).powi(2));
        for other in &clip[..i] {
            let found = nano.compare(&one.watched, &other.watched, &JudgeOptions::PLAIN)?.margin;
            margin.add((found - (points(one) - points(other))).powi(2));
        }
    }
    Ok([margin, score])
}

/// The figures of one clip.
fn tally(nano: &Nano, clip: &[Judgement]) -> Result<Report> {
    let mut report = Report { clips: 1, ..Report::default() };
    let mut families: BTreeMap<String, Vec<&Judgement>> = BTreeMap::new();
    for judgement in clip {
        report.rated.push(Rated {
            score: judgement.score,
            yardstick: judgement.example.visual * judgement.example.temporal,
            judged: can_be_judged(&judgement.example.version),
        });
        if let Some(family) = judgement.example.version.family() {
            families.entry(family).or_default().push(judgement);
        }
    }
    let source = clip.iter().find(|j| j.example.is_source()).context("a group without its source")?;
    for mut ladder in families.into_values() {
        ladder.sort_by(|a, b| a.level().total_cmp(&b.level()));
        let kind: Kind = ladder[0].example.version.steps[0].kind.parse()?;
        let name = kind.name();
        let with_source: Vec<&Judgement> = std::iter::once(source).chain(ladder.iter().copied()).collect();
        // Codec ladders are their rungs; the others start from the source. What changes no sample is no rung.
        let is_rung = |j: &Judgement| {
            if j.example.is_source() { !kind.is_codec() } else { !j.example.same_pixels_as_source }
        };
        // None where nano has no word for the kind.
        let expected = groups::model_kind(name).map(|index| KINDS[index]);
        let is_named = |j: &Judgement| j.level() >= 2.0 && !j.example.same_pixels_as_source;
        let named = |found: &[Attribution], kind: &str, level: f64| {
            let severity = found.iter().find(|d| d.kind == kind).map_or(0.0, |d| d.severity);
            let first = found.first().is_some_and(|d| d.kind == kind);
            (f64::from(u8::from(first)), (severity - level / 5.0).abs())
        };
        let mut balance = vec![0.0; with_source.len()]; // of the margins over the other rungs
        for (i, better) in with_source.iter().enumerate() {
            for (j, worse) in with_source.iter().enumerate().skip(i + 1) {
                if better.example.same_pixels_as_source && worse.example.same_pixels_as_source {
                    continue;
                }
                let judged = nano.compare(&better.watched, &worse.watched, &JudgeOptions::PLAIN)?;
                let pairs = if j == i + 1 { &mut report.pairs_near } else { &mut report.pairs_far };
                let right = f64::from(u8::from(judged.margin > 0.0));
                pairs.entry(name).or_default().add(right);
                if i == 0 && worse.level() >= 1.0 {
                    report.intact.entry(name).or_default().add(right);
                }
                if let (0, true, Some(expected)) = (i, is_named(worse), expected) {
                    let (right, off) = named(&judged.distortions_b, expected, worse.level());
                    report.dominant_compared.entry(name).or_default().add(right);
                    report.severity_error_compared.add(off);
                }
                report.order_agreement.add(f64::from(u8::from(judged.order_agreement == Some(true))));
                if is_rung(better) && is_rung(worse) {
                    balance[i] += judged.margin;
                    balance[j] -= judged.margin;
                }
            }
        }
        let rungs: Vec<usize> = (0..with_source.len()).filter(|&i| is_rung(with_source[i])).collect();
        if rungs.len() >= LEAST_RUNGS {
            let severity: Vec<f64> = rungs.iter().map(|&i| -with_source[i].level()).collect();
            let scores: Vec<f64> = rungs.iter().map(|&i| with_source[i].score).collect();
            let compared: Vec<f64> = rungs.iter().map(|&i| balance[i]).collect();
            for (figures, values) in [(&mut report.srcc, scores), (&mut report.srcc_compared, compared)] {
                let correlation = srcc(&ScorePairs::new(values, severity.clone())?).unwrap_or(0.0);
                figures.entry(name).or_default().add(correlation);
            }
        }
        for version in ladder.iter().filter(|j| is_named(j)) {
            let Some(expected) = expected else { continue };
            let (right, off) = named(&version.distortions, expected, version.level());
            report.dominant.entry(name).or_default().add(right);
            report.severity_error.add(off);
        }
    }
    Ok(report)
}

impl Report {
    fn of(clips: Vec<Self>) -> Self {
        let mut report = Self::default();
        for clip in clips {
            report.join(clip);
        }
        let over = |versions: &dyn Fn(&&Rated) -> bool| {
            let chosen = report.rated.iter().filter(versions);
            let (scores, yardsticks) = chosen.map(|rated| (rated.score, rated.yardstick)).unzip();
            ScorePairs::new(scores, yardsticks).ok().as_ref().and_then(srcc)
        };
        (report.cross_content, report.cross_content_all) = (over(&|rated| rated.judged), over(&|_| true));
        report
    }

    /// Takes another clip's figures in.
    fn join(&mut self, other: Self) {
        self.clips += other.clips;
        self.rated.extend(other.rated);
        self.order_agreement.join(other.order_agreement);
        self.severity_error.join(other.severity_error);
        self.severity_error_compared.join(other.severity_error_compared);
        let tables = [
            (&mut self.srcc, other.srcc),
            (&mut self.srcc_compared, other.srcc_compared),
            (&mut self.pairs_far, other.pairs_far),
            (&mut self.pairs_near, other.pairs_near),
            (&mut self.intact, other.intact),
            (&mut self.dominant, other.dominant),
            (&mut self.dominant_compared, other.dominant_compared),
        ];
        for (own, theirs) in tables {
            for (name, mean) in theirs {
                own.entry(name).or_default().join(mean);
            }
        }
    }

    /// Mean of a figure over the ladders of some kinds, `None` where there is none.
    fn mean_of(figures: &BTreeMap<&'static str, Mean>, holds: Holds) -> Option<Mean> {
        let mut mean = Mean::default();
        for (name, figure) in figures {
            if name.parse().is_ok_and(holds) {
                mean.add(figure.value);
            }
        }
        (mean.n > 0).then_some(mean)
    }

    /// The figures as a Markdown table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| ladder | SRCC of `score` | SRCC of `compare` | pairs 2+ apart | adjacent pairs | intact | dominant named | by `compare` |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        let cell = |m: Option<&Mean>| m.map_or_else(|| "-".to_owned(), |m| format!("{:.3}", m.value));
        let columns = [
            &self.srcc,
            &self.srcc_compared,
            &self.pairs_far,
            &self.pairs_near,
            &self.intact,
            &self.dominant,
            &self.dominant_compared,
        ];
        for name in self.srcc.keys() {
            let row = columns.map(|figures| cell(figures.get(name)));
            out += &format!("| {name} | {} |\n", row.join(" | "));
        }
        for (class, holds) in CLASSES {
            let row = columns.map(|figures| cell(Self::mean_of(figures, holds).as_ref()));
            if row.iter().all(|cell| cell == "-") {
                continue;
            }
            out += &format!("| **{class}** | {} |\n", row.join(" | "));
        }
        out.push('\n');
        let cross = |found: Option<f64>| found.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        out += &format!(
            "Order agreement {:.4} over {} pairs; severity off by {:.3}, {:.3} by `compare`; cross-content SRCC {} over the {} versions of {} clips that VMAF can judge, {} over all {}.\n",
            self.order_agreement.value,
            self.order_agreement.n,
            self.severity_error.value,
            self.severity_error_compared.value,
            cross(self.cross_content),
            self.rated.iter().filter(|rated| rated.judged).count(),
            self.clips,
            cross(self.cross_content_all),
            self.rated.len(),
        );
        out
    }
}
