//! Pixels in and out: probe, decode by timestamp, colour, sample, distort, encode, render scenes.

pub mod colour;
mod convert;
pub mod decode;
pub mod distort;
pub mod encode;
pub mod error;
mod ffi;
mod geometry;
mod hdr;
pub mod picture;
pub mod quality;
mod resize;
pub mod sample;
pub mod scenes;
mod source;
mod timeline;
pub mod video;
pub mod window;

pub use colour::{Matrix, Primaries, Range, Transfer};
pub use decode::{DecodedFrame, FrameStream, Luma};
pub use error::{MediaError, Result};
pub use picture::{Frame, MAX_PIXELS, Picture, Rgb};
pub use sample::{Moment, Moments, Sampler, SamplingPlan};
pub use video::{Video, VideoInfo};
pub use window::TimeWindow;

/// Readies FFmpeg's libraries once: no network, and no log output of their own (what they complain of is counted and
/// told in `warnings` instead). Every entry into FFmpeg in this crate calls it first.
pub(crate) fn init_ffmpeg() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        ffmpeg_next::util::error::register_all();
        ffmpeg_next::util::log::set_level(ffmpeg_next::util::log::Level::Quiet);
    });
}
