//! Published checkpoints as judges: a folder is opened, its family found in `config.json`, videos are turned to tokens
//! once and then scored or compared as often as wanted.
//!
//! A score is written by the model (VQAThinker's prompt) and read by [`crate::answer`]; a comparison reads the
//! probabilities of the five levels as the next token (W2S-VQA's prompt), so it needs one forward pass and writes nothing.
//! W2S-VQA's motion tokens are left out here: their features are made by a network that its checkpoint does not hold.

mod judge;
pub mod memory;

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use juror_media::Rgb;
use serde::Deserialize;

pub use judge::{family, open_folder, open_named};

use crate::answer::{Reading, ScoreRule, rationale, read_score};
use crate::checkpoint::{Checkpoint, Layout, canonical, describe};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::generate::{Options, Session, generate, word_probabilities};
use crate::internvl3::{self, InternVl3};
use crate::judge::ModelInfo;
use crate::llava_onevision::{self, LlavaOneVision, original_layout};
use crate::preprocess::frames::{self, Count};
use crate::preprocess::patches::{Grid, PixelLimits, patch_rows, smart_resize, smart_resize_video};
use crate::preprocess::resize::{Arithmetic, resize};
use crate::preprocess::{Statistics, common_size, normalise};
use crate::prompt::{self, GRADE_PREFIX, GRADES, LEVELS, QUALITY_QUESTION, W2S_ANSWER_PREFIX, Wording};
use crate::qwen2_5_vl::{self, Qwen25Vl, Videos};
use crate::qwen3_vision::Tokens;
use crate::qwen3_vl::{self, Qwen3Vl};
use crate::sequence::{Batch, Prefill};
use crate::template::{ChatTemplate, Message, Part, published};
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

enum Model {
    InternVl3 { model: InternVl3, side: usize },
    Llava { model: LlavaOneVision, side: usize },
    Qwen25 { model: Qwen25Vl, patch: usize },
    Qwen3 { model: Qwen3Vl, patch: usize },
}

/// A video's tokens: made once, judged as often as wanted.
#[derive(Debug, Clone)]
pub struct VideoTokens {
    /// `[tokens, hidden]`, in the order of the placeholders.
    pub tokens: Tensor,
    /// Added to the decoder's stream after layer 0, 1, ... (Qwen3-VL; else empty).
    pub deepstack: Vec<Tensor>,
    /// Frames looked at.
    pub frames: usize,
    /// The grid of patches (Qwen).
    pub grid: Option<Grid>,
    /// Middle of each slice of two frames, in seconds (Qwen).
    pub slice_seconds: Vec<f64>,
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
    family: Family,
    model: Model,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    placeholder: u32,
    stop_ids: Vec<u32>,
    levels: Option<[u32; 5]>,
    grades: Option<[u32; 5]>,
    unused: Vec<String>,
    info: ModelInfo,
    device: Device,
    dtype: DType,
}

/// Builds a model without data to learn what it needs, compares that with the checkpoint, then builds it for real.
fn build<M>(
    checkpoint: &Arc<Checkpoint>,
    layout: Layout,
    (dtype, device): (DType, &Device),
    unused: &mut Vec<String>,
    load: impl Fn(VarBuilder<'static>) -> Result<M>,
) -> Result<M> {
    *unused = checkpoint.require(&describe(&load)?, layout)?;
    load(checkpoint.var_builder(layout, dtype, device))
}

impl Published {
    /// Opens a checkpoint folder; f32 on CPUs (they cannot multiply shorter floats), else bf16.
    ///
    /// # Errors
    /// Whatever is missing or does not fit, by name.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        Self::open_adapted(folder, None, device)
    }

    /// [`Self::open`] with the PEFT adapter of another folder merged into the weights.
    ///
    /// # Errors
    /// Whatever is missing or does not fit, by name.
    pub fn open_adapted(folder: &Path, adapter: Option<&Path>, device: &Device) -> Result<Self> {
        let family = Family::detect(folder)?;
        let config = folder.join("config.json");
        let checkpoint = Checkpoint::open(folder)?;
        let checkpoint = Arc::new(match adapter {
            Some(adapter) => checkpoint.with_adapter(adapter)?,
            None => checkpoint,
        });
        let tokenizer = Tokenizer::open(folder)?;
        let dtype = if device.is_cpu() { DType::F32 } else { DType::BF16 };
        let to = (dtype, device);
        let mut unused = Vec::new();
        let (model, default_template, placeholder) = match family {
            Family::InternVl3 | Family::InternVl3Hf => {
                let config: internvl3::Config = crate::config::read(&config)?;
                let has_motion = checkpoint.shapes().keys().any(|name| name.starts_with("motion_mlp."));
                let motion = has_motion.then(internvl3::Motion::test);
                // VQAThinker runs a tower of 448 pixels at 560.
                let side = if has_motion { 560 } else { config.vision_config.image_size };
                let (layout, template): (Layout, _) = match family {
                    Family::InternVl3 => (canonical, published::INTERNVL2_5),
                    _ => (internvl3::hf_layout, published::INTERNVL_HF),
                };
                let load = |vb| InternVl3::load(&config, motion.as_ref(), vb);
                let model = build(&checkpoint, layout, to, &mut unused, load)?;
                (Model::InternVl3 { model, side }, template, "<IMG_CONTEXT>")
            }
            Family::LlavaOneVision | Family::LlavaOriginal => {
                let (config, layout, template): (_, Layout, _) = match family {
                    Family::LlavaOneVision => {
                        (crate::config::read(&config)?, canonical, published::LLAVA_ONEVISION)
                    }
                    _ => {
                        let original: llava_onevision::OriginalConfig = crate::config::read(&config)?;
                        (original.convert()?, original_layout as Layout, published::QWEN_CHAT)
                    }
                };
                let side = config.vision_config.image_size;
                let model = build(&checkpoint, layout, to, &mut unused, |vb| {
                    LlavaOneVision::load(&config, false, vb)
                })?;
                // The original layout has no token for videos; one that no prompt holds keeps their places.
                (Model::Llava { model, side }, template, "<|endoftext|>")
            }
            Family::Qwen25Vl => {
                let config: qwen2_5_vl::Config = crate::config::read(&config)?;
                let patch = config.vision_config.patch_size;
                let model = build(&checkpoint, canonical, to, &mut unused, |vb| Qwen25Vl::load(&config, vb))?;
                (Model::Qwen25 { model, patch }, published::QWEN2_5_VL, "<|video_pad|>")
            }
            Family::Qwen3Vl => {
                let config: qwen3_vl::Config = crate::config::read(&config)?;
                let patch = config.vision_config.patch_size;
                let model = build(&checkpoint, canonical, to, &mut unused, |vb| Qwen3Vl::load(&config, vb))?;
                (Model::Qwen3 { model, patch }, published::QWEN3_VL, "<|video_pad|>")
            }
        };
        // InternVL's own conversation template is Python code; its checkpoints' Jinja templates know no default message.
        let own = if family == Family::InternVl3 { None } else { ChatTemplate::open(folder)? };
        let template = own.map_or_else(|| ChatTemplate::new(default_template), Ok)?;
        let stop_ids = vec![tokenizer.id("<|im_end|>")?, tokenizer.id("<|endoftext|>")?];
        let words = |words: [&str; 5]| -> Option<[u32; 5]> {
            let ids: Option<Vec<u32>> = words.iter().map(|word| tokenizer.word(word).ok()).collect();
            ids?.try_into().ok()
        };
        let (levels, grades) = (words(LEVELS), words(GRADES));
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self {
            family,
            model,
            placeholder: tokenizer.id(placeholder)?,
            tokenizer,
            template,
            stop_ids,
            levels,
            grades,
            info: ModelInfo { name, sha256: checkpoint.fingerprint()? },
            unused,
            device: device.clone(),
            dtype,
        })
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Tensors of the checkpoint that the model does not use, for a warning.
    pub fn unused_tensors(&self) -> &[String] {
        &self.unused
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        match &self.model {
            Model::InternVl3 { model, .. } => &model.language_model,
            Model::Llava { model, .. } => &model.language_model,
            Model::Qwen25 { model, .. } => &model.language_model,
            Model::Qwen3 { model, .. } => &model.language_model,
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Which of `total` frames at `fps` the family looks at; `count` overrides the published number.
    ///
    /// # Errors
    /// A video without frames.
    pub fn select_frames(&self, total: usize, fps: f64, count: Option<usize>) -> Result<Vec<usize>> {
        if total == 0 {
            return Err(Error::Input("a video without frames".into()));
        }
        let last = total - 1;
        let indices = match &self.model {
            // The motion tower needs a multiple of four.
            Model::InternVl3 { model, .. } if model.has_motion() => {
                frames::internvl(last, count.map_or(12, |n| n.next_multiple_of(4)), fps, None)?
            }
            Model::InternVl3 { .. } => frames::internvl(last, count.unwrap_or(8), fps, None)?,
            Model::Llava { .. } => match count {
                Some(n) => frames::internvl(last, n, fps, None)?,
                None => frames::one_per_second(total, fps.max(0.5))?,
            },
            // Too short for the published rules: every frame, the last one repeated to make a slice.
            Model::Qwen25 { .. } | Model::Qwen3 { .. } if total < 4 => (0..total.max(2)).collect(),
            Model::Qwen25 { .. } => frames::qwen_vl_utils(
                total,
                fps,
                count.map_or(Count::Rate(2.0), |n| Count::Frames(n.clamp(2, total))),
            )?,
            Model::Qwen3 { .. } => {
                let count = count.map_or(Count::Rate(2.0), |n| Count::Frames(n.clamp(2, total)));
                frames::transformers_qwen3(total, fps, count)?
            }
        };
        Ok(indices.into_iter().map(|i| i.min(last)).collect())
    }

    /// Tokens of a video's chosen frames at their native size, with the time of each in seconds from the start.
    ///
    /// # Errors
    /// Frames that the family cannot take.
    pub fn look(&self, pictures: &[Rgb], seconds: &[f64]) -> Result<VideoTokens> {
        let (width, height) = common_size(pictures)?;
        let all = |h: usize, w: usize, how: Arithmetic| -> Result<Vec<Rgb>> {
            pictures.iter().map(|picture| resize(picture, w, h, how)).collect()
        };
        let plain = |tokens: Tensor| VideoTokens {
            tokens,
            deepstack: Vec::new(),
            frames: pictures.len(),
            grid: None,
            slice_seconds: Vec::new(),
        };
        let mean = |pair: &[f64]| pair.iter().sum::<f64>() / pair.len().max(1) as f64;
        let slices: Vec<f64> = seconds.chunks(2).map(mean).collect();
        match &self.model {
            Model::InternVl3 { model, side } => {
                let frames = all(*side, *side, Arithmetic::Pil)?;
                let pixels = normalise(&frames, &Statistics::IMAGENET, &self.device)?.to_dtype(self.dtype)?;
                Ok(plain(model.video_tokens(&pixels)?))
            }
            Model::Llava { model, side } => {
                let frames = all(*side, *side, Arithmetic::Pil)?;
                let pixels = normalise(&frames, &Statistics::HALF, &self.device)?.to_dtype(self.dtype)?;
                Ok(plain(model.video_tokens(&pixels)?))
            }
            Model::Qwen25 { model, patch } => {
                let cell = (2 * patch).pow(2);
                let limits = PixelLimits { min_pixels: 128 * cell, max_pixels: 768 * cell };
                let (h, w) = smart_resize(height, width, 2 * patch, limits)?;
                let frames = all(h, w, Arithmetic::TorchFloat)?;
                let (rows, grid) = patch_rows(&frames, *patch, &Statistics::CLIP, &self.device)?;
                let videos =
                    Videos { rows: rows.to_dtype(self.dtype)?, grids: vec![grid], slice_seconds: None };
                let tokens = model.video_tokens(&videos)?;
                Ok(VideoTokens { grid: Some(grid), slice_seconds: slices, ..plain(tokens) })
            }
            Model::Qwen3 { model, patch } => {
                let limits = PixelLimits { min_pixels: 4096, max_pixels: 25_165_824 };
                let count = pictures.len().max(2);
                let factor = 2 * patch;
                let (h, w) =
                    smart_resize_video(count, height.max(factor), width.max(factor), factor, limits)?;
                let frames = all(h, w, Arithmetic::TorchFixed)?;
                let (rows, grid) = patch_rows(&frames, *patch, &Statistics::HALF, &self.device)?;
                let tokens = model.visual.forward(&rows.to_dtype(self.dtype)?, &[grid], |_, _| ())?;
                let Tokens { embeds, deepstack } = tokens;
                Ok(VideoTokens { deepstack, grid: Some(grid), slice_seconds: slices, ..plain(embeds) })
            }
        }
    }

    /// What stands for a video in the rendered prompt, tokens written out.
    fn media(&self, video: &VideoTokens) -> Result<String> {
        let tokens = video.tokens.dim(0)?;
        Ok(match &self.model {
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
        match self.model {
            Model::Qwen25 { .. } | Model::Qwen3 { .. } => "<|vision_start|><|video_pad|><|vision_end|>",
            Model::InternVl3 { .. } => "<video>",
            Model::Llava { .. } if self.family == Family::LlavaOriginal => "<image>",
            Model::Llava { .. } => "<video>",
        }
    }

    fn prefill(&self, text: &str, videos: &[&VideoTokens]) -> Result<Prefill> {
        let batch = Batch { ids: vec![self.tokenizer.encode(text)?], pads: vec![0] };
        let parts: Vec<&Tensor> = videos.iter().map(|v| &v.tokens).collect();
        let tokens = Tensor::cat(&parts, 0)?;
        let grids: Vec<Grid> = videos.iter().filter_map(|v| v.grid).collect();
        match &self.model {
            Model::InternVl3 { .. } | Model::Llava { .. } => {
                Prefill::plain(self.decoder(), &batch, self.placeholder, Some(&tokens), &self.device)
            }
            Model::Qwen25 { model, .. } => {
                // Seconds per slice: the distance of the first two.
                let seconds = |v: &&VideoTokens| match v.slice_seconds[..] {
                    [a, b, ..] => (b - a) as f32,
                    _ => 1.0,
                };
                let slice_seconds = Some(videos.iter().map(seconds).collect());
                let videos = Videos { rows: tokens.clone(), grids, slice_seconds };
                model.prefill(&batch, &tokens, &videos, &self.device)
            }
            Model::Qwen3 { model, .. } => {
                let layers = videos.iter().map(|v| v.deepstack.len()).min().unwrap_or(0);
                let layer =
                    |k: usize| Tensor::cat(&videos.iter().map(|v| &v.deepstack[k]).collect::<Vec<_>>(), 0);
                let deepstack = (0..layers).map(layer).collect::<candle_core::Result<Vec<_>>>()?;
                model.prefill(&batch, &Tokens { embeds: tokens, deepstack }, &grids, &self.device)
            }
        }
    }

    /// The prompt that asks for a score of a video.
    ///
    /// # Errors
    /// A template that fails.
    pub fn score_prompt(&self, video: &VideoTokens) -> Result<String> {
        let message = match &self.model {
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
        let message = match self.model {
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

    /// Lets the model write a score of 1 to 5 with its reasons; `on_text` is told the text as it appears.
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn score(
        &self,
        video: &VideoTokens,
        max_new_tokens: usize,
        mut on_text: impl FnMut(&str),
    ) -> Result<Scored> {
        let prefill = self.prefill(&self.score_prompt(video)?, &[video])?;
        let options = Options::greedy(max_new_tokens, self.stop_ids.clone());
        let mut stream = self.tokenizer.stream();
        let mut failed = None;
        let written = generate(self.decoder(), &prefill, &options, |_, _, token| match stream.push(token) {
            Ok(text) => on_text(&text),
            Err(error) => failed = Some(error),
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let tokens = written.first().and_then(|rollouts| rollouts.first()).map_or(&[][..], |c| &c.tokens[..]);
        let text = self.tokenizer.decode(tokens, false)?;
        let score = read_score(&text, ScoreRule::Range { min: 1.0, max: 5.0 });
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
        let logits = Session::start(self.decoder(), &prefill)?.logits()?.get(0)?.to_vec1::<f32>()?;
        let probabilities = word_probabilities(&logits, &levels, 1.0);
        Ok(std::array::from_fn(|i| probabilities[i]))
    }

    /// Whether the model was trained to write scores (VQAThinker), so that its next-token probabilities mean little.
    pub fn writes_scores(&self) -> bool {
        matches!(&self.model, Model::InternVl3 { model, .. } if model.has_motion())
    }

    /// Probabilities of the five grades from bad to excellent as the next token (the rule of Q-Align and VQA²); `None`
    /// where a grade is not one token.
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn grade(&self, video: &VideoTokens) -> Result<Option<[f64; 5]>> {
        let Some(grades) = self.grades else { return Ok(None) };
        let message = match self.model {
            Model::InternVl3 { .. } | Model::Llava { .. } => {
                Message::user(format!("{}\n{}", self.mark(), prompt::GRADE_QUESTION))
            }
            _ => Message::user_parts(vec![Part::Video, Part::Text { text: prompt::GRADE_QUESTION.into() }]),
        };
        let prefill = self.prefill(&(self.render(message, &[video])? + GRADE_PREFIX), &[video])?;
        let logits = Session::start(self.decoder(), &prefill)?.logits()?.get(0)?.to_vec1::<f32>()?;
        let probabilities = word_probabilities(&logits, &grades, 1.0);
        Ok(Some(std::array::from_fn(|i| probabilities[i])))
    }

    /// What the model writes when asked to compare two videos.
    ///
    /// # Errors
    /// Tensor work that fails.
    pub fn describe_pair(
        &self,
        first: &VideoTokens,
        second: &VideoTokens,
        max_new_tokens: usize,
    ) -> Result<String> {
        let text = self.pair_prompt(first, second)?;
        let text = text.strip_suffix(W2S_ANSWER_PREFIX).unwrap_or(&text);
        let prefill = self.prefill(text, &[first, second])?;
        let options = Options::greedy(max_new_tokens, self.stop_ids.clone());
        let written = generate(self.decoder(), &prefill, &options, |_, _, _| ())?;
        let tokens = written.first().and_then(|rollouts| rollouts.first()).map_or(&[][..], |c| &c.tokens[..]);
        self.tokenizer.decode(tokens, false)
    }

    /// The margin of the first video over the second in points (-4..4) that level probabilities mean.
    pub fn margin(levels: &[f64; 5]) -> f64 {
        crate::levels::margin(levels)
    }
}
