//! Which versions of a source to make: kinds, severities, places and moments, drawn from a seed.
//!
//! Severities are continuous and spread over the range of each family, so that both near and far pairs occur.
//! A *family* is what makes severities comparable: the same kind, encoder preset, place and span. Most versions
//! are one distortion over the whole clip; some are confined to a part of the picture or of the time, so that
//! there is something to say about where and when; some are two-step chains as they happen in the world
//! (noise before an encoder, a lower rung of a ladder, a stuttering stream).

use juror_media::distort::Kind;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// The part of the picture that a distortion covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// All of it.
    Whole,
    /// The left half; the other halves likewise.
    Left,
    #[allow(missing_docs)]
    Right,
    #[allow(missing_docs)]
    Top,
    #[allow(missing_docs)]
    Bottom,
    /// The middle half of the width and height.
    Centre,
}

/// The part of the time that a distortion covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// All of it.
    Whole,
    /// The first third.
    Start,
    /// The second third.
    Middle,
    /// The last third.
    End,
}

impl Span {
    /// First and one-past-last frame of `n`.
    #[must_use]
    pub fn range(self, n: usize) -> std::ops::Range<usize> {
        match self {
            Self::Whole => 0..n,
            Self::Start => 0..n.div_ceil(3),
            Self::Middle => n / 3..(2 * n).div_ceil(3),
            Self::End => 2 * n / 3..n,
        }
    }
}

/// One distortion of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Name of the kind, as `juror distort --list-kinds` prints it.
    pub kind: String,
    /// 0 (nothing) to 5 (severe).
    pub level: f64,
}

/// One version of a source; no steps: the source itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Distortions in the order they happen.
    pub steps: Vec<Step>,
    /// Encoder preset or speed, where a step is a codec.
    pub preset: Option<String>,
    /// Where in the picture.
    pub place: Place,
    /// When.
    pub span: Span,
    /// CRF of a last, all but invisible H.264 encode, as files reach people; none where a codec is a step.
    pub delivery_crf: Option<f64>,
}

impl Version {
    /// The untouched source.
    #[must_use]
    pub fn source() -> Self {
        Self::whole(Vec::new())
    }

    /// These steps over the whole clip, as they come out of the simulators.
    #[must_use]
    pub fn whole(steps: Vec<Step>) -> Self {
        Self { steps, preset: None, place: Place::Whole, span: Span::Whole, delivery_crf: None }
    }

    /// Severities of versions with equal families are comparable; `None` for the source and for chains.
    #[must_use]
    pub fn family(&self) -> Option<String> {
        let [step] = self.steps.as_slice() else { return None };
        let preset = self.preset.as_deref().unwrap_or("");
        Some(format!("{}/{preset}/{:?}/{:?}", step.kind, self.place, self.span))
    }
}

/// How often each kind occurs among the versions of a group, relative to the others.
const SHARES: [(Kind, usize); 18] = [
    (Kind::H264, 6),
    (Kind::Hevc, 4),
    (Kind::Vp9, 4),
    (Kind::Av1, 4),
    (Kind::Mpeg4, 2),
    (Kind::GaussianBlur, 2),
    (Kind::Rescale, 2),
    (Kind::GaussianNoise, 2),
    (Kind::Jpeg, 2),
    (Kind::Banding, 2),
    (Kind::Darken, 2),
    (Kind::Brighten, 2),
    (Kind::Contrast, 2),
    (Kind::Resolution, 3),
    (Kind::Stutter, 3),
    (Kind::Freeze, 2),
    (Kind::DroppedFrames, 2),
    (Kind::Shake, 2),
];
const FLICKER_SHARE: usize = 2;

/// Levels of each kind in a group.
const LADDER: usize = 3;

/// Share of the versions without a codec that are encoded lightly in the end: held frames of a real file are not
/// equal to the last sample, and noise is not as it left the sensor.
const DELIVERED_SHARE: f64 = 0.5;

/// Chains as they happen in the world, by kinds.
const CHAINS: [&[Kind]; 7] = [
    &[Kind::GaussianNoise, Kind::H264],
    &[Kind::Rescale, Kind::H264],
    &[Kind::Resolution, Kind::H264],
    &[Kind::Stutter, Kind::H264],
    &[Kind::DroppedFrames, Kind::Mpeg4],
    &[Kind::Shake, Kind::GaussianBlur],
    &[Kind::Darken, Kind::GaussianNoise],
];

fn presets(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::H264 => &["ultrafast", "veryfast", "medium"],
        Kind::Hevc => &["ultrafast", "superfast", "veryfast"],
        // Good quality (a number) takes nine times as long as realtime.
        Kind::Vp9 => &["realtime", "realtime", "realtime", "8"],
        Kind::Av1 => &["12", "10"],
        _ => &[],
    }
}

/// Draws `count` versions, the source first.
pub fn draw(count: usize, held_out: &[Kind], rng: &mut impl Rng) -> Vec<Version> {
    let mut versions = vec![Version::source()];
    let chains = count / 12;
    let mut kinds: Vec<Kind> = SHARES
        .iter()
        .chain(&[(Kind::Flicker, FLICKER_SHARE)])
        .filter(|(kind, _)| !held_out.contains(kind))
        .flat_map(|&(kind, share)| std::iter::repeat_n(kind, share))
        .collect();
    kinds.shuffle(rng);
    // Few kinds, each as a ladder: only levels of one kind have an order that needs no yardstick.
    let mut ladders: Vec<Kind> = Vec::new();
    let rungs = count.saturating_sub(1 + chains);
    for kind in kinds {
        if ladders.len() < rungs.div_ceil(LADDER) && !ladders.contains(&kind) {
            ladders.push(kind);
        }
    }
    for kind in ladders {
        let preset = presets(kind).choose(rng).map(|p| (*p).to_owned());
        let (place, span) = confine(kind, rng);
        // Over the whole range, or close together somewhere: also the two worst levels must meet.
        let range = if rng.random() { 5.0 } else { 2.0 };
        let mildest = rng.random_range(0.0..=5.0 - range);
        for rung in 0..LADDER {
            let level = mildest + range * (rung as f64 + rng.random::<f64>()) / LADDER as f64;
            versions.push(Version {
                steps: vec![Step { kind: kind.name().to_owned(), level: level.max(0.15) }],
                preset: preset.clone(),
                place,
                span,
                delivery_crf: None,
            });
        }
    }
    versions.truncate(1 + rungs);
    for _ in 0..chains {
        let Some(kinds) = CHAINS.choose(rng) else { break };
        if kinds.iter().any(|kind| held_out.contains(kind)) {
            continue;
        }
        let steps = kinds
            .iter()
            .map(|kind| Step { kind: kind.name().to_owned(), level: rng.random_range(0.5..4.0) })
            .collect();
        versions.push(Version::whole(steps));
    }
    versions.truncate(count);
    for version in &mut versions {
        let is_coded = version.steps.last().is_some_and(|s| s.kind.parse().is_ok_and(Kind::is_codec));
        if !is_coded && rng.random::<f64>() < DELIVERED_SHARE {
            version.delivery_crf = Some(rng.random_range(8.0..17.0));
        }
    }
    versions
}

/// Sometimes a part of the picture or of the time; never for kinds that change the size or the clock.
fn confine(kind: Kind, rng: &mut impl Rng) -> (Place, Span) {
    if kind.is_temporal() || kind == Kind::Resolution {
        return (Place::Whole, Span::Whole);
    }
    let draw: f64 = rng.random();
    if draw < 0.12 {
        let places = [Place::Left, Place::Right, Place::Top, Place::Bottom, Place::Centre];
        (places.choose(rng).copied().unwrap_or(Place::Whole), Span::Whole)
    } else if draw < 0.22 {
        let spans = [Span::Start, Span::Middle, Span::End];
        (Place::Whole, spans.choose(rng).copied().unwrap_or(Span::Whole))
    } else {
        (Place::Whole, Span::Whole)
    }
}
