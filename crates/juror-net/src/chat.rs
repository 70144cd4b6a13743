//! The OpenAI chat-completions API, as far as a judge needs it: text, pictures and videos in; text and the
//! probabilities of its tokens out.
//!
//! Beyond OpenAI's own fields a question may ask the server to go on with an answer that is begun
//! (`continue_final_message`, of vLLM and SGLang); servers that do not know the field say 400. Greedy decoding; no
//! streaming, no tools. At most so many requests are under way at once, whatever the number of threads that ask.

use std::borrow::Cow;
use std::sync::{Condvar, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::http::{self, Failure, Patience, Secret, Then};

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// No answer of a judge is longer, in bytes.
const LONGEST_ANSWER: u64 = 64 << 20;

/// Where a model is served, and how to speak to it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The address before `/chat/completions`, such as `http://localhost:8000/v1`.
    pub base_url: String,
    /// The model's name on that server.
    pub model: String,
    /// The key, where the server wants one.
    pub key: Option<Secret>,
    /// Time limits and retries.
    pub patience: Patience,
    /// Requests under way at once, at least 1.
    pub concurrency: usize,
}

/// A part of a question, in the order of reading.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part<'a> {
    /// Words.
    Text {
        /// The words.
        text: Cow<'a, str>,
    },
    /// A picture.
    ImageUrl {
        /// Where it is.
        image_url: Place<'a>,
    },
    /// A video.
    VideoUrl {
        /// Where it is.
        video_url: Place<'a>,
    },
}

/// An address; here always a `data:` URL.
#[derive(Debug, Clone, Serialize)]
pub struct Place<'a> {
    /// The address.
    pub url: &'a str,
}

impl<'a> Part<'a> {
    /// Words.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into() }
    }

    /// A picture as a data URL.
    pub fn image(url: &'a str) -> Self {
        Self::ImageUrl { image_url: Place { url } }
    }

    /// A video as a data URL.
    pub fn video(url: &'a str) -> Self {
        Self::VideoUrl { video_url: Place { url } }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Words, pictures and videos.
    pub parts: Vec<Part<'a>>,
    /// How the answer begins; the server goes on from there.
    pub begun: Option<&'a str>,
    /// The longest answer, in tokens.
    pub max_tokens: usize,
    /// How many of the likeliest tokens to tell at each place; 0: none.
    pub alternatives: u8,
    /// Of anything the server draws at random.
    pub seed: u64,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The reasons, where the server cuts them from the text by itself.
    pub reasoning: Option<String>,
    /// For every token, the likeliest ones at its place; empty where the server tells none.
    pub tokens: Vec<Vec<Chance>>,
    /// Whether the answer was cut off at its greatest length.
    pub cut_off: bool,
}

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Chance {
    /// Its text.
    pub token: String,
    /// Its natural log-probability.
    pub log_probability: f64,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    max_tokens: usize,
    temperature: f64,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(&'a [Part<'a>]),
}

#[derive(Deserialize)]
struct Response {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<LogProbs>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<String>,
    /// vLLM's and SGLang's name; newer vLLM says `reasoning`.
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct LogProbs {
    #[serde(default)]
    content: Option<Vec<Spot>>,
}

/// One place of the answer.
#[derive(Deserialize)]
struct Spot {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<Token>,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    logprob: f64,
}

/// A connection to a served model.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    service: Service,
    url: String,
    free: Mutex<usize>,
    freed: Condvar,
}

impl Client {
    /// Checks the settings; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(service: Service) -> Result<Self> {
        let base = http::base_url("base URL", &service.base_url)?;
        if service.model.trim().is_empty() {
            let allowed = "the model's name on the server is due, as in openai:NAME".into();
            return Err(Error::Setting { what: "model", value: service.model, allowed });
        }
        if service.concurrency == 0 {
            let allowed = "at least 1 request at once is allowed".into();
            return Err(Error::Setting { what: "concurrency", value: "0".into(), allowed });
        }
        let timeout = Some(service.patience.timeout);
        // An answer is never worth following elsewhere with a key in hand.
        let agent = http::settings(&base).timeout_global(timeout).max_redirects(0).build().new_agent();
        let free = Mutex::new(service.concurrency);
        Ok(Self { agent, url: format!("{base}/chat/completions"), service, free, freed: Condvar::new() })
    }

    /// Where questions go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The model's name on the server.
    pub fn model(&self) -> &str {
        &self.service.model
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the server does not answer, refuses, or answers nonsense, after all retries. [`Error::Status`] of 400 or 422
    /// says that the question holds something that this server does not take.
    pub fn ask(&self, question: &Question<'_>) -> Result<Answer> {
        let mut messages = vec![Message { role: "user", content: Content::Parts(&question.parts) }];
        messages
            .extend(question.begun.map(|text| Message { role: "assistant", content: Content::Text(text) }));
        let going_on = question.begun.is_some();
        let request = Request {
            model: &self.service.model,
            messages,
            max_tokens: question.max_tokens,
            temperature: 0.0,
            seed: question.seed,
            logprobs: (question.alternatives > 0).then_some(true),
            top_logprobs: (question.alternatives > 0).then_some(question.alternatives),
            add_generation_prompt: going_on.then_some(false),
            continue_final_message: going_on.then_some(true),
        };
        let body = serde_json::to_vec(&request).map_err(|error| self.nonsense(error.to_string()).error)?;
        let _turn = self.wait_for_turn();
        self.service.patience.run(|| self.ask_once(&body)).map_err(|error| self.explained(error))
    }

    fn ask_once(&self, body: &[u8]) -> Result<Answer, Failure> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(key) = &self.service.key {
            request = request.header("Authorization", key.bearer());
        }
        let mut response = request.send(body).map_err(|error| http::lost(&error, &self.url))?;
        if !response.status().is_success() {
            return Err(http::refused(&mut response, self.service.key.as_ref(), &self.url));
        }
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        let text = text.map_err(|error| http::lost(&error, &self.url))?;
        let response: Response = serde_json::from_str(&text)
            .map_err(|error| self.nonsense(format!("no chat completion: {error}")))?;
        let choice = response.choices.into_iter().next();
        let choice = choice.ok_or_else(|| self.nonsense("a chat completion without choices".into()))?;
        let places = choice.logprobs.and_then(|all| all.content).unwrap_or_default();
        Ok(Answer {
            text: choice.message.content.unwrap_or_default(),
            reasoning: choice.message.reasoning_content.filter(|text| !text.trim().is_empty()),
            tokens: places.into_iter().map(chances).collect(),
            cut_off: choice.finish_reason.as_deref() == Some("length"),
        })
    }

    /// Nonsense may be the first half of an answer, so it is worth another try.
    fn nonsense(&self, reason: String) -> Failure {
        Failure { error: Error::Protocol { reason, url: self.url.clone() }, then: Then::Retry(None) }
    }

    /// Adds the way out where there is one.
    fn explained(&self, error: Error) -> Error {
        match error {
            Error::Status { status: status @ (401 | 403), message, url } => {
                let way_out = match self.service.key {
                    Some(_) => format!("the key in {KEY_VARIABLE} is not accepted"),
                    None => format!("the server wants a key: set {KEY_VARIABLE}"),
                };
                Error::Forbidden { way_out, status, message, url }
            }
            Error::Status { status: 404, message, url } => {
                let hint =
                    "is the model's name right, and does the base URL end as the server's does (mostly /v1)?";
                Error::Status { status: 404, message: format!("{message}; {hint}"), url }
            }
            error => error,
        }
    }

    fn wait_for_turn(&self) -> Turn<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Turn(self)
    }
}

/// The right to one request; given back when dropped.
struct Turn<'a>(&'a Client);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// The likeliest tokens at a place; the chosen one is always among them.
fn chances(place: Spot) -> Vec<Chance> {
    let chance = |token, log_probability| Chance { token, log_probability };
    let mut all: Vec<Chance> =
        place.top_logprobs.into_iter().map(|token| chance(token.token, token.logprob)).collect();
    if all.iter().all(|other| other.token != place.token) {
        all.push(chance(place.token, place.logprob));
    }
    all
}

/// A `data:` URL.
pub fn data_url(media_type: &str, bytes: &[u8]) -> String {
    use base64::Engine;
    let mut url = format!("data:{media_type};base64,");
    base64::engine::general_purpose::STANDARD.encode_string(bytes, &mut url);
    url
}
