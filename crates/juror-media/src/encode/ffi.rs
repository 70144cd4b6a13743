//! The calls into FFmpeg's C interface which `ffmpeg-next` does not wrap, or not in the way the encoders need.
//!
//! All `unsafe` code of the writing half stands here. The wrappers take and give safe types only.
#![allow(unsafe_code)]

use crate::ffi::file_url;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi;
use ffmpeg_next::format::context::Output;
use ffmpeg_next::frame;
use std::ffi::CString;
use std::path::Path;
use std::ptr;

/// Opens a file for writing in the named format. Takes any path: `ffmpeg-next` panics on those that are no UTF-8.
pub(super) fn open_output(path: &Path, format: &str) -> Result<Output, ffmpeg::Error> {
    let url = file_url(path).ok_or(ffmpeg::Error::InvalidData)?;
    let format = CString::new(format).map_err(|_| ffmpeg::Error::InvalidData)?;
    let mut context = ptr::null_mut();
    // SAFETY: the strings outlive the calls, which copy them. A context that was made is either freed here or owned by
    // `Output`, which closes its file and frees it.
    unsafe {
        match ffi::avformat_alloc_output_context2(&mut context, ptr::null(), format.as_ptr(), url.as_ptr()) {
            code if code < 0 => return Err(ffmpeg::Error::from(code)),
            _ => {}
        }
        match ffi::avio_open(&mut (*context).pb, url.as_ptr(), ffi::AVIO_FLAG_WRITE) {
            code if code < 0 => {
                ffi::avformat_free_context(context);
                Err(ffmpeg::Error::from(code))
            }
            _ => Ok(Output::wrap(context)),
        }
    }
}

/// Sets the lambda of a fixed quantiser, which must stand in every frame too.
pub(super) fn set_quality(frame: &mut frame::Video, quality: i32) {
    // SAFETY: the frame is owned and exclusively borrowed, so its pointer is valid; this writes one integer.
    unsafe { (*frame.as_mut_ptr()).quality = quality }
}
