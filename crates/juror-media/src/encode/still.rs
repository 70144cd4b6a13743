//! One picture as a JPEG file in memory, for those who cannot take raw pixels.
//!
//! JFIF: full-range BT.601 Y'CbCr, here with chroma at full resolution and the finest quantiser that FFmpeg's encoder
//! has, so that little is added to the damage that is to be judged (PSNR 49 dB on the slopes of the tests).

use super::ffi;
use crate::{MediaError, Result, Rgb};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{self, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{Rational, color, encoder, frame};

/// FFmpeg's lambda for the finest quantiser (`FF_QP2LAMBDA`).
const FINEST: i32 = 118;

/// Encodes a picture.
///
/// # Errors
/// An FFmpeg without its JPEG encoder; a picture beyond 65535 pixels a side.
pub fn jpeg(picture: &Rgb) -> Result<Vec<u8>> {
    crate::init_ffmpeg();
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let failed = |error| MediaError::ffmpeg(format!("writing a JPEG of {width}x{height}"), error);
    let codec = encoder::find(codec::Id::MJPEG)
        .ok_or_else(|| MediaError::invalid("unsupported: this FFmpeg has no encoder `mjpeg`"))?;

    let mut rgb = frame::Video::new(Pixel::RGB24, width, height);
    let (stride, row) = (rgb.stride(0), picture.width() * 3);
    for (target, source) in rgb.data_mut(0).chunks_mut(stride).zip(picture.data().chunks_exact(row)) {
        target[..row].copy_from_slice(source);
    }
    let mut full = frame::Video::empty();
    let flags = scaling::Flags::BICUBIC | scaling::Flags::ACCURATE_RND | scaling::Flags::FULL_CHR_H_INT;
    scaling::Context::get(Pixel::RGB24, width, height, Pixel::YUVJ444P, width, height, flags)
        .and_then(|mut context| context.run(&rgb, &mut full))
        .map_err(failed)?;

    let mut video = codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUVJ444P);
    video.set_color_range(color::Range::JPEG);
    video.set_time_base(Rational::new(1, 25));
    video.set_threading(threading::Config { kind: threading::Type::None, count: 1, ..Default::default() });
    video.set_flags(codec::Flags::QSCALE | codec::Flags::BITEXACT);
    video.set_global_quality(FINEST);
    // The smallest step that a table may have, in place of two.
    video.set_qmin(1);
    let mut video = video.open_as(codec).map_err(failed)?;
    full.set_pts(Some(0));
    full.set_color_range(color::Range::JPEG);
    ffi::set_quality(&mut full, FINEST);
    video.send_frame(&full).map_err(failed)?;
    video.send_eof().map_err(failed)?;
    let mut packet = ffmpeg::Packet::empty();
    video.receive_packet(&mut packet).map_err(failed)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}
