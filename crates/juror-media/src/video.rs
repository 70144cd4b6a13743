//! A video (or still picture) that was opened, probed and scanned: what it is, when its frames are shown, and the way to
//! its frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ffmpeg_next::packet::side_data::Type as SideData;
use serde::Serialize;

use crate::colour::{Matrix, Primaries, Range, Transfer};
use crate::decode::FrameStream;
use crate::error::{MediaError, Result};
use crate::ffi::{self, CodecParameters, PixelLayout, StreamParameters};
use crate::geometry::{Orientation, square_pixel_size};
use crate::source::Source;
use crate::timeline::{Timeline, nominal_fps};
use crate::window::TimeWindow;

/// What a video is. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VideoInfo {
    /// The file (in records, bytes which are no UTF-8 are replaced).
    #[serde(serialize_with = "readable_path")]
    pub path: PathBuf,
    /// FFmpeg's short name of the container, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    pub container: String,
    /// FFmpeg's short name of the codec, such as `h264`.
    pub codec: String,
    /// FFmpeg's name of the pixel format, such as `yuv420p10le`.
    pub pix_fmt: String,
    /// Bits per sample.
    pub bit_depth: u32,
    /// Width as displayed: upright, square pixels.
    pub width: usize,
    /// Height as displayed: upright, square pixels.
    pub height: usize,
    /// Width of the decoded pictures.
    pub coded_width: usize,
    /// Height of the decoded pictures.
    pub coded_height: usize,
    /// Width to height of a decoded sample; `(1, 1)` where the source says nothing.
    pub sample_aspect_ratio: (u32, u32),
    /// Degrees clockwise by which decoded pictures are turned to stand upright: 0, 90, 180 or 270.
    pub rotation: u32,
    /// Whether decoded pictures are mirrored left to right before they are turned.
    pub mirrored: bool,
    /// Code range; where the source says nothing, limited for Y'CbCr and full for R'G'B'.
    pub range: Range,
    /// Y'CbCr matrix; where the source says nothing, BT.709 for video and BT.601 for still pictures. BT.709 for R'G'B',
    /// which is converted so.
    pub matrix: Matrix,
    /// Primaries, as far as the source says.
    pub primaries: Primaries,
    /// Transfer, as far as the source says.
    pub transfer: Transfer,
    /// Whether the stream is flagged as interlaced.
    pub interlaced: bool,
    /// Whether the pixel format has an alpha channel.
    pub has_alpha: bool,
    /// Whether this is a still picture.
    pub is_image: bool,
    /// Frames, counted by packets (a codec with hidden frames may show fewer).
    pub frame_count: usize,
    /// Presentation time of the first frame, as the file states it.
    pub start_secs: f64,
    /// From the first frame's start to the last one's end, as the packets state it; 0 for a still picture.
    pub duration_secs: f64,
    /// Mean frames per second; 0 for a still picture.
    pub fps: f64,
    /// Mean rate of the video stream in kilobits per second; 0 for a still picture.
    pub bitrate_kbps: f64,
    /// Audio streams (ignored).
    pub audio_streams: usize,
    /// Whether the file ends before its header says.
    pub truncated: bool,
    /// What a user should know about how this video is read.
    pub warnings: Vec<String>,
}

fn readable_path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// What decoding needs to know besides the frames themselves.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) stream: usize,
    pub(crate) codec: CodecParameters,
    pub(crate) timeline: Timeline,
    pub(crate) parameters: StreamParameters,
    pub(crate) orientation: Orientation,
    pub(crate) is_image: bool,
    /// Display size before turning: square pixels.
    pub(crate) square_size: (usize, usize),
}

/// An opened video. Cheap to clone; every [`FrameStream`] reads the file by itself, so several may run at once.
#[derive(Debug, Clone)]
pub struct Video {
    info: Arc<VideoInfo>,
    reading: Arc<Reading>,
    threads: usize,
}

impl Video {
    /// Opens a file: probes its streams, and reads its packets (without decoding) to learn its true times.
    ///
    /// # Errors
    /// Says what the file is instead of a readable video: see [`MediaError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut source = Source::open(path)?;
        let timeline = Timeline::scan(&mut source);
        if timeline.ticks.is_empty() {
            return Err(MediaError::Truncated { reason: "it holds no frame".into(), path: path.into() });
        }
        let parameters = source.parameters.clone();
        let layout = ffi::pixel_layout(parameters.pixel_format).ok_or_else(|| MediaError::Truncated {
            reason: "no picture could be decoded, not even its pixel format is known".into(),
            path: path.into(),
        })?;
        let mut warnings = Vec::new();
        let is_image = source.is_image();
        let orientation = orientation(&source, path, &mut warnings);
        let coded = (parameters.width as usize, parameters.height as usize);
        let square_size = square_size(coded, parameters.sample_aspect_ratio, &mut warnings);
        let truncated = truncation(&source, &timeline, is_image, &mut warnings);
        let mut info =
            describe(path, &source, &timeline, &layout, orientation.turned(square_size.0, square_size.1));
        (info.rotation, info.mirrored) = (orientation.clockwise_degrees(), orientation.is_mirrored());
        info.truncated = truncated;
        warn_of_pixels(&info, &parameters, &layout, &mut warnings);
        if source.video_streams > 1 {
            let (index, count) = (source.stream, source.video_streams);
            warnings.push(format!("{count} video or picture streams; stream {index} is judged"));
        }
        info.warnings = warnings;
        let stream = source.stream;
        let codec = source.input.stream(stream).map(|s| CodecParameters::of(&s)).ok_or_else(|| {
            MediaError::Ffmpeg { doing: "opening a video".into(), reason: "its stream vanished".into() }
        })?;
        let reading = Reading { stream, codec, timeline, parameters, orientation, is_image, square_size };
        Ok(Self { info: Arc::new(info), reading: Arc::new(reading), threads: 0 })
    }

    /// The same video, decoded with this many threads (0, the default: one per core). Frames are the same whatever the number.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// What the video is.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// The frames shown at any moment of `window`, in presentation order. Seeks, so that what lies before is not decoded.
    ///
    /// # Errors
    /// [`MediaError::TooShort`] where the window starts after the end.
    pub fn frames(&self, window: TimeWindow) -> Result<FrameStream> {
        let (start, end) = window.clamped(self.info.duration_secs);
        if start > 0.0 && start >= end {
            return Err(MediaError::TooShort {
                reason: format!(
                    "the window starts at {start} s, the video lasts {:.3} s",
                    self.info.duration_secs
                ),
                path: self.info.path.clone(),
            });
        }
        FrameStream::open(self, window)
    }

    /// Presentation times of all frames in seconds, as the packets state them (see [`VideoInfo::frame_count`]).
    pub fn packet_times_secs(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        let timeline = &self.reading.timeline;
        timeline.ticks.iter().map(|&ticks| timeline.secs(ticks))
    }

    pub(crate) fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }
}

/// The plain facts; what needs a decision of its own is filled in by the caller.
fn describe(
    path: &Path,
    source: &Source,
    timeline: &Timeline,
    layout: &PixelLayout,
    size: (usize, usize),
) -> VideoInfo {
    let parameters = &source.parameters;
    let is_image = source.is_image();
    let nominal = source.input.stream(source.stream).map_or(0.0, |s| nominal_fps(&s));
    let duration_secs = if is_image { 0.0 } else { timeline.end_secs() - timeline.start_secs() };
    let kilobits = timeline.bytes as f64 * 8.0 / 1000.0;
    let interlaced = parameters.field_order > 1; // 0 unknown, 1 progressive, above: fields
    let ratio = parameters.sample_aspect_ratio;
    VideoInfo {
        path: path.into(),
        container: source.demuxer.clone(),
        codec: parameters.codec.clone(),
        pix_fmt: layout.name.clone(),
        bit_depth: layout.bits,
        width: size.0,
        height: size.1,
        coded_width: parameters.width as usize,
        coded_height: parameters.height as usize,
        sample_aspect_ratio: if ratio.0 > 0 && ratio.1 > 0 {
            (ratio.0 as u32, ratio.1 as u32)
        } else {
            (1, 1)
        },
        rotation: 0,
        mirrored: false,
        range: resolve_range(parameters.range, layout, is_image),
        matrix: if layout.is_rgb || layout.has_palette || layout.components == 2 {
            Matrix::Bt709
        } else {
            resolve_matrix(parameters.matrix, is_image)
        },
        primaries: Primaries::from_code_point(parameters.primaries),
        transfer: Transfer::from_code_point(parameters.transfer),
        interlaced,
        has_alpha: layout.has_alpha,
        is_image,
        frame_count: timeline.ticks.len(),
        start_secs: timeline.start_secs(),
        duration_secs,
        fps: if is_image { 0.0 } else { timeline.mean_fps(nominal) },
        bitrate_kbps: if duration_secs > 0.0 { kilobits / duration_secs } else { 0.0 },
        audio_streams: source.audio_streams,
        truncated: false,
        warnings: Vec::new(),
    }
}

/// The range of samples: as stated, else full for R'G'B', `yuvj` formats and grey stills, else limited.
pub(crate) fn resolve_range(code: i32, layout: &PixelLayout, is_image: bool) -> Range {
    let implied_full =
        layout.is_rgb || layout.name.starts_with("yuvj") || (is_image && layout.components < 3);
    Range::from_code(code).unwrap_or(if implied_full { Range::Full } else { Range::Limited })
}

/// The matrix of samples: as stated, else BT.601 for stills (JPEG and WebP say so by their standards), else BT.709.
pub(crate) fn resolve_matrix(code: i32, is_image: bool) -> Matrix {
    let unstated = if is_image { Matrix::Bt601 } else { Matrix::Bt709 };
    Matrix::from_code_point(code).map_or(unstated, |(matrix, _)| matrix)
}

fn orientation(source: &Source, path: &Path, warnings: &mut Vec<String>) -> Orientation {
    if source.is_image() {
        return crate::decode::still_orientation(path).unwrap_or_default();
    }
    let Some(stream) = source.input.stream(source.stream) else { return Orientation::default() };
    let matrix = stream
        .side_data()
        .find(|data| data.kind() == SideData::DisplayMatrix)
        .and_then(|data| display_matrix(data.data()));
    let Some((orientation, exact)) = matrix.map(Orientation::from_matrix) else {
        return Orientation::default();
    };
    if !exact {
        warnings.push(format!(
            "the display matrix is no multiple of 90 degrees; turned by {} degrees clockwise",
            orientation.clockwise_degrees()
        ));
    }
    orientation
}

/// Nine native-endian 32-bit numbers.
pub(crate) fn display_matrix(bytes: &[u8]) -> Option<[i32; 9]> {
    let mut matrix = [0; 9];
    let chunks = bytes.get(..36)?.chunks_exact(4);
    for (value, chunk) in matrix.iter_mut().zip(chunks) {
        *value = i32::from_ne_bytes(chunk.try_into().ok()?);
    }
    Some(matrix)
}

fn square_size(coded: (usize, usize), ratio: (i32, i32), warnings: &mut Vec<String>) -> (usize, usize) {
    let (width, height) = coded;
    let (num, den) = ratio;
    if num <= 0 || den <= 0 || num == den {
        return coded;
    }
    match square_pixel_size(width, height, ratio) {
        Some(size) => {
            warnings.push(format!(
                "samples are {num}:{den}; pictures of {width}x{height} are shown as {}x{}",
                size.0, size.1
            ));
            size
        }
        None if num > 16 * den || den > 16 * num => {
            warnings.push(format!("a sample aspect ratio of {num}:{den} is past belief and not applied"));
            coded
        }
        None => coded,
    }
}

/// Whether the file ends before its header says; warns of the time at which it does.
fn truncation(source: &Source, timeline: &Timeline, is_image: bool, warnings: &mut Vec<String>) -> bool {
    let end = timeline.end_secs() - timeline.start_secs();
    // Rounded timestamps and a last frame without a duration explain small gaps.
    let tolerance = (2.0 * timeline.secs(timeline.typical_interval)).max(0.2);
    let missing = match (source.stated_stream_secs, source.stated_container_secs) {
        _ if is_image => None,
        (Some(stated), _) => (stated - end > tolerance).then_some(stated),
        (None, Some(stated)) => (stated - timeline.data_end_secs > tolerance).then_some(stated),
        (None, None) => None,
    };
    if timeline.damaged_packets > 0 {
        let (damaged, all) = (timeline.damaged_packets, timeline.packets);
        warnings.push(format!("{damaged} of {all} packets are flagged as damaged"));
    }
    match (missing, &timeline.read_error) {
        (Some(stated), _) => {
            warnings
                .push(format!("the file is cut off: it ends at {end:.3} s, its header says {stated:.3} s"));
            true
        }
        (None, Some(error)) => {
            warnings.push(format!("the file is cut off or damaged: reading ends at {end:.3} s ({error})"));
            true
        }
        (None, None) => false,
    }
}

fn warn_of_pixels(
    info: &VideoInfo,
    parameters: &StreamParameters,
    layout: &PixelLayout,
    warnings: &mut Vec<String>,
) {
    if info.transfer.is_hdr() {
        let name = if info.transfer == Transfer::Pq { "PQ" } else { "HLG" };
        warnings.push(format!("high dynamic range ({name}) is tone-mapped: {}", crate::hdr::RULE));
    }
    if info.transfer == Transfer::Other {
        warnings.push("an unusual transfer is shown as if it were standard dynamic range".into());
    }
    if info.primaries == Primaries::Bt2020 && !info.transfer.is_hdr() {
        warnings.push("BT.2020 primaries are shown as if they were BT.709".into());
    }
    if let Some((matrix, false)) = Matrix::from_code_point(parameters.matrix)
        && !layout.is_rgb
    {
        warnings
            .push(format!("colour matrix {} is not supported and taken as {matrix:?}", parameters.matrix));
    }
    if layout.has_alpha && !layout.has_palette {
        warnings.push("transparent parts are laid on black".into());
    }
    if info.interlaced {
        warnings.push("interlaced: the second field of sampled frames is interpolated".into());
    }
}
