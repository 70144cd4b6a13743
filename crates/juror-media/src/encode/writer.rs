//! Frames to a file: muxing, true timestamps, and a temporary file that becomes the target only when all went well.

use super::{Container, EncodeOptions, PacketEncoder, ffi};
use crate::{Frame, MediaError};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Dictionary, Packet, Rational};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ticks per second of the written timestamps where the container lets us choose (Matroska and WebM round to a
/// millisecond): a multiple of 24, 25, 30, 48, 50, 60 and of 24, 30 and 60 over 1.001.
const TICKS_PER_SEC: i32 = 120_000;

/// Writes frames into one video file. The file appears under its name in [`Encoder::finish`]; dropped before, it leaves
/// nothing behind.
pub struct Encoder {
    path: PathBuf,
    options: EncodeOptions,
    container: Container,
    fps: f64,
    open: Option<Open>,
}

struct Open {
    packets: PacketEncoder,
    muxer: Output,
    temporary: TemporaryFile,
    stream_time_base: Rational,
    /// Times of frames in ticks, from frame `first_index` on.
    pts_ticks: VecDeque<i64>,
    first_index: i64,
    interval_ticks: i64,
}

impl Encoder {
    /// Prepares a file; container by extension (`.mp4`, `.mov`, `.m4v`, `.mkv`, `.webm`). `fps` is the nominal frame rate,
    /// by which encoders control their rate; the times written are those of the frames.
    ///
    /// # Errors
    /// [`MediaError::Unsupported`] for an unknown extension, a codec that the container cannot carry, or an encoder that this
    /// FFmpeg does not have.
    pub fn create(path: &Path, fps: f64, options: EncodeOptions) -> Result<Self, MediaError> {
        let container = Container::of(path)?;
        let unsupported = |reason| MediaError::Unsupported { reason, path: path.to_owned() };
        if !container.carries(options.codec) {
            let advice =
                if container == Container::Webm { "use .mkv or .mp4, or VP9 or AV1" } else { "use .mkv" };
            return Err(unsupported(format!("{container:?} cannot carry {:?}; {advice}", options.codec)));
        }
        if let Err(MediaError::Invalid { what }) = options.codec.encoder() {
            return Err(unsupported(what));
        }
        Ok(Self { path: path.to_owned(), options, container, fps, open: None })
    }

    /// Encodes the next frame. Its pts must lie after that of the frame before (in ticks of 1/120000 s).
    ///
    /// A codec that demands even sizes loses the last column or row of an odd one.
    ///
    /// # Errors
    /// [`MediaError::Invalid`] for a pts that does not grow or a picture unlike the first; [`MediaError::Write`] and
    /// [`MediaError::Ffmpeg`] when writing or encoding fails.
    pub fn push(&mut self, frame: &Frame) -> Result<(), MediaError> {
        let cropped;
        let picture = if self.options.codec.needs_even_size()
            && (frame.picture.width() % 2 == 1 || frame.picture.height() % 2 == 1)
        {
            cropped = crop_even(&frame.picture)?;
            &cropped
        } else {
            &frame.picture
        };
        let pts_ticks = (frame.pts_secs * f64::from(TICKS_PER_SEC)).round() as i64;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let packets = PacketEncoder::open(picture, self.fps, &self.options, true)?;
                let size = (picture.width(), picture.height());
                if packets.coded_size() != size {
                    let (codec, side) = (self.options.codec, self.options.codec.smallest_side());
                    let reason =
                        format!("{codec:?} at {}x{}; {side} pixels a side are the least", size.0, size.1);
                    return Err(MediaError::Unsupported { reason, path: self.path.clone() });
                }
                self.open.insert(Open::new(&self.path, self.container, self.fps, packets)?)
            }
        };
        if let Some(&last) = open.pts_ticks.back()
            && pts_ticks <= last
        {
            return Err(MediaError::invalid(format!(
                "frame times must grow: {} s follows {} s",
                frame.pts_secs,
                last as f64 / f64::from(TICKS_PER_SEC)
            )));
        }
        open.pts_ticks.push_back(pts_ticks);
        open.packets.send(picture)?;
        open.write_ready(&self.path)
    }

    /// Width and height of the pictures in the file, once there is one.
    pub fn coded_size(&self) -> Option<(usize, usize)> {
        self.open.as_ref().map(|open| open.packets.coded_size())
    }

    /// Writes what the encoder still holds, closes the file and gives it its name.
    ///
    /// # Errors
    /// [`MediaError::TooShort`] when there was no frame; [`MediaError::Write`] and [`MediaError::Ffmpeg`].
    pub fn finish(mut self) -> Result<(), MediaError> {
        let Some(mut open) = self.open.take() else {
            return Err(MediaError::TooShort {
                reason: "no frame was given to the encoder; at least one is needed".to_owned(),
                path: self.path.clone(),
            });
        };
        open.packets.finish()?;
        open.write_ready(&self.path)?;
        open.muxer.write_trailer().map_err(|error| write_failed(&self.path, error))?;
        let Open { muxer, temporary, .. } = open;
        drop(muxer); // closes the file
        temporary.rename_to(&self.path)
    }
}

impl Open {
    fn new(path: &Path, container: Container, fps: f64, packets: PacketEncoder) -> Result<Self, MediaError> {
        let temporary = TemporaryFile::beside(path)?;
        let failed = |error| write_failed(path, error);
        let mut muxer = ffi::open_output(&temporary.path, container.format_name()).map_err(failed)?;
        let mut stream = muxer.add_stream_with(packets.context()).map_err(failed)?;
        let time_base = Rational::new(1, TICKS_PER_SEC);
        stream.set_time_base(time_base);
        if fps.is_finite() && fps > 0.0 {
            stream.set_avg_frame_rate(packets.context().frame_rate());
        }
        let mut header = Dictionary::new();
        header.set("fflags", "+bitexact"); // no random identifiers, no time of writing
        if container == Container::Mp4 {
            header.set("movflags", "+faststart");
            header.set("video_track_timescale", &TICKS_PER_SEC.to_string());
        }
        muxer.write_header_with(header).map_err(failed)?;
        let stream_time_base = muxer.stream(0).map_or(time_base, |stream| stream.time_base());
        let interval_ticks = (f64::from(TICKS_PER_SEC) / fps.max(1e-3)).round() as i64;
        Ok(Self {
            packets,
            muxer,
            temporary,
            stream_time_base,
            pts_ticks: VecDeque::new(),
            first_index: 0,
            interval_ticks,
        })
    }

    fn write_ready(&mut self, path: &Path) -> Result<(), MediaError> {
        while let Some(packet) = self.packets.receive()? {
            self.write(packet).map_err(|error| write_failed(path, error))?;
        }
        Ok(())
    }

    /// Replaces frame numbers by true times and writes.
    fn write(&mut self, mut packet: Packet) -> Result<(), ffmpeg::Error> {
        let pts_index = packet.pts().ok_or(ffmpeg::Error::InvalidData)?;
        let dts_index = packet.dts().unwrap_or(pts_index).min(pts_index);
        let duration = self.ticks_at(pts_index + 1) - self.ticks_at(pts_index);
        packet.set_pts(Some(self.ticks_at(pts_index)));
        packet.set_dts(Some(self.ticks_at(dts_index)));
        packet.set_duration(duration);
        packet.set_stream(0);
        packet.rescale_ts(Rational::new(1, TICKS_PER_SEC), self.stream_time_base);
        packet.write_interleaved(&mut self.muxer)?;
        // Later packets have a later dts, and no pts lies before its dts. The last time stays to check the next against.
        while self.first_index < dts_index && self.pts_ticks.len() > 1 {
            self.pts_ticks.pop_front();
            self.first_index += 1;
        }
        Ok(())
    }

    /// Time of a frame; before the first and after the last known one, times go on at the nominal interval.
    fn ticks_at(&self, index: i64) -> i64 {
        let place = index - self.first_index;
        let last = self.pts_ticks.len() as i64 - 1;
        let known = self.pts_ticks.get(place.clamp(0, last.max(0)) as usize).copied().unwrap_or(0);
        known + (place.min(0) + (place - last).max(0)) * self.interval_ticks
    }
}

fn write_failed(path: &Path, error: ffmpeg::Error) -> MediaError {
    MediaError::Write { reason: error.to_string(), path: path.to_owned() }
}

/// The picture without an odd last column or row.
fn crop_even(picture: &crate::Picture) -> Result<crate::Picture, MediaError> {
    let (width, height) = (picture.width() & !1, picture.height() & !1);
    if width == 0 || height == 0 {
        return Err(MediaError::invalid(format!(
            "a picture of {}x{} is too small to encode; at least 2x2 is needed",
            picture.width(),
            picture.height()
        )));
    }
    let crop = |plane: &[u8], source_width: usize, width: usize, height: usize| -> Vec<u8> {
        plane.chunks_exact(source_width).take(height).flat_map(|row| &row[..width]).copied().collect()
    };
    let chroma_width = picture.chroma_width();
    let cropped = crate::Picture::new(
        width,
        height,
        crop(picture.y(), picture.width(), width, height),
        crop(picture.u(), chroma_width, width / 2, height / 2),
        crop(picture.v(), chroma_width, width / 2, height / 2),
    )?;
    Ok(cropped.with_matrix(picture.matrix()))
}

/// A file beside the target under a name of its own; removed when dropped, unless renamed.
struct TemporaryFile {
    path: PathBuf,
}

impl TemporaryFile {
    fn beside(target: &Path) -> Result<Self, MediaError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let refused = |reason: String| MediaError::Write { reason, path: target.to_owned() };
        let name = target.file_name().ok_or_else(|| refused("the path names no file".to_owned()))?;
        let folder =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}.part", std::process::id()));
        let path = folder.join(hidden);
        // Made here and not by FFmpeg, for the system's own words when it cannot be made.
        std::fs::File::create(&path).map_err(|error| refused(error.to_string()))?;
        Ok(Self { path })
    }

    fn rename_to(mut self, target: &Path) -> Result<(), MediaError> {
        std::fs::rename(&self.path, target)
            .map_err(|error| MediaError::Write { reason: error.to_string(), path: target.to_owned() })?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Nothing more can be done when even this fails.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
