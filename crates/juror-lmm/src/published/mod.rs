//! Published checkpoints as judges: a folder is opened, its family found in `config.json`, videos are turned to tokens
//! once and then scored or compared as often as wanted.
//!
//! A score is written by the model (VQAThinker's prompt) and read by [`crate::answer`]; a comparison reads the
//! probabilities of the five levels as the next token (W2S-VQA's prompt), so it needs one forward pass and writes nothing.
//! W2S-VQA's motion tokens come from a network that its checkpoint does not hold (see `published/motion.rs`).

mod judge;
pub mod memory;
mod motion;
mod network;
mod open;
pub mod random;

use std::path::Path;

use serde::Deserialize;

pub use judge::{Frames, family, open_folder};
pub use network::{Network, VideoTokens};
pub use open::{OpenOptions, Processor};

use self::network::Model;
use crate::answer::{Reading, ScoreRule, rationale, read_score};
use crate::error::{Error, Result};
use crate::generate::{Options, Session, generate, word_probabilities};
use crate::judge::ModelInfo;
use crate::prompt::{self, GRADE_PREFIX, QUALITY_QUESTION, W2S_ANSWER_PREFIX, Wording};
use crate::sequence::{Batch, Prefill};
use crate::template::{ChatTemplate, Message, Part};
use crate::tokenizer::Tokenizer;

/// The families that load, by their `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `internvl_chat` (OpenGVLab's layout, VQAThinker).
    InternVl3,
    /// `internvl` (transformers' layout).
    InternVl3Hf,
    /// `llava_onevision` (transformers' layout).
    LlavaOneVision,
    /// `llava` and `llava_qwen` (LLaVA-NeXT's layout, W2S-VQA).
    LlavaOriginal,
    /// `qwen2_5_vl`.
    Qwen25Vl,
    /// `qwen3_vl`.
    Qwen3Vl,
}

#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

impl Family {
    /// Its `model_type`; of those with two, the newer one.
    pub fn name(self) -> &'static str {
        match self {
            Self::InternVl3 => "internvl_chat",
            Self::InternVl3Hf => "internvl",
            Self::LlavaOneVision => "llava_onevision",
            Self::LlavaOriginal => "llava_qwen",
            Self::Qwen25Vl => "qwen2_5_vl",
            Self::Qwen3Vl => "qwen3_vl",
        }
    }

    /// The family of a checkpoint folder.
    ///
    /// # Errors
    /// No `config.json`, or a family that is not supported.
    pub fn detect(folder: &Path) -> Result<Self> {
        let kind: Kind = crate::config::read(&folder.join("config.json"))?;
        match kind.model_type.as_str() {
            "internvl_chat" => Ok(Self::InternVl3),
            "internvl" => Ok(Self::InternVl3Hf),
            "llava_onevision" => Ok(Self::LlavaOneVision),
            "llava" | "llava_qwen" => Ok(Self::LlavaOriginal),
            "qwen2_5_vl" => Ok(Self::Qwen25Vl),
            "qwen3_vl" => Ok(Self::Qwen3Vl),
            _ => Err(Error::UnsupportedFamily {
                model_type: kind.model_type,
                supported:
                    "internvl_chat, internvl, llava_onevision, llava, llava_qwen, qwen2_5_vl, qwen3_vl".into(),
            }),
        }
    }
}

/// A written score.
#[derive(Debug, Clone)]
pub struct Scored {
    /// 1 to 5, as far as it could be read.
    pub score: Reading<f64>,
    /// The reasons, if the model gave any.
    pub rationale: Option<String>,
    /// All that was written.
    pub text: String,
}

/// A published checkpoint, ready to judge.
pub struct Published {
    network: Network,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    placeholder: u32,
    stop_ids: Vec<u32>,
    levels: Option<[u32; 5]>,
    grades: Option<[u32; 5]>,
    unused: Vec<String>,
    answers: ScoreRule,
    info: ModelInfo,
    processor: String,
}

impl Published {
    /// The family.
    pub fn family(&self) -> Family {
        self.network.family
    }

    /// Tensors of the checkpoint that the model does not use, for a warning.
    pub fn unused_tensors(&self) -> &[String] {
        &self.unused
    }

    /// The towers and the decoder.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What stands for a video in the rendered prompt, tokens written out.
    fn media(&self, video: &VideoTokens) -> Result<String> {
        let tokens = video.tokens.dim(0)?;
        Ok(match &self.network.model {
            Model::InternVl3 { model, .. } => {
                let motion = usize::from(model.has_motion());
                let per_frame = (tokens - motion) / video.frames.max(1);
                let frame = |i: usize| format!("Frame{i}: {}", prompt::internvl_media(per_frame));
                let frames: String = (1..=video.frames).map(frame).collect();
                let slot = if motion == 1 {
                    format!("Motion Feature: {}", prompt::internvl_media(1))
                } else {
                    String::new()
                };
                frames + &slot
            }
            Model::Llava { .. } => "<|endoftext|>".repeat(tokens),
            Model::Qwen25 { .. } => {
                format!("<|vision_start|>{}<|vision_end|>", "<|video_pad|>".repeat(tokens))
            }
            Model::Qwen3 { .. } => {
                prompt::qwen3_video(&video.slice_seconds, tokens / video.slice_seconds.len().max(1))
            }
        })
    }

    /// The dialogue with a mark for each video, rendered, then the marks replaced.
    fn render(&self, message: Message, videos: &[&VideoTokens]) -> Result<String> {
        let text = self.template.render(&[message], true)?;
        let media = videos.iter().map(|video| self.media(video)).collect::<Result<Vec<_>>>()?;
        prompt::expand(&text, self.mark(), &media)
    }

    /// What a template writes for a video.
    fn mark(&self) -> &'static str {
        match self.network.model {
            Model::Qwen25 { .. } | Model::Qwen3 { .. } => "<|vision_start|><|video_pad|><|vision_end|>",
            Model::InternVl3 { .. } => "<video>",
            Model::Llava { .. } if self.network.family == Family::LlavaOriginal => "<image>",
            Model::Llava { .. } => "<video>",
        }
    }

    fn prefill(&self, text: &str, videos: &[&VideoTokens]) -> Result<Prefill> {
        self.prefill_ids(&[self.tokenizer.encode(text)?], videos)
    }

    /// What the decoder reads: prompts as tokens, padded on the left, and the videos that stand in them, in order.
    ///
    /// # Errors
    /// Placeholders and tokens of videos that differ in number.
    pub fn prefill_ids(&self, prompts: &[Vec<u32>], videos: &[&VideoTokens]) -> Result<Prefill> {
        // What pads is masked, and passed over where visual places are sought.
        self.network.prefill(&Batch::left_padded(prompts, self.stop_ids[1]), self.placeholder, videos)
    }

    /// The tokens that end an answer; the first ends a message.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The prompt that asks for a score of a video.
    ///
    /// # Errors
    /// A template that fails.
    pub fn score_prompt(&self, video: &VideoTokens) -> Result<String> {
        let message = match &self.network.model {
            Model::InternVl3 { model, .. } => {
                // VQAThinker's text word by word; its frames are the placeholders.
                let text = prompt::vqathinker(video.frames, model.has_motion(), Wording::Test);
                let rendered = self.template.render(&[Message::user(text)], true)?;
                let motion = usize::from(model.has_motion());
                let per_frame = (video.tokens.dim(0)? - motion) / video.frames.max(1);
                let mut media = vec![prompt::internvl_media(per_frame); video.frames];
                media.extend(std::iter::repeat_n(prompt::internvl_media(1), motion));
                return prompt::expand(&rendered, "<image>", &media);
            }
            Model::Llava { .. } => Message::user(format!("{}\n{QUALITY_QUESTION}", self.mark())),
            _ => Message::user_parts(vec![Part::Video, Part::Text { text: QUALITY_QUESTION.into() }]),
        };
        self.render(message, &[video])
    }

    /// The prompt that asks how the second video compares with the first, up to the level.
    ///
    /// # Errors
    /// A template that fails.
    pub fn pair_prompt(&self, first: &VideoTokens, second: &VideoTokens) -> Result<String> {
        let [before, between, after] = prompt::pair_pieces();
        let message = match self.network.model {
            Model::InternVl3 { .. } | Model::Llava { .. } => {
                let mark = self.mark();
                Message::user(format!("{before}{mark}{between}{mark}{after}"))
            }
            _ => {
                let text = |text: &str| Part::Text { text: text.to_owned() };
                Message::user_parts(vec![text(before), Part::Video, text(between), Part::Video, text(after)])
            }
        };
        Ok(self.render(message, &[first, second])? + W2S_ANSWER_PREFIX)
    }

    /// Lets the model write greedily; `on_text` is told the text as it appears.
    fn write(
        &self,
        prefill: &Prefill,
        max_new_tokens: usize,
        mut on_text: impl FnMut(&str),
    ) -> Result<String> {
        let options = Options::greedy(max_new_tokens, self.stop_ids.clone());
        let mut stream = self.tokenizer.stream();
        let mut failed = None;
        let written =
            generate(self.network.decoder(), prefill, &options, |_, _, token| match stream.push(token) {
                Ok(text) => on_text(&text),
                Err(error) => failed = Some(error),
            })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let tokens = written.first().and_then(|rollouts| rollouts.first()).map_or(&[][..], |c| &c.tokens[..]);
        self.tokenizer.decode(tokens, false)
    }

    /// Lets the model write a score of 1 to 5 with its reasons; `on_text` is told the text as it appears.
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn score(
        &self,
        video: &VideoTokens,
        max_new_tokens: usize,
        on_text: impl FnMut(&str),
    ) -> Result<Scored> {
        let prefill = self.prefill(&self.score_prompt(video)?, &[video])?;
        let text = self.write(&prefill, max_new_tokens, on_text)?;
        let score = read_score(&text, self.answers);
        Ok(Scored { score, rationale: rationale(&text).map(ToOwned::to_owned), text })
    }

    /// Probabilities of the five levels of the second video against the first, from inferior to superior.
    ///
    /// # Errors
    /// A tokenizer in which a level is not one token.
    pub fn compare(&self, first: &VideoTokens, second: &VideoTokens) -> Result<[f64; 5]> {
        let levels = self.levels.ok_or_else(|| {
            Error::Tokenizer("the words inferior, worse, similar, better, superior are not one token each; this model cannot compare".into())
        })?;
        let prefill = self.prefill(&self.pair_prompt(first, second)?, &[first, second])?;
        let logits = Session::start(self.network.decoder(), &prefill)?.logits()?.get(0)?.to_vec1::<f32>()?;
        let probabilities = word_probabilities(&logits, &levels, 1.0);
        Ok(std::array::from_fn(|i| probabilities[i]))
    }

    /// Whether the model was trained to write scores (VQAThinker), so that its next-token probabilities mean little.
    pub fn writes_scores(&self) -> bool {
        matches!(&self.network.model, Model::InternVl3 { model, .. } if model.has_motion())
    }

    /// Probabilities of the five grades from bad to excellent as the next token (the rule of Q-Align and VQA²); `None`
    /// where a grade is not one token.
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn grade(&self, video: &VideoTokens) -> Result<Option<[f64; 5]>> {
        let Some(grades) = self.grades else { return Ok(None) };
        let message = match self.network.model {
            Model::InternVl3 { .. } | Model::Llava { .. } => {
                Message::user(format!("{}\n{}", self.mark(), prompt::GRADE_QUESTION))
            }
            _ => Message::user_parts(vec![Part::Video, Part::Text { text: prompt::GRADE_QUESTION.into() }]),
        };
        let prefill = self.prefill(&(self.render(message, &[video])? + GRADE_PREFIX), &[video])?;
        let logits = Session::start(self.network.decoder(), &prefill)?.logits()?.get(0)?.to_vec1::<f32>()?;
        let probabilities = word_probabilities(&logits, &grades, 1.0);
        Ok(Some(std::array::from_fn(|i| probabilities[i])))
    }

    /// What the model writes when asked to compare two videos; `on_text` is told the text as it appears.
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn describe_pair(
        &self,
        first: &VideoTokens,
        second: &VideoTokens,
        max_new_tokens: usize,
        on_text: impl FnMut(&str),
    ) -> Result<String> {
        let text = self.pair_prompt(first, second)?;
        let text = text.strip_suffix(W2S_ANSWER_PREFIX).unwrap_or(&text);
        let prefill = self.prefill(text, &[first, second])?;
        self.write(&prefill, max_new_tokens, on_text)
    }

    /// The margin of the first video over the second in points (-4..4) that level probabilities mean.
    pub fn margin(levels: &[f64; 5]) -> f64 {
        crate::levels::margin(levels)
    }
}
