//! The published prompts, and the expansion of media placeholders to as many tokens as a video gives.

use crate::error::{Error, Result};

/// VQAThinker's two spellings of the same prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// As the published model is tested: everything in one line.
    Test,
    /// As it is trained: a line break after the opening and after each picture.
    Training,
}

/// VQAThinker's question for a video of `frames` frames; with `motion` a slot for the motion token.
pub fn vqathinker(frames: usize, motion: bool, wording: Wording) -> String {
    let newline = if wording == Wording::Training { "\n" } else { "" };
    let mut text = format!("Now you will receive a video:{newline}");
    for i in 1..=frames {
        text += &format!("Frame{i}: <image>{newline}");
    }
    if motion {
        text += &format!("Motion Feature: <image>{newline}");
    }
    text + QUALITY_QUESTION
}

/// VQAThinker's question itself, asked of every family that has no question of its own.
pub const QUALITY_QUESTION: &str = "You are doing the video quality assessment task. Here is the question: What is your \
    overall rating on the quality of this video? The rating should be a float between 1 and 5, rounded to two decimal \
    places, with 1 representing very poor quality and 5 representing excellent quality.First output the thinking process \
    in <think> </think> tags and then output the final answer in <answer> </answer> tags.";

/// W2S-VQA's question about two videos; each has a placeholder for its frames and one for its motion tokens.
pub const W2S_PAIR: &str = "Now you will receive two videos. The first video:\n <image><image>. The second video:\n \
    <image><image>. Please watch these videos carefully, and then answer the following question: Comparing with the \
    first video, how do you assess the quality of the second video?";

/// [`W2S_PAIR`] around other placeholders: before the first video, between the two, after the second.
pub fn pair_pieces() -> [&'static str; 3] {
    let mut pieces = W2S_PAIR.split("<image><image>");
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}

/// How W2S-VQA's answer starts; the level is the next token.
pub const W2S_ANSWER_PREFIX: &str = "The quality of the second video is";

/// The five levels from worst to best, each one token with its leading blank, for next-token probabilities.
pub const LEVELS: [&str; 5] = [" inferior", " worse", " similar", " better", " superior"];

/// The question whose answer is one of [`GRADES`].
pub const GRADE_QUESTION: &str = "How would you rate the quality of this video?";

/// How that answer starts; the grade is the next token.
pub const GRADE_PREFIX: &str = "The quality of the video is";

/// The five grades from worst to best, each one token with its leading blank.
pub const GRADES: [&str; 5] = [" bad", " poor", " fair", " good", " excellent"];

/// Replaces the placeholders of `text` one by one.
///
/// # Errors
/// [`Error::Input`] unless there are as many placeholders as `expansions`.
pub fn expand(text: &str, placeholder: &str, expansions: &[String]) -> Result<String> {
    let pieces: Vec<&str> = text.split(placeholder).collect();
    if pieces.len() != expansions.len() + 1 {
        return Err(Error::Input(format!(
            "the prompt has {} places for media ({placeholder}), {} are given",
            pieces.len() - 1,
            expansions.len()
        )));
    }
    let mut out = pieces[0].to_owned();
    for (expansion, piece) in expansions.iter().zip(&pieces[1..]) {
        out += expansion;
        out += piece;
    }
    Ok(out)
}

/// InternVL: a picture of `tokens` tokens (the motion slot has one).
pub fn internvl_media(tokens: usize) -> String {
    format!("<img>{}</img>", "<IMG_CONTEXT>".repeat(tokens))
}

/// Qwen3-VL: what stands for a video, in place of `<|vision_start|><|video_pad|><|vision_end|>`: per temporal slice its
/// time in seconds (one decimal) and its tokens.
pub fn qwen3_video(slice_seconds: &[f64], tokens_per_slice: usize) -> String {
    let slice = |seconds: &f64| {
        format!(
            "<{seconds:.1} seconds><|vision_start|>{}<|vision_end|>",
            "<|video_pad|>".repeat(tokens_per_slice)
        )
    };
    slice_seconds.iter().map(slice).collect()
}
