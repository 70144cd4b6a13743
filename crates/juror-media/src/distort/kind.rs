//! The kinds of distortion and what their levels mean.
//!
//! Level 1 is mild, level 5 severe; between whole levels the parameter is interpolated (geometrically, or linearly where the
//! parameter is itself a logarithmic or relative scale, as a CRF is). A level below 1 runs linearly towards the undistorted
//! picture (for codecs: towards a very good encode).
//!
//! Values marked *published* are those of the W2S-VQA simulators (arXiv 2505.03631, appendix A.3), which follow
//! KADID-10k, or of VQAThinker's perturbations (arXiv 2508.06051); the others are ours, chosen so that neighbouring levels
//! are clearly apart. The published blur starts at sigma = 0.1, which changes no 8-bit picture: up to about level 1.6
//! (sigma 0.26) blur does nothing at all. In flat pictures, levels of banding less than one apart may swap: it depends on
//! where the flat values lie between the steps.

use crate::MediaError;
use crate::encode::Codec;
use std::fmt;
use std::str::FromStr;

/// How a kind is seen: in single pictures or only over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Visible in a single picture.
    Visual,
    /// Visible only as time passes.
    Temporal,
}

/// What is known of a kind.
struct Entry {
    kind: Kind,
    name: &'static str,
    group: Group,
    /// What the parameter is.
    parameter: &'static str,
    /// Parameters at levels 0 (undistorted, or nearly) to 5.
    at_level: [f64; 6],
    /// Whether levels from 1 on are joined geometrically.
    geometric: bool,
}

/// Declares the kinds once: variant, name, group, what the parameter is, parameters at levels 0 to 5, way of joining.
macro_rules! kinds {
    ($($kind:ident $name:literal $group:ident $join:ident [$($at:expr),+] $parameter:literal;)+) => {
        /// What is done to the video.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`; parameter: ", $parameter, ".")] $kind,)+
        }

        impl Kind {
            /// All kinds, in the order in which they are listed to users.
            pub const ALL: [Self; TABLE.len()] = [$(Self::$kind,)+];
        }

        /// One entry per kind, in the order of declaration.
        const TABLE: &[Entry] = &[$(Entry {
            kind: Kind::$kind,
            name: $name,
            group: Group::$group,
            parameter: $parameter,
            at_level: [$($at),+],
            geometric: $join,
        },)+];
    };
}

/// Ways of joining whole levels.
const GEOMETRIC: bool = true;
const LINEAR: bool = false;

kinds! {
    GaussianBlur "gaussian-blur" Visual GEOMETRIC [0.0, 0.1, 0.5, 1.0, 2.0, 5.0]
        "sigma of the Gaussian in luma pixels (published)";
    LensBlur "lens-blur" Visual GEOMETRIC [0.0, 1.0, 2.0, 4.0, 6.0, 8.0]
        "radius of the disc in luma pixels (KADID-10k)";
    MotionBlur "motion-blur" Visual GEOMETRIC [0.0, 3.0, 6.0, 10.0, 16.0, 26.0]
        "length of the smear in luma pixels, in one direction per clip";
    GaussianNoise "gaussian-noise" Visual GEOMETRIC [0.0, 0.001, 0.002, 0.003, 0.005, 0.01]
        "variance of white noise on a 0..1 scale, new in every frame (published)";
    ShotNoise "shot-noise" Visual GEOMETRIC [0.0, 0.002, 0.005, 0.0125, 0.03, 0.08]
        "variance of Poisson noise at white on a 0..1 scale (1 / photons)";
    ImpulseNoise "impulse-noise" Visual GEOMETRIC [0.0, 0.001, 0.005, 0.01, 0.02, 0.03]
        "share of pixels turned black or white (KADID-10k)";
    Rescale "rescale" Visual GEOMETRIC [1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
        "factor by which it is shrunk and enlarged back, bicubic (published)";
    RescaleNearest "rescale-nearest" Visual GEOMETRIC [1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
        "factor, by the nearest pixel";
    RescaleBilinear "rescale-bilinear" Visual GEOMETRIC [1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
        "factor, bilinear";
    RescaleLanczos "rescale-lanczos" Visual GEOMETRIC [1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
        "factor, by Lanczos with three lobes";
    Pixelate "pixelate" Visual GEOMETRIC [1.0, 2.0, 3.0, 5.0, 8.0, 14.0]
        "side of the squares in luma pixels";
    Sharpen "sharpen" Visual GEOMETRIC [0.0, 1.0, 2.0, 3.0, 6.0, 12.0]
        "amount of unsharp masking, which leaves halos (KADID-10k)";
    Darken "darken" Visual GEOMETRIC [0.0, 0.05, 0.1, 0.2, 0.4, 0.8]
        "strength p of KADID-10k's curve (published)";
    Brighten "brighten" Visual GEOMETRIC [0.0, 0.1, 0.2, 0.4, 0.7, 1.1]
        "strength p of KADID-10k's curve (published)";
    Contrast "contrast" Visual LINEAR [1.0, 0.85, 0.7, 0.55, 0.4, 0.25]
        "contrast left around mid grey";
    Vignette "vignette" Visual LINEAR [0.0, 0.15, 0.3, 0.45, 0.65, 0.9]
        "share of the light lost in the corners";
    Desaturate "desaturate" Visual LINEAR [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
        "colour left";
    Oversaturate "oversaturate" Visual GEOMETRIC [1.0, 1.3, 1.6, 2.0, 2.8, 4.0]
        "gain of colour";
    ColourCast "colour-cast" Visual GEOMETRIC [0.0, 4.0, 8.0, 14.0, 22.0, 34.0]
        "shift of chroma in 8-bit codes, in one direction per clip";
    Banding "banding" Visual GEOMETRIC [1.0, 4.0, 7.0, 12.0, 20.0, 32.0]
        "step of coarse quantisation in 8-bit codes";
    Jpeg "jpeg" Visual GEOMETRIC [95.0, 60.0, 35.0, 20.0, 10.0, 5.0]
        "IJG quality, every frame for itself";
    H264 "h264" Visual LINEAR [17.25, 24.0, 30.75, 37.5, 44.25, 51.0]
        "CRF of libx264, preset fast (published: 24, 36, 48, 63; eight bits end at 51)";
    Hevc "hevc" Visual LINEAR [20.5, 26.0, 31.5, 37.0, 42.5, 48.0]
        "CRF of libx265, preset superfast (published: 36, 40, 44, 48)";
    Vp9 "vp9" Visual LINEAR [24.0, 32.0, 40.0, 48.0, 56.0, 63.0]
        "CRF of libvpx, realtime";
    Av1 "av1" Visual LINEAR [24.0, 32.0, 40.0, 48.0, 56.0, 63.0]
        "CRF of libaom, realtime (SVT-AV1 where that is missing)";
    Mpeg4 "mpeg4" Visual GEOMETRIC [2.0, 3.0, 6.0, 11.0, 18.0, 31.0]
        "quantiser of MPEG-4 part 2";
    Mpeg2 "mpeg2" Visual GEOMETRIC [2.0, 3.0, 6.0, 11.0, 18.0, 31.0]
        "quantiser of MPEG-2";
    Mjpeg "mjpeg" Visual GEOMETRIC [2.0, 3.0, 6.0, 11.0, 18.0, 31.0]
        "quantiser of Motion JPEG";
    H264Bitrate "h264-bitrate" Visual GEOMETRIC [0.4, 0.2, 0.1, 0.05, 0.025, 0.012]
        "bits per pixel at 1080p, libx264, one pass";
    HevcBitrate "hevc-bitrate" Visual GEOMETRIC [0.3, 0.15, 0.075, 0.035, 0.018, 0.009]
        "bits per pixel at 1080p, libx265, one pass";
    Vp9Bitrate "vp9-bitrate" Visual GEOMETRIC [0.4, 0.2, 0.1, 0.05, 0.025, 0.012]
        "bits per pixel at 1080p, libvpx, realtime";
    Av1Bitrate "av1-bitrate" Visual GEOMETRIC [0.3, 0.15, 0.075, 0.035, 0.018, 0.009]
        "bits per pixel at 1080p, libaom, realtime (SVT-AV1 where that is missing)";
    Mpeg2Bitrate "mpeg2-bitrate" Visual GEOMETRIC [0.3, 0.12, 0.08, 0.05, 0.03, 0.02]
        "bits per pixel at 1080p, MPEG-2";
    TwoGenerations "two-generations" Visual LINEAR [17.25, 24.0, 30.75, 37.5, 44.25, 51.0]
        "CRF of libx264 (veryfast) whose result is encoded again at the same CRF (medium)";
    AbrLadder "abr-ladder" Visual GEOMETRIC [1.0, 0.75, 0.5, 0.375, 0.25, 0.1875]
        "lowest scale of a ladder whose rung (size, bitrate, frame rate) is switched every two seconds";
    PacketLoss "packet-loss" Visual GEOMETRIC [0.0, 0.005, 0.015, 0.04, 0.1, 0.25]
        "share of packets of an H.264 stream that are lost, concealed by the decoder";
    Resolution "resolution" Visual GEOMETRIC [1.0, 3.0 / 4.0, 1.0 / 2.0, 3.0 / 8.0, 1.0 / 4.0, 1.0 / 6.0]
        "scale of the picture delivered; the viewer's player enlarges it again";
    Stutter "stutter" Temporal GEOMETRIC [1.0, 2.0, 3.0, 5.0, 8.0, 12.0]
        "frames (at 30 a second or fewer, time above) that every picture is held";
    Freeze "freeze" Temporal LINEAR [0.0, 0.1, 0.2, 0.35, 0.5, 0.7]
        "share of time that stands, then jumps on";
    DroppedFrames "dropped-frames" Temporal GEOMETRIC [0.0, 0.05, 0.1, 0.2, 0.35, 0.5]
        "probability that a frame is replaced by the one before";
    DuplicatedFrames "duplicated-frames" Temporal GEOMETRIC [0.0, 0.05, 0.1, 0.2, 0.35, 0.5]
        "probability that a frame is shown twice, and those after it late until one is skipped";
    BlankFrames "blank-frames" Temporal GEOMETRIC [0.0, 0.01, 0.025, 0.06, 0.12, 0.25]
        "probability that a frame is black";
    FrameRate "frame-rate" Temporal GEOMETRIC [1.0, 0.75, 0.5, 1.0 / 3.0, 0.2, 0.125]
        "share of the frames that are delivered";
    Judder "judder" Temporal LINEAR [0.0, 1.0 / 15.0, 1.0 / 8.0, 0.2, 1.0 / 3.0, 0.45]
        "share of pictures lost to an uneven cadence (0.2: 24 shown at 30)";
    Interlace "interlace" Visual LINEAR [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
        "frames between the two fields that are woven into one picture";
    Shake "shake" Temporal GEOMETRIC [0.0, 0.0025, 0.005, 0.01, 0.02, 0.04]
        "largest random shift of every frame as a share of the width";
    Flicker "flicker" Temporal GEOMETRIC [0.0, 0.02, 0.04, 0.07, 0.12, 0.2]
        "largest relative change of brightness, up and down in turn";
    FrameJitter "frame-jitter" Temporal GEOMETRIC [0.0, 0.1, 0.2, 0.35, 0.6, 1.0]
        "probability that a neighbour is shown in place of a frame";
    LocalShuffle "local-shuffle" Temporal GEOMETRIC [1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
        "frames per window whose order is lost (published: 4)";
    Shuffle "shuffle" Temporal GEOMETRIC [0.0, 0.1, 0.2, 0.4, 0.7, 1.0]
        "share of frames that change places, anywhere within 48 frames";
    Reverse "reverse" Temporal GEOMETRIC [1.0, 3.0, 6.0, 12.0, 24.0, 48.0]
        "frames per window that is played backwards";
}

impl Kind {
    /// The nineteen kinds that `nano` was trained and is validated on.
    pub const CORE: [Self; 19] = [
        Self::GaussianBlur,
        Self::GaussianNoise,
        Self::Rescale,
        Self::Darken,
        Self::Brighten,
        Self::Contrast,
        Self::Banding,
        Self::Jpeg,
        Self::H264,
        Self::Hevc,
        Self::Vp9,
        Self::Av1,
        Self::Mpeg4,
        Self::Resolution,
        Self::Stutter,
        Self::Freeze,
        Self::DroppedFrames,
        Self::Shake,
        Self::Flicker,
    ];

    fn entry(self) -> &'static Entry {
        let entry = &TABLE[self as usize];
        debug_assert_eq!(entry.kind, self);
        entry
    }

    /// The name users type, in kebab-case.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The parameters at levels 1 to 5, to four digits.
    pub fn parameters_text(self) -> [String; 5] {
        [1.0, 2.0, 3.0, 4.0, 5.0].map(|level| {
            let value = self.parameter(level);
            let digits = if value > 0.0 { (3 - value.log10().floor() as i32).max(0) as usize } else { 0 };
            let text = format!("{value:.digits$}");
            let short = text.trim_end_matches('0').trim_end_matches('.');
            if text.contains('.') { short.to_owned() } else { text }
        })
    }

    /// What the parameter is, in words for users.
    pub fn parameter_meaning(self) -> &'static str {
        self.entry().parameter
    }

    /// Whether it is seen in single pictures or only over time.
    pub fn group(self) -> Group {
        self.entry().group
    }

    /// Whether it is seen only over time.
    pub fn is_temporal(self) -> bool {
        self.group() == Group::Temporal
    }

    /// Whether it is the loss of a video encoder. ([`Kind::Jpeg`] is not: it is computed here, frame by frame.)
    pub fn is_codec(self) -> bool {
        self.codec().is_some() || matches!(self, Self::TwoGenerations | Self::AbrLadder)
    }

    /// The codec of a single encode.
    pub(super) fn codec(self) -> Option<Codec> {
        match self {
            Self::H264 | Self::H264Bitrate => Some(Codec::H264),
            Self::Hevc | Self::HevcBitrate => Some(Codec::Hevc),
            Self::Vp9 | Self::Vp9Bitrate => Some(Codec::Vp9),
            Self::Av1 | Self::Av1Bitrate => Some(Codec::Av1),
            Self::Mpeg2 | Self::Mpeg2Bitrate => Some(Codec::Mpeg2),
            Self::Mpeg4 => Some(Codec::Mpeg4),
            Self::Mjpeg => Some(Codec::Mjpeg),
            _ => None,
        }
    }

    /// Presets of its encoder, for [`super::Distortion::with_preset`], quickest first; empty where it has none.
    pub fn presets(self) -> &'static [&'static str] {
        self.codec().map_or(&[], Codec::presets)
    }

    /// Whether the parameter is a rate in bits per pixel.
    pub(super) fn is_by_bitrate(self) -> bool {
        use Kind::{Av1Bitrate, H264Bitrate, HevcBitrate, Mpeg2Bitrate, Vp9Bitrate};
        matches!(self, H264Bitrate | HevcBitrate | Vp9Bitrate | Av1Bitrate | Mpeg2Bitrate)
    }

    /// The parameter at a level in 0..=5; what it is says [`Kind::parameter_meaning`].
    pub fn parameter(self, level: f64) -> f64 {
        let &Entry { at_level, geometric, .. } = self.entry();
        let level = level.clamp(0.0, 5.0);
        let below = (level.floor() as usize).min(4);
        let (low, high, t) = (at_level[below], at_level[below + 1], level - below as f64);
        if geometric && below > 0 { low * (high / low).powf(t) } else { low + (high - low) * t }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = MediaError;

    /// Parses a full name; the few short forms `blur`, `noise`, `x264`, `x265`, `h265` are understood too.
    fn from_str(text: &str) -> Result<Self, MediaError> {
        let name = text.trim().to_ascii_lowercase().replace('_', "-");
        let full = match name.as_str() {
            "blur" => "gaussian-blur",
            "noise" => "gaussian-noise",
            "x264" => "h264",
            "x265" | "h265" => "hevc",
            other => other,
        };
        Self::ALL.into_iter().find(|kind| kind.name() == full).ok_or_else(|| {
            let nearest = Self::ALL.into_iter().min_by_key(|kind| edit_distance(kind.name(), full));
            let hint = nearest.map(|kind| format!("; did you mean `{kind}`?")).unwrap_or_default();
            MediaError::invalid(format!("unknown distortion kind `{}`{hint}", text.trim()))
        })
    }
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a_byte) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b_byte) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(a_byte != b_byte);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
