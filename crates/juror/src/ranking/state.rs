//! The file that lets a ranking go on after a stop: JSON lines, appended as things become known.
//!
//! The first line says which judge watches how; then come videos (by content, with the score by themselves) and judged
//! pairs. A last line that a kill cut short is dropped. Videos are known by the SHA-256 of their files, so they may move
//! and others may join; judgements of videos that a later ranking leaves out stay for the next.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::judge::{Juror, Options};
use crate::record::{ModelId, Schema, StateType};

/// Which judge watches how: judgements of different ones do not mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Header {
    schema: Schema,
    #[serde(rename = "type")]
    record_type: StateType,
    model: ModelId,
    seed: u64,
    start: Option<f64>,
    end: Option<f64>,
    frames: Option<usize>,
    single_order: bool,
}

/// A judged pair, by the hashes of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Judged {
    pub a: String,
    pub b: String,
    pub margin: f64,
    pub sd: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Pair(Judged),
    Video { video: String, path: String, score: f64 },
}

/// A ranking's memory: in a file, or (without one) for this run only.
#[derive(Debug, Default)]
pub struct State {
    pub(super) judged: Vec<Judged>,
    scores: HashMap<String, f64>,
    resumed: bool,
    file: Option<(File, PathBuf)>,
}

impl State {
    /// Opens the file at `path`, or makes it, for `juror` with `options`.
    ///
    /// # Errors
    /// [`Error::State`]: a file that cannot be read or written, is something else, or belongs to another judge.
    pub fn open(path: &Path, juror: &Juror, options: &Options) -> Result<Self, Error> {
        let failed = |reason: String| Error::State { reason, path: path.to_owned() };
        let header = Header {
            schema: Schema,
            record_type: StateType,
            model: juror.model(),
            seed: juror.seed(),
            start: options.window.start_secs(),
            end: options.window.end_secs(),
            frames: options.frames,
            single_order: options.single_order,
        };
        let mut file = (OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
            .map_err(|reason| failed(reason.to_string()))?;
        let text = std::fs::read(path).map_err(|reason| failed(reason.to_string()))?;
        // What follows the last line break was being written when the program was killed.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if whole == 0 && !text.is_empty() && !text.starts_with(b"{\"schema\"") {
            return Err(failed("it is no state of a ranking".to_owned()));
        }
        let mut state = Self::default();
        for (index, line) in text[..whole].split(|&byte| byte == b'\n').enumerate() {
            let broken =
                |_| failed(format!("line {} is neither a watched video nor a judged pair", index + 1));
            if index == 0 && whole > 0 {
                let found: Header = serde_json::from_slice(line)
                    .map_err(|_| failed("it is no state of a ranking".to_owned()))?;
                if found != header {
                    return Err(failed(different(&found, &header)));
                }
            } else if !line.is_empty() {
                state.take(serde_json::from_slice(line).map_err(broken)?);
            }
        }
        let made = (file.set_len(whole as u64)).and_then(|()| file.seek(SeekFrom::End(0)));
        made.map_err(|reason| failed(reason.to_string()))?;
        state.resumed = !state.scores.is_empty();
        state.file = Some((file, path.to_owned()));
        if whole == 0 {
            state.append(&header)?;
        }
        Ok(state)
    }

    /// Whether there was anything to go on from.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The score by itself of a video that was watched before.
    pub(super) fn score(&self, sha256: &str) -> Option<f64> {
        self.scores.get(sha256).copied()
    }

    /// Keeps a video that was watched.
    pub(super) fn keep_video(&mut self, sha256: &str, path: &str, score: f64) -> Result<(), Error> {
        self.keep(Line::Video { video: sha256.to_owned(), path: path.to_owned(), score })
    }

    /// Keeps a judgement.
    pub(super) fn keep_pair(&mut self, judged: Judged) -> Result<(), Error> {
        self.keep(Line::Pair(judged))
    }

    fn keep(&mut self, line: Line) -> Result<(), Error> {
        self.append(&line)?;
        self.take(line);
        Ok(())
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Pair(judged) => self.judged.push(judged),
            Line::Video { video, score, .. } => {
                self.scores.insert(video, score);
            }
        }
    }

    /// One write a line, so that a kill leaves whole lines and at most one cut short.
    fn append(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        let failed = |reason: String| Error::State { reason, path: path.clone() };
        let mut text = serde_json::to_string(line).map_err(|reason| failed(reason.to_string()))?;
        text.push('\n');
        file.write_all(text.as_bytes()).map_err(|reason| failed(reason.to_string()))
    }
}

/// In what the judge of a state file differs from the present one.
fn different(found: &Header, wanted: &Header) -> String {
    let told = |header: &Header| match (found.model != wanted.model, found.seed != wanted.seed) {
        (true, _) => format!("model {} ({:.8})", header.model.name, header.model.sha256),
        (_, true) => format!("seed {}", header.seed),
        _ => header.watching(),
    };
    format!("it belongs to another judge: there {}, here {}", told(found), told(wanted))
}

impl Header {
    /// How the judge watches, in words.
    fn watching(&self) -> String {
        let parts = [
            self.start.map(|secs| format!("from {secs} s")),
            self.end.map(|secs| format!("to {secs} s")),
            self.frames.map(|frames| format!("at {frames} moments")),
            self.single_order.then(|| "in one order".to_owned()),
        ];
        match parts.into_iter().flatten().collect::<Vec<_>>().join(" ") {
            whole if whole.is_empty() => "watching as the model was trained".to_owned(),
            parts => format!("watching {parts}"),
        }
    }
}
