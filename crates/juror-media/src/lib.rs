//! Pixels in and out: probe, decode by timestamp, colour, sample, distort, encode, measure, render scenes.
//!
//! Reading: [`Video::open`] probes a file and reads its packets to learn its true times; [`Video::frames`] gives every
//! frame of a [`TimeWindow`] without converting it; [`Video::moments`] gives the pictures a [`SamplingPlan`] asks for. All
//! go through FFmpeg's libraries in this process, with threads, at a memory that does not grow with duration.
//!
//! ```no_run
//! use juror_media::{SamplingPlan, TimeWindow, Video};
//!
//! # fn main() -> juror_media::Result<()> {
//! let video = Video::open("clip.mp4")?;
//! let plan = SamplingPlan::evenly(8)?.with_next_frame();
//! // One pass: every frame for a temporal profile, the pictures of eight moments on the way.
//! let mut sampler = plan.sampler(&video)?;
//! let mut frames = video.frames(TimeWindow::ALL)?;
//! while let Some(frame) = frames.next_frame()? {
//!     let luma = frame.luma(); // raw samples on loan
//!     let mean = luma.data.iter().map(|&y| f64::from(y)).sum::<f64>() / luma.data.len() as f64;
//!     if let Some(moment) = sampler.visit(&frame)? {
//!         let picture = &moment.shown.picture; // 8 bit, limited range, 4:2:0, upright, square pixels
//!         # let _ = (picture, mean);
//!     }
//! }
//! let last = sampler.finish_window(None)?; // the last frame of a video has no next
//! # let _ = last;
//! # Ok(())
//! # }
//! ```

pub mod colour;
mod convert;
pub mod decode;
pub mod distort;
pub mod encode;
pub mod error;
mod ffi;
mod geometry;
mod hdr;
pub mod measure;
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
