//! The record of a ranking: many videos in order of quality, from judged pairs.

use serde::{Deserialize, Serialize};

use super::{ModelId, Provenance, RankingType, Schema};

/// Many videos in order of quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// The record format.
    pub schema: Schema,
    /// `ranking`.
    #[serde(rename = "type")]
    pub record_type: RankingType,
    /// The videos, best first.
    pub items: Vec<RankedItem>,
    /// How many pairs were judged, and could have been.
    pub comparisons: Comparisons,
    /// Share of the margin energy (the sum of squared margins) that no single score per video explains, 0..1; `null`
    /// where every margin is 0.
    pub inconsistency: Option<f64>,
    /// Standard deviation of a margin that the intervals rest on, points; `null` where it is unknown (comparisons given as a
    /// tree) or has no meaning (choices).
    pub noise: Option<f64>,
    /// Why judging ended.
    pub stopped: Stopped,
    /// Cycles of videos whose margins contradict each other most, worst first.
    pub worst_cycles: Vec<WorstCycle>,
    /// Every judged pair; where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Vec<GraphEdge>>,
    /// How the record came about.
    #[serde(flatten)]
    pub provenance: Provenance<Option<ModelId>>,
}

/// A video in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedItem {
    /// Its rank, 1 for the best; equal scores share the better rank.
    pub rank: usize,
    /// Path as given.
    pub path: String,
    /// Quality, points. Differences are those that explain the margins best; the mean of a group of connected videos
    /// is that of their scores by themselves, so that the numbers read on the five-point scale; 0 where comparisons were given.
    pub score: f64,
    /// 95 % interval `[lo, hi]` of the score within the ranking; `null` for a video that was compared with none.
    pub ci95: Option<[f64; 2]>,
    /// Whether the judgements cannot tell it from the video above it.
    pub tied: bool,
    /// Comparisons in which it was better.
    pub wins: usize,
    /// Comparisons in which it was worse.
    pub losses: usize,
    /// Comparisons that were ties.
    pub ties: usize,
    /// Which group of connected videos it belongs to, from 1; ranks and scores of different groups do not compare.
    pub group: usize,
    /// SHA-256 of the file, hexadecimal; `null` where only comparisons were given.
    pub sha256: Option<String>,
}

/// Numbers of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparisons {
    /// Judged, in earlier runs of a resumed ranking too.
    pub judged: usize,
    /// All pairs of the videos.
    pub possible: usize,
}

/// Why judging ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// As many pairs were judged as allowed.
    Budget,
    /// Every interval is as narrow as asked for.
    Interval,
    /// Each video is known to be above the next, or to be similar to it.
    Order,
    /// Every pair was judged.
    AllPairs,
    /// A pair could not be judged.
    Failure,
    /// The comparisons were given.
    Given,
}

/// A judged pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphEdge {
    /// Path of the first video.
    pub a: String,
    /// Path of the second video.
    pub b: String,
    /// Quality of A minus that of B, points (-4..4).
    pub margin: f64,
}

/// A walk over judged pairs back to its start, along which the margins do not cancel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstCycle {
    /// Paths in the order of the walk; the last is compared with the first.
    pub paths: Vec<String>,
    /// What the margins sum to, points; 0 would be consistent.
    pub margin_sum: f64,
    /// Whether each is preferred to the next, and the last to the first.
    pub intransitive: bool,
}
