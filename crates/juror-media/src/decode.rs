//! The decoded frames of a video, in presentation order, one look ahead.
//!
//! A [`FrameStream`] decodes with threads and holds two frames: the one shown and the next, so that a frame knows until
//! when it is shown, and memory does not grow with duration. Nothing is converted until asked for, save formats without
//! plain planes (R'G'B', packed). What the decoder complains of is counted and told by [`FrameStream::warnings`].

use std::path::Path;
use std::sync::Arc;

use ffmpeg_next as ff;
use ffmpeg_next::frame::side_data::Type as SideData;

use crate::colour::{Primaries, Range, Transfer};
use crate::convert::{Colour, Pixels, deinterlace};
use crate::error::{MediaError, Result};
use crate::ffi::{self, CodecParameters, FrameProperties, PixelLayout};
use crate::geometry::Orientation;
use crate::picture::{Frame, Picture, Rgb};
use crate::source::{Source, reopen};
use crate::video::{Reading, Video, display_matrix, resolve_matrix, resolve_range};
use crate::window::TimeWindow;

/// The frames of a video within a window.
pub struct FrameStream {
    video: Video,
    reading: Arc<Reading>,
    input: ff::format::context::Input,
    decoder: ff::decoder::Video,
    /// Frames shown before the first, or from the second on, are left out.
    start_ticks: i64,
    end_ticks: i64,
    phase: Phase,
    shown: Option<Held>,
    ahead: Option<Held>,
    /// The first frame past the window, until when it is shown, and whether none follows.
    beyond: Option<(Held, i64, bool)>,
    last_ticks: Option<i64>,
    decoded: usize,
    given: usize,
    complaints: Complaints,
    layout: Option<(i32, PixelLayout)>,
}

#[derive(PartialEq)]
enum Phase {
    /// Nothing decoded yet.
    Fresh,
    /// Packets are left.
    Reading,
    /// All packets went in; frames may still come out.
    Draining,
    /// All frames came out.
    Done,
}

/// What went wrong on the way, counted.
#[derive(Debug, Default, Clone, Copy)]
struct Complaints {
    packets: usize,
    undecodable: usize,
    damaged: usize,
    reordered: usize,
    resized: usize,
    interlaced: usize,
}

struct Held {
    pixels: Pixels,
    ticks: i64,
    duration_ticks: i64,
    interlaced: bool,
    top_field_first: bool,
}

/// One decoded frame, on loan from its [`FrameStream`] until the next is asked for.
pub struct DecodedFrame<'a> {
    held: &'a Held,
    reading: &'a Reading,
    until_ticks: i64,
    is_last: bool,
}

/// A luma plane as decoded: coded orientation, raw samples.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    /// Rows of samples; the last row ends with its last sample.
    pub data: &'a [u8],
    /// Bytes from the start of a row to the next.
    pub stride: usize,
    /// Samples per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bits per sample: 8 (one byte each), or 9 to 16 (two bytes each, little-endian).
    pub bits: u32,
    /// Which codes are black and white.
    pub range: Range,
}

impl FrameStream {
    pub(crate) fn open(video: &Video, window: TimeWindow) -> Result<Self> {
        let reading = Arc::clone(video.reading());
        let (input, decoder) = open_decoder(video)?;
        let timeline = &reading.timeline;
        let first = timeline.ticks.first().copied().unwrap_or(0);
        // Outwards to whole ticks, but for what is rounding only.
        let ticks = |secs: f64| secs / timeline.tick_secs;
        let at_or_before = |secs: f64| first.saturating_add((ticks(secs) + 1e-3).floor() as i64);
        let at_or_after = |secs: f64| first.saturating_add((ticks(secs) - 1e-3).ceil() as i64);
        Ok(Self {
            start_ticks: window.start_secs().map_or(i64::MIN, at_or_before),
            end_ticks: window.end_secs().map_or(i64::MAX, at_or_after),
            video: video.clone(),
            reading,
            input,
            decoder,
            phase: Phase::Fresh,
            shown: None,
            ahead: None,
            beyond: None,
            last_ticks: None,
            decoded: 0,
            given: 0,
            complaints: Complaints::default(),
            layout: None,
        })
    }

    /// The next frame, or `None` after the last.
    ///
    /// # Errors
    /// [`MediaError::Truncated`] where not one frame could be decoded. Damage on the way is no error: see
    /// [`FrameStream::warnings`].
    pub fn next_frame(&mut self) -> Result<Option<DecodedFrame<'_>>> {
        if self.phase == Phase::Fresh {
            self.begin()?;
        }
        loop {
            let Some(held) = self.ahead.take() else {
                self.shown = None;
                return self.check_any_frame().map(|()| None);
            };
            self.ahead = self.decode()?;
            let is_last = self.ahead.is_none();
            let until_ticks = match &self.ahead {
                Some(next) => next.ticks,
                None => held.ticks + held.duration_ticks.max(1),
            };
            if until_ticks <= self.start_ticks && !is_last {
                continue;
            }
            if held.ticks >= self.end_ticks {
                self.phase = Phase::Done;
                self.shown = None;
                self.beyond = Some((held, until_ticks, is_last));
                self.ahead = None;
                return Ok(None);
            }
            self.given += 1;
            let held = self.shown.insert(held);
            return Ok(Some(DecodedFrame { held, reading: &self.reading, until_ticks, is_last }));
        }
    }

    /// After the last frame of a window: the frame which follows it, if there is one.
    pub fn frame_beyond(&self) -> Option<DecodedFrame<'_>> {
        let (held, until_ticks, is_last) = self.beyond.as_ref()?;
        Some(DecodedFrame { held, reading: &self.reading, until_ticks: *until_ticks, is_last: *is_last })
    }

    /// What went wrong so far: damaged or undecodable packets, times out of order, changes of size.
    pub fn warnings(&self) -> Vec<String> {
        let c = &self.complaints;
        let all = c.packets;
        [
            (c.undecodable, format!("{} of {all} packets could not be decoded", c.undecodable)),
            (c.damaged, format!("{} of {} frames are damaged", c.damaged, self.decoded)),
            (c.reordered, format!("{} frames carry times out of order", c.reordered)),
            (c.interlaced, format!("{} of {} frames are interlaced", c.interlaced, self.decoded)),
            (c.resized, format!("{} frames have another size than the first; they are scaled", c.resized)),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(_, warning)| warning)
        .collect()
    }

    /// Goes to the window's start and decodes the first frame.
    fn begin(&mut self) -> Result<()> {
        let timeline = &self.reading.timeline;
        let first = timeline.ticks.first().copied().unwrap_or(0);
        let mut step = (2.0 / timeline.tick_secs) as i64;
        let mut target = self.start_ticks;
        if !timeline.has_timestamps {
            target = i64::MIN;
        }
        // Indexes are unreliable (some seek by decoding time): only a frame at or before the start proves a seek right.
        while target > first {
            if ffi::seek_before(&mut self.input, self.reading.stream, target).is_err() {
                break;
            }
            self.decoder.flush();
            (self.phase, self.last_ticks) = (Phase::Reading, None);
            self.ahead = self.decode()?;
            if self.ahead.as_ref().is_some_and(|held| held.ticks <= self.start_ticks) {
                return Ok(());
            }
            target = self.start_ticks.saturating_sub(step);
            step = step.saturating_mul(4);
        }
        if self.phase != Phase::Fresh {
            (self.input, self.decoder) = open_decoder(&self.video)?;
        }
        (self.phase, self.last_ticks, self.decoded) = (Phase::Reading, None, 0);
        self.complaints = Complaints::default();
        self.ahead = self.decode()?;
        Ok(())
    }

    fn check_any_frame(&self) -> Result<()> {
        if self.decoded > 0 || self.given > 0 {
            return Ok(());
        }
        let reason = format!("not one frame could be decoded from {} packets", self.complaints.packets);
        Err(MediaError::Truncated { reason, path: self.video.info().path.clone() })
    }

    /// The next frame out of the decoder, feeding it packets as it asks for them.
    fn decode(&mut self) -> Result<Option<Held>> {
        let mut frame = ff::frame::Video::empty();
        while self.phase != Phase::Done {
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => return self.hold(frame).map(Some),
                Err(ff::Error::Other { errno: ff::error::EAGAIN }) if self.phase == Phase::Reading => {
                    self.feed()?;
                }
                Err(ff::Error::Eof | ff::Error::Other { errno: ff::error::EAGAIN }) => {
                    self.phase = Phase::Done;
                }
                Err(error) => self.complain(error)?,
            }
        }
        Ok(None)
    }

    /// Gives the decoder one packet, or tells it that there are no more.
    fn feed(&mut self) -> Result<()> {
        loop {
            let mut packet = ff::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() != self.reading.stream => {}
                Ok(()) => {
                    self.complaints.packets += 1;
                    return self.decoder.send_packet(&packet).or_else(|error| self.complain(error));
                }
                Err(ff::Error::Other { errno: ff::error::EAGAIN }) => {}
                Err(_) => {
                    // The end, or as far as the file can be read: the scan has told of the latter.
                    self.phase = Phase::Draining;
                    return self.decoder.send_eof().or_else(|error| self.complain(error));
                }
            }
        }
    }

    fn complain(&mut self, error: ff::Error) -> Result<()> {
        if error == (ff::Error::Other { errno: ff::error::ENOMEM }) {
            return Err(MediaError::OutOfMemory { doing: "decoding".into() });
        }
        self.complaints.undecodable += 1;
        Ok(())
    }

    fn hold(&mut self, frame: ff::frame::Video) -> Result<Held> {
        let timeline = &self.reading.timeline;
        let interval = timeline.typical_interval;
        let expected = self.last_ticks.map(|last| last + interval.max(1));
        let first = timeline.ticks.first().copied().unwrap_or(0);
        let mut ticks = if timeline.has_timestamps {
            frame.timestamp().or(expected).unwrap_or(first)
        } else {
            timeline.ticks.get(self.decoded).copied().or(expected).unwrap_or(first)
        };
        if let Some(last) = self.last_ticks
            && ticks <= last
        {
            self.complaints.reordered += 1;
            ticks = last + 1;
        }
        self.last_ticks = Some(ticks);
        self.decoded += 1;
        self.complaints.damaged += usize::from(frame.is_corrupt() || frame.has_decode_errors());
        let duration_ticks = match frame.packet().duration {
            stated if stated > 0 => stated,
            _ => interval,
        };
        let (interlaced, top_field_first) = (frame.is_interlaced(), frame.is_top_first());
        // A stream flagged as interlaced has told of it already.
        self.complaints.interlaced += usize::from(interlaced && !self.video.info().interlaced);
        let properties = ffi::frame_properties(&frame);
        let parameters = &self.reading.parameters;
        self.complaints.resized += usize::from(
            (properties.width, properties.height) != (parameters.width as usize, parameters.height as usize),
        );
        let layout = self.layout_of(&properties)?;
        let colour = self.colour_of(&properties, &layout);
        let pixels = Pixels::new(frame, &properties, &layout, colour).map_err(|error| match error {
            MediaError::Invalid { what } => {
                MediaError::Unsupported { reason: what, path: self.video.info().path.clone() }
            }
            other => other,
        })?;
        Ok(Held { pixels, ticks, duration_ticks, interlaced, top_field_first })
    }

    fn layout_of(&mut self, properties: &FrameProperties) -> Result<PixelLayout> {
        if let Some((format, layout)) = &self.layout
            && *format == properties.pixel_format
        {
            return Ok(layout.clone());
        }
        let layout = ffi::pixel_layout(properties.pixel_format).ok_or_else(|| MediaError::Unsupported {
            reason: format!("pixel format number {}", properties.pixel_format),
            path: self.video.info().path.clone(),
        })?;
        self.layout = Some((properties.pixel_format, layout.clone()));
        Ok(layout)
    }

    /// What the frame says of its colour, else what the stream says.
    fn colour_of(&self, frame: &FrameProperties, layout: &PixelLayout) -> Colour {
        let stream = &self.reading.parameters;
        let is_image = self.reading.is_image;
        let stated = |frame: i32, stream: i32, unstated: i32| if frame == unstated { stream } else { frame };
        Colour {
            range: resolve_range(stated(frame.range, stream.range, 0), layout, is_image),
            matrix: resolve_matrix(stated(frame.matrix, stream.matrix, 2), is_image),
            primaries: Primaries::from_code_point(stated(frame.primaries, stream.primaries, 2)),
            transfer: Transfer::from_code_point(stated(frame.transfer, stream.transfer, 2)),
        }
    }
}

fn open_decoder(video: &Video) -> Result<(ff::format::context::Input, ff::decoder::Video)> {
    let path = &video.info().path;
    let reading = video.reading();
    let mut input = reopen(path, reading.stream, &reading.codec)?;
    ffi::keep_only(&mut input, reading.stream);
    let decoder = reading.codec.open_decoder(video.threads());
    let doing = || format!("opening the decoder of {}", path.display());
    Ok((input, decoder.map_err(|error| MediaError::ffmpeg(doing(), error))?))
}

/// How a still picture says it must be turned: by a display matrix or by Exif. Decodes it, so the answer is the frame's own.
pub(crate) fn still_orientation(path: &Path) -> Option<Orientation> {
    let mut source = Source::open(path).ok()?;
    let mut decoder = CodecParameters::of(&source.input.stream(source.stream)?).open_decoder(1).ok()?;
    let mut packet = ff::Packet::empty();
    packet.read(&mut source.input).ok()?;
    decoder.send_packet(&packet).ok()?;
    decoder.send_eof().ok()?;
    let mut frame = ff::frame::Video::empty();
    decoder.receive_frame(&mut frame).ok()?;
    let matrix = frame.side_data(SideData::DisplayMatrix).and_then(|data| display_matrix(data.data()));
    if let Some(matrix) = matrix {
        return Some(Orientation::from_matrix(matrix).0);
    }
    Orientation::from_exif(frame.metadata().get("Orientation")?.trim().parse().ok()?)
}

impl<'a> DecodedFrame<'a> {
    /// Presentation time in seconds, as the file states it (the first frame need not be at 0).
    pub fn pts_secs(&self) -> f64 {
        self.reading.timeline.secs(self.held.ticks)
    }

    /// Seconds since the first frame of the video, as a player's clock shows.
    pub fn clock_secs(&self) -> f64 {
        self.pts_secs() - self.reading.timeline.start_secs()
    }

    /// When the next frame takes over, on the clock of [`DecodedFrame::clock_secs`].
    pub fn clock_until_secs(&self) -> f64 {
        self.until_secs() - self.reading.timeline.start_secs()
    }

    /// How long the frame is shown: until the next frame, or what the file (else the usual interval) says of the last.
    pub fn duration_secs(&self) -> f64 {
        self.reading.timeline.secs(self.until_ticks - self.held.ticks)
    }

    /// When the next frame takes over, in seconds as [`DecodedFrame::pts_secs`].
    pub fn until_secs(&self) -> f64 {
        self.reading.timeline.secs(self.until_ticks)
    }

    /// Whether no frame follows in the file.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Whether the frame is flagged as two interlaced fields.
    pub fn is_interlaced(&self) -> bool {
        self.held.interlaced
    }

    /// The luma plane, not converted (of R'G'B' sources: the plane of the converted picture).
    pub fn luma(&self) -> Luma<'a> {
        match &self.held.pixels {
            Pixels::Planar(planar) => {
                let (data, stride) = planar.raw(0).unwrap_or((&[], 0));
                let (width, height) = if data.is_empty() { (0, 0) } else { (planar.width, planar.height) };
                let (bits, range) = (planar.layout.bits, planar.colour.range);
                Luma { data, stride, width, height, bits, range }
            }
            Pixels::Converted(picture) => Luma {
                data: picture.y(),
                stride: picture.width(),
                width: picture.width(),
                height: picture.height(),
                bits: 8,
                range: Range::Limited,
            },
        }
    }

    /// The whole picture as displayed: 8 bit limited range 4:2:0, tone-mapped, deinterlaced, square pixels, upright.
    /// A plain copy of the planes where the source is already so.
    pub fn to_picture(&self) -> Result<Picture> {
        let mut picture = match &self.held.pixels {
            Pixels::Planar(planar) => planar.to_picture()?,
            Pixels::Converted(picture) => picture.clone(),
        };
        if self.held.interlaced {
            picture = deinterlace(picture, self.held.top_field_first);
        }
        let (width, height) = self.reading.square_size;
        if (picture.width(), picture.height()) != (width, height) {
            picture = picture.resized(width, height)?;
        }
        self.reading.orientation.apply(picture)
    }

    /// [`DecodedFrame::to_picture`] with its time.
    pub fn to_frame(&self) -> Result<Frame> {
        Ok(Frame { picture: self.to_picture()?, pts_secs: self.pts_secs() })
    }

    /// The picture as displayed, in R'G'B' of another size.
    pub fn to_rgb(&self, width: usize, height: usize) -> Result<Rgb> {
        self.to_picture()?.to_rgb_sized(width, height)
    }
}
