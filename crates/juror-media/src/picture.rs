//! One picture in memory: planar Y'CbCr 4:2:0 or interleaved R'G'B', 8 bit.
//!
//! A [`Picture`] is limited range, upright, with square pixels; its samples are those of the decoder wherever the source
//! is already so, because work on quality needs native samples. Chroma is taken as sited with the left column of each
//! luma pair (MPEG-2 siting, what H.264 and later assume), midway between its two rows.

use rayon::prelude::*;

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
        let rows = data.par_chunks_exact_mut(self.width * 3).enumerate();
        rows.for_each_init(
            || [vec![0u8; 2 * cw], vec![0u8; 2 * cw]],
            |chroma, (row, out)| {
                // An even row lies a quarter of a chroma row above its own, an odd one a quarter below: weights 3 and 1.
                let near = row / 2;
                let far = if row.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(ch - 1) };
                for (line, plane) in chroma.iter_mut().zip([&self.u, &self.v]) {
                    enlarge_chroma(&plane[near * cw..][..cw], &plane[far * cw..][..cw], line);
                }
                let luma = &self.y[row * self.width..][..self.width];
                let [u, v] = chroma;
                for (((pixel, &y), &u), &v) in out.chunks_exact_mut(3).zip(luma).zip(&*u).zip(&*v) {
                    pixel.copy_from_slice(&convert.convert(y, u, v));
                }
            },
        );
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
        let mut data = vec![0; width * height * 3];
        for (((pixel, &y), &u), &v) in data.chunks_exact_mut(3).zip(&y).zip(&u).zip(&v) {
            pixel.copy_from_slice(&convert.convert(y, u, v));
        }
        Ok(Rgb { width, height, data })
    }

    /// Converts from R'G'B'; chroma is filtered 1-2-1 across and averaged down, which puts it on its sites.
    pub fn from_rgb(rgb: &Rgb, matrix: Matrix) -> Self {
        let convert = RgbToYuv::new(matrix);
        let (width, height) = (rgb.width, rgb.height);
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let mut y = vec![0; width * height];
        y.par_chunks_exact_mut(width).zip(rgb.data.par_chunks_exact(3 * width)).for_each(|(line, pixels)| {
            for (sample, p) in line.iter_mut().zip(pixels.chunks_exact(3)) {
                *sample = convert.luma([p[0], p[1], p[2]]);
            }
        });
        let mut u = vec![0; cw * ch];
        let mut v = vec![0; cw * ch];
        let rows = u.par_chunks_exact_mut(cw).zip(v.par_chunks_exact_mut(cw)).enumerate();
        rows.for_each(|(row, (u, v))| {
            let line = |y: usize| &rgb.data[y.min(height - 1) * width * 3..][..width * 3];
            let (upper, lower) = (line(2 * row), line(2 * row + 1));
            for (column, (u, v)) in u.iter_mut().zip(v).enumerate() {
                let (x, last) = (2 * column, width - 1);
                let [left, centre, right] = [x.saturating_sub(1), x, (x + 1).min(last)].map(|x| {
                    let (a, b) = (&upper[3 * x..][..3], &lower[3 * x..][..3]);
                    [0, 1, 2].map(|i| i32::from(a[i]) + i32::from(b[i]))
                });
                (*u, *v) = convert.chroma([0, 1, 2].map(|i| left[i] + 2 * centre[i] + right[i]), 3);
            }
        });
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

/// A chroma line at luma resolution from the chroma row nearest to it (weight 3) and the next nearest (weight 1): even
/// columns carry a chroma sample, odd ones lie midway between two.
fn enlarge_chroma(near: &[u8], far: &[u8], out: &mut [u8]) {
    let blend = |i: usize| 3 * u16::from(near[i]) + u16::from(far[i]);
    let last = near.len() - 1;
    let mut left = blend(0);
    for (i, pair) in out.chunks_exact_mut(2).enumerate() {
        let right = blend((i + 1).min(last));
        pair[0] = ((2 * left + 4) >> 3) as u8;
        pair[1] = ((left + right + 4) >> 3) as u8;
        left = right;
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
