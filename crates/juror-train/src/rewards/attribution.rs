//! Are the right distortions named? Held against what the simulators did.
//!
//! The reasons are cut into what is said of A and of B (`A: ... B: ...`; one video: all of it). In each part the kinds
//! are those whose words occur. With N named and K known kinds of a video,
//!
//! ```text
//! F1 = 2 |N and K| / (|N| + |K|), 1 where both are empty         reward = mean of F1 over the videos
//! ```
//!
//! so that leaving out and making up cost alike. The words are those of `crate::language`.

use super::{Group, Reward, each, mean};
use juror_lmm::answer::rationale;

/// What each kind is called in a written comparison, in lower case.
const WORDS: [(&str, &[&str]); 15] = [
    ("compression", &["compression"]),
    ("gaussian-blur", &["blur"]),
    ("rescale", &["upscaling"]),
    ("gaussian-noise", &["noise"]),
    ("jpeg", &["jpeg"]),
    ("banding", &["banding"]),
    ("darken", &["darkening"]),
    ("brighten", &["overbrightening"]),
    ("contrast", &["contrast"]),
    ("resolution", &["loss of resolution", "lack of pixels"]),
    ("stutter", &["stutter"]),
    ("freeze", &["freeze"]),
    ("dropped-frames", &["frame drops"]),
    ("shake", &["shake"]),
    ("flicker", &["flicker"]),
];

/// Whether the distortions are named.
#[derive(Clone, Copy, Debug)]
pub struct Attribution;

impl Attribution {
    /// The kinds named of each of `videos` videos.
    #[must_use]
    pub fn named(text: &str, videos: usize) -> Vec<Vec<&'static str>> {
        let reasons = rationale(text).unwrap_or(text);
        let parts = match (videos, reasons.find("B:")) {
            (1, _) => vec![reasons],
            (2, Some(at)) => vec![&reasons[..at], &reasons[at..]],
            _ => vec![""; videos],
        };
        let kinds = |part: &str| {
            let part = part.to_lowercase();
            let named = |(_, words): &&(&str, &[&str])| words.iter().any(|word| part.contains(word));
            WORDS.iter().filter(named).map(|(kind, _)| *kind).collect()
        };
        parts.into_iter().map(kinds).collect()
    }
}

impl Reward for Attribution {
    fn name(&self) -> &'static str {
        "attribution"
    }

    fn rate(&self, groups: &[Group]) -> Vec<Vec<f64>> {
        each(groups, |truth, answer| {
            let named = Self::named(&answer.text, truth.faults.len());
            let f1 = |(named, known): (&Vec<&str>, &Vec<&str>)| {
                let hits = named.iter().filter(|kind| known.contains(kind)).count();
                let all = named.len() + known.len();
                if all == 0 { 1.0 } else { 2.0 * hits as f64 / all as f64 }
            };
            mean(&named.iter().zip(&truth.faults).map(f1).collect::<Vec<_>>())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::versions::{Step, Version};
    use crate::language::{self, Known};
    use crate::rewards::{Answer, Truth};
    use juror_lmm::nano::KINDS;
    use juror_nn::rng;

    #[test]
    fn leaving_out_and_making_up_cost_alike() {
        let text = |a: &str, b: &str| {
            format!("<think>A: {a}. B: {b}. Visual quality is alike.</think><answer>x</answer>")
        };
        let answer = |a: &str, b: &str| Answer { text: text(a, b), margin: None };
        let truth = Truth { target: 0.0, faults: vec![vec!["jpeg", "stutter"], Vec::new()] };
        let answers = vec![
            answer("slight JPEG blocks; strong stutter", "clean"),
            answer("slight JPEG blocks", "clean"),
            answer("slight JPEG blocks; strong stutter", "blur"),
            Answer { text: "jpeg stutter".into(), margin: None },
        ];
        let rated = Attribution.rate(&[Group { truth, answers }]);
        // A text that does not tell A from B names nothing: F1 0 for A, 1 for the clean B.
        assert_eq!(rated, [[1.0, (2.0 / 3.0 + 1.0) / 2.0, 0.5, 0.5]]);
    }

    #[test]
    fn every_kind_is_found_in_every_wording_of_the_targets() {
        for kind in KINDS {
            let version = |kind: Option<&str>| {
                Version::whole(kind.map(|k| Step { kind: k.to_owned(), level: 3.0 }).into_iter().collect())
            };
            let (simulated, clean) =
                (version(Some(if kind == "compression" { "h264" } else { kind })), version(None));
            let known = |version| Known { version, hold_centre: 0.5, visual: 0.5, temporal: 1.0 };
            for seed in 0..30 {
                let mut rng = rng::stream(seed, &[]);
                let text = language::comparison(&known(&clean), &known(&simulated), 1.0, &mut rng);
                assert_eq!(Attribution::named(&text, 2), [vec![], vec![kind]], "{text}");
            }
        }
    }
}
