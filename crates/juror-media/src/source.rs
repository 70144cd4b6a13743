//! From a path to an opened container with its video stream chosen, or to an error which says what the file is instead.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ffmpeg_next as ff;
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::media::Type;

use crate::error::{MediaError, Result};
use crate::ffi::{self, CodecParameters, StreamParameters};
use crate::picture::MAX_PIXELS;

/// Demuxers which make pictures of what is no video: text art, and lists which name other files.
const TEXT_ART: [&str; 6] = ["tty", "bin", "xbin", "adf", "idf", "ansi"];
const PLAYLISTS: [&str; 5] = ["hls", "concat", "dash", "imf", "webm_dash_manifest"];
/// Below this score FFmpeg only guesses what a file might be.
const SURE_PROBE_SCORE: i32 = 26;

/// The first bytes of a file (zeros after its end): enough for the header of a PNG.
type Head = [u8; HEAD_LEN];
const HEAD_LEN: usize = 24;

/// An opened container and the video stream in it.
pub(crate) struct Source {
    pub(crate) input: ff::format::context::Input,
    pub(crate) stream: usize,
    pub(crate) parameters: StreamParameters,
    pub(crate) demuxer: String,
    /// Seconds the stream's own header states, before any estimate.
    pub(crate) stated_stream_secs: Option<f64>,
    /// Seconds the container's header states, before any estimate.
    pub(crate) stated_container_secs: Option<f64>,
    pub(crate) video_streams: usize,
    pub(crate) audio_streams: usize,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        crate::init_ffmpeg();
        let head = check_file(path)?;
        let opened = ffi::open_input(path).map_err(|error| open_error(error, &head, path))?;
        let stated_container_secs = opened.stated_duration_secs();
        let stated: Vec<Option<f64>> = opened
            .input
            .streams()
            .map(|s| (s.duration() > 0).then(|| s.duration() as f64 * f64::from(s.time_base())))
            .collect();
        let input = opened.probe_streams().map_err(|error| open_error(error, &head, path))?;
        let (demuxer, score) = ffi::demuxer(&input);
        let not_video = |reason: &str| MediaError::NotVideo { reason: reason.into(), path: path.into() };
        if TEXT_ART.contains(&demuxer.as_str()) {
            return Err(not_video("it reads as text; name a video or an image"));
        }
        if PLAYLISTS.contains(&demuxer.as_str()) {
            return Err(MediaError::Unsupported {
                reason: format!("it is a list of other files ({demuxer}); name a video itself"),
                path: path.into(),
            });
        }
        let Some(stream) = choose_stream(&input) else {
            return Err(if score < SURE_PROBE_SCORE {
                not_video("its content is of no known format")
            } else {
                MediaError::NoVideoStream { found: describe_streams(&input), path: path.into() }
            });
        };
        let of_type = |kind| input.streams().filter(move |s| s.parameters().medium() == kind);
        let video_streams = of_type(Type::Video).filter(|s| !ffi::is_side_picture(s)).count();
        let audio_streams = of_type(Type::Audio).count();
        let parameters = input.stream(stream).map(|s| ffi::stream_parameters(&s)).unwrap_or_default();
        check_parameters(&parameters, &head, path)?;
        let stated_stream_secs = stated.get(stream).copied().flatten();
        Ok(Self {
            input,
            stream,
            parameters,
            demuxer,
            stated_stream_secs,
            stated_container_secs,
            video_streams,
            audio_streams,
        })
    }

    /// Whether the container holds a still picture.
    pub(crate) fn is_image(&self) -> bool {
        self.demuxer == "image2" || self.demuxer.ends_with("_pipe")
    }
}

/// Opens a file again whose stream is known by its parameters. Containers with a full header need no second probe.
pub(crate) fn reopen(
    path: &Path,
    stream: usize,
    codec: &CodecParameters,
) -> Result<ff::format::context::Input> {
    let head = check_file(path)?;
    let opened = ffi::open_input(path).map_err(|error| open_error(error, &head, path))?;
    let (demuxer, _) = ffi::demuxer(&opened.input);
    let is_complete = demuxer.starts_with("mov,") || demuxer.starts_with("matroska,");
    if is_complete && opened.input.stream(stream).is_some_and(|s| codec.fit(&s)) {
        return Ok(opened.input);
    }
    let input = opened.probe_streams().map_err(|error| open_error(error, &head, path))?;
    if input.stream(stream).is_some_and(|s| codec.fit(&s)) {
        return Ok(input);
    }
    Err(MediaError::NotVideo { reason: "the file has changed since it was opened".into(), path: path.into() })
}

/// Checks that the path names a readable, non-empty regular file; gives its first bytes.
fn check_file(path: &Path) -> Result<Head> {
    let not_found =
        |error: std::io::Error| MediaError::NotFound { reason: error.to_string(), path: path.into() };
    let not_video = |reason: &str| MediaError::NotVideo { reason: reason.into(), path: path.into() };
    let metadata = fs::metadata(path).map_err(not_found)?;
    if metadata.is_dir() {
        return Err(not_video("it is a directory; name the files in it"));
    }
    if !metadata.is_file() {
        return Err(not_video(
            "it is no regular file, and a video is read more than once; save it to a file first",
        ));
    }
    if metadata.len() == 0 {
        return Err(not_video("the file is empty (0 bytes)"));
    }
    let mut start = Vec::new();
    let mut head: Head = [0; HEAD_LEN];
    File::open(path)
        .and_then(|file| file.take(HEAD_LEN as u64).read_to_end(&mut start))
        .map_err(not_found)?;
    head[..start.len()].copy_from_slice(&start);
    Ok(head)
}

/// What a failure to open means, given the first bytes of the file.
fn open_error(error: ff::Error, head: &Head, path: &Path) -> MediaError {
    let path = path.to_path_buf();
    if let ff::Error::Other { errno: ff::error::ENOMEM } = error {
        return MediaError::OutOfMemory { doing: format!("opening {}", path.display()) };
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("yuv")) {
        let reason = "raw video says neither its size nor its rate; wrap it, for example as .y4m".into();
        return MediaError::Unsupported { reason, path };
    }
    if &head[4..8] == b"ftyp" {
        let reason =
            "its index ('moov') is missing or damaged, as when a recording stops before it is finished; \
                      repair it with a tool for this, or take another copy"
                .into();
        return MediaError::Truncated { reason, path };
    }
    if head[..4] == [0x1a, 0x45, 0xdf, 0xa3] || &head[..4] == b"RIFF" {
        return MediaError::Truncated { reason: "it ends within its header".into(), path };
    }
    MediaError::NotVideo {
        reason: format!("its content is of no known format ({error}); name a video or an image"),
        path,
    }
}

/// The video stream to judge: no cover pictures; the one flagged as default first, then the largest, then the first.
fn choose_stream(input: &ff::format::context::Input) -> Option<usize> {
    input
        .streams()
        .filter(|s| s.parameters().medium() == Type::Video)
        .filter(|s| !ffi::is_side_picture(s))
        .max_by_key(|s| {
            let parameters = ffi::stream_parameters(s);
            let pixels = i64::from(parameters.width) * i64::from(parameters.height);
            (s.disposition().contains(Disposition::DEFAULT), pixels, std::cmp::Reverse(s.index()))
        })
        .map(|s| s.index())
}

/// "2 audio streams, 1 cover picture" for the error which needs it.
fn describe_streams(input: &ff::format::context::Input) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for stream in input.streams() {
        let kind = match stream.parameters().medium() {
            Type::Video => "cover picture",
            Type::Audio => "audio stream",
            Type::Subtitle => "subtitle stream",
            _ => "data stream",
        };
        match counts.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    if counts.is_empty() {
        return "the file holds no streams".into();
    }
    let list: Vec<String> =
        counts.iter().map(|(kind, n)| format!("{n} {kind}{}", if *n == 1 { "" } else { "s" })).collect();
    format!("the file holds {} only", list.join(", "))
}

fn check_parameters(parameters: &StreamParameters, head: &Head, path: &Path) -> Result<()> {
    let (mut width, mut height) = (parameters.width, parameters.height);
    if (width, height) == (0, 0) && &head[1..4] == b"PNG" {
        // FFmpeg refuses to look further into a picture over the limit; say so instead of calling it damaged.
        let number = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        (width, height) = (number(16), number(20));
        if i64::from(width) * i64::from(height) <= MAX_PIXELS as i64 {
            (width, height) = (0, 0);
        }
    }
    let path = path.to_path_buf();
    if !parameters.has_decoder {
        let reason = format!("this FFmpeg has no decoder for the codec '{}'", parameters.codec);
        return Err(MediaError::Unsupported { reason, path });
    }
    if i64::from(width) * i64::from(height) > MAX_PIXELS as i64 {
        let reason = format!("{width}x{height} pixels, at most {MAX_PIXELS} in all are read");
        return Err(MediaError::Unsupported { reason, path });
    }
    if width <= 0 || height <= 0 {
        let reason = "no picture could be decoded, not even its size is known; take another copy".into();
        return Err(MediaError::Truncated { reason, path });
    }
    Ok(())
}
