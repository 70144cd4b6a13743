//! A source as a whole: nine measurements at one picture a second, scene cuts, a perceptual hash, reasons to reject it.
//!
//! The nine are those by which the sources of W2S-VQA (arXiv 2505.03631, appendix A) were matched to a wanted distribution.
//! Pictures are taken at the centres of as many equal parts as the window has seconds; flicker and TI compare each with the
//! frame after it. All are means over the pictures, but SI and TI, which are maxima as ITU-T P.910 has them. Cuts and stillness
//! are seen in every frame.

use super::cuts::{Changes, Thumbnail};
use super::hash::{PictureHash, VideoHash};
use super::{Grey, picture};
use crate::{
    Frame, Matrix, Picture, Primaries, Result, SamplingPlan, TimeWindow, Transfer, Video, VideoInfo,
};
use serde::{Deserialize, Serialize};

/// Pictures per second that are measured.
const RATE: f64 = 1.0;
/// Luma codes (video range) up to which a sample counts as black: black, and what coding adds to it.
const BLACK: u8 = 28;
/// Share of a row or column that must be brighter than black for it to belong to the picture.
const LIT_SHARE: f64 = 0.02;

/// Nine low-level measurements of a source; codes are of 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// [`super::blockiness`]: 1 none, larger is blockier.
    pub blockiness: f64,
    /// [`super::cpbd`]: share of edges that are sharp; 0 where no edge is found.
    pub sharpness: f64,
    /// [`super::contrast`] in codes.
    pub contrast: f64,
    /// [`super::noise`] in codes.
    pub noise: f64,
    /// [`super::flicker`]: share of pixels.
    pub flicker: f64,
    /// [`super::colourfulness`].
    pub colourfulness: f64,
    /// [`super::luminance`] in codes.
    pub luminance: f64,
    /// SI: the largest [`super::spatial_information`].
    pub spatial_information: f64,
    /// TI: the largest [`super::temporal_information`]; 0 for a single picture.
    pub temporal_information: f64,
}

impl Measurements {
    /// Names of the nine, in the order of [`Measurements::values`].
    pub const NAMES: [&'static str; 9] = [
        "blockiness",
        "sharpness",
        "contrast",
        "noise",
        "flicker",
        "colourfulness",
        "luminance",
        "spatial_information",
        "temporal_information",
    ];

    /// The nine as a list.
    pub fn values(&self) -> [f64; 9] {
        [
            self.blockiness,
            self.sharpness,
            self.contrast,
            self.noise,
            self.flicker,
            self.colourfulness,
            self.luminance,
            self.spatial_information,
            self.temporal_information,
        ]
    }
}

impl From<[f64; 9]> for Measurements {
    /// From the order of [`Measurements::values`].
    fn from(values: [f64; 9]) -> Self {
        let [
            blockiness,
            sharpness,
            contrast,
            noise,
            flicker,
            colourfulness,
            luminance,
            spatial_information,
            temporal_information,
        ] = values;
        Self {
            blockiness,
            sharpness,
            contrast,
            noise,
            flicker,
            colourfulness,
            luminance,
            spatial_information,
            temporal_information,
        }
    }
}

/// Why a source is of no use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reject {
    /// Shorter than allowed, or a still picture.
    TooShort {
        /// Its length (within the window).
        duration_secs: f64,
        /// What is needed.
        least_secs: f64,
    },
    /// Nothing moves.
    Static {
        /// Largest mean change from frame to frame, in codes.
        largest_change: f64,
    },
    /// Black bars, or darkness, leave too little picture.
    Letterboxed {
        /// Share of the area within the bars.
        active_share: f64,
    },
    /// BT.2020 colour without a stated transfer: very likely HDR that would be shown grey.
    HdrUntagged,
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooShort { duration_secs, least_secs } => {
                write!(f, "too short: {duration_secs:.2} s, {least_secs} s are needed")
            }
            Self::Static { largest_change } => {
                write!(f, "static: no frame changes by more than {largest_change:.2} codes")
            }
            Self::Letterboxed { active_share } => {
                write!(f, "letterboxed: only {:.0} % of the area is picture", 100.0 * active_share)
            }
            Self::HdrUntagged => write!(f, "untagged HDR: BT.2020 colour without a stated transfer"),
        }
    }
}

/// What a source must have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejectRules {
    /// Least duration in seconds.
    pub least_secs: f64,
    /// A video none of whose frames changes by more than this (mean over a thumbnail, in codes) is static.
    pub static_change: f64,
    /// Least share of the area that black bars leave.
    pub least_active_share: f64,
}

impl Default for RejectRules {
    /// One second, a quarter of a code, half of the area.
    fn default() -> Self {
        Self { least_secs: 1.0, static_change: 0.25, least_active_share: 0.5 }
    }
}

/// All that is measured on a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The nine measurements.
    pub measurements: Measurements,
    /// Pictures behind them.
    pub pictures: usize,
    /// Clock times of the first frames after cuts.
    pub cuts_secs: Vec<f64>,
    /// One hash per measured picture.
    pub hash: VideoHash,
    /// Share of the area that black bars leave, over all measured pictures.
    pub active_share: f64,
    /// Why it is of no use; empty for a good source.
    pub rejects: Vec<Reject>,
    /// What a user should know about how it was read.
    pub warnings: Vec<String>,
}

/// Measures a video file, decoding `window` once. Memory does not grow with duration, but for two numbers per frame and a hash
/// per second.
///
/// # Errors
/// Those of decoding.
pub fn measure_source(video: &Video, window: TimeWindow, rules: &RejectRules) -> Result<SourceReport> {
    let info = video.info();
    let mut collector = Collector::default();
    let plan = SamplingPlan::per_second(RATE)?.with_next_frame().within(window);
    let mut sampler = plan.sampler(video)?;
    let mut stream = video.frames(window)?;
    while let Some(frame) = stream.next_frame()? {
        collector.changes.push(frame.clock_secs(), Thumbnail::of_luma(&frame.luma()));
        if let Some(moment) = sampler.visit(&frame)? {
            collector.measure(&moment.shown.picture, moment.next.as_ref().map(|f| &f.picture))?;
        }
    }
    if let Some(moment) = sampler.finish_window(stream.frame_beyond().as_ref())? {
        collector.measure(&moment.shown.picture, moment.next.as_ref().map(|f| &f.picture))?;
    }
    let (start_secs, end_secs) = window.clamped(info.duration_secs);
    let mut report = collector.report((end_secs - start_secs).max(0.0), rules);
    if is_untagged_hdr(info) {
        report.rejects.push(Reject::HdrUntagged);
    }
    report.warnings = info.warnings.iter().cloned().chain(stream.warnings()).collect();
    Ok(report)
}

/// Measures a clip in memory, such as a rendered scene; `duration_secs` as its file would state it.
///
/// # Errors
/// None for pictures that exist; the type is that of resizing.
pub fn measure_frames(frames: &[Frame], duration_secs: f64, rules: &RejectRules) -> Result<SourceReport> {
    let mut collector = Collector::default();
    let start_secs = frames.first().map_or(0.0, |f| f.pts_secs);
    for frame in frames {
        collector.changes.push(frame.pts_secs - start_secs, Thumbnail::of_picture(&frame.picture));
    }
    let parts = (duration_secs * RATE).round().max(1.0) as usize;
    for part in 0..parts {
        let target = start_secs + duration_secs * (part as f64 + 0.5) / parts as f64;
        let shown = frames.partition_point(|f| f.pts_secs <= target).saturating_sub(1);
        let Some(frame) = frames.get(shown) else { break };
        collector.measure(&frame.picture, frames.get(shown + 1).map(|f| &f.picture))?;
    }
    Ok(collector.report(duration_secs, rules))
}

fn is_untagged_hdr(info: &VideoInfo) -> bool {
    let wide = info.primaries == Primaries::Bt2020 || info.matrix == Matrix::Bt2020;
    wide && info.transfer == Transfer::Unspecified
}

/// Sums on the way through a source.
#[derive(Default)]
struct Collector {
    changes: Changes,
    pictures: usize,
    /// Of the first seven; maxima of the last two.
    sums: [f64; 9],
    pairs: usize,
    hash: VideoHash,
    /// Rows and columns that were ever lit, for pictures of one size.
    lit: Option<(Vec<bool>, Vec<bool>)>,
}

impl Collector {
    fn measure(&mut self, shown: &Picture, next: Option<&Picture>) -> Result<()> {
        let (grey, rgb) = (Grey::of(shown), shown.to_rgb());
        let next = next.map(Grey::of);
        let flicker = next.as_ref().and_then(|next| picture::flicker(&grey, next));
        let motion = next.as_ref().and_then(|next| picture::temporal_information(&grey, next));
        let means = [
            picture::blockiness(&grey),
            super::cpbd(&grey).unwrap_or(0.0),
            picture::contrast(&grey),
            picture::noise(&grey),
            flicker.unwrap_or(0.0),
            picture::colourfulness(&rgb),
            picture::luminance(&rgb),
        ];
        for (sum, value) in self.sums.iter_mut().zip(means) {
            *sum += value;
        }
        self.sums[7] = self.sums[7].max(picture::spatial_information(&grey));
        self.sums[8] = self.sums[8].max(motion.unwrap_or(0.0));
        self.pictures += 1;
        self.pairs += usize::from(flicker.is_some());
        self.hash.0.push(PictureHash::of(shown)?);
        self.light(shown);
        Ok(())
    }

    /// Marks the rows and columns that are not black.
    fn light(&mut self, picture: &Picture) {
        let (width, height) = (picture.width(), picture.height());
        let mut columns = vec![0usize; width];
        let mut rows = vec![0usize; height];
        for (row, count) in picture.y().chunks_exact(width).zip(&mut rows) {
            for (&y, column) in row.iter().zip(&mut columns) {
                let lit = usize::from(y > BLACK);
                *column += lit;
                *count += lit;
            }
        }
        let (lit_columns, lit_rows) =
            self.lit.get_or_insert_with(|| (vec![false; width], vec![false; height]));
        let mark = |lit: &mut [bool], counts: &[usize], of: usize| {
            for (lit, &count) in lit.iter_mut().zip(counts) {
                *lit |= count as f64 > LIT_SHARE * of as f64;
            }
        };
        mark(lit_columns, &columns, height);
        mark(lit_rows, &rows, width);
    }

    fn report(self, duration_secs: f64, rules: &RejectRules) -> SourceReport {
        let count = self.pictures.max(1) as f64;
        let mut values = self.sums.map(|sum| sum / count);
        values[4] = self.sums[4] / self.pairs.max(1) as f64;
        values[7..].copy_from_slice(&self.sums[7..]); // maxima
        let measurements = Measurements::from(values);
        let active_share = self.lit.as_ref().map_or(0.0, |(columns, rows)| span(columns) * span(rows));
        let largest_change = self.changes.largest();
        let mut rejects = Vec::new();
        if duration_secs < rules.least_secs {
            rejects.push(Reject::TooShort { duration_secs, least_secs: rules.least_secs });
        }
        if largest_change < rules.static_change {
            rejects.push(Reject::Static { largest_change });
        }
        if active_share < rules.least_active_share {
            rejects.push(Reject::Letterboxed { active_share });
        }
        SourceReport {
            measurements,
            pictures: self.pictures,
            cuts_secs: self.changes.cuts_secs(),
            hash: self.hash,
            active_share,
            rejects,
            warnings: Vec::new(),
        }
    }
}

/// Share of a line between its first and last lit place.
fn span(lit: &[bool]) -> f64 {
    let first = lit.iter().position(|&l| l);
    let last = lit.iter().rposition(|&l| l);
    match (first, last) {
        (Some(first), Some(last)) => (last + 1 - first) as f64 / lit.len() as f64,
        _ => 0.0,
    }
}
