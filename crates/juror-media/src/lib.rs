//! Pixels in and out: probe, decode by timestamp, colour, sample, distort, encode, render scenes.

pub mod colour;
pub mod distort;
pub mod encode;
pub mod error;
pub mod picture;
mod resize;
pub mod scenes;

pub use colour::{Matrix, Range};
pub use error::{MediaError, Result};
pub use picture::{Frame, MAX_PIXELS, Picture, Rgb};

/// Readies FFmpeg's libraries once: no network, and no log output of their own (what they complain of is counted and
/// told in `warnings` instead). Every entry into FFmpeg in this crate calls it first.
#[allow(dead_code)] // until the decoder lands
pub(crate) fn init_ffmpeg() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        ffmpeg_next::util::log::set_level(ffmpeg_next::util::log::Level::Quiet);
    });
}
