//! From a decoded frame to a [`Picture`], step by step: repack (FFmpeg, lossless), 8 bit limited range, 4:2:0, alpha on
//! black, tone mapping. Turning and square pixels follow in `decode`.
//!
//! Rounding is to nearest everywhere: `n` bits of limited range become 8 by `(v + 2^(n-9)) >> (n-8)`; full range becomes
//! limited by `16 + 219 v / (2^n - 1)` and `128 + 224 (c - 2^(n-1)) / (2^n - 1)`. Chroma of 4:4:4 is filtered 1-2-1
//! across and averaged down; of 4:2:2 averaged down.

use ffmpeg_next as ff;
use ffmpeg_next::software::scaling;

use crate::colour::{Matrix, Primaries, Range, Transfer};
use crate::error::{MediaError, Result};
use crate::ffi::{self, FrameProperties, PixelLayout};
use crate::hdr::{RawPlanes, ToneMapper};
use crate::picture::{Picture, Rgb};
use crate::resize::{Plane, resize};

/// How the samples of a frame are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour {
    pub(crate) range: Range,
    pub(crate) matrix: Matrix,
    pub(crate) primaries: Primaries,
    pub(crate) transfer: Transfer,
}

/// A decoded frame whose samples can be read.
pub(crate) enum Pixels {
    /// Y'CbCr or grey planes as the decoder gave them.
    Planar(PlanarFrame),
    /// R'G'B' and what else has no luma plane: converted at once.
    Converted(Picture),
}

/// One to four planes of 8 to 16 bit samples, little-endian: Y, then U, V, then alpha.
pub(crate) struct PlanarFrame {
    pub(crate) frame: ff::frame::Video,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) layout: PixelLayout,
    pub(crate) colour: Colour,
}

impl Pixels {
    /// Takes a frame over. Only formats without plain planes cost a conversion.
    pub(crate) fn new(
        frame: ff::frame::Video,
        properties: &FrameProperties,
        layout: &PixelLayout,
        colour: Colour,
    ) -> Result<Self> {
        let frame = if ffi::has_negative_stride(&frame) { frame.clone() } else { frame };
        let (width, height) = (properties.width, properties.height);
        let planar = |frame, layout| Self::Planar(PlanarFrame { frame, width, height, layout, colour });
        if layout.is_plain_planar && !layout.is_rgb && layout.components != 2 {
            return Ok(planar(frame, layout.clone()));
        }
        if layout.is_rgb || layout.has_palette || layout.components == 2 {
            return convert_rgb(&frame, layout, colour, width, height).map(Self::Converted);
        }
        let name = planar_counterpart(layout);
        let repacked = repack(&frame, &name)?;
        let layout = ffi::pixel_layout(ffi::frame_properties(&repacked).pixel_format)
            .ok_or_else(|| MediaError::invalid(format!("pixel format {name} is unknown to this FFmpeg")))?;
        Ok(planar(repacked, layout))
    }
}

/// The planar little-endian format with the samples of `layout`.
fn planar_counterpart(layout: &PixelLayout) -> String {
    let bits = match layout.bits {
        0..=8 => 8,
        9 | 10 => 10,
        11 | 12 => 12,
        13 | 14 => 14,
        _ => 16,
    };
    let depth = if bits == 8 { String::new() } else { format!("{bits}le") };
    if layout.components < 3 {
        return if bits == 8 { "gray".into() } else { format!("gray{depth}") };
    }
    let subsampling = match (layout.log2_chroma_width, layout.log2_chroma_height) {
        (0, 0) => "444",
        (0, _) => "440",
        (1, 0) => "422",
        (1, _) => "420",
        (_, 0) => "411",
        _ => "410",
    };
    let alpha = if layout.has_alpha { "a" } else { "" };
    format!("yuv{alpha}{subsampling}p{depth}")
}

/// Lets FFmpeg reorder samples into another format of the same size.
fn repack(frame: &ff::frame::Video, name: &str) -> Result<ff::frame::Video> {
    let unsupported = || {
        MediaError::invalid(format!(
            "pixel format {:?} cannot be read as {name} by this FFmpeg",
            frame.format()
        ))
    };
    let target = ffi::pixel_format_named(name).ok_or_else(unsupported)?;
    let (width, height) = (frame.width(), frame.height());
    let flags = scaling::Flags::POINT | scaling::Flags::ACCURATE_RND | scaling::Flags::FULL_CHR_H_INP;
    let mut context = scaling::Context::get(frame.format(), width, height, target, width, height, flags)
        .map_err(|_| unsupported())?;
    let mut repacked = ff::frame::Video::empty();
    context.run(frame, &mut repacked).map_err(|error| MediaError::ffmpeg("repacking a frame", error))?;
    Ok(repacked)
}

/// R'G'B' of any layout and depth, with or without alpha, to a picture of the video's matrix (BT.709 where tone-mapped).
fn convert_rgb(
    frame: &ff::frame::Video,
    layout: &PixelLayout,
    colour: Colour,
    width: usize,
    height: usize,
) -> Result<Picture> {
    let deep = layout.bits > 8;
    let name = match (layout.has_alpha || layout.has_palette, deep) {
        (false, false) => "rgb24",
        (true, false) => "rgba",
        (false, true) => "rgb48le",
        (true, true) => "rgba64le",
    };
    let repacked = repack(frame, name)?;
    let channels = if name.starts_with("rgba") { 4 } else { 3 };
    let sample_bytes = if deep { 2 } else { 1 };
    let row_bytes = width * channels * sample_bytes;
    let (data, stride) = ffi::plane(&repacked, 0, height, row_bytes).ok_or_else(no_plane)?;
    let mapper = colour.transfer.is_hdr().then(|| ToneMapper::new(colour.transfer, colour.primaries));
    let mut rgb = Vec::with_capacity(width * height * 3);
    for row in data.chunks(stride) {
        for pixel in row[..row_bytes].chunks_exact(channels * sample_bytes) {
            // Everything in 16 bit: 8-bit samples times 257 are exact.
            let sample = |i: usize| {
                if deep {
                    u32::from(u16::from_le_bytes([pixel[2 * i], pixel[2 * i + 1]]))
                } else {
                    u32::from(pixel[i]) * 257
                }
            };
            let alpha = if channels == 4 { u64::from(sample(3)) } else { 65535 };
            let on_black = [0, 1, 2].map(|i| ((u64::from(sample(i)) * alpha + 32767) / 65535) as u32);
            rgb.extend_from_slice(&match &mapper {
                Some(mapper) => mapper.map(on_black.map(|x| x as f32 / 65535.0)),
                None => on_black.map(|x| ((x + 128) / 257) as u8),
            });
        }
    }
    Ok(Picture::from_rgb(&Rgb::new(width, height, rgb)?, Matrix::Bt709))
}

fn no_plane() -> MediaError {
    MediaError::Ffmpeg { doing: "reading a decoded frame".into(), reason: "a plane is missing".into() }
}

impl PlanarFrame {
    /// Width and height of the chroma planes.
    fn chroma_size(&self) -> (usize, usize) {
        let shift = |size: usize, bits: u32| (size + (1 << bits) - 1) >> bits;
        (shift(self.width, self.layout.log2_chroma_width), shift(self.height, self.layout.log2_chroma_height))
    }

    /// Plane `index` as it lies in memory, and its stride in bytes.
    pub(crate) fn raw(&self, index: usize) -> Result<(&[u8], usize)> {
        let (width, height) =
            if index == 1 || index == 2 { self.chroma_size() } else { (self.width, self.height) };
        let sample_bytes = if self.layout.bits > 8 { 2 } else { 1 };
        ffi::plane(&self.frame, index, height, width * sample_bytes).ok_or_else(no_plane)
    }

    /// Plane `index` as tightly packed samples of 16 bits.
    fn samples(&self, index: usize) -> Result<Vec<u16>> {
        let (data, stride) = self.raw(index)?;
        let width = if index == 1 || index == 2 { self.chroma_size().0 } else { self.width };
        if self.layout.bits > 8 {
            let rows = data.chunks(stride).flat_map(|row| row[..2 * width].chunks_exact(2));
            Ok(rows.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
        } else {
            Ok(data.chunks(stride).flat_map(|row| &row[..width]).map(|&x| u16::from(x)).collect())
        }
    }

    /// Plane `index` in 8 bit limited range, tightly packed.
    fn plane_8bit(&self, index: usize) -> Result<Vec<u8>> {
        let bits = self.layout.bits;
        if bits == 8 && self.colour.range == Range::Limited {
            let (data, stride) = self.raw(index)?;
            let width = if index == 1 || index == 2 { self.chroma_size().0 } else { self.width };
            if stride == width {
                return Ok(data.to_vec());
            }
            return Ok(data.chunks(stride).flat_map(|row| &row[..width]).copied().collect());
        }
        let table = depth_table(bits, self.colour.range, index != 0);
        let last = table.len() - 1;
        Ok(self.samples(index)?.into_iter().map(|x| table[usize::from(x).min(last)]).collect())
    }

    /// The picture as coded: not turned, pixels as they are.
    pub(crate) fn to_picture(&self) -> Result<Picture> {
        let (width, height) = (self.width, self.height);
        if self.colour.transfer.is_hdr() && self.layout.components >= 3 {
            return self.tone_mapped();
        }
        let y = self.plane_8bit(0)?;
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let [u, v] = if self.layout.components < 3 {
            [vec![128; cw * ch], vec![128; cw * ch]]
        } else {
            [self.chroma_420(1)?, self.chroma_420(2)?]
        };
        let picture = Picture::new(width, height, y, u, v)?.with_matrix(self.colour.matrix);
        if self.layout.components == 4 { self.lay_on_black(picture) } else { Ok(picture) }
    }

    fn chroma_420(&self, index: usize) -> Result<Vec<u8>> {
        let plane = self.plane_8bit(index)?;
        let (width, height) = self.chroma_size();
        let (target_width, target_height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        match (self.layout.log2_chroma_width, self.layout.log2_chroma_height) {
            (1, 1) => Ok(plane),
            (0 | 1, 0 | 1) => {
                let across = self.layout.log2_chroma_width == 0;
                let down = self.layout.log2_chroma_height == 0;
                Ok(halve_chroma(&plane, (width, height), (target_width, target_height), across, down))
            }
            (wide, high) => {
                let scale = |bits: u32| 2.0 / f64::from(1u32 << bits);
                let plane = Plane { data: &plane, width, height };
                Ok(resize(plane, target_width, target_height, scale(wide), scale(high)))
            }
        }
    }

    /// Multiplies by alpha around black, in code values.
    fn lay_on_black(&self, mut picture: Picture) -> Result<Picture> {
        let alpha = self.samples(3)?;
        let full = (1i32 << self.layout.bits) - 1;
        let (width, cw) = (picture.width(), picture.chroma_width());
        let height = picture.height();
        let blend = |sample: &mut u8, black: i32, alpha: i32| {
            let scaled = (i64::from(*sample) - i64::from(black)) * i64::from(alpha);
            let half = i64::from(full / 2) * scaled.signum();
            *sample = (i64::from(black) + (scaled + half) / i64::from(full)) as u8;
        };
        let [y, u, v] = picture.planes_mut();
        for (sample, &alpha) in y.iter_mut().zip(&alpha) {
            blend(sample, 16, i32::from(alpha));
        }
        for (i, (u, v)) in u.iter_mut().zip(v).enumerate() {
            let (x, y) = (2 * (i % cw), 2 * (i / cw));
            let at = |x: usize, y: usize| i32::from(alpha[y.min(height - 1) * width + x.min(width - 1)]);
            let mean = (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1) + 2) / 4;
            blend(u, 128, mean);
            blend(v, 128, mean);
        }
        Ok(picture)
    }

    fn tone_mapped(&self) -> Result<Picture> {
        let planes = RawPlanes {
            width: self.width,
            height: self.height,
            chroma_width: self.chroma_size().0,
            log2_chroma_width: self.layout.log2_chroma_width,
            log2_chroma_height: self.layout.log2_chroma_height,
            bits: self.layout.bits,
            y: self.samples(0)?,
            u: self.samples(1)?,
            v: self.samples(2)?,
        };
        let mapper = ToneMapper::new(self.colour.transfer, self.colour.primaries);
        let rgb = mapper.map_planes(&planes, self.colour.range, self.colour.matrix);
        Ok(Picture::from_rgb(&Rgb::new(self.width, self.height, rgb)?, Matrix::Bt709))
    }
}

/// The 8-bit limited-range value of every code of `bits` bits.
fn depth_table(bits: u32, range: Range, chroma: bool) -> Vec<u8> {
    let codes = 0..1u32 << bits;
    match range {
        Range::Limited if bits == 8 => codes.map(|x| x as u8).collect(),
        Range::Limited => codes.map(|x| ((x + (1 << (bits - 9))) >> (bits - 8)).min(255) as u8).collect(),
        Range::Full => {
            let full = f64::from((1u32 << bits) - 1);
            let middle = f64::from(1u32 << (bits - 1));
            codes
                .map(|x| {
                    let x = f64::from(x);
                    let value =
                        if chroma { 128.0 + 224.0 * (x - middle) / full } else { 16.0 + 219.0 * x / full };
                    value.round().clamp(0.0, 255.0) as u8
                })
                .collect()
        }
    }
}

/// Halves a chroma plane `across` (1-2-1 around even columns) and `down` (mean of two rows), rounding once.
fn halve_chroma(
    plane: &[u8],
    size: (usize, usize),
    target: (usize, usize),
    across: bool,
    down: bool,
) -> Vec<u8> {
    let (width, height) = size;
    let mut out = Vec::with_capacity(target.0 * target.1);
    for row in 0..target.1 {
        let rows = if down { [2 * row, (2 * row + 1).min(height - 1)] } else { [row, row] };
        for column in 0..target.0 {
            let sum: u32 = rows
                .iter()
                .map(|&y| {
                    let line = &plane[y * width..][..width];
                    let at = |x: usize| u32::from(line[x.min(width - 1)]);
                    if across {
                        let x = 2 * column;
                        at(x.saturating_sub(1)) + 2 * at(x) + at(x + 1)
                    } else {
                        4 * at(column)
                    }
                })
                .sum();
            out.push(((sum + 4) >> 3) as u8);
        }
    }
    out
}

/// Replaces the rows of the second field by an interpolation of both: weights -1 4 2 4 -1 over eight, down the column.
pub(crate) fn deinterlace(mut picture: Picture, top_field_first: bool) -> Picture {
    let sizes = [
        (picture.width(), picture.height()),
        (picture.chroma_width(), picture.chroma_height()),
        (picture.chroma_width(), picture.chroma_height()),
    ];
    for (plane, (width, height)) in picture.planes_mut().into_iter().zip(sizes) {
        let source = plane.to_vec();
        let first = if top_field_first { 1 } else { 0 };
        for row in (first..height).step_by(2) {
            let line = |offset: isize| {
                let row = row.saturating_add_signed(offset).min(height - 1);
                &source[row * width..][..width]
            };
            let lines = [line(-2), line(-1), line(0), line(1), line(2)];
            for (x, out) in plane[row * width..][..width].iter_mut().enumerate() {
                let at = |i: usize| i32::from(lines[i][x]);
                let sum = 4 * (at(1) + at(3)) + 2 * at(2) - at(0) - at(4);
                *out = ((sum + 4) >> 3).clamp(0, 255) as u8;
            }
        }
    }
    picture
}
