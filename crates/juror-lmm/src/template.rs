//! Chat templates: a dialogue to the text a model reads, by the checkpoint's own Jinja template or the family's.
//!
//! The environment is that of transformers: blocks are trimmed, `raise_exception` is there, and the string methods of
//! Python that published templates call.

use std::path::Path;

use minijinja::value::{Kwargs, Rest};
use minijinja::{Environment, ErrorKind, State, Value};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// A still picture.
    Image,
    /// A video.
    Video,
    /// Text.
    Text {
        /// The text.
        text: String,
    },
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Text with the placeholders written out.
    Text(String),
    /// Text and media in order.
    Parts(Vec<Part>),
}

/// One turn of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What it says.
    pub content: Content,
}

impl Message {
    /// A user's turn with its placeholders written out.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: "user".into(), content: Content::Text(text.into()) }
    }

    /// A user's turn of several parts.
    pub fn user_parts(parts: Vec<Part>) -> Self {
        Self { role: "user".into(), content: Content::Parts(parts) }
    }

    /// A system message.
    pub fn system(text: impl Into<String>) -> Self {
        Self { role: "system".into(), content: Content::Text(text.into()) }
    }

    /// An assistant's turn.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: Content::Text(text.into()) }
    }
}

/// Qwen2.5-VL and Qwen3-VL, InternVL-hf and LLaVA-OneVision-hf as their checkpoints render plain dialogues.
pub mod published {
    /// Qwen2.5-VL: a default system message, numbered media with `add_vision_id`.
    pub const QWEN2_5_VL: &str = include_str!("templates/qwen2_5_vl.jinja");
    /// Qwen3-VL: no default system message.
    pub const QWEN3_VL: &str = include_str!("templates/qwen3_vl.jinja");
    /// LLaVA-OneVision in transformers' layout: media before text.
    pub const LLAVA_ONEVISION: &str = include_str!("templates/llava_onevision.jinja");
    /// InternVL3 in transformers' layout.
    pub const INTERNVL_HF: &str = include_str!("templates/internvl_hf.jinja");
    /// InternVL's conversation template `internvl2_5` (InternVL3, VQAThinker).
    pub const INTERNVL2_5: &str = include_str!("templates/internvl2_5.jinja");
    /// InternVL's conversation template `Hermes-2`: no line break after a turn.
    pub const HERMES_2: &str = include_str!("templates/hermes_2.jinja");
    /// W2S-VQA's student: Qwen's markup with a default system message.
    pub const QWEN_CHAT: &str = include_str!("templates/qwen_chat.jinja");
}

/// A compiled template.
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").finish_non_exhaustive()
    }
}

const NAME: &str = "chat_template";

#[derive(Deserialize)]
struct Holder {
    chat_template: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: impl Into<String>) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(false);
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source.into()).map_err(|e| Error::Template(describe(&e)))?;
        Ok(Self { environment })
    }

    /// The template of a checkpoint folder: `chat_template.jinja`, `chat_template.json` or the key of
    /// `tokenizer_config.json`; `None` if it has none.
    ///
    /// # Errors
    /// A broken file or template.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let plain = folder.join("chat_template.jinja");
        if plain.exists() {
            let source =
                std::fs::read_to_string(&plain).map_err(|source| Error::Io { source, path: plain })?;
            return Self::new(source).map(Some);
        }
        for file in ["chat_template.json", "tokenizer_config.json"] {
            let path = folder.join(file);
            if !path.exists() {
                continue;
            }
            let source = match crate::config::read::<Holder>(&path)?.chat_template {
                None => continue,
                Some(Stored::One(source)) => source,
                Some(Stored::Named(list)) => match list.into_iter().find(|named| named.name == "default") {
                    Some(named) => named.template,
                    None => continue,
                },
            };
            return Self::new(source).map(Some);
        }
        Ok(None)
    }

    /// Renders a dialogue; with `add_generation_prompt` it ends where the assistant starts to write.
    ///
    /// # Errors
    /// What the template raises.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.render_with(messages, add_generation_prompt, &[])
    }

    /// [`Self::render`] with further variables, such as `add_vision_id`.
    ///
    /// # Errors
    /// What the template raises.
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        flags: &[(&str, bool)],
    ) -> Result<String> {
        let mut context: std::collections::BTreeMap<&str, Value> =
            flags.iter().map(|&(key, value)| (key, value.into())).collect();
        context.insert("messages", Value::from_serialize(messages));
        context.insert("add_generation_prompt", add_generation_prompt.into());
        let template = self.environment.get_template(NAME).map_err(|e| Error::Template(describe(&e)))?;
        template.render(context).map_err(|e| Error::Template(describe(&e)))
    }
}

fn describe(error: &minijinja::Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    format!("{}{line}", error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned))
}

/// Python's string methods, as far as published templates use them.
fn python_method(_: &State, value: &Value, method: &str, args: &[Value]) -> Result<Value, minijinja::Error> {
    let unknown = || {
        minijinja::Error::new(ErrorKind::UnknownMethod, format!("{} has no method {method}", value.kind()))
    };
    if method == "items" && value.kind() == minijinja::value::ValueKind::Map {
        let pairs = value.try_iter()?.map(|key| {
            let item = value.get_item(&key)?;
            Ok(Value::from(vec![key, item]))
        });
        return Ok(Value::from(pairs.collect::<Result<Vec<_>, minijinja::Error>>()?));
    }
    let text = value.as_str().ok_or_else(unknown)?;
    let (args, _): (Rest<Value>, Kwargs) = minijinja::value::from_args(args)?;
    let argument = |i: usize| args.get(i).and_then(|v| v.as_str());
    let set = argument(0).map(|set| set.chars().collect::<Vec<_>>());
    let trimmed = |c: char| set.as_ref().map_or(c.is_whitespace(), |set| set.contains(&c));
    match (method, argument(0)) {
        ("strip", _) => Ok(text.trim_matches(trimmed).into()),
        ("lstrip", _) => Ok(text.trim_start_matches(trimmed).into()),
        ("rstrip", _) => Ok(text.trim_end_matches(trimmed).into()),
        ("upper", _) => Ok(text.to_uppercase().into()),
        ("lower", _) => Ok(text.to_lowercase().into()),
        ("startswith", Some(start)) => Ok(text.starts_with(start).into()),
        ("endswith", Some(end)) => Ok(text.ends_with(end).into()),
        ("split", Some(separator)) => Ok(Value::from_iter(text.split(separator).map(ToOwned::to_owned))),
        ("split", None) => Ok(Value::from_iter(text.split_whitespace().map(ToOwned::to_owned))),
        ("replace", Some(from)) => Ok(text.replace(from, argument(1).ok_or_else(unknown)?).into()),
        _ => Err(unknown()),
    }
}
