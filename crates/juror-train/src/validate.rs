//! How good `nano` is: figures on clips it never saw, as the model card and the README quote them.
//!
//! Each clip is shrunk to a short side of at most `Options::short_side`, at most `max_frames` frames are kept,
//! and ladders are made of it: six CRF rungs per codec (level 0.5 to 5), the source and five sizes, and five
//! levels of every other kind. Then
//!
//! - *SRCC*: rank correlation of `score` with the order of severity, per clip and ladder, averaged;
//! - *pairs*: share of pairs of one ladder in which `compare` prefers the milder (the source is level 0), for
//!   levels two or more apart and for neighbours; pairs with equal pictures are left out;
//! - *order agreement*: share of pairs in which A-B and B-A agree before averaging;
//! - *dominant*: share of versions at level 2 or more whose first-named distortion is the one applied;
//! - *cross-content*: SRCC of `score` with the yardstick over all versions of all clips; exposure, contrast and
//!   temporal kinds, where VMAF is no yardstick, count as `100 - 12 level` (`nano.md`).

use crate::config::{DataConfig, YardstickConfig};
use crate::data::groups::{self, Judged};
use crate::data::sources::Source;
use crate::data::versions::{Step, Version};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use juror_lmm::nano::{Nano, Offset, moment_frames, observe_frames};
use juror_lmm::{JudgeOptions, Lmm, Watched};
use juror_media::distort::Kind;
use juror_stats::correlation::{ScorePairs, srcc};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// What to measure on.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest short side in pixels.
    pub short_side: usize,
    /// Longest stretch in frames.
    pub max_frames: usize,
    /// Yardstick of the cross-content figure.
    pub yardstick: YardstickConfig,
}

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
        self.n += 1;
        self.value += (value - self.value) / self.n as f64;
    }
}

/// All figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Clips that could be used.
    pub clips: usize,
    /// Mean SRCC of `score` per clip, by ladder.
    pub srcc: BTreeMap<&'static str, Mean>,
    /// Pairs two or more levels apart, by ladder.
    pub pairs_far: BTreeMap<&'static str, Mean>,
    /// Neighbouring levels, by ladder.
    pub pairs_near: BTreeMap<&'static str, Mean>,
    /// Agreement of the two orders.
    pub order_agreement: Mean,
    /// Dominant distortion named, by ladder.
    pub dominant: BTreeMap<&'static str, Mean>,
    /// SRCC of `score` with the yardstick over everything; absent where it cannot be told.
    pub cross_content: Option<f64>,
    /// Versions behind `cross_content`.
    pub versions: usize,
}

/// Ladders, in the order of reporting.
const CODEC_LEVELS: [f64; 6] = [0.5, 1.4, 2.3, 3.2, 4.1, 5.0];
const LEVELS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];

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

/// Measures `nano` on `sources`.
///
/// # Errors
/// When a version cannot be judged; clips that cannot be loaded are told and left out.
pub fn validate(nano: &Nano, sources: &[Source], options: &Options) -> Result<Report> {
    let bar = ProgressBar::new(sources.len() as u64).with_prefix("validate");
    let clips: Vec<Option<Vec<Judgement>>> = sources
        .par_iter()
        .map(|source| {
            let judged = judge_clip(nano, source, options);
            bar.inc(1);
            match judged {
                Ok(judged) => Some(judged),
                Err(error) => {
                    tracing::warn!("left out {}: {error:#}", source.id);
                    None
                }
            }
        })
        .collect();
    bar.finish_and_clear();
    let mut report = Report::default();
    let (mut scores, mut yardsticks) = (Vec::new(), Vec::new());
    for clip in clips.into_iter().flatten() {
        report.clips += 1;
        tally(nano, &clip, &mut report)?;
        scores.extend(clip.iter().map(|j| j.score));
        yardsticks.extend(clip.iter().map(|j| j.quality));
    }
    report.versions = scores.len();
    report.cross_content = ScorePairs::new(scores, yardsticks).ok().as_ref().and_then(srcc);
    Ok(report)
}

struct Judgement {
    kind: Option<Kind>,
    level: f64,
    quality: f64,
    same_pixels: bool,
    score: f64,
    named: Option<String>,
    watched: Watched,
}

fn judge_clip(nano: &Nano, source: &Source, options: &Options) -> Result<Vec<Judgement>> {
    let config = DataConfig {
        clips: None,
        groups_per_clip: 1,
        scenes: 0,
        short_sides: vec![options.short_side],
        max_frames: options.max_frames,
        versions: 0,
        held_out_codecs: Vec::new(),
        yardstick: options.yardstick.clone(),
    };
    let frames = source.load(&config)?;
    let looked_at: Vec<usize> =
        moment_frames(frames.len(), nano.config().moments).iter().map(|m| m.0).collect();
    let mut out = Vec::new();
    let mut versions = vec![(None, 0.0)];
    for kind in Kind::CORE {
        let levels: &[f64] = if kind.is_codec() && kind != Kind::Mpeg4 { &CODEC_LEVELS } else { &LEVELS };
        versions.extend(levels.iter().map(|&level| (Some(kind), level)));
    }
    for (kind, level) in versions {
        let steps = kind.map(|k| Step { kind: k.name().to_owned(), level }).into_iter().collect();
        let version = Version::whole(steps);
        let shown = groups::apply(&version, &frames, source.seed).with_context(|| format!("{version:?}"))?;
        let observation = observe_frames(&shown, nano.config().moments, Offset::default())?;
        let watched = nano.watched(&observation, None)?;
        let judged = nano.score(&watched, &JudgeOptions::PLAIN)?;
        let Judged { visual, temporal, same_pixels } =
            groups::judge(&options.yardstick, &version, &frames, &shown, &looked_at)?;
        out.push(Judgement {
            kind,
            level,
            quality: visual * temporal,
            same_pixels,
            score: judged.score,
            named: judged.distortions.first().map(|d| d.kind.clone()),
            watched,
        });
    }
    Ok(out)
}

fn tally(nano: &Nano, clip: &[Judgement], report: &mut Report) -> Result<()> {
    let (source, versions) = clip.split_first().context("no version")?;
    for ladder in versions.chunk_by(|a, b| a.kind == b.kind) {
        let Some(kind) = ladder[0].kind else { continue };
        let name = kind.name();
        // Codec ladders are their rungs; the others start from the source.
        let rungs: Vec<&Judgement> = if kind.is_codec() {
            ladder.iter().collect()
        } else {
            std::iter::once(source).chain(ladder).collect()
        };
        let severity: Vec<f64> = rungs.iter().map(|j| -j.level).collect();
        let scores: Vec<f64> = rungs.iter().map(|j| j.score).collect();
        let correlation = srcc(&ScorePairs::new(scores, severity)?).unwrap_or(0.0);
        report.srcc.entry(name).or_default().add(correlation);
        let with_source: Vec<&Judgement> = std::iter::once(source).chain(ladder).collect();
        for (i, better) in with_source.iter().enumerate() {
            for (distance, worse) in with_source[i + 1..].iter().enumerate() {
                if better.same_pixels && worse.same_pixels {
                    continue;
                }
                let judged = nano.compare(&better.watched, &worse.watched, &JudgeOptions::PLAIN)?;
                let pairs = if distance == 0 { &mut report.pairs_near } else { &mut report.pairs_far };
                pairs.entry(name).or_default().add(f64::from(u8::from(judged.margin > 0.0)));
                report.order_agreement.add(f64::from(u8::from(judged.order_agreement == Some(true))));
            }
        }
        for version in ladder.iter().filter(|j| j.level >= 2.0 && !j.same_pixels) {
            let expected = if kind.is_codec() { "compression" } else { name };
            let right = version.named.as_deref() == Some(expected);
            report.dominant.entry(name).or_default().add(f64::from(u8::from(right)));
        }
    }
    Ok(())
}

impl Report {
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
            "| ladder | SRCC | pairs 2+ apart | adjacent pairs | dominant named |\n|---|---|---|---|---|\n",
        );
        let cell = |m: Option<&Mean>| m.map_or_else(|| "-".to_owned(), |m| format!("{:.3}", m.value));
        for (name, srcc) in &self.srcc {
            let (far, near) = (self.pairs_far.get(name), self.pairs_near.get(name));
            let row = [cell(Some(srcc)), cell(far), cell(near), cell(self.dominant.get(name))];
            out += &format!("| {name} | {} |\n", row.join(" | "));
        }
        for (class, holds) in CLASSES {
            let row = [&self.srcc, &self.pairs_far, &self.pairs_near, &self.dominant]
                .map(|figures| cell(Self::mean_of(figures, holds).as_ref()));
            out += &format!("| **{class}** | {} |\n", row.join(" | "));
        }
        out.push('\n');
        let cross = self.cross_content.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        out += &format!(
            "Order agreement {:.4} over {} pairs; cross-content SRCC {cross} over {} versions of {} clips.\n",
            self.order_agreement.value, self.order_agreement.n, self.versions, self.clips
        );
        out
    }
}
