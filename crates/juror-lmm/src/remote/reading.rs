//! Reading what a served model answers, by the rules of [`crate::answer`] and stricter: a number counts only where the
//! model puts its answer, since free text is full of numbers that are no scores.

use juror_net::chat::{Answer, Chance};

use crate::answer::{Reading, ScoreRule, rationale, read_score, read_word};
use crate::error::{Error, Result};

/// Log-probabilities count where the five words share at least this much; elsewhere the model was about to say
/// something else.
const LEAST_MASS: f64 = 0.01;

/// Probabilities of five words, and whether only the word is known (no log-probabilities).
pub(super) fn choice(answer: &Answer, words: &[&str; 5]) -> Result<([f64; 5], bool)> {
    let places = answer.tokens.iter().map(|place| masses(place, words));
    let best = places.max_by(|a, b| a.iter().sum::<f64>().total_cmp(&b.iter().sum::<f64>()));
    if let Some(masses) = best {
        let total: f64 = masses.iter().sum();
        if total >= LEAST_MASS && total.is_finite() {
            return Ok((masses.map(|mass| mass / total), false));
        }
    }
    match read_word(&answer.text, words) {
        Reading::Value(k) => Ok((std::array::from_fn(|i| f64::from(u8::from(i == k))), true)),
        Reading::Unparsed(reason) => Err(unparsed(answer, reason)),
    }
}

/// The probability of each word at one place of the answer; tokens differ by blanks and case.
fn masses(place: &[Chance], words: &[&str; 5]) -> [f64; 5] {
    words.map(|word| {
        let is_word = |chance: &&Chance| chance.token.trim().eq_ignore_ascii_case(word.trim());
        place.iter().filter(is_word).map(|chance| chance.log_probability.min(0.0).exp()).sum()
    })
}

/// The score in its `<answer>`, after the reasons, or as the whole of the text.
pub(super) fn score(answer: &Answer) -> Result<f64> {
    let text = answer.text.trim();
    let is_placed = text.contains("<answer>") && text.contains("</answer>")
        || text.contains("</think>")
        || answer.reasoning.is_some() && !text.contains("<think>")
        || text.parse::<f64>().is_ok();
    if !is_placed {
        return Err(unparsed(answer, "no <answer> in it".into()));
    }
    match read_score(text, ScoreRule::default()) {
        Reading::Value(score) => Ok(score),
        Reading::Unparsed(reason) => Err(unparsed(answer, reason)),
    }
}

/// The reasons, in the model's own words.
pub(super) fn reasons(answer: &Answer) -> Option<String> {
    let text = rationale(&answer.text).or(answer.reasoning.as_deref()).unwrap_or(&answer.text).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn unparsed(answer: &Answer, reason: String) -> Error {
    const SHOWN: usize = 80;
    let cut_off = if answer.cut_off { ", cut off at its greatest length" } else { "" };
    let text: String = answer.text.trim().chars().take(SHOWN).collect();
    Error::Unparsed(format!("{reason}: {text:?}{cut_off}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::LEVELS;

    fn said(text: &str) -> Answer {
        Answer { text: text.to_owned(), reasoning: None, tokens: Vec::new(), cut_off: false }
    }

    fn place(chances: &[(&str, f64)]) -> Vec<Chance> {
        let chance =
            |(token, p): &(&str, f64)| Chance { token: (*token).to_owned(), log_probability: p.ln() };
        chances.iter().map(chance).collect()
    }

    #[test]
    fn probabilities_are_those_of_the_five_words_where_they_stand() {
        let mut answer = said("The quality of the second video is worse to the first video.");
        answer.tokens = vec![
            place(&[("The", 0.9), (" better", 0.02)]),
            place(&[(" worse", 0.3), (" Better", 0.1), (" much", 0.5), (" worse ", 0.1)]),
            place(&[(" to", 0.99)]),
        ];
        let (levels, only_word) = choice(&answer, &LEVELS).unwrap();
        assert!(!only_word);
        let expected = [0.0, 0.8, 0.0, 0.2, 0.0];
        assert!(levels.iter().zip(expected).all(|(p, e)| (p - e).abs() < 1e-12), "{levels:?}");
    }

    #[test]
    fn without_probabilities_the_word_counts_and_without_a_word_nothing_does() {
        let text = "The quality of the second video is superior to the first video.";
        assert_eq!(choice(&said(text), &LEVELS).unwrap(), ([0.0, 0.0, 0.0, 0.0, 1.0], true));
        let mut elsewhere = said("I cannot tell.");
        elsewhere.tokens = vec![place(&[("I", 0.99), (" better", 0.001)])];
        let error = choice(&elsewhere, &LEVELS).unwrap_err().to_string();
        assert!(error.contains("I cannot tell."), "{error}");
        assert!(choice(&said(""), &LEVELS).is_err());
        assert!(choice(&said("better or worse"), &LEVELS).is_err());
    }

    #[test]
    fn scores_count_only_where_answers_stand() {
        for (text, expected) in [
            ("<think>7 frames</think><answer>3.75</answer>", 3.75),
            ("<think>7 frames</think> 2.50", 2.5),
            (" 4.25 ", 4.25),
        ] {
            assert_eq!(score(&said(text)).unwrap(), expected, "{text}");
        }
        for text in
            ["I see 3 problems", "<think>Frame 1 is sharp, frame 2", "<answer>9</answer>", "<answer>3.5", ""]
        {
            assert!(matches!(score(&said(text)), Err(Error::Unparsed(_))), "{text}");
        }
        let cut_off = Answer { cut_off: true, ..said("<think>1") };
        assert!(score(&cut_off).unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn reasons_are_the_models_own() {
        assert_eq!(reasons(&said("<think> soft </think><answer>2</answer>")).as_deref(), Some("soft"));
        let apart = Answer { reasoning: Some("noisy\n".into()), ..said("<answer>2</answer>") };
        assert_eq!((reasons(&apart).as_deref(), score(&apart).unwrap()), (Some("noisy"), 2.0));
        assert_eq!(reasons(&said("Blocks show.")).as_deref(), Some("Blocks show."));
        assert_eq!(reasons(&said("  ")), None);
    }
}
