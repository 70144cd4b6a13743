//! Tiles: pictures with transparency that layers and sprites are cut from, and their sampling at subpixel places.
//!
//! A pixel is `[y, u, v, alpha]`, eight bits each, packed into a `u32`; the colours are multiplied by alpha. Sampling and laying one over the
//! other work on all four channels at once, spread over the 16-bit lanes of a `u64`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Fraction bits of tile coordinates.
pub(super) const FRACTION_BITS: u32 = 16;

/// A colour as limited-range BT.709 `[y, u, v]`.
pub(super) type Colour = [f32; 3];

/// The colour of R'G'B' values in 0..=1.
pub(super) fn from_rgb([r, g, b]: [f32; 3]) -> Colour {
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    [16.0 + 219.0 * y, 128.0 + 224.0 * (b - y) / 1.8556, 128.0 + 224.0 * (r - y) / 1.5748]
}

/// The colour of a hue in turns, a saturation and a value, each 0..=1.
pub(super) fn from_hsv(hue: f32, saturation: f32, value: f32) -> Colour {
    let channel = |shift: f32| {
        let k = (shift + 6.0 * hue.rem_euclid(1.0)) % 6.0;
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    };
    from_rgb([channel(5.0), channel(3.0), channel(1.0)])
}

/// A few colours that go together: neighbouring hues with an accent, values spread from dark to light.
pub(super) fn palette(rng: &mut ChaCha8Rng, saturation: f32) -> Vec<Colour> {
    let hue: f32 = rng.random();
    (0..8)
        .map(|i| {
            let accent = if i == 7 { 0.5 } else { 0.0 };
            let hue = hue + accent + rng.random_range(-0.12..0.12f32);
            let value = 0.08 + 0.9 * (i as f32 + rng.random::<f32>()) / 8.0;
            from_hsv(hue, (saturation * rng.random_range(0.3..1.3f32)).min(1.0), value)
        })
        .collect()
}

/// Brightens (or darkens) a colour; its chroma goes along.
pub(super) fn shade([y, u, v]: Colour, gain: f32) -> Colour {
    [16.0 + (y - 16.0) * gain, 128.0 + (u - 128.0) * gain, 128.0 + (v - 128.0) * gain]
}

/// The middle of two colours, `t` of the way to the second.
pub(super) fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

/// Four channels in the 16-bit lanes of a word.
#[inline(always)]
fn spread(pixel: u32) -> u64 {
    let pixel = u64::from(pixel);
    (pixel & 0x00ff_00ff) | ((pixel & 0xff00_ff00) << 24)
}

const LANE_MASK: u64 = 0x00ff_00ff_00ff_00ff;
const LANE_HALF: u64 = 0x0080_0080_0080_0080;
/// Lanes as laid out by [`spread`]: y and v in the low half, u and alpha in the high half.
const V_SHIFT: u32 = 16;
const U_SHIFT: u32 = 32;
const ALPHA_SHIFT: u32 = 48;

#[inline(always)]
fn lerp(a: u64, b: u64, t: u64) -> u64 {
    ((a * (256 - t) + b * t + LANE_HALF) >> 8) & LANE_MASK
}

/// Lays a sampled pixel over another.
#[inline(always)]
pub(super) fn over(top: u64, below: u64) -> u64 {
    let alpha = top >> ALPHA_SHIFT;
    let rest = 256 - (alpha + (alpha >> 7));
    top + (((below * rest + LANE_HALF) >> 8) & LANE_MASK)
}

/// The `[y, u, v]` of a sampled pixel.
#[inline(always)]
pub(super) fn channels(lanes: u64) -> [u16; 3] {
    [lanes as u16 & 255, (lanes >> U_SHIFT) as u16 & 255, (lanes >> V_SHIFT) as u16 & 255]
}

/// A picture with transparency. It may be sampled as if it went on periodically.
pub(super) struct Tile {
    width: usize,
    height: usize,
    /// One column and one row more than the size, repeating the first, so that sampling needs no second wrap.
    pixels: Vec<u32>,
}

impl Tile {
    /// A transparent tile, painted by `paint`.
    pub(super) fn painted(width: usize, height: usize, paint: impl FnOnce(&mut Canvas)) -> Self {
        let mut canvas = Canvas { width, height, pixels: vec![0; width * height] };
        paint(&mut canvas);
        let mut pixels = Vec::with_capacity((width + 1) * (height + 1));
        for y in 0..=height {
            let row = &canvas.pixels[(y % height) * width..][..width];
            pixels.extend_from_slice(row);
            pixels.push(row[0]);
        }
        Self { width, height, pixels }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    #[inline(always)]
    fn sample(&self, x: i64, y: i64) -> u64 {
        let stride = self.width + 1;
        let at = (y >> FRACTION_BITS) as usize * stride + (x >> FRACTION_BITS) as usize;
        let (fx, fy) = ((x >> (FRACTION_BITS - 8)) as u64 & 255, (y >> (FRACTION_BITS - 8)) as u64 & 255);
        let upper = &self.pixels[at..at + 2];
        let lower = &self.pixels[at + stride..at + stride + 2];
        let top = lerp(spread(upper[0]), spread(upper[1]), fx);
        let bottom = lerp(spread(lower[0]), spread(lower[1]), fx);
        lerp(top, bottom, fy)
    }

    /// Lays a row of samples over `row`: from `(x, y)` on in steps of `(dx, dy)`, tile pixels with [`FRACTION_BITS`]
    /// fraction bits, going on periodically.
    pub(super) fn draw_row(&self, row: &mut [u64], x: i64, y: i64, dx: i64, dy: i64) {
        let (width, height) = ((self.width as i64) << FRACTION_BITS, (self.height as i64) << FRACTION_BITS);
        let (mut x, mut y) = (x.rem_euclid(width), y.rem_euclid(height));
        let wrap = |value: i64, size: i64| match value {
            v if v >= size => v - size,
            v if v < 0 => v + size,
            v => v,
        };
        let (dx, dy) = (dx % width, dy % height);
        for pixel in row {
            *pixel = over(self.sample(x, y), *pixel);
            x = wrap(x + dx, width);
            y = wrap(y + dy, height);
        }
    }
}

/// A tile while it is painted.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Canvas {
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Fills the whole canvas with what `colour` gives at `(x, y)`.
    pub(super) fn fill(&mut self, mut colour: impl FnMut(usize, usize) -> Colour) {
        for (y, row) in self.pixels.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = pack(colour(x, y), 1.0);
            }
        }
    }

    /// Paints over the pixels of a box around `(x, y)` that reaches `reach_x`, `reach_y` pixels to all sides. `paint` gets the distance of a
    /// pixel's centre from `(x, y)` and gives coverage and colour. Beyond an edge, painting goes on at the opposite one
    /// when the canvas is `periodic`.
    pub(super) fn paint(
        &mut self,
        (x, y): (f32, f32),
        (reach_x, reach_y): (f32, f32),
        periodic: bool,
        paint: impl Fn(f32, f32) -> (f32, Colour),
    ) {
        let span = |centre: f32, reach: f32, size: usize| {
            let (first, last) = ((centre - reach).floor() as i64, (centre + reach).ceil() as i64);
            if periodic { first..last.min(first + size as i64) } else { first.max(0)..last.min(size as i64) }
        };
        for row in span(y, reach_y, self.height) {
            let start = row.rem_euclid(self.height as i64) as usize * self.width;
            let distance_y = row as f32 + 0.5 - y;
            for column in span(x, reach_x, self.width) {
                let (coverage, colour) = paint(column as f32 + 0.5 - x, distance_y);
                if coverage <= 0.0 {
                    continue;
                }
                let pixel = &mut self.pixels[start + column.rem_euclid(self.width as i64) as usize];
                let top = pack(colour, coverage.min(1.0));
                *pixel = if coverage >= 1.0 { top } else { gather(over(spread(top), spread(*pixel))) };
            }
        }
    }

    /// Paints a rectangle of one colour; edges between pixels are blended. Coordinates in pixels.
    pub(super) fn rectangle(&mut self, left: f32, top: f32, width: f32, height: f32, colour: Colour) {
        let (half_width, half_height) = (width / 2.0, height / 2.0);
        let covered =
            |distance: f32, half: f32| (half + 0.5 - distance.abs()).clamp(0.0, 1.0).min(2.0 * half);
        let centre = (left + half_width, top + half_height);
        self.paint(centre, (half_width + 1.0, half_height + 1.0), false, |x, y| {
            (covered(x, half_width) * covered(y, half_height), colour)
        });
    }
}

/// Lanes back to a packed pixel.
fn gather(lanes: u64) -> u32 {
    (lanes as u32 & 0x00ff_00ff) | ((lanes >> 24) as u32 & 0xff00_ff00)
}

fn pack(colour: Colour, alpha: f32) -> u32 {
    let low = [16.0, 16.0, 16.0];
    let high = [235.0, 240.0, 240.0];
    let mut packed = (alpha * 255.0 + 0.5) as u32;
    for i in (0..3).rev() {
        packed = packed << 8 | (colour[i].clamp(low[i], high[i]) * alpha + 0.5) as u32;
    }
    packed
}
