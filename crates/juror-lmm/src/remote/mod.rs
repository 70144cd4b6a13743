//! A model served elsewhere as a judge: the published prompts over the OpenAI chat API (vLLM, SGLang and others).
//!
//! What goes out are JPEG pictures of evenly chosen frames (VQAThinker's rule and number, no larger than a megapixel), or
//! the video file as it is for servers that read videos. A comparison asks for the next word after W2S-VQA's beginning of
//! an answer and takes the probabilities of the five levels from the server's log-probabilities; a score is written and
//! read as VQAThinker's. Servers that cannot go on with an answer that is begun, or tell no probabilities, are asked in
//! plain words, and the word counts. What cannot be read is an error, never a number. Left out: motion features, which no
//! such API takes. The weights are not known, so their SHA-256 is empty.

mod reading;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use juror_media::encode::jpeg;
use juror_media::{Rgb, TimeWindow, Video};
use juror_net::chat::{Answer, Client, Part, Question, Service, data_url};

use crate::chosen::choose;
use crate::error::{Error, Result};
use crate::judge::{
    Features, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
use crate::levels::{self, WORD_SD, Weighed, join, weigh};
use crate::preprocess::frames;
use crate::preprocess::resize::{Arithmetic, resize};
use crate::prompt::{
    self, GRADE_PREFIX, GRADE_QUESTION, GRADES, LEVELS, QUALITY_QUESTION, W2S_ANSWER_PREFIX, Wording,
};

/// Tokens of a written answer with its reasons.
const MAX_NEW_TOKENS: usize = 1024;
/// Tokens of an answer of which one word counts; more than one, for servers that say the beginning again.
const WORD_TOKENS: usize = 24;
/// The most alternatives that the API tells.
const ALTERNATIVES: u8 = 20;
/// Frames where none are asked for: as VQAThinker is tested.
const FRAMES: usize = 12;
/// Larger pictures are shrunk to this many pixels: servers shrink them further.
const MOST_PIXELS: usize = 1 << 20;
/// Larger files are not sent as they are.
const MOST_FILE_BYTES: u64 = 64 << 20;
/// Standard deviation of a written score's error in points: the sigma of VQAThinker's bell-shaped reward.
const WRITTEN_SCORE_SD: f64 = 0.5;

/// What a server gets of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Media {
    /// Pictures of chosen frames.
    #[default]
    Frames,
    /// The file as it is.
    File,
}

/// A video as it is sent: data URLs, made once.
pub(crate) struct RemoteVideo {
    media: Media,
    urls: Vec<String>,
}

/// What a server is asked beyond plain chat, from most to least; the first that it takes is kept.
const DIALECTS: [Dialect; 3] = [
    Dialect { begun: true, chances: true },
    Dialect { begun: false, chances: true },
    Dialect { begun: false, chances: false },
];

#[derive(Debug, Clone, Copy)]
struct Dialect {
    /// It goes on with an answer that is begun.
    begun: bool,
    /// It tells log-probabilities.
    chances: bool,
}

/// Five words of which the answer is one.
struct Choice {
    words: [&'static str; 5],
    /// How the answer begins.
    prefix: &'static str,
    /// What asks for that form where the beginning cannot be given.
    form: &'static str,
}

const LEVEL_CHOICE: Choice = Choice {
    words: LEVELS,
    prefix: W2S_ANSWER_PREFIX,
    form: "\nAnswer with this sentence and one of the five words: The quality of the second video is \
           inferior|worse|similar|better|superior to the first video.",
};

const GRADE_CHOICE: Choice = Choice {
    words: GRADES,
    prefix: GRADE_PREFIX,
    form: "\nAnswer with this sentence and one of the five words: The quality of the video is \
           bad|poor|fair|good|excellent.",
};

/// A model that is served elsewhere.
pub struct Remote {
    client: Client,
    media: Media,
    info: ModelInfo,
    dialect: AtomicUsize,
}

impl Remote {
    /// Checks the settings; nothing is sent before the first judgement.
    ///
    /// # Errors
    /// Settings that make no sense.
    pub fn new(service: Service, media: Media) -> Result<Self> {
        let info = ModelInfo { name: format!("openai:{}", service.model), sha256: String::new() };
        Ok(Self { client: Client::new(service)?, media, info, dialect: AtomicUsize::new(0) })
    }

    fn video<'w>(&self, watched: &'w Watched) -> Result<&'w RemoteVideo> {
        match &watched.features {
            Features::Remote(video) => Ok(video),
            _ => Err(Error::Input("the video was watched by another model".into())),
        }
    }

    /// Asks for free text.
    fn write(&self, parts: Vec<Part<'_>>, seed: u64) -> Result<Answer> {
        let question = Question { parts, begun: None, max_tokens: MAX_NEW_TOKENS, alternatives: 0, seed };
        Ok(self.client.ask(&question)?)
    }

    /// Asks for one of five words; gives their probabilities, and whether only the word is known.
    fn choose(&self, parts: &[Part<'_>], choice: &Choice, seed: u64) -> Result<([f64; 5], bool)> {
        let mut at = self.dialect.load(Ordering::Relaxed);
        loop {
            let dialect = DIALECTS[at];
            let mut parts = parts.to_vec();
            if !dialect.begun {
                parts.push(Part::text(choice.form));
            }
            let question = Question {
                parts,
                begun: dialect.begun.then_some(choice.prefix),
                max_tokens: if dialect.begun { WORD_TOKENS } else { MAX_NEW_TOKENS },
                alternatives: if dialect.chances { ALTERNATIVES } else { 0 },
                seed,
            };
            match self.client.ask(&question) {
                Ok(answer) => {
                    self.dialect.fetch_max(at, Ordering::Relaxed);
                    return reading::choice(&answer, &choice.words);
                }
                // 400 and 422: it does not know something of what was sent.
                Err(juror_net::Error::Status { status: 400 | 422, message, .. })
                    if at + 1 < DIALECTS.len() =>
                {
                    tracing::debug!("{message}; asking in plainer words");
                    at += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The first video against the second.
    fn one_order(&self, first: &RemoteVideo, second: &RemoteVideo, seed: u64) -> Result<Weighed> {
        let (levels, only_word) = self.choose(&pair_parts(first, second), &LEVEL_CHOICE, seed)?;
        let weighed = weigh(&levels);
        Ok(if only_word { Weighed { sd: WORD_SD, ..weighed } } else { weighed })
    }
}

impl Lmm for Remote {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn device(&self) -> &'static str {
        "remote"
    }

    fn watch(&self, video: &mut Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Watched> {
        let started = Instant::now();
        let mut warnings = video.info().warnings.clone();
        let (urls, frames_sampled_secs, decode_secs) = match self.media {
            Media::File => {
                let url = whole_file(video, options)?;
                (vec![url], Vec::new(), started.elapsed().as_secs_f64())
            }
            Media::Frames => {
                let video = video.clone().with_threads(options.threads);
                let select = |total: usize, fps: f64| {
                    frames::internvl(total - 1, options.frames.unwrap_or(FRAMES).min(total), fps, None)
                };
                let chosen = choose(&video, options, select, &Ok, progress)?;
                let decode_secs = started.elapsed().as_secs_f64();
                warnings.extend(chosen.warnings);
                let urls: Result<Vec<String>> = chosen.pictures.iter().map(picture_url).collect();
                (urls?, chosen.pts_secs, decode_secs)
            }
        };
        Ok(Watched {
            frames_sampled_secs,
            warnings,
            decode_secs,
            vision_secs: started.elapsed().as_secs_f64() - decode_secs,
            codec_kind: None,
            features: Features::Remote(RemoteVideo { media: self.media, urls }),
        })
    }

    fn compare(&self, a: &Watched, b: &Watched, options: &JudgeOptions) -> Result<PairJudgement> {
        let started = Instant::now();
        let (a, b) = (self.video(a)?, self.video(b)?);
        let seed = options.seed;
        // Side by side, as far as the server is allowed to be kept busy.
        let (forward, backward, written) = std::thread::scope(|scope| {
            let backward = (!options.single_order).then(|| scope.spawn(|| self.one_order(b, a, seed)));
            let written = options.rationale.then(|| scope.spawn(|| self.write(pair_parts(a, b), seed)));
            let forward = self.one_order(a, b, seed);
            (forward, backward.map(joined).transpose(), written.map(joined).transpose())
        });
        let (judged, order_agreement) = join(forward?, backward?);
        let rationale = written?.as_ref().and_then(reading::reasons);
        Ok(judged.judgement(order_agreement, rationale, started))
    }

    fn score(&self, video: &Watched, options: &JudgeOptions) -> Result<ScoreJudgement> {
        let started = Instant::now();
        let video = self.video(video)?;
        // VQAThinker is trained to write scores; its next word means little.
        let writes = options.rationale || self.client.model().to_lowercase().contains("vqathinker");
        let (score, score_sd, rationale) = if writes {
            let answer = self.write(score_parts(video), options.seed)?;
            (reading::score(&answer)?, WRITTEN_SCORE_SD, reading::reasons(&answer))
        } else {
            let mut parts = video.parts();
            parts.push(Part::text(GRADE_QUESTION));
            let (grades, only_word) = self.choose(&parts, &GRADE_CHOICE, options.seed)?;
            let (mean, sd) = levels::grade(&grades);
            // Grades lie half as far apart as levels.
            (mean, if only_word { WORD_SD / 2.0 } else { sd }, None)
        };
        Ok(ScoreJudgement {
            score,
            score_sd,
            visual: score,
            temporal: score,
            distortions: Vec::new(),
            rationale: if options.rationale { rationale } else { None },
            language_secs: started.elapsed().as_secs_f64(),
        })
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl RemoteVideo {
    fn parts(&self) -> Vec<Part<'_>> {
        let part = match self.media {
            Media::Frames => Part::image,
            Media::File => Part::video,
        };
        self.urls.iter().map(|url| part(url)).collect()
    }
}

/// VQAThinker's question; its frames are the placeholders.
fn score_parts(video: &RemoteVideo) -> Vec<Part<'_>> {
    if video.media == Media::File {
        return vec![Part::video(&video.urls[0]), Part::text(QUALITY_QUESTION)];
    }
    let text = prompt::vqathinker(video.urls.len(), false, Wording::Test);
    let mut words = text.split("<image>").map(|words| Part::text(words.to_owned()));
    let mut parts: Vec<Part<'_>> = words.next().into_iter().collect();
    for (url, words) in video.urls.iter().zip(words) {
        parts.extend([Part::image(url), words]);
    }
    parts
}

/// W2S-VQA's question about two videos.
fn pair_parts<'a>(first: &'a RemoteVideo, second: &'a RemoteVideo) -> Vec<Part<'a>> {
    let [before, between, after] = prompt::pair_pieces();
    let mut parts = vec![Part::text(before)];
    parts.extend(first.parts());
    parts.push(Part::text(between));
    parts.extend(second.parts());
    parts.push(Part::text(after));
    parts
}

/// A picture as it is sent.
fn picture_url(picture: &Rgb) -> Result<String> {
    let pixels = picture.width() * picture.height();
    let shrunk = if pixels > MOST_PIXELS {
        let scale = (MOST_PIXELS as f64 / pixels as f64).sqrt();
        let side = |length: usize| ((length as f64 * scale) as usize).max(1);
        Some(resize(picture, side(picture.width()), side(picture.height()), Arithmetic::Pil)?)
    } else {
        None
    };
    Ok(data_url("image/jpeg", &jpeg(shrunk.as_ref().unwrap_or(picture))?))
}

/// The file as it is sent.
fn whole_file(video: &Video, options: &WatchOptions) -> Result<String> {
    let info = video.info();
    if options.window != TimeWindow::ALL || options.frames.is_some() {
        let reason = "a whole file is sent, so no part of it and no number of frames can be chosen";
        return Err(Error::Input(reason.into()));
    }
    let io = |source| Error::Io { source, path: info.path.clone() };
    let bytes = std::fs::metadata(&info.path).map_err(io)?.len();
    if bytes > MOST_FILE_BYTES {
        return Err(Error::Input(format!(
            "{} MiB are too much to send as a file ({} at most); send frames: {}",
            bytes >> 20,
            MOST_FILE_BYTES >> 20,
            info.path.display()
        )));
    }
    let kind = if info.container.contains("webm") { "video/webm" } else { "video/mp4" };
    Ok(data_url(kind, &std::fs::read(&info.path).map_err(io)?))
}
