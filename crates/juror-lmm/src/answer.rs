//! Reading numbers and words out of what a model wrote.
//!
//! What cannot be read is [`Reading::Unparsed`] with a reason, never a made-up number. The published evaluation and
//! training code reads answers with quirks of its own; they stand behind [`ScoreRule`].

use std::str::FromStr;

use crate::error::{Error, Result};

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading<T> {
    /// The value.
    Value(T),
    /// Nothing could be read; the reason, for a warning.
    Unparsed(String),
}

impl<T> Reading<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unparsed(_) => None,
        }
    }
}

/// How scores and margins are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScoreRule {
    /// Ours: the last `<answer>` block, else what follows `</think>`, else the whole text; in it the first number with
    /// decimals, else the first number; it must lie in the range.
    Range {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// VQAThinker's evaluation: the **first** `<answer>` block, all of it one number, commas dropped; 3.00 on failure.
    VqaThinkerTest,
    /// VQAThinker's training: the **last** `<answer>` block, else the whole text; in it the first number. Where the
    /// published code then draws a random integer, this is unparsed.
    VqaThinkerTraining,
}

impl ScoreRule {
    /// The rules for scores, with the names under which they are asked for.
    pub const NAMED: [(&str, Self); 3] = [
        ("strict", Self::Range { min: 1.0, max: 5.0 }),
        ("vqathinker-test", Self::VqaThinkerTest),
        ("vqathinker-training", Self::VqaThinkerTraining),
    ];
}

impl Default for ScoreRule {
    /// Scores of 1 to 5.
    fn default() -> Self {
        Self::NAMED[0].1
    }
}

impl FromStr for ScoreRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::NAMED.into_iter().find(|(name, _)| *name == text).map(|(_, rule)| rule).ok_or_else(|| {
            let names = Self::NAMED.map(|(name, _)| name).join(", ");
            Error::Input(format!("`{text}` is no way to read answers; allowed are {names}"))
        })
    }
}

/// Reads a score or margin.
pub fn read_score(text: &str, rule: ScoreRule) -> Reading<f64> {
    match rule {
        ScoreRule::Range { min, max } => read_in_range(text, min, max),
        ScoreRule::VqaThinkerTest => {
            let block = blocks(text, "answer").into_iter().next().unwrap_or_default();
            // The fallback of the published code, part of its reported results.
            Reading::Value(block.trim().replace(',', "").parse().unwrap_or(3.0))
        }
        ScoreRule::VqaThinkerTraining => match training_number(text) {
            Some(number) => Reading::Value(number.value),
            None => Reading::Unparsed("no number in the answer".into()),
        },
    }
}

/// The number that [`ScoreRule::VqaThinkerTraining`] reads, with the decimals it was written with.
pub fn training_number(text: &str) -> Option<Number> {
    first_number(blocks(text, "answer").last().copied().unwrap_or(text))
}

fn read_in_range(text: &str, min: f64, max: f64) -> Reading<f64> {
    let answers = blocks(text, "answer");
    let thought = text.rfind("</think>").map(|at| &text[at + "</think>".len()..]);
    let place = answers.last().copied().or(thought).unwrap_or(text);
    let numbers = numbers(place, true);
    let Some(number) = numbers.iter().find(|n| n.decimals > 0).or(numbers.first()) else {
        return Reading::Unparsed(format!("no number in {:?}", shortened(place)));
    };
    if number.value < min || number.value > max {
        return Reading::Unparsed(format!("{} is outside {min} to {max}", number.value));
    }
    Reading::Value(number.value)
}

/// Reads which of some words (levels, `excellent` to `bad`) an answer names; whole words, whatever the case.
pub fn read_word(text: &str, words: &[&str]) -> Reading<usize> {
    let answers = blocks(text, "answer");
    let thought = text.rfind("</think>").map(|at| &text[at + "</think>".len()..]);
    let place = answers.last().copied().or(thought).unwrap_or(text);
    let said: Vec<String> = place.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
    let named: Vec<usize> =
        (0..words.len()).filter(|&i| said.iter().any(|w| *w == words[i].trim().to_lowercase())).collect();
    match named[..] {
        [one] => Reading::Value(one),
        [] => Reading::Unparsed(format!("none of {} in {:?}", words.join(","), shortened(place))),
        _ => Reading::Unparsed(format!("several levels in {:?}", shortened(place))),
    }
}

/// The text between the first `<think>` and `</think>`: the reasons.
pub fn rationale(text: &str) -> Option<&str> {
    blocks(text, "think").first().map(|block| block.trim())
}

/// VQAThinker's format rule: a think block, white space, an answer block, and nothing else around them.
pub fn is_well_formed(text: &str) -> bool {
    let (Some(inner), true) = (text.strip_prefix("<think>"), text.ends_with("</answer>")) else {
        return false;
    };
    let end = inner.len() - "</answer>".len();
    inner.match_indices("</think>").any(|(at, tag)| {
        let rest = &inner[at + tag.len()..];
        let answer = inner.len() - rest.trim_start().len();
        inner[answer..].starts_with("<answer>") && answer + "<answer>".len() <= end
    })
}

/// The contents of all `<tag>...</tag>` blocks, in order; none overlap.
fn blocks<'t>(text: &'t str, tag: &str) -> Vec<&'t str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&open) {
        let inner = &rest[start + open.len()..];
        let Some(end) = inner.find(&close) else { break };
        found.push(&inner[..end]);
        rest = &inner[end + close.len()..];
    }
    found
}

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Its value.
    pub value: f64,
    /// Digits behind the point, zeros included.
    pub decimals: usize,
}

fn first_number(text: &str) -> Option<Number> {
    numbers(text, false).into_iter().next()
}

/// Signed decimal numbers in a text. `lenient` also takes a leading point (`.85`) and a decimal comma before one or two
/// digits (`3,75`), and no minus sign that follows a digit (`1-5`).
fn numbers(text: &str, lenient: bool) -> Vec<Number> {
    let characters: Vec<char> = text.chars().collect();
    let digits_from = |at: usize| characters[at..].iter().map_while(|&c| digit(c)).collect::<String>();
    let mut found = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let after_digit = at > 0 && digit(characters[at - 1]).is_some();
        let sign = characters[at] == '-' && !(lenient && after_digit);
        let start = at + usize::from(sign);
        let whole = if start < characters.len() { digits_from(start) } else { String::new() };
        let point = start + whole.chars().count();
        let fraction = if point + 1 < characters.len() { digits_from(point + 1) } else { String::new() };
        let fraction_counts = match characters.get(point) {
            Some('.') => !fraction.is_empty() && (lenient || !whole.is_empty()),
            Some(',') => lenient && !whole.is_empty() && (1..=2).contains(&fraction.chars().count()),
            _ => false,
        };
        if whole.is_empty() && !fraction_counts {
            at += 1;
            continue;
        }
        let fraction = if fraction_counts { fraction.as_str() } else { "" };
        let written = format!("{}{whole}.{fraction}0", if sign { "-0" } else { "0" });
        if let Ok(value) = written.parse() {
            found.push(Number { value, decimals: fraction.len() });
        }
        at = point + if fraction_counts { 1 + fraction.len() } else { 0 };
    }
    found
}

/// A decimal digit of any of the scripts that models write, as ASCII (full-width digits in Chinese text above all).
fn digit(c: char) -> Option<char> {
    const ZEROS: [u32; 16] = [
        0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50,
        0xED0, 0xFF10,
    ];
    let code = u32::from(c);
    let zero = ZEROS.into_iter().find(|zero| (*zero..zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        text.chars().take(57).collect::<String>() + "..."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORE: ScoreRule = ScoreRule::Range { min: 1.0, max: 5.0 };

    #[test]
    fn scores_are_read_or_honestly_not() {
        let value = |text: &str| read_score(text, SCORE).value();
        assert_eq!(value("<think>12 frames</think><answer>3.75</answer>"), Some(3.75));
        assert_eq!(value("<answer>1.00</answer> no: <answer>4.44</answer>"), Some(4.44));
        assert_eq!(value("<think>I saw 7 frames</think> quality is 2.72"), Some(2.72));
        assert_eq!(value("<answer>1-5: 3.21</answer>"), Some(3.21));
        assert_eq!(value("<answer>3,75</answer>"), Some(3.75));
        assert_eq!(value("<answer>5.25 / 5</answer>"), None);
        assert_eq!(value("<answer>good</answer>"), None);
        assert_eq!(value(""), None);
        let margin = ScoreRule::Range { min: -4.0, max: 4.0 };
        assert_eq!(read_score("<answer>-.85</answer>", margin).value(), Some(-0.85));
        assert_eq!(read_score("<answer>+1.5</answer>", margin).value(), Some(1.5));
    }

    #[test]
    fn the_published_evaluation_falls_back_to_three() {
        let value = |text: &str| read_score(text, ScoreRule::VqaThinkerTest).value();
        assert_eq!(value("<answer> 2.50 </answer><answer>4</answer>"), Some(2.5));
        assert_eq!(value("<answer>3,75</answer>"), Some(375.0));
        assert_eq!(value("<answer>about 4</answer>"), Some(3.0));
        assert_eq!(value("4.20"), Some(3.0));
    }

    #[test]
    fn levels_are_whole_words() {
        let levels = crate::prompt::LEVELS;
        assert_eq!(
            read_word("The quality of the second video is Worse to the first.", &levels).value(),
            Some(1)
        );
        assert_eq!(read_word("<think>better?</think><answer>superior</answer>", &levels).value(), Some(4));
        assert_eq!(read_word("it is betterment", &levels).value(), None);
        assert_eq!(read_word("better or worse", &levels).value(), None);
        assert_eq!(rationale("<think> noisy </think><answer>2</answer>"), Some("noisy"));
    }
}
