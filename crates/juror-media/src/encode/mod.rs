//! Encoding frames through FFmpeg's libraries, in process: to a file ([`Encoder`]), to packets that are decoded again
//! at once (the codec distortions), or one picture to a JPEG in memory ([`jpeg`]).
//!
//! Encoders see frames numbered 0, 1, 2, ... at the nominal frame rate; the true pts come back when packets leave. So
//! every codec keeps every frame at its own time, also with a variable frame rate, whatever its own time base allows.
//! Files are written under a temporary name beside the target and renamed at the end: no partial file is ever seen.
//!
//! The same frames and options give the same bytes. libx264's output depends on the number of threads; the default
//! is one.

mod ffi;
mod packets;
mod still;
mod writer;

pub(crate) use packets::{PacketEncoder, unpadded};
pub use still::jpeg;
pub use writer::Encoder;

use crate::MediaError;
use std::path::Path;

/// A video codec, written by the encoder named with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264 by `libx264`. CRF 0..=51, continuous.
    H264,
    /// HEVC by `libx265`. CRF 0..=51, continuous.
    Hevc,
    /// VP9 by `libvpx-vp9`. CRF 0..=63, whole numbers.
    Vp9,
    /// AV1 by `libaom-av1`, or by `libsvtav1` where that is missing. CRF 0..=63, whole numbers.
    Av1,
    /// MPEG-2 by FFmpeg's `mpeg2video`. Quantiser 1..=31 in place of a CRF. Coded at the nearest frame rate that it knows.
    Mpeg2,
    /// MPEG-4 part 2 by FFmpeg's `mpeg4`. Quantiser 1..=31 in place of a CRF.
    Mpeg4,
    /// Motion JPEG by FFmpeg's `mjpeg`. Quantiser 1..=31 in place of a CRF.
    Mjpeg,
    /// FFV1, lossless.
    Ffv1,
}

/// How many bits are spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Constant rate factor, or the quantiser for MPEG-2, MPEG-4 and Motion JPEG; the range stands at each [`Codec`].
    Crf(f64),
    /// Average bitrate in kilobits (1000 bits) per second, in one pass.
    BitrateKbps(u32),
    /// Average bits per pixel and frame of a picture of 1920x1080, in one pass; other sizes get bits by the power of three
    /// quarters of their pixels, as is usual for ladders. At least 8 kbit/s.
    BitsPerPixel(f64),
    /// Not a sample is changed.
    Lossless,
}

/// What to encode with.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeOptions {
    /// The codec.
    pub codec: Codec,
    /// Its rate control.
    pub rate: Rate,
    /// Speed against compression in the encoder's own words: `ultrafast`..`placebo` for H.264 and HEVC, `0`..`8`
    /// (`cpu-used`) or `realtime` for VP9, `0`..`13` for AV1 (for libaom, 8 and more are one); others have none.
    /// `None`: a quick one.
    pub preset: Option<String>,
    /// Threads of the encoder, at least 1.
    pub threads: usize,
    /// H.264 only: slices of at most this many bytes, one per packet of a network, in a stream that needs no look
    /// ahead and has a key frame every two seconds.
    pub packet_bytes: Option<usize>,
}

impl EncodeOptions {
    /// One thread and a quick preset.
    pub fn new(codec: Codec, rate: Rate) -> Self {
        Self { codec, rate, preset: None, threads: 1, packet_bytes: None }
    }

    /// Keeps every sample: lossless H.264 or VP9 (WebM), or FFV1 where `libx264` is missing and the container allows it.
    ///
    /// # Errors
    /// [`MediaError::Unsupported`] when the extension of `path` names no known container.
    pub fn lossless_for(path: &Path) -> Result<Self, MediaError> {
        let container = Container::of(path)?;
        let codec = match container {
            Container::Webm => Codec::Vp9,
            Container::Matroska if !Codec::H264.is_available() => Codec::Ffv1,
            _ => Codec::H264,
        };
        Ok(Self::new(codec, Rate::Lossless))
    }
}

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 8] =
        [Self::H264, Self::Hevc, Self::Vp9, Self::Av1, Self::Mpeg2, Self::Mpeg4, Self::Mjpeg, Self::Ffv1];

    /// Names of FFmpeg's encoders for it, best first.
    fn encoder_names(self) -> &'static [&'static str] {
        match self {
            Self::H264 => &["libx264"],
            Self::Hevc => &["libx265"],
            Self::Vp9 => &["libvpx-vp9"],
            Self::Av1 => &["libaom-av1", "libsvtav1"],
            Self::Mpeg2 => &["mpeg2video"],
            Self::Mpeg4 => &["mpeg4"],
            Self::Mjpeg => &["mjpeg"],
            Self::Ffv1 => &["ffv1"],
        }
    }

    /// Whether the FFmpeg at hand can write it.
    pub fn is_available(self) -> bool {
        self.encoder().is_ok()
    }

    fn encoder(self) -> Result<(&'static str, ffmpeg_next::Codec), MediaError> {
        crate::init_ffmpeg();
        let found = self
            .encoder_names()
            .iter()
            .find_map(|&name| Some((name, ffmpeg_next::encoder::find_by_name(name)?)));
        found.ok_or_else(|| {
            MediaError::invalid(format!(
                "unsupported: this FFmpeg has no encoder `{}`; install an FFmpeg built with it",
                self.encoder_names().join("` or `")
            ))
        })
    }

    /// Whether 4:2:0 pictures of odd width or height cannot be written.
    fn needs_even_size(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc | Self::Av1)
    }

    /// Smallest width and height that the encoder is given. libx265 3.5 writes beyond its memory when a picture is only
    /// a few blocks wide (seen at 40x20 and 48x48, not from 50 pixels on).
    fn smallest_side(self) -> usize {
        if self == Self::Hevc { 64 } else { 1 }
    }

    /// What [`EncodeOptions::preset`] may be, quickest first; empty where there is no choice.
    pub fn presets(self) -> &'static [&'static str] {
        match self {
            Self::H264 | Self::Hevc => &[
                "ultrafast",
                "superfast",
                "veryfast",
                "faster",
                "fast",
                "medium",
                "slow",
                "slower",
                "veryslow",
                "placebo",
            ],
            Self::Vp9 => &["realtime", "8", "7", "6", "5", "4", "3", "2", "1", "0"],
            Self::Av1 => &["13", "12", "11", "10", "9", "8", "7", "6", "5", "4", "3", "2", "1", "0"],
            Self::Mpeg2 | Self::Mpeg4 | Self::Mjpeg | Self::Ffv1 => &[],
        }
    }

    /// Whether [`Rate::Crf`] is a fixed quantiser.
    fn has_quantiser(self) -> bool {
        matches!(self, Self::Mpeg2 | Self::Mpeg4 | Self::Mjpeg)
    }

    /// Largest value of [`Rate::Crf`], and the smallest.
    fn crf_range(self) -> Option<(f64, f64)> {
        match self {
            Self::H264 | Self::Hevc => Some((0.0, 51.0)),
            Self::Vp9 | Self::Av1 => Some((0.0, 63.0)),
            Self::Mpeg2 | Self::Mpeg4 | Self::Mjpeg => Some((1.0, 31.0)),
            Self::Ffv1 => None,
        }
    }
}

/// File formats that are written, chosen by extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Mp4,
    Matroska,
    Webm,
}

impl Container {
    /// The container for the extension of `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, MediaError> {
        let extension =
            path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "mp4" | "m4v" | "mov" => Ok(Self::Mp4),
            "mkv" => Ok(Self::Matroska),
            "webm" => Ok(Self::Webm),
            _ => Err(MediaError::Unsupported {
                reason: format!("cannot write `.{extension}` files; use .mp4, .mov, .mkv or .webm"),
                path: path.to_owned(),
            }),
        }
    }

    /// Whether the container can carry the codec.
    pub(crate) fn carries(self, codec: Codec) -> bool {
        match self {
            Self::Mp4 => codec != Codec::Ffv1,
            Self::Matroska => true,
            Self::Webm => matches!(codec, Codec::Vp9 | Codec::Av1),
        }
    }

    fn format_name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
            Self::Webm => "webm",
        }
    }
}
