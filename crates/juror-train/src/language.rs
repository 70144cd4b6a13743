//! Written targets: what a careful viewer would say, made from what the simulators know.
//!
//! The decoder learns to write these from the pictures alone; at run time nothing here is used. A text names
//! the distortions of each video with their strength, place and time, then weighs visual and temporal quality,
//! then answers with a level word (a pair) or a score with one decimal (a single video). Wording varies with
//! the seed, facts do not.

use crate::data::versions::{Place, Span, Version};
use juror::verdict::Level;
use rand::Rng;
use rand::seq::IndexedRandom;

/// One video as the simulators know it.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// What was done to it.
    pub version: &'a Version,
    /// Where the longest hold lies, 0..1 of the duration.
    pub hold_centre: f32,
    /// Quality 0..1 as far as single pictures go.
    pub visual: f64,
    /// Quality 0..1 of motion alone: 1 for untouched.
    pub temporal: f64,
}

/// Below this level a distortion is not worth a word.
pub(crate) const UNSEEN_LEVEL: f64 = 0.6;

/// The comparison of two videos, `<think>` to `</answer>`; `margin` in points, positive when A is better.
pub fn comparison(a: &Known<'_>, b: &Known<'_>, margin: f64, rng: &mut impl Rng) -> String {
    let visual = weigh("Visual", a.visual - b.visual, rng);
    let temporal = weigh("Temporal", a.temporal - b.temporal, rng);
    format!(
        "<think>A: {}. B: {}. {visual} {temporal}</think><answer>{}</answer>",
        describe(a, rng),
        describe(b, rng),
        level_word(Level::of_margin(margin)),
    )
}

/// The description of one video; `score` in points.
pub fn description(video: &Known<'_>, score: f64, rng: &mut impl Rng) -> String {
    format!("<think>{}.</think><answer>{score:.1}</answer>", describe(video, rng))
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Superior => "superior",
        Level::Better => "better",
        Level::Similar => "similar",
        Level::Worse => "worse",
        Level::Inferior => "inferior",
    }
}

/// Visual faults, then temporal ones.
fn describe(video: &Known<'_>, rng: &mut impl Rng) -> String {
    let seen = |temporal: bool| {
        video
            .version
            .steps
            .iter()
            .filter(move |step| step.level >= UNSEEN_LEVEL && is_temporal(&step.kind) == temporal)
    };
    let where_and_when = place_and_span(video.version);
    let mut visual: Vec<String> = Vec::new();
    for step in seen(false) {
        visual.push(format!("{} {}", strength(step.level), visual_phrase(&step.kind, rng)));
    }
    let visual = if visual.is_empty() {
        pick(&["clean, detailed picture", "clear picture without visible faults"], rng).to_owned()
    } else {
        format!("{}{where_and_when}", visual.join(" and "))
    };
    let mut temporal: Vec<String> = Vec::new();
    for step in seen(true) {
        temporal.push(temporal_phrase(&step.kind, step.level, video.hold_centre, rng));
    }
    let temporal = if temporal.is_empty() { "motion is steady".to_owned() } else { temporal.join(" and ") };
    format!("{visual}; {temporal}")
}

fn is_temporal(kind: &str) -> bool {
    juror_lmm::nano::kind_index(kind).is_some_and(juror_lmm::nano::is_temporal)
}

fn strength(level: f64) -> &'static str {
    match level {
        l if l < 1.5 => "slight",
        l if l < 2.5 => "moderate",
        l if l < 3.5 => "marked",
        l if l < 4.5 => "strong",
        _ => "severe",
    }
}

fn visual_phrase(kind: &str, rng: &mut impl Rng) -> &'static str {
    match kind {
        "gaussian-blur" => pick(&["blur", "blur of all fine detail"], rng),
        "gaussian-noise" => pick(&["noise", "grainy noise"], rng),
        "rescale" => pick(&["softness from upscaling", "upscaling with lost detail"], rng),
        "jpeg" => pick(&["JPEG blocks", "JPEG artefacts in every frame"], rng),
        "banding" => pick(&["banding in smooth areas", "banding of gradients"], rng),
        "darken" => "darkening",
        "brighten" => "overbrightening",
        "contrast" => pick(&["loss of contrast", "flat contrast"], rng),
        "resolution" => pick(&["loss of resolution", "lack of pixels for this screen"], rng),
        _ => pick(&["compression artefacts", "compression with blocking and smeared detail"], rng),
    }
}

fn temporal_phrase(kind: &str, level: f64, hold_centre: f32, rng: &mut impl Rng) -> String {
    let strength = strength(level);
    match kind {
        "stutter" => {
            format!("{strength} stutter, {}", pick(&["frames held in a rhythm", "motion in steps"], rng))
        }
        "freeze" => {
            let when = match hold_centre {
                c if c < 0.34 => "early",
                c if c < 0.67 => "halfway",
                _ => "late",
            };
            format!("{strength} freeze, the picture stands {when} in the clip")
        }
        "dropped-frames" => format!("{strength} frame drops at random moments"),
        "shake" => format!("{strength} shake of the whole picture"),
        _ => format!("{strength} flicker of brightness"),
    }
}

fn place_and_span(version: &Version) -> &'static str {
    match (version.place, version.span) {
        (Place::Left, _) => " in the left half",
        (Place::Right, _) => " in the right half",
        (Place::Top, _) => " in the upper half",
        (Place::Bottom, _) => " in the lower half",
        (Place::Centre, _) => " in the centre",
        (_, Span::Start) => " in the first third",
        (_, Span::Middle) => " in the second third",
        (_, Span::End) => " in the last third",
        (Place::Whole, Span::Whole) => "",
    }
}

/// A sentence on one aspect; `difference` is A minus B on 0..1.
fn weigh(aspect: &str, difference: f64, rng: &mut impl Rng) -> String {
    let better = if difference > 0.0 { "A" } else { "B" };
    match difference.abs() {
        d if d < 0.04 => format!("{aspect} quality is {}.", pick(&["alike", "about the same"], rng)),
        d if d < 0.15 => format!("{aspect} quality is slightly better in {better}."),
        d if d < 0.4 => format!("{aspect} quality is clearly better in {better}."),
        _ => format!("{aspect} quality is far better in {better}."),
    }
}

fn pick(options: &[&'static str], rng: &mut impl Rng) -> &'static str {
    options.choose(rng).copied().unwrap_or("")
}
