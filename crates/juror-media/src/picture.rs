//! One picture in memory: planar Y'CbCr 4:2:0 or interleaved R'G'B', 8 bit.
//!
//! A [`Picture`] is limited range, upright, with square pixels; its samples are those of the decoder wherever the source
//! is already so, because work on quality needs native samples. Chroma is taken as sited with the left column of each
//! luma pair (MPEG-2 siting, what H.264 and later assume), midway between its two rows.

use crate::colour::{Matrix, RgbToYuv, YuvToRgb};
use crate::error::{MediaError, Result};
use crate::resize::{Plane, resize};

/// The most pixels a picture may have: 134 million (16384 x 8192), four times an 8K frame.
pub const MAX_PIXELS: usize = 1 << 27;

/// Planar Y'CbCr 4:2:0, 8 bit, limited range, upright, square pixels, rows tightly packed.
///
/// `y` is `[height, width]`, `u` and `v` are `[ceil(height / 2), ceil(width / 2)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    matrix: Matrix,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

/// A picture and the time it is shown from.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The pixels.
    pub picture: Picture,
    /// Presentation time in seconds, as the file states it.
    pub pts_secs: f64,
}

/// Interleaved full-range R'G'B', 8 bit: `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

fn check_size(width: usize, height: usize) -> Result<()> {
    if width == 0 || height == 0 || width.checked_mul(height).is_none_or(|pixels| pixels > MAX_PIXELS) {
        return Err(MediaError::invalid(format!(
            "a picture of {width}x{height} pixels: 1 to {MAX_PIXELS} are allowed"
        )));
    }
    Ok(())
}

fn check_len(plane: &str, len: usize, width: usize, height: usize) -> Result<()> {
    if len != width * height {
        return Err(MediaError::invalid(format!(
            "plane {plane} has {len} samples, {width}x{height} needs {}",
            width * height
        )));
    }
    Ok(())
}

impl Picture {
    /// A picture of these planes (BT.709; see [`Picture::with_matrix`]). Fails where a length does not fit the size.
    pub fn new(width: usize, height: usize, y: Vec<u8>, u: Vec<u8>, v: Vec<u8>) -> Result<Self> {
        check_size(width, height)?;
        check_len("Y", y.len(), width, height)?;
        check_len("U", u.len(), width.div_ceil(2), height.div_ceil(2))?;
        check_len("V", v.len(), width.div_ceil(2), height.div_ceil(2))?;
        Ok(Self { width, height, matrix: Matrix::default(), y, u, v })
    }

    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, yuv: [u8; 3]) -> Result<Self> {
        check_size(width, height)?;
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self::new(width, height, vec![yuv[0]; width * height], vec![yuv[1]; chroma], vec![yuv[2]; chroma])
    }

    /// The same samples, said to be made with another matrix.
    pub fn with_matrix(mut self, matrix: Matrix) -> Self {
        self.matrix = matrix;
        self
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Samples in a chroma row: `ceil(width / 2)`.
    pub fn chroma_width(&self) -> usize {
        self.width.div_ceil(2)
    }

    /// Rows of a chroma plane: `ceil(height / 2)`.
    pub fn chroma_height(&self) -> usize {
        self.height.div_ceil(2)
    }

    /// The matrix the samples were made with.
    pub fn matrix(&self) -> Matrix {
        self.matrix
    }

    /// Luma, `[height, width]`.
    pub fn y(&self) -> &[u8] {
        &self.y
    }

    /// Blue difference, `[ceil(height / 2), ceil(width / 2)]`.
    pub fn u(&self) -> &[u8] {
        &self.u
    }

    /// Red difference, `[ceil(height / 2), ceil(width / 2)]`.
    pub fn v(&self) -> &[u8] {
        &self.v
    }

    /// The three planes `[y, u, v]` to write in.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        [&mut self.y, &mut self.u, &mut self.v]
    }

    /// The three planes `[y, u, v]`, moved out.
    pub fn into_planes(self) -> [Vec<u8>; 3] {
        [self.y, self.u, self.v]
    }

    /// Converts to R'G'B' with this picture's matrix; chroma is interpolated linearly.
    pub fn to_rgb(&self) -> Rgb {
        let convert = YuvToRgb::new(self.matrix);
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        let mut data = vec![0u8; self.width * self.height * 3];
        let mut blended = [vec![0u16; cw], vec![0u16; cw]];
        for (row, out) in data.chunks_exact_mut(self.width * 3).enumerate() {
            // An even row lies a quarter of a chroma row above its own, an odd one a quarter below: weights 3 and 1.
            let near = row / 2;
            let far = if row % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(ch - 1) };
            for (line, plane) in blended.iter_mut().zip([&self.u, &self.v]) {
                let (near, far) = (&plane[near * cw..][..cw], &plane[far * cw..][..cw]);
                for ((value, &n), &f) in line.iter_mut().zip(near).zip(far) {
                    *value = 3 * u16::from(n) + u16::from(f);
                }
            }
            let luma = &self.y[row * self.width..][..self.width];
            for (column, (&y, pixel)) in luma.iter().zip(out.chunks_exact_mut(3)).enumerate() {
                // Even columns carry a chroma sample, odd ones lie midway between two.
                let (left, right) = (column / 2, column.div_ceil(2).min(cw - 1));
                let [u, v] =
                    [&blended[0], &blended[1]].map(|line| ((line[left] + line[right] + 4) >> 3) as u8);
                pixel.copy_from_slice(&convert.convert(y, u, v));
            }
        }
        Rgb { width: self.width, height: self.height, data }
    }

    /// Converts to R'G'B' at another size. Each plane is resized by itself before the conversion, so colour loses nothing
    /// to an intermediate 4:2:0 of the small size.
    pub fn to_rgb_sized(&self, width: usize, height: usize) -> Result<Rgb> {
        check_size(width, height)?;
        if (width, height) == (self.width, self.height) {
            return Ok(self.to_rgb());
        }
        let scale_x = self.width as f64 / width as f64;
        let scale_y = self.height as f64 / height as f64;
        let y = resize(self.luma_plane(), width, height, scale_x, scale_y);
        let [u, v] =
            self.chroma_planes().map(|plane| resize(plane, width, height, scale_x / 2.0, scale_y / 2.0));
        let convert = YuvToRgb::new(self.matrix);
        let data = y.iter().zip(&u).zip(&v).flat_map(|((&y, &u), &v)| convert.convert(y, u, v)).collect();
        Ok(Rgb { width, height, data })
    }

    /// Converts from R'G'B'; chroma is filtered 1-2-1 across and averaged down, which puts it on its sites.
    pub fn from_rgb(rgb: &Rgb, matrix: Matrix) -> Self {
        let convert = RgbToYuv::new(matrix);
        let (width, height) = (rgb.width, rgb.height);
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let pixel = |x: usize, y: usize| -> [u8; 3] {
            let at = (y * width + x) * 3;
            [rgb.data[at], rgb.data[at + 1], rgb.data[at + 2]]
        };
        let y = rgb.data.chunks_exact(3).map(|p| convert.luma([p[0], p[1], p[2]])).collect();
        let mut u = Vec::with_capacity(cw * ch);
        let mut v = Vec::with_capacity(cw * ch);
        for row in 0..ch {
            let rows = [2 * row, (2 * row + 1).min(height - 1)];
            for column in 0..cw {
                let x = 2 * column;
                let taps = [(x.saturating_sub(1), 1), (x, 2), ((x + 1).min(width - 1), 1)];
                let mut sum = [0i32; 3];
                for y in rows {
                    for (x, weight) in taps {
                        for (total, sample) in sum.iter_mut().zip(pixel(x, y)) {
                            *total += weight * i32::from(sample);
                        }
                    }
                }
                let (cb, cr) = convert.chroma(sum, 3);
                u.push(cb);
                v.push(cr);
            }
        }
        Self { width, height, matrix, y, u, v }
    }

    /// Resized: area average where it shrinks, bicubic where it grows (see the `resize` module).
    pub fn resized(&self, width: usize, height: usize) -> Result<Self> {
        check_size(width, height)?;
        let scale_x = self.width as f64 / width as f64;
        let scale_y = self.height as f64 / height as f64;
        let y = resize(self.luma_plane(), width, height, scale_x, scale_y);
        let [u, v] = self
            .chroma_planes()
            .map(|plane| resize(plane, width.div_ceil(2), height.div_ceil(2), scale_x, scale_y));
        Ok(Self { width, height, matrix: self.matrix, y, u, v })
    }

    fn luma_plane(&self) -> Plane<'_> {
        Plane { data: &self.y, width: self.width, height: self.height }
    }

    fn chroma_planes(&self) -> [Plane<'_>; 2] {
        let (width, height) = (self.chroma_width(), self.chroma_height());
        [&self.u, &self.v].map(|data| Plane { data, width, height })
    }
}

impl Rgb {
    /// Pixels `[height, width, 3]`. Fails where the length does not fit the size.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        check_size(width, height)?;
        check_len("RGB", data.len(), width * 3, height)?;
        Ok(Self { width, height, data })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, `[height, width, 3]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels, moved out.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}
