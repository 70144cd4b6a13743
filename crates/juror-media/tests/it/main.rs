//! Proof of the reading half against independent decodes by the `ffmpeg` and `ffprobe` programs, and of the writing
//! half against what its levels, options and seeds promise.
#![allow(clippy::print_stderr)]
#![allow(clippy::unwrap_used)] // `allow-unwrap-in-tests` does not reach helper functions

mod clips;
mod distort;
mod encode;
mod errors;
mod golden;
mod measure;
mod media;
mod picture;
mod pixels;
mod sampling;
mod scenes;
mod simulators;
mod times;
