//! Pictures to packets: setting up each codec's encoder.

use super::{Codec, EncodeOptions, Rate, ffi};
use crate::{Matrix, MediaError, Picture};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{self, threading};
use ffmpeg_next::{Dictionary, Packet, Rational, color, encoder, frame};

/// FFmpeg's lambda for a quantiser of one (`FF_QP2LAMBDA`).
const QUANTISER_TO_LAMBDA: f64 = 118.0;

/// Frame rates that MPEG-2 knows, as fractions.
const MPEG2_RATES: [(i32, i32); 8] =
    [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];

/// An open encoder. Frames go in numbered from 0 in a time base of one frame; packets carry these numbers as pts and dts.
pub(crate) struct PacketEncoder {
    encoder: encoder::Video,
    name: &'static str,
    width: usize,
    height: usize,
    matrix: Matrix,
    next_index: i64,
    /// Lambda of the fixed quantiser, for the codecs that have one.
    quality: i32,
}

impl PacketEncoder {
    /// Opens an encoder for pictures like `first` at about `fps` frames per second. `global_header` puts parameter
    /// sets into the container's header, as MP4 and Matroska want it, in place of the stream.
    pub(crate) fn open(
        first: &Picture,
        fps: f64,
        options: &EncodeOptions,
        global_header: bool,
    ) -> Result<Self, MediaError> {
        let (name, codec) = options.codec.encoder()?;
        let frame_rate = nominal_frame_rate(options.codec, fps);
        let (width, height) = coded_size(first, options.codec);
        let options = &EncodeOptions {
            rate: options.rate.resolved(width * height, f64::from(frame_rate))?,
            ..options.clone()
        };
        let private = private_options(name, options, f64::from(frame_rate))?;
        let context = codec::Context::new_with_codec(codec);
        let failed =
            |error| MediaError::ffmpeg(format!("opening the encoder `{name}` at {width}x{height}"), error);
        let mut video = context.encoder().video().map_err(failed)?;
        video.set_width(width as u32);
        video.set_height(height as u32);
        video.set_format(ffmpeg::format::Pixel::YUV420P);
        video.set_frame_rate(Some(frame_rate));
        video.set_time_base(frame_rate.invert());
        video.set_color_range(color::Range::MPEG);
        video.set_colorspace(match first.matrix() {
            Matrix::Bt601 => color::Space::SMPTE170M,
            Matrix::Bt709 => color::Space::BT709,
            Matrix::Bt2020 => color::Space::BT2020NCL,
        });
        let threads = options.threads.max(1);
        let kind = if threads > 1 { threading::Type::Frame } else { threading::Type::None };
        video.set_threading(threading::Config { kind, count: threads, ..Default::default() });
        let mut flags = codec::Flags::BITEXACT;
        if global_header {
            flags |= codec::Flags::GLOBAL_HEADER;
        }
        let mut quality = 0;
        match options.rate {
            Rate::BitrateKbps(kbps) => video.set_bit_rate(kbps as usize * 1000),
            Rate::Crf(quantiser) if options.codec.has_quantiser() => {
                flags |= codec::Flags::QSCALE;
                quality = (quantiser * QUANTISER_TO_LAMBDA).round() as i32;
                video.set_global_quality(quality);
            }
            // libvpx and libaom take a CRF as constant quality only when no bitrate is asked for.
            _ => video.set_bit_rate(0),
        }
        if options.codec == Codec::Mjpeg {
            video.compliance(codec::Compliance::Unofficial); // limited range, said so in the file
        }
        video.set_flags(flags);
        let encoder = video.open_as_with(codec, private).map_err(failed)?;
        let (width, height) = (first.width(), first.height());
        Ok(Self { encoder, name, width, height, matrix: first.matrix(), next_index: 0, quality })
    }

    /// The codec's parameters, for a muxer or a decoder.
    pub(crate) fn parameters(&self) -> codec::Parameters {
        codec::Parameters::from(&self.encoder)
    }

    /// The context, for a muxer.
    pub(crate) fn context(&self) -> &codec::Context {
        &self.encoder
    }

    /// Width and height of the coded picture.
    pub(crate) fn coded_size(&self) -> (usize, usize) {
        (self.encoder.width() as usize, self.encoder.height() as usize)
    }

    /// Hands in the next picture; it must have the size and matrix of the first.
    pub(crate) fn send(&mut self, picture: &Picture) -> Result<(), MediaError> {
        if (picture.width(), picture.height(), picture.matrix()) != (self.width, self.height, self.matrix) {
            return Err(MediaError::invalid(format!(
                "all pictures of an encode must be alike: {}x{} {:?} follows {}x{} {:?}",
                picture.width(),
                picture.height(),
                picture.matrix(),
                self.width,
                self.height,
                self.matrix
            )));
        }
        let (width, height) = self.coded_size();
        let mut frame = frame::Video::new(ffmpeg::format::Pixel::YUV420P, width as u32, height as u32);
        copy_plane(picture.y(), picture.width(), &mut frame, 0, width, height);
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        copy_plane(picture.u(), picture.chroma_width(), &mut frame, 1, chroma_width, chroma_height);
        copy_plane(picture.v(), picture.chroma_width(), &mut frame, 2, chroma_width, chroma_height);
        frame.set_pts(Some(self.next_index));
        frame.set_color_range(color::Range::MPEG);
        ffi::set_quality(&mut frame, self.quality);
        self.next_index += 1;
        self.encoder.send_frame(&frame).map_err(|error| self.failed(error))
    }

    /// Says that no more pictures come.
    pub(crate) fn finish(&mut self) -> Result<(), MediaError> {
        self.encoder.send_eof().map_err(|error| self.failed(error))
    }

    /// The next packet, if one is ready.
    pub(crate) fn receive(&mut self) -> Result<Option<Packet>, MediaError> {
        let mut packet = Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => Ok(Some(packet)),
            Err(ffmpeg::Error::Eof) => Ok(None),
            Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: ffmpeg::Error) -> MediaError {
        MediaError::ffmpeg(format!("encoding with `{}`", self.name), error)
    }
}

/// The size that is coded: even where the codec demands it (4:2:0 planes then keep their size; luma is padded), and no
/// smaller than it bears.
fn coded_size(picture: &Picture, codec: Codec) -> (usize, usize) {
    let coded = |size: usize| {
        let even = if codec.needs_even_size() { size.next_multiple_of(2) } else { size };
        even.max(codec.smallest_side())
    };
    (coded(picture.width()), coded(picture.height()))
}

/// Copies a tightly packed plane into a frame, repeating the last column and row where the frame is larger.
fn copy_plane(
    source: &[u8],
    source_width: usize,
    frame: &mut frame::Video,
    plane: usize,
    width: usize,
    height: usize,
) {
    let stride = frame.stride(plane);
    let last_row = source.len() / source_width - 1;
    for (y, target) in frame.data_mut(plane).chunks_mut(stride).take(height).enumerate() {
        let row = &source[y.min(last_row) * source_width..][..source_width];
        let copied = source_width.min(width);
        target[..copied].copy_from_slice(&row[..copied]);
        target[copied..width.max(copied)].fill(row[copied - 1]);
    }
}

/// A decoded 4:2:0 frame as tightly packed planes, without the padding of [`PacketEncoder`].
pub(crate) fn unpadded(frame: &frame::Video, width: usize, height: usize) -> Result<Picture, MediaError> {
    let plane = |index: usize, width: usize, height: usize| {
        let stride = frame.stride(index);
        let mut packed = Vec::with_capacity(width * height);
        for row in frame.data(index).chunks(stride).take(height) {
            packed.extend_from_slice(&row[..width]);
        }
        packed
    };
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    Picture::new(
        width,
        height,
        plane(0, width, height),
        plane(1, chroma_width, chroma_height),
        plane(2, chroma_width, chroma_height),
    )
}

impl Rate {
    /// Bits per pixel as kilobits per second, for pictures of so many pixels.
    fn resolved(self, pixels: usize, fps: f64) -> Result<Self, MediaError> {
        match self {
            Self::BitsPerPixel(bits) if bits > 0.0 && bits <= 64.0 => {
                let weight = 1920.0 * 1080.0 * (pixels as f64 / (1920.0 * 1080.0)).powf(0.75);
                Ok(Self::BitrateKbps((bits * weight * fps / 1000.0).round().clamp(8.0, 2e6) as u32))
            }
            Self::BitsPerPixel(bits) => {
                Err(MediaError::invalid(format!("{bits} bits per pixel; above 0 to 64 is allowed")))
            }
            other => Ok(other),
        }
    }
}

/// The frame rate that the encoder is told.
fn nominal_frame_rate(codec: Codec, fps: f64) -> Rational {
    if codec != Codec::Mpeg2 {
        return rational_frame_rate(fps);
    }
    let distance = |&(n, d): &(i32, i32)| (f64::from(n) / f64::from(d) - fps).abs();
    let nearest = MPEG2_RATES.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.map_or(Rational::new(30, 1), |(n, d)| Rational::new(n, d))
}

/// The frame rate as a fraction: n/1001 for the NTSC family, otherwise to a thousandth.
fn rational_frame_rate(fps: f64) -> Rational {
    // MPEG-4 part 2 knows no time base finer than 1/65535.
    let fps = if fps.is_finite() { fps.clamp(0.1, 65.0e3) } else { 30.0 };
    let ntsc = (fps * 1.001).round();
    if (fps * 1.001 - ntsc).abs() < 1e-3 && (fps - fps.round()).abs() > 1e-3 && ntsc < 65.0 {
        return Rational::new(ntsc as i32 * 1000, 1001);
    }
    let denominator = if fps < 65.0 { 1000 } else { 1 };
    Rational::new((fps * f64::from(denominator)).round() as i32, denominator).reduce()
}

/// The options that only the encoder itself knows.
fn private_options(name: &str, options: &EncodeOptions, fps: f64) -> Result<Dictionary<'static>, MediaError> {
    let EncodeOptions { codec, rate, preset, threads, packet_bytes } = options;
    if packet_bytes.is_some() && *codec != Codec::H264 {
        return Err(MediaError::invalid(format!("{codec:?} cannot be cut into packets; only H.264 can")));
    }
    if let Rate::Crf(crf) = rate {
        let (low, high) = codec.crf_range().ok_or_else(|| {
            MediaError::invalid(format!("{codec:?} has no rate control: {rate:?}; only lossless is possible"))
        })?;
        if !(low..=high).contains(crf) {
            return Err(MediaError::invalid(format!(
                "CRF {crf} of {codec:?} is out of range; {low} to {high} is allowed"
            )));
        }
    }
    if matches!(rate, Rate::BitrateKbps(0)) {
        return Err(MediaError::invalid("a bitrate of 0 kbit/s; at least 1 is needed"));
    }
    if *codec == Codec::Ffv1 && *rate != Rate::Lossless {
        return Err(MediaError::invalid(format!("FFV1 is lossless only; {rate:?} was asked for")));
    }
    let no_lossless =
        || Err(MediaError::invalid(format!("`{name}` has no lossless mode; use H.264, VP9 or FFV1")));
    let lossless = *rate == Rate::Lossless;
    let mut dictionary = Dictionary::new();
    let preset_or = |default: &'static str| preset.as_deref().unwrap_or(default).trim().to_owned();
    if matches!(name, "libx264" | "libx265") && !codec.presets().contains(&preset_or("fast").as_str()) {
        let (preset, allowed) = (preset_or("fast"), codec.presets().join("`, `"));
        return Err(MediaError::invalid(format!(
            "preset `{preset}` of {codec:?}; one of `{allowed}` is allowed"
        )));
    }
    match name {
        "libx264" => {
            dictionary.set("preset", &preset_or(if lossless { "ultrafast" } else { "fast" }));
            if lossless {
                dictionary.set("qp", "0");
            }
            let mut parameters = Vec::new();
            if has_avx512() {
                // x264 164's AVX-512 macroblock tree reads memory it has not set: the same input gives other bytes from
                // run to run. Its AVX2 code does not, and is hardly slower.
                parameters.push("asm=avx2,fma3,bmi2".to_owned());
            }
            if let Some(bytes) = packet_bytes {
                let interval = (2.0 * fps).round().max(1.0);
                parameters.push(format!("slice-max-size={bytes}:keyint={interval}:scenecut=0:bframes=0"));
                parameters.push("rc-lookahead=0:sync-lookahead=0:mbtree=0".to_owned());
            }
            if !parameters.is_empty() {
                dictionary.set("x264-params", &parameters.join(":"));
            }
        }
        "libx265" => {
            dictionary.set("preset", &preset_or("superfast"));
            let pools = if *threads > 1 { threads.to_string() } else { "none".to_owned() };
            let lossless = if lossless { ":lossless=1" } else { "" };
            dictionary.set("x265-params", &format!("log-level=none:frame-threads=1:pools={pools}{lossless}"));
        }
        "libvpx-vp9" => {
            // Realtime coding takes a ninth of the time of good quality, whatever the latter's `cpu-used`.
            let preset = preset_or("realtime");
            let realtime = preset == "realtime";
            dictionary.set("deadline", if realtime { "realtime" } else { "good" });
            dictionary.set("cpu-used", &number_within(codec, if realtime { "8" } else { &preset }, 8)?);
            if lossless {
                dictionary.set("lossless", "1");
            }
        }
        "libaom-av1" => {
            dictionary.set("usage", "realtime");
            // SVT's numbers are taken too; those beyond libaom's count as its quickest.
            let speed = number_within(codec, &preset_or("8"), 13)?;
            dictionary.set("cpu-used", if speed.len() > 1 || speed == "9" { "8" } else { &speed });
            if lossless {
                return no_lossless();
            }
        }
        "libsvtav1" => {
            dictionary.set("preset", &number_within(codec, &preset_or("10"), 13)?);
            dictionary.set("svtav1-params", &format!("lp={threads}"));
            if lossless {
                return no_lossless();
            }
        }
        "ffv1" => {
            dictionary.set("level", "3");
        }
        _ if lossless => return no_lossless(),
        _ => {}
    }
    if let (Rate::BitrateKbps(kbps), "libvpx-vp9" | "libaom-av1") = (rate, name) {
        // In one pass, these keep to a rate only when they are told to hold it constant, within a second.
        for option in ["minrate", "maxrate", "bufsize"] {
            dictionary.set(option, &format!("{kbps}k"));
        }
    }
    if let (Rate::Crf(crf), false) = (rate, codec.has_quantiser()) {
        // The AV1 and VP9 encoders read whole numbers only.
        let crf = if matches!(codec, Codec::Vp9 | Codec::Av1) { crf.round() } else { *crf };
        dictionary.set("crf", &crf.to_string());
    }
    Ok(dictionary)
}

fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn number_within(codec: &Codec, preset: &str, highest: u8) -> Result<String, MediaError> {
    match preset.trim().parse::<u8>() {
        Ok(number) if number <= highest => Ok(number.to_string()),
        _ => {
            let or = if *codec == Codec::Vp9 { " or `realtime`" } else { "" };
            let allowed = format!("a whole number from 0 to {highest}{or} is allowed");
            Err(MediaError::invalid(format!("preset `{preset}` of {codec:?}; {allowed}")))
        }
    }
}
