//! Sources: files found in folders, lists and tables, and procedural scenes; who they are, and their frames.
//!
//! A file is known by the SHA-256 of its bytes: copies count once. What cannot be used is rejected with a reason and costs no other
//! its place. Only regular files are opened, so that pipes and devices cannot hold a run up.

use super::config::{PairsConfig, SourcesConfig};
pub(super) use super::store::Stamp;
use super::store::Store;
use super::{Progress, hex, id_of};
use anyhow::{Context, Result, ensure};
use juror_media::scenes::Scene;
use juror_media::{Frame, MediaError, TimeWindow, Video};
use juror_nn::rng;
use rand::seq::IndexedRandom;
use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names that files in folders must end in to be taken for videos; files named one by one may end as they like.
const EXTENSIONS: [&str; 26] = [
    "3gp", "asf", "av1", "avi", "flv", "gif", "h264", "h265", "hevc", "ivf", "m2ts", "m4v", "mkv", "mov",
    "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv", "y4m", "264",
];
/// Fewer frames show no motion worth judging.
const LEAST_FRAMES: usize = 12;
/// Shorter sides leave nothing to judge.
const LEAST_SIDE: usize = 64;

/// A file before it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// As the table says.
    pub licence: Option<String>,
    /// `pristine`, `light`, `moderate` or `heavy` compression of its own, as the table says.
    pub quality: Option<String>,
    /// Ties files of one content, as the table says.
    pub group: Option<String>,
}

impl Input {
    fn plain(path: PathBuf) -> Self {
        Self { path, licence: None, quality: None, group: None }
    }
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// A file.
    File {
        /// The file.
        input: Input,
        /// Of its bytes.
        sha256: String,
        /// As its container states it.
        duration_secs: f64,
        /// Frames a second.
        fps: f64,
    },
    /// A rendered scene.
    Scene(u64),
}

/// A source that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Decided by content, stretch and size.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where its frames come from.
    pub origin: Origin,
    /// Decides stretch and distortions.
    pub seed: u64,
    /// Where the stretch begins (`super::select`); 0 for scenes.
    pub start_secs: f64,
}

impl Source {
    /// Of the file; none of a scene.
    #[must_use]
    pub fn content_sha256(&self) -> Option<&str> {
        match &self.origin {
            Origin::File { sha256, .. } => Some(sha256),
            Origin::Scene(_) => None,
        }
    }

    /// The file; none of a scene.
    #[must_use]
    pub fn input(&self) -> Option<&Input> {
        match &self.origin {
            Origin::File { input, .. } => Some(input),
            Origin::Scene(_) => None,
        }
    }
}

/// A source that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// The file.
    pub path: PathBuf,
    /// A word of the record contract (`not_video`, ...), `duplicate`, `near_duplicate`, `static`, `letterboxed`, `hdr_untagged` or
    /// `too_large`.
    pub kind: &'static str,
    /// In words.
    pub reason: String,
}

impl Reject {
    /// Whether another file has what it has, so that nothing is lost.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        matches!(self.kind, "duplicate" | "near_duplicate")
    }
}

#[derive(Deserialize)]
struct Row {
    #[serde(alias = "video", alias = "path")]
    file: String,
    licence: Option<String>,
    quality: Option<String>,
    group: Option<String>,
}

/// All files that the configuration names, each once, in the order of their paths.
///
/// # Errors
/// A folder or table that cannot be read.
pub fn gather(config: &SourcesConfig) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for path in &config.videos {
        if path.is_dir() {
            walk(path, &mut inputs)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            let context = || format!("cannot read the table {}", path.display());
            let folder = match &config.folder {
                Some(folder) => folder.clone(),
                None => path.parent().map_or_else(PathBuf::new, Path::to_owned),
            };
            let mut reader = csv::Reader::from_path(path).with_context(context)?;
            for row in reader.deserialize() {
                let Row { file, licence, quality, group } = row.with_context(context)?;
                let given = |text: Option<String>| text.filter(|text| !text.is_empty());
                let (licence, quality, group) = (given(licence), given(quality), given(group));
                inputs.push(Input { path: folder.join(file), licence, quality, group });
            }
        } else {
            inputs.push(Input::plain(path.clone()));
        }
    }
    inputs.sort_by(|a, b| a.path.as_os_str().as_encoded_bytes().cmp(b.path.as_os_str().as_encoded_bytes()));
    // A file that a table describes and a folder holds is the one of the table.
    inputs.dedup_by(|later, first| {
        let same = later.path == first.path;
        if same && first.licence.is_none() {
            *first = later.clone();
        }
        same
    });
    Ok(inputs)
}

/// Videos below a folder. Links to folders are not followed, so that a loop of links has an end.
fn walk(folder: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    let context = || format!("cannot read the folder {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_hidden {
            continue;
        }
        if entry.file_type().with_context(context)?.is_dir() {
            walk(&path, inputs)?;
        } else if path.extension().and_then(OsStr::to_str).is_some_and(is_video_extension) {
            inputs.push(Input::plain(path));
        }
    }
    Ok(())
}

fn is_video_extension(extension: &str) -> bool {
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// Looks at every input: hash, streams, length.
///
/// # Errors
/// Only where the state fails.
pub fn inspect(
    config: &PairsConfig,
    inputs: Vec<Input>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<(Vec<Source>, Vec<Reject>)> {
    progress.begin("sources", (inputs.len() + config.sources.scenes) as u64, 0);
    let looked_at: Vec<Result<Source, Reject>> = inputs
        .into_par_iter()
        .map(|input| {
            let path = input.path.clone();
            let looked_at = look_at(config, input, store)?;
            progress.advance(1);
            Ok(looked_at.map_err(|(kind, reason)| Reject { path, kind, reason }))
        })
        .collect::<Result<_>>()?;
    let (mut sources, mut rejects, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for source in looked_at {
        match source {
            Ok(source) if seen.insert(source.id.clone()) => sources.push(source),
            Ok(source) => {
                let path = source.input().map(|input| input.path.clone()).unwrap_or_default();
                let reason = "another file has the same bytes".into();
                rejects.push(Reject { path, kind: "duplicate", reason });
            }
            Err(reject) => rejects.push(reject),
        }
    }
    for number in 0..config.sources.scenes {
        sources.push(scene(config, number));
        progress.advance(1);
    }
    Ok((sources, rejects))
}

/// What decides the frames of a source beside its content.
fn stretch(config: &SourcesConfig) -> String {
    let SourcesConfig { max_secs, max_frames, short_side, measure_secs, .. } = config;
    format!("{max_secs} s, {max_frames} frames, {short_side} lines, of {measure_secs} s")
}

/// The source of a scene.
pub(super) fn scene(config: &PairsConfig, number: usize) -> Source {
    let seed = rng::derive_named(config.seed, &format!("scene {number}"));
    let id = id_of(&["scene", &seed.to_string(), &stretch(&config.sources)]);
    Source { id, name: format!("scene-{number:04}"), origin: Origin::Scene(seed), seed, start_secs: 0.0 }
}

type Looked = Result<Source, (&'static str, String)>;

fn look_at(config: &PairsConfig, input: Input, store: &Store) -> Result<Looked> {
    let path = &input.path;
    let media = |error: MediaError| (error.kind(), error.to_string());
    let stamp = match stamp_of(path) {
        Ok(stamp) => stamp,
        Err(refused) => return Ok(Err(refused)),
    };
    if stamp.size as f64 > config.sources.max_gib * f64::from(1 << 30) {
        let reason = format!("{} bytes; sources.max_gib allows {} GiB", stamp.size, config.sources.max_gib);
        return Ok(Err(("too_large", reason)));
    }
    let info = match std::panic::catch_unwind(|| Video::open(path)) {
        Ok(Ok(video)) => video.info().clone(),
        Ok(Err(error)) => return Ok(Err(media(error))),
        Err(_) => return Ok(Err(("internal", "reading it failed".into()))),
    };
    if info.frame_count < LEAST_FRAMES {
        return Ok(Err(("too_short", format!("{} frames; {LEAST_FRAMES} are needed", info.frame_count))));
    }
    if info.width.min(info.height) < LEAST_SIDE {
        let reason = format!("{}x{}; {LEAST_SIDE} pixels a side are needed", info.width, info.height);
        return Ok(Err(("too_short", reason)));
    }
    let key = path.as_os_str().as_encoded_bytes();
    let sha256 = match store.hash_of(key, stamp)? {
        Some(sha256) => sha256,
        None => match sha256_of(path) {
            Ok(sha256) => {
                store.keep_hash(key, stamp, &sha256)?;
                sha256
            }
            Err(error) => return Ok(Err(("not_found", format!("cannot read the file: {error}")))),
        },
    };
    let quality = input.quality.clone().unwrap_or_default();
    let id = id_of(&["file", &sha256, &stretch(&config.sources), &quality]);
    let seed = rng::derive_named(config.seed, &sha256);
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let origin = Origin::File { input, sha256, duration_secs: info.duration_secs, fps: info.fps };
    Ok(Ok(Source { id, name, origin, seed, start_secs: 0.0 }))
}

/// A regular file as it is now; else the kind of failure and the reason.
pub(super) fn stamp_of(path: &Path) -> Result<Stamp, (&'static str, String)> {
    let metadata =
        std::fs::metadata(path).map_err(|error| ("not_found", format!("cannot read the file: {error}")))?;
    if !metadata.is_file() {
        return Err(("not_video", "not a regular file".into()));
    }
    // Clocks may have stood anywhere; the time is compared for equality only.
    let changed_ns = match metadata.modified().map(|changed| changed.duration_since(std::time::UNIX_EPOCH)) {
        Ok(Ok(since)) => since.as_nanos() as i64,
        Ok(Err(before)) => -(before.duration().as_nanos() as i64),
        Err(_) => 0,
    };
    Ok(Stamp { size: metadata.len(), changed_ns })
}

/// The SHA-256 of a file, hexadecimal.
pub(super) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&chunk[..count]),
        }
    }
}

impl Source {
    /// The frames that versions are made of: a stretch of the file, shrunk to hide its own compression; or the scene.
    ///
    /// # Errors
    /// What the file lacks.
    pub fn load(&self, config: &SourcesConfig) -> Result<Vec<Frame>> {
        match &self.origin {
            Origin::Scene(seed) => {
                let mut rng = rng::stream(self.seed, &[1]);
                let shape = [(16, 9), (9, 16), (4, 3), (1, 1)].choose(&mut rng).copied().unwrap_or((16, 9));
                let (width, height) = sized(shape.0, shape.1, config.short_side);
                let fps = [24.0, 25.0, 30.0, 30.0, 50.0, 60.0].choose(&mut rng).copied().unwrap_or(30.0);
                let count = ((config.max_secs * fps) as usize).clamp(LEAST_FRAMES, config.max_frames);
                Ok(Scene::random(*seed).render(width, height, fps, count)?.collect())
            }
            Origin::File { input, .. } => {
                let frames = load_stretch(config, input, self.start_secs)?;
                ensure!(
                    frames.windows(2).any(|pair| pair[0].picture != pair[1].picture),
                    "nothing moves in it: temporal faults would not show"
                );
                Ok(frames)
            }
        }
    }
}

fn load_stretch(config: &SourcesConfig, input: &Input, start_secs: f64) -> Result<Vec<Frame>> {
    let video = Video::open(&input.path)?.with_threads(1);
    let info = video.info();
    // The more a file was compressed, the more it must shrink to hide that.
    let hide = match input.quality.as_deref() {
        Some("pristine") => 1.0,
        Some("light") => 0.75,
        _ => 0.5,
    };
    let short = info.width.min(info.height);
    let side = config.short_side.min(((short as f64 * hide) as usize).max(short.min(160)));
    let (width, height) = sized(info.width, info.height, side);
    let mut stream = video.frames(TimeWindow::new(Some(start_secs), None)?)?;
    let mut frames: Vec<Frame> = Vec::new();
    while frames.len() < config.max_frames {
        let Some(decoded) = stream.next_frame()? else { break };
        let (picture, pts_secs) = (decoded.to_picture()?.resized(width, height)?, decoded.pts_secs());
        let first_secs = frames.first().map_or(pts_secs, |first| first.pts_secs);
        if pts_secs - first_secs >= config.max_secs && frames.len() >= LEAST_FRAMES {
            break;
        }
        // Broken files show frames twice at one time; encoders want times that grow.
        if frames.last().is_none_or(|last| pts_secs > last.pts_secs) {
            frames.push(Frame { picture, pts_secs });
        }
    }
    ensure!(
        frames.len() >= LEAST_FRAMES,
        "{} frames could be decoded; {LEAST_FRAMES} are needed",
        frames.len()
    );
    let zero = frames[0].pts_secs;
    frames.iter_mut().for_each(|frame| frame.pts_secs -= zero);
    Ok(frames)
}

/// Even width and height of the shape whose short side is `side`; the long side is at most four times as long.
fn sized(width: usize, height: usize, side: usize) -> (usize, usize) {
    let scale = side as f64 / width.min(height).max(1) as f64;
    let even = |v: usize| ((v as f64 * scale / 2.0).round() as usize * 2).clamp(2, 4 * side);
    (even(width), even(height))
}
