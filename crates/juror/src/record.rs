//! Results as they are serialised: one JSON object per video or pair.
//!
//! The names, meanings and order of fields are a contract with scripts (`schema` `juror/1`): new fields
//! may be added, none renamed. Every number is finite; what is unknown is `null`. `path`s that are not
//! UTF-8 are written with replacement characters, since JSON has no other way.
//!
//! - here: comparisons, scores, failures, and what all records share;
//! - [`ranking`]: many videos in order;
//! - [`evaluation`]: agreement with people;
//! - [`calibration`]: probabilities of preference against people's choices.

pub mod calibration;
pub mod evaluation;
pub mod ranking;

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind};
use crate::judge::DEVICE;
use crate::record::calibration::Calibration;
use crate::record::evaluation::Evaluation;
use crate::record::ranking::Ranking;
use crate::verdict::{Level, Pooled, Preference};

/// Declares a type whose only value is one text, so that `schema` and `type` can be neither written nor
/// read wrong.
macro_rules! constant_text {
    ($(#[$doc:meta])* $name:ident = $text:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name;

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match String::deserialize(deserializer)?.as_str() {
                    $text => Ok(Self),
                    other => Err(serde::de::Error::custom(format!("`{other}` where `{}` is due", $text))),
                }
            }
        }
    };
}

constant_text!(
    /// The generation of the record format.
    Schema = "juror/1"
);
constant_text!(
    /// The `type` of a [`Comparison`].
    ComparisonType = "comparison"
);
constant_text!(
    /// The `type` of a [`Score`].
    ScoreType = "score"
);
constant_text!(
    /// The `type` of a [`ranking::Ranking`].
    RankingType = "ranking"
);
constant_text!(
    /// The `type` of a file that a ranking goes on from.
    StateType = "ranking_state"
);
constant_text!(
    /// The `type` of an [`evaluation::Evaluation`].
    EvaluationType = "evaluation"
);
constant_text!(
    /// The `type` of a [`calibration::Calibration`].
    CalibrationType = "calibration"
);
constant_text!(
    /// The `type` of an [`ErrorRecord`].
    ErrorType = "error"
);

/// Any record, told apart by its `type` when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// Which of two videos looks better.
    Comparison(Box<Comparison>),
    /// How good one video looks.
    Score(Box<Score>),
    /// Many videos in order.
    Ranking(Box<Ranking>),
    /// How well scores agree with people.
    Evaluation(Box<Evaluation>),
    /// How well probabilities of preference keep their word.
    Calibration(Box<Calibration>),
    /// An input that could not be judged.
    Error(Box<ErrorRecord>),
}

impl From<Comparison> for Record {
    fn from(record: Comparison) -> Self {
        Self::Comparison(Box::new(record))
    }
}

impl From<Score> for Record {
    fn from(record: Score) -> Self {
        Self::Score(Box::new(record))
    }
}

impl From<Ranking> for Record {
    fn from(record: Ranking) -> Self {
        Self::Ranking(Box::new(record))
    }
}

impl From<Evaluation> for Record {
    fn from(record: Evaluation) -> Self {
        Self::Evaluation(Box::new(record))
    }
}

impl From<Calibration> for Record {
    fn from(record: Calibration) -> Self {
        Self::Calibration(Box::new(record))
    }
}

impl From<ErrorRecord> for Record {
    fn from(record: ErrorRecord) -> Self {
        Self::Error(Box::new(record))
    }
}

/// Which of two videos looks better, by how much, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The record format.
    pub schema: Schema,
    /// `comparison`.
    #[serde(rename = "type")]
    pub record_type: ComparisonType,
    /// The first video.
    pub a: Input,
    /// The second video.
    pub b: Input,
    /// Quality of A minus that of B, points (-4..4): positive means that A is better.
    pub margin: f64,
    /// 95 % interval `[lo, hi]` of the margin, points.
    pub margin_ci95: [f64; 2],
    /// Probability that a viewer prefers A, 0..1.
    pub probability: f64,
    /// The better video, or neither.
    pub prefer: Preference,
    /// A against B in one word.
    pub level: Level,
    /// Margins by aspect, points (-4..4).
    pub aspects: Aspects,
    /// What is wrong with each video, worst first.
    pub distortions: PairDistortions,
    /// The written reasons; `null` where none were asked for.
    pub rationale: Option<String>,
    /// Whether A-B and B-A agree on the sign; `null` where only one order was judged.
    pub order_agreement: Option<bool>,
    /// How the record came about.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// How good one video looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The record format.
    pub schema: Schema,
    /// `score`.
    #[serde(rename = "type")]
    pub record_type: ScoreType,
    /// The video.
    pub video: Input,
    /// Quality, points (1 bad .. 5 excellent).
    pub score: f64,
    /// 95 % interval `[lo, hi]` of the score, points.
    pub ci95: [f64; 2],
    /// Scores by aspect, points (1..5).
    pub aspects: Aspects,
    /// What is wrong with the video, worst first.
    pub distortions: Vec<Distortion>,
    /// The written reasons; `null` where none were asked for.
    pub rationale: Option<String>,
    /// Scores along the video; empty unless segments were asked for.
    pub segments: Vec<Segment>,
    /// The segments' scores summed up; without segments the whole video is the only one.
    pub pooled: Pooled,
    /// What the score stands on; where it was found by anchors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<ByAnchors>,
    /// How the record came about.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// A score by anchors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByAnchors {
    /// How many anchors the video was compared with.
    pub count: usize,
    /// Standard deviation of the error of such a score, points: each anchor scored by the others.
    pub deviation: f64,
    /// Share of the spread of the margins that one score does not explain, 0..1; `null` for margins that are all equal.
    pub inconsistency: Option<f64>,
    /// The model's score of the video by itself, points.
    pub score_by_itself: f64,
}

/// An input, or pair of inputs, that could not be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// The record format.
    pub schema: Schema,
    /// `error`.
    #[serde(rename = "type")]
    pub record_type: ErrorType,
    /// What was to be judged.
    #[serde(flatten)]
    pub subject: Subject,
    /// The class of the failure.
    pub kind: ErrorKind,
    /// What happened and the way out, for people.
    pub message: String,
    /// How the record came about; the model is `null` where it could not be opened.
    #[serde(flatten)]
    pub provenance: Provenance<Option<ModelId>>,
}

impl ErrorRecord {
    /// The record of `error`, which befell `subject`.
    pub fn new(subject: Subject, error: &Error, provenance: Provenance<Option<ModelId>>) -> Self {
        Self {
            schema: Schema,
            record_type: ErrorType,
            subject,
            kind: error.kind(),
            message: error.to_string(),
            provenance,
        }
    }
}

/// What an [`ErrorRecord`] speaks of: a `path`, or a pair `a` and `b`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Subject {
    /// A pair.
    Pair {
        /// Path of the first video.
        a: String,
        /// Path of the second video.
        b: String,
    },
    /// One video.
    One {
        /// Its path.
        path: String,
    },
}

impl Subject {
    /// One video.
    pub fn one(path: &Path) -> Self {
        Self::One { path: path.to_string_lossy().into_owned() }
    }

    /// A pair of videos.
    pub fn pair(a: &Path, b: &Path) -> Self {
        Self::Pair { a: a.to_string_lossy().into_owned(), b: b.to_string_lossy().into_owned() }
    }
}

/// A video as it was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Path as given.
    pub path: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Width as shown (after rotation and sample aspect ratio), pixels.
    pub width: usize,
    /// Height as shown, pixels.
    pub height: usize,
    /// Mean frame rate, frames per second; `null` where unknown.
    pub fps: Option<f64>,
    /// Duration, seconds; `null` where unknown.
    pub duration: Option<f64>,
    /// Presentation times of the frames that were looked at closely, seconds.
    pub frames_sampled: Vec<f64>,
}

/// A quality by aspect: a margin (-4..4) in comparisons, a score (1..5) in scores; points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aspects {
    /// Within frames: sharpness, noise, blocking, light and colour.
    pub visual: f64,
    /// Between frames: smoothness, stutter, freezes, shake, flicker.
    pub temporal: f64,
}

/// One thing that is wrong with a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distortion {
    /// Its kind, kebab-case (`gaussian-blur`).
    pub kind: String,
    /// How bad it is, 0 (absent) .. 1 (severe).
    pub severity: f64,
}

/// What is wrong with each video of a pair.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PairDistortions {
    /// Of the first video.
    pub a: Vec<Distortion>,
    /// Of the second video.
    pub b: Vec<Distortion>,
}

/// The score of a part of a video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it begins, seconds.
    pub start: f64,
    /// Where it ends, seconds.
    pub end: f64,
    /// Its score, points (1..5).
    pub score: f64,
}

/// How a record came about: enough to get the same bits again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance<M = ModelId> {
    /// The model that judged.
    pub model: M,
    /// The seed of all randomness.
    pub seed: u64,
    /// Where the model ran (`cpu`; `remote` for one served elsewhere).
    pub device: String,
    /// Where the time went.
    pub timings: Timings,
    /// What a careful reader should know (tone mapping, damaged streams).
    pub warnings: Vec<String>,
    /// The version of juror.
    pub version: String,
}

impl Provenance<Option<ModelId>> {
    /// Of a record that no model had a part in.
    pub fn without_model(seed: u64) -> Self {
        Self {
            model: None,
            seed,
            device: DEVICE.to_owned(),
            timings: Timings::default(),
            warnings: Vec::new(),
            version: crate::VERSION.to_owned(),
        }
    }
}

/// A model by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelId {
    /// Its name (`nano`).
    pub name: String,
    /// SHA-256 of its weights, hexadecimal; empty for a model served elsewhere.
    pub sha256: String,
}

/// Wall-clock seconds by stage. Stages of a pair are sums over both videos, which may have run side by side:
/// only `total` is what a clock on the wall shows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Reading and decoding.
    pub decode: f64,
    /// The vision stage of the model.
    pub vision: f64,
    /// The judgement and its text.
    pub language: f64,
    /// Everything, from opening the files to the finished record.
    pub total: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_and_checked_when_read() {
        let provenance = Provenance {
            model: None,
            seed: 7,
            device: "cpu".to_owned(),
            timings: Timings::default(),
            warnings: Vec::new(),
            version: "0.1.0".to_owned(),
        };
        let error = Error::Answer("its margin is NaN".to_owned());
        let record = ErrorRecord::new(Subject::one(Path::new("clip.mp4")), &error, provenance);
        let text = serde_json::to_string(&Record::from(record.clone())).unwrap();
        let expected = concat!(
            r#"{"schema":"juror/1","type":"error","path":"clip.mp4","kind":"model","#,
            r#""message":"the model gave no usable answer: its margin is NaN","model":null,"seed":7,"device":"cpu","#,
            r#""timings":{"decode":0.0,"vision":0.0,"language":0.0,"total":0.0},"warnings":[],"version":"0.1.0"}"#,
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), Record::from(record));
        let wrong = text.replace("juror/1", "juror/0");
        assert!(serde_json::from_str::<ErrorRecord>(&wrong).is_err(), "an unknown schema is refused");
    }
}
