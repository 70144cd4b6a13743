//! The kinds of distortion and what their levels mean.
//!
//! Level 1 is mild, level 5 severe; between whole levels the parameter is interpolated (geometrically, or linearly where the
//! parameter is itself a logarithmic or relative scale, as a CRF is). A level below 1 runs linearly towards the undistorted
//! picture (for codecs: towards a very good encode).
//!
//! Values marked *published* are those of the W2S-VQA simulators (arXiv 2505.03631, appendix A.3), which follow
//! KADID-10k; the others are ours, chosen so that neighbouring levels are clearly apart. The published blur starts at
//! sigma = 0.1, which changes no 8-bit picture: up to about level 1.6 (sigma 0.26) blur does nothing at all.

use crate::MediaError;
use std::fmt;
use std::str::FromStr;

/// What is done to the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Gaussian blur; parameter: sigma in luma pixels.
    GaussianBlur,
    /// White Gaussian noise, new in every frame; parameter: variance on a 0..=1 scale.
    GaussianNoise,
    /// Shrunk and enlarged back to the original size; parameter: the factor.
    Rescale,
    /// Midtones pulled down by KADID's curve; parameter: its strength p.
    Darken,
    /// Midtones pulled up by KADID's curve; parameter: its strength p.
    Brighten,
    /// Contrast reduced around mid grey; parameter: the contrast left.
    Contrast,
    /// Coarse quantisation without dither; parameter: step in 8-bit codes. In flat pictures, levels less than one apart
    /// may swap: it depends on where the flat values lie between the steps.
    Banding,
    /// Every frame through JPEG's transform and quantiser; parameter: IJG quality.
    Jpeg,
    /// H.264 by libx264, preset `fast`; parameter: CRF.
    H264,
    /// HEVC by libx265, preset `superfast`; parameter: CRF.
    Hevc,
    /// VP9 by libvpx in realtime mode; parameter: CRF, rounded.
    Vp9,
    /// AV1 by libaom in realtime mode (SVT-AV1 where that is missing); parameter: CRF, rounded.
    Av1,
    /// MPEG-4 part 2 by FFmpeg; parameter: quantiser, which the encoder rounds.
    Mpeg4,
    /// Delivered as a smaller picture; parameter: the scale left. The viewer's player enlarges it again.
    Resolution,
    /// Every picture held over several frames; parameter: frames at 30 frames per second or fewer, time above.
    Stutter,
    /// The picture stands, then jumps on; parameter: the share of time that stands.
    Freeze,
    /// Random frames replaced by the one before; parameter: the probability.
    DroppedFrames,
    /// Random shift of every frame, cropped and enlarged back; parameter: largest shift as a share of the width.
    Shake,
    /// Brightness alternating at random; parameter: largest relative change.
    Flicker,
}

/// How a kind is seen: in single pictures or only over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Visible in a single picture.
    Visual,
    /// Visible only as time passes.
    Temporal,
}

/// Parameters at levels 0 (undistorted, or nearly) to 5, and whether whole levels are joined geometrically.
struct Scale {
    at_level: [f64; 6],
    geometric: bool,
}

impl Kind {
    /// All kinds, in the order in which they are listed to users.
    pub const ALL: [Self; 19] = [
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

    /// The name users type, in kebab-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianBlur => "gaussian-blur",
            Self::GaussianNoise => "gaussian-noise",
            Self::Rescale => "rescale",
            Self::Darken => "darken",
            Self::Brighten => "brighten",
            Self::Contrast => "contrast",
            Self::Banding => "banding",
            Self::Jpeg => "jpeg",
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::Mpeg4 => "mpeg4",
            Self::Resolution => "resolution",
            Self::Stutter => "stutter",
            Self::Freeze => "freeze",
            Self::DroppedFrames => "dropped-frames",
            Self::Shake => "shake",
            Self::Flicker => "flicker",
        }
    }

    /// Whether it is seen in single pictures or only over time.
    pub fn group(self) -> Group {
        match self {
            Self::Stutter | Self::Freeze | Self::DroppedFrames | Self::Shake | Self::Flicker => {
                Group::Temporal
            }
            _ => Group::Visual,
        }
    }

    /// Whether it is seen only over time.
    pub fn is_temporal(self) -> bool {
        self.group() == Group::Temporal
    }

    /// Whether it is the loss of a video encoder. ([`Kind::Jpeg`] is not: it is computed here, frame by frame.)
    pub fn is_codec(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc | Self::Vp9 | Self::Av1 | Self::Mpeg4)
    }

    fn scale(self) -> Scale {
        let geometric = |at_level| Scale { at_level, geometric: true };
        let linear = |at_level| Scale { at_level, geometric: false };
        match self {
            Self::GaussianBlur => geometric([0.0, 0.1, 0.5, 1.0, 2.0, 5.0]), // published
            Self::GaussianNoise => geometric([0.0, 0.001, 0.002, 0.003, 0.005, 0.01]), // published
            Self::Rescale => geometric([1.0, 2.0, 3.0, 4.0, 8.0, 16.0]),     // published
            Self::Darken => geometric([0.0, 0.05, 0.1, 0.2, 0.4, 0.8]),      // published
            Self::Brighten => geometric([0.0, 0.1, 0.2, 0.4, 0.7, 1.1]),     // published
            Self::Contrast => linear([1.0, 0.85, 0.7, 0.55, 0.4, 0.25]),
            Self::Banding => geometric([1.0, 4.0, 7.0, 12.0, 20.0, 32.0]),
            Self::Jpeg => geometric([95.0, 60.0, 35.0, 20.0, 10.0, 5.0]),
            // Published: 24, 36, 48, 63; libx264 at eight bits ends at 51.
            Self::H264 => linear([17.25, 24.0, 30.75, 37.5, 44.25, 51.0]),
            // Published: 36, 40, 44, 48; the mild end is ours.
            Self::Hevc => linear([20.5, 26.0, 31.5, 37.0, 42.5, 48.0]),
            Self::Vp9 | Self::Av1 => linear([24.0, 32.0, 40.0, 48.0, 56.0, 63.0]),
            Self::Mpeg4 => geometric([2.0, 3.0, 6.0, 11.0, 18.0, 31.0]),
            Self::Resolution => geometric([1.0, 3.0 / 4.0, 1.0 / 2.0, 3.0 / 8.0, 1.0 / 4.0, 1.0 / 6.0]),
            Self::Stutter => geometric([1.0, 2.0, 3.0, 5.0, 8.0, 12.0]),
            Self::Freeze => linear([0.0, 0.1, 0.2, 0.35, 0.5, 0.7]),
            Self::DroppedFrames => geometric([0.0, 0.05, 0.1, 0.2, 0.35, 0.5]),
            Self::Shake => geometric([0.0, 0.0025, 0.005, 0.01, 0.02, 0.04]),
            Self::Flicker => geometric([0.0, 0.02, 0.04, 0.07, 0.12, 0.2]),
        }
    }

    /// The parameter at a level in 0..=5; what it is stands at each kind.
    pub fn parameter(self, level: f64) -> f64 {
        let Scale { at_level, geometric } = self.scale();
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
