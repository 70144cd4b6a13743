//! Proof of the reading half against independent decodes by the `ffmpeg` and `ffprobe` programs.
#![allow(clippy::print_stderr)]

mod errors;
mod media;
mod picture;
mod pixels;
mod sampling;
mod times;
