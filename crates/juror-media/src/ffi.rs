//! The few calls into FFmpeg's C interface which `ffmpeg-next` does not wrap, or not in the way this crate needs:
//! paths which are no UTF-8, limits set before probing, enumerations read from files.
//!
//! All `unsafe` code of the reading half stands here. The wrappers take and give safe types only.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use ffmpeg_next as ff;
use ffmpeg_next::ffi;

use crate::picture::MAX_PIXELS;

/// An opened container, before its streams were probed.
pub(crate) struct Opened {
    pub(crate) input: ff::format::context::Input,
}

/// The path as FFmpeg wants it: behind `file:`, so that no name is taken for a network address or another protocol.
pub(crate) fn file_url(path: &Path) -> Option<CString> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path.to_str()?.as_bytes();
    CString::new([b"file:", bytes].concat()).ok()
}

fn check(code: c_int) -> Result<(), ff::Error> {
    if code < 0 { Err(ff::Error::from(code)) } else { Ok(()) }
}

/// Opens a container and reads its header. Only local files are ever opened, and a `%d` in a name is just a name.
pub(crate) fn open_input(path: &Path) -> Result<Opened, ff::Error> {
    let url = file_url(path).ok_or(ff::Error::InvalidData)?;
    let mut context = ptr::null_mut();
    let mut options = ptr::null_mut();
    // SAFETY: all strings outlive the calls; `av_dict_set` copies them. On failure `avformat_open_input` frees the context
    // and leaves null; on success it is owned by `Input`, which closes it. What is left of the options is freed here.
    unsafe {
        ffi::av_dict_set(&mut options, c"protocol_whitelist".as_ptr(), c"file".as_ptr(), 0);
        ffi::av_dict_set(&mut options, c"pattern_type".as_ptr(), c"none".as_ptr(), 0);
        let code = ffi::avformat_open_input(&mut context, url.as_ptr(), ptr::null_mut(), &mut options);
        ffi::av_dict_free(&mut options);
        check(code)?;
        Ok(Opened { input: ff::format::context::Input::wrap(context) })
    }
}

impl Opened {
    /// The duration the container itself states, in seconds, before FFmpeg estimates one.
    pub(crate) fn stated_duration_secs(&self) -> Option<f64> {
        let ticks = self.input.duration();
        (ticks > 0).then(|| ticks as f64 / f64::from(ffi::AV_TIME_BASE))
    }

    /// Reads on until the parameters of every stream are known. Decoders opened meanwhile refuse pictures over
    /// [`MAX_PIXELS`], so that a lying header cannot take all memory.
    pub(crate) fn probe_streams(mut self) -> Result<ff::format::context::Input, ff::Error> {
        let limit = CString::new(MAX_PIXELS.to_string()).map_err(|_| ff::Error::Bug)?;
        let mut options: Vec<*mut ffi::AVDictionary> =
            vec![ptr::null_mut(); self.input.nb_streams() as usize];
        // SAFETY: one dictionary per stream present now, which is what the call reads (streams found later get none);
        // each is freed after it. The context is valid as long as `input` lives.
        unsafe {
            for dictionary in &mut options {
                ffi::av_dict_set(dictionary, c"max_pixels".as_ptr(), limit.as_ptr(), 0);
            }
            let list = if options.is_empty() { ptr::null_mut() } else { options.as_mut_ptr() };
            let code = ffi::avformat_find_stream_info(self.input.as_mut_ptr(), list);
            for dictionary in &mut options {
                ffi::av_dict_free(dictionary);
            }
            check(code)?;
        }
        Ok(self.input)
    }
}

/// The short name of the demuxer (`mov,mp4,...`), and how sure it was (0..100).
pub(crate) fn demuxer(input: &ff::format::context::Input) -> (String, i32) {
    // SAFETY: an open input always has a format whose name is a static C string.
    unsafe {
        let context = input.as_ptr();
        let name = CStr::from_ptr((*(*context).iformat).name).to_string_lossy().into_owned();
        (name, (*context).probe_score)
    }
}

/// What the container and the probe say of one video stream. Enumerations are plain code points (ITU-T H.273).
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamParameters {
    pub(crate) codec: String,
    pub(crate) has_decoder: bool,
    pub(crate) width: i32,
    pub(crate) height: i32,
    pub(crate) pixel_format: i32,
    pub(crate) sample_aspect_ratio: (i32, i32),
    pub(crate) range: i32,
    pub(crate) matrix: i32,
    pub(crate) primaries: i32,
    pub(crate) transfer: i32,
    pub(crate) field_order: i32,
    /// By how many frames decoding runs ahead of presentation.
    pub(crate) reorder_delay: i32,
}

/// Reads an enumeration field as a number: a file may carry a value which the Rust type does not know.
macro_rules! code_point {
    ($place:expr) => {
        ptr::addr_of!($place).cast::<c_int>().read()
    };
}

pub(crate) fn stream_parameters(stream: &ff::format::stream::Stream) -> StreamParameters {
    // SAFETY: stream and parameters are valid while the stream is borrowed; enumerations are read as the `int` they are
    // in C, and only turned back into one for a decoder FFmpeg itself named.
    unsafe {
        let stream = stream.as_ptr();
        let parameters = (*stream).codecpar;
        let codec_id = (*parameters).codec_id;
        let mut ratio = (*stream).sample_aspect_ratio;
        if ratio.num <= 0 || ratio.den <= 0 {
            ratio = (*parameters).sample_aspect_ratio;
        }
        StreamParameters {
            codec: CStr::from_ptr(ffi::avcodec_get_name(codec_id)).to_string_lossy().into_owned(),
            has_decoder: !ffi::avcodec_find_decoder(codec_id).is_null(),
            width: (*parameters).width,
            height: (*parameters).height,
            pixel_format: (*parameters).format,
            sample_aspect_ratio: (ratio.num, ratio.den),
            range: code_point!((*parameters).color_range),
            matrix: code_point!((*parameters).color_space),
            primaries: code_point!((*parameters).color_primaries),
            transfer: code_point!((*parameters).color_trc),
            field_order: code_point!((*parameters).field_order),
            reorder_delay: (*parameters).video_delay.max(0),
        }
    }
}

/// Whether the stream is a cover picture or a set of thumbnails beside the video.
pub(crate) fn is_side_picture(stream: &ff::format::stream::Stream) -> bool {
    let side = ffi::AV_DISPOSITION_ATTACHED_PIC | ffi::AV_DISPOSITION_TIMED_THUMBNAILS;
    // SAFETY: the stream is valid while borrowed.
    unsafe { (*stream.as_ptr()).disposition & side != 0 }
}

/// Whether the packet is needed for decoding only and its frame is not shown (before the start of an edit list).
pub(crate) fn is_hidden(packet: &ff::Packet) -> bool {
    use ff::codec::packet::Ref;
    // SAFETY: the packet is valid while borrowed.
    unsafe { (*packet.as_ptr()).flags & ffi::AV_PKT_FLAG_DISCARD != 0 }
}

/// Tells the demuxer to drop packets of every stream but `keep` without reading them.
pub(crate) fn keep_only(input: &mut ff::format::context::Input, keep: usize) {
    // SAFETY: `nb_streams` valid stream pointers, borrowed mutably through `input`.
    unsafe {
        let context = input.as_mut_ptr();
        for index in 0..(*context).nb_streams as usize {
            if index != keep {
                (**(*context).streams.add(index)).discard = ffi::AVDiscard::AVDISCARD_ALL;
            }
        }
    }
}

/// Seeks to the last key frame at or before `ticks` (in the stream's time base).
pub(crate) fn seek_before(
    input: &mut ff::format::context::Input,
    stream: usize,
    ticks: i64,
) -> Result<(), ff::Error> {
    // SAFETY: the context is valid; the stream index is the caller's, checked by FFmpeg.
    check(unsafe {
        ffi::av_seek_frame(input.as_mut_ptr(), stream as c_int, ticks, ffi::AVSEEK_FLAG_BACKWARD)
    })
}

/// The probed parameters of a codec, from which any number of decoders can be opened, in any thread.
pub(crate) struct CodecParameters {
    parameters: Mutex<ff::codec::Parameters>,
    time_base: ff::Rational,
}

impl std::fmt::Debug for CodecParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodecParameters").field("time_base", &self.time_base).finish_non_exhaustive()
    }
}

impl CodecParameters {
    /// A copy of what is known of `stream`.
    pub(crate) fn of(stream: &ff::format::stream::Stream) -> Self {
        Self { parameters: Mutex::new(stream.parameters().clone()), time_base: stream.time_base() }
    }

    /// Whether `stream`, of the same file opened again, is the stream these parameters are of.
    pub(crate) fn fit(&self, stream: &ff::format::stream::Stream) -> bool {
        let parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        stream.parameters().id() == parameters.id() && stream.time_base() == self.time_base
    }

    /// Opens a decoder with `threads` threads (0: one per core), working on frames and slices at once where it can.
    pub(crate) fn open_decoder(&self, threads: usize) -> Result<ff::decoder::Video, ff::Error> {
        let parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut context = ff::codec::Context::from_parameters(parameters)?;
        // SAFETY: the context is ours and not yet opened; these fields may be set until it is.
        unsafe {
            let raw = context.as_mut_ptr();
            (*raw).thread_count = threads.min(c_int::MAX as usize) as c_int;
            (*raw).thread_type = ffi::FF_THREAD_FRAME | ffi::FF_THREAD_SLICE;
            (*raw).max_pixels = MAX_PIXELS as i64;
            (*raw).pkt_timebase = self.time_base.into();
        }
        context.decoder().video()
    }
}

/// What a decoded frame says of itself. Enumerations are code points as in [`StreamParameters`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameProperties {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixel_format: i32,
    pub(crate) range: i32,
    pub(crate) matrix: i32,
    pub(crate) primaries: i32,
    pub(crate) transfer: i32,
}

pub(crate) fn frame_properties(frame: &ff::frame::Video) -> FrameProperties {
    // SAFETY: the frame is valid while borrowed; enumerations are read as the `int` they are in C.
    unsafe {
        let raw = frame.as_ptr();
        FrameProperties {
            width: (*raw).width.max(0) as usize,
            height: (*raw).height.max(0) as usize,
            pixel_format: (*raw).format,
            range: code_point!((*raw).color_range),
            matrix: code_point!((*raw).colorspace),
            primaries: code_point!((*raw).color_primaries),
            transfer: code_point!((*raw).color_trc),
        }
    }
}

/// Whether any plane lies bottom-up in memory.
pub(crate) fn has_negative_stride(frame: &ff::frame::Video) -> bool {
    // SAFETY: the frame is valid while borrowed.
    unsafe { (*frame.as_ptr()).linesize.iter().any(|&stride| stride < 0) }
}

/// Plane `index` of a frame: `rows` rows of `row_bytes` bytes, and the distance between their starts.
/// `None` where the frame has no such plane or a stride that does not fit.
pub(crate) fn plane(
    frame: &ff::frame::Video,
    index: usize,
    rows: usize,
    row_bytes: usize,
) -> Option<(&[u8], usize)> {
    // SAFETY: a decoded frame's plane holds `height` rows `linesize` apart, each at least as long as its samples; the
    // stride is checked to be no shorter than a row, and the slice ends with the last sample of the last row.
    unsafe {
        let raw = frame.as_ptr();
        let data = *(*raw).data.get(index)?;
        let stride = usize::try_from(*(*raw).linesize.get(index)?).ok()?;
        if data.is_null() || stride < row_bytes || rows == 0 {
            return None;
        }
        Some((std::slice::from_raw_parts(data, stride * (rows - 1) + row_bytes), stride))
    }
}

/// How a pixel format lays out its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PixelLayout {
    pub(crate) name: String,
    pub(crate) components: usize,
    /// Bits of a sample of the first component.
    pub(crate) bits: u32,
    pub(crate) log2_chroma_width: u32,
    pub(crate) log2_chroma_height: u32,
    pub(crate) is_rgb: bool,
    pub(crate) has_alpha: bool,
    pub(crate) has_palette: bool,
    /// One plane per component, samples of one or two bytes in little-endian order without a shift: readable as it is.
    pub(crate) is_plain_planar: bool,
}

pub(crate) fn pixel_layout(pixel_format: i32) -> Option<PixelLayout> {
    // `av_pix_fmt_desc_get` wants the enumeration; only values FFmpeg declares may become one.
    let format = known_format(pixel_format)?;
    // SAFETY: a non-null descriptor is static, and so is its name.
    unsafe {
        let descriptor = ffi::av_pix_fmt_desc_get(format).as_ref()?;
        let flags = descriptor.flags;
        let has = |flag: c_int| flags & flag as u64 != 0;
        let components = usize::from(descriptor.nb_components);
        let first = &descriptor.comp[0];
        let sample_bytes = (first.depth + 7) / 8;
        let separate = descriptor.comp[..components].iter().enumerate().all(|(i, c)| {
            c.plane == i as c_int && c.step == sample_bytes && c.shift == 0 && c.depth == first.depth
        });
        let plain = !has(ffi::AV_PIX_FMT_FLAG_BE)
            && !has(ffi::AV_PIX_FMT_FLAG_BITSTREAM)
            && !has(ffi::AV_PIX_FMT_FLAG_HWACCEL)
            && !has(ffi::AV_PIX_FMT_FLAG_FLOAT)
            && !has(ffi::AV_PIX_FMT_FLAG_PAL)
            && (8..=16).contains(&first.depth);
        Some(PixelLayout {
            name: CStr::from_ptr(descriptor.name).to_string_lossy().into_owned(),
            components,
            bits: first.depth as u32,
            log2_chroma_width: u32::from(descriptor.log2_chroma_w),
            log2_chroma_height: u32::from(descriptor.log2_chroma_h),
            is_rgb: has(ffi::AV_PIX_FMT_FLAG_RGB),
            has_alpha: has(ffi::AV_PIX_FMT_FLAG_ALPHA),
            has_palette: has(ffi::AV_PIX_FMT_FLAG_PAL),
            is_plain_planar: separate && plain,
        })
    }
}

/// The enumeration value of a pixel format number, if FFmpeg knows it.
fn known_format(pixel_format: i32) -> Option<ffi::AVPixelFormat> {
    // SAFETY: FFmpeg lists every descriptor it has; one of them carries the number, so the number is a declared value.
    unsafe {
        let mut descriptor = ffi::av_pix_fmt_desc_next(ptr::null());
        while !descriptor.is_null() {
            let format = ffi::av_pix_fmt_desc_get_id(descriptor);
            if format as i32 == pixel_format {
                return Some(format);
            }
            descriptor = ffi::av_pix_fmt_desc_next(descriptor);
        }
        None
    }
}

/// The pixel format of this name.
pub(crate) fn pixel_format_named(name: &str) -> Option<ff::format::Pixel> {
    let name = CString::new(name).ok()?;
    // SAFETY: the string outlives the call.
    let format = unsafe { ffi::av_get_pix_fmt(name.as_ptr()) };
    (format != ffi::AVPixelFormat::AV_PIX_FMT_NONE).then(|| format.into())
}
