//! What tiles show: dead leaves, textures, gradients, shaded bodies, flat drawings.
//!
//! Dead leaves (Lee, Mumford and Huang, "Occlusion models for natural images", 2001): opaque bodies whose radii follow
//! a density of r^-3 and which cover one another; pictures of them share scale invariance, edges and a 1/f spectrum with nature.

use super::noise::Field;
use super::tile::{Canvas, Colour, from_hsv, mix, palette, shade};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::f32::consts::TAU;

/// Radii of leaves as shares of the picture's height.
const SMALLEST_LEAF: f32 = 0.008;
const LARGEST_LEAF: f32 = 0.35;

/// How a body is cut out.
#[derive(Clone, Copy)]
enum Outline {
    Ellipse,
    Rectangle,
    /// A star-like ripple of the radius: number of ripples, depth.
    Rippled(f32, f32),
}

impl Outline {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..4) {
            0 => Self::Rectangle,
            1 => Self::Rippled(rng.random_range(2..8) as f32, rng.random_range(0.1..0.35)),
            _ => Self::Ellipse,
        }
    }

    /// How far a body with a larger radius of `rx` reaches, however it is turned.
    fn reach(self, rx: f32) -> f32 {
        if matches!(self, Self::Rectangle) { 1.42 * rx + 1.0 } else { rx + 1.0 }
    }

    /// Distance from the edge in pixels, negative inside; `(x, y)` in the body's own axes.
    fn distance(self, x: f32, y: f32, rx: f32, ry: f32) -> f32 {
        match self {
            Self::Ellipse => ((x / rx).powi(2) + (y / ry).powi(2)).sqrt() * rx.min(ry) - rx.min(ry),
            Self::Rectangle => (x.abs() - rx).max(y.abs() - ry),
            Self::Rippled(ripples, depth) => {
                let radius = ((x / rx).powi(2) + (y / ry).powi(2)).sqrt();
                let edge = 1.0 - depth * (0.5 + 0.5 * (ripples * y.atan2(x)).cos());
                (radius - edge) * rx.min(ry)
            }
        }
    }
}

/// Covers the canvas with leaves. `height` is the picture's height in pixels. `coverage` is how often the area
/// is covered on average: 4 leaves nothing bare; well under 1 leaves a foreground with gaps.
pub(super) fn leaves(
    canvas: &mut Canvas,
    height: f32,
    coverage: f32,
    (smallest, largest): (f32, f32),
    texture: &Field,
    rng: &mut ChaCha8Rng,
) {
    let colours = palette(rng, 0.45);
    let area = (canvas.width() * canvas.height()) as f32;
    let light: f32 = rng.random_range(0.0..TAU);
    let (light_x, light_y) = (light.cos(), light.sin());
    let mut painted = 0.0;
    while painted < coverage * area {
        // A density of r^-3 between the two ends, by inverting its distribution.
        let u: f32 = rng.random();
        let (low, high) = (smallest.powi(-2), largest.powi(-2));
        let rx = (low + u * (high - low)).powf(-0.5) * height;
        let ry = rx * rng.random_range(0.35..1.0f32);
        painted += 3.0 * rx * ry;
        let place =
            (rng.random::<f32>() * canvas.width() as f32, rng.random::<f32>() * canvas.height() as f32);
        let base = colours[rng.random_range(0..colours.len())];
        let base = shade(base, rng.random_range(0.75..1.25));
        let (sine, cosine) = rng.random_range(0.0..TAU).sin_cos();
        let outline = Outline::random(rng);
        let grain = rng.random::<f32>().powi(2) * 30.0;
        let slope = rng.random_range(-0.35..0.35f32) / rx;
        let (shift_x, shift_y) = (rng.random_range(0..4096usize), rng.random_range(0..4096usize));
        let reach = outline.reach(rx);
        canvas.paint(place, (reach, reach), true, |x, y| {
            let distance = outline.distance(cosine * x + sine * y, cosine * y - sine * x, rx, ry);
            if distance >= 0.5 {
                return (0.0, base);
            }
            let mut colour = shade(base, 1.0 + slope * (light_x * x + light_y * y));
            let (field_x, field_y) = ((x + reach) as usize + shift_x, (y + reach) as usize + shift_y);
            colour[0] += grain * texture.at(field_x, field_y);
            (0.5 - distance, colour)
        });
    }
}

/// Leaves over all scales of nature (the smallest differ from scene to scene) on dark ground.
pub(super) fn natural_leaves(canvas: &mut Canvas, height: f32, texture: &Field, rng: &mut ChaCha8Rng) {
    let ground = from_hsv(rng.random(), 0.4, 0.15);
    canvas.fill(|_, _| ground);
    let smallest = SMALLEST_LEAF * rng.random_range(0.0..2.5f32).exp2();
    leaves(canvas, height, 4.0, (smallest, LARGEST_LEAF), texture, rng);
}

/// A foreground of few, larger leaves.
pub(super) fn sparse_leaves(canvas: &mut Canvas, height: f32, texture: &Field, rng: &mut ChaCha8Rng) {
    let coverage = rng.random_range(0.08..0.3);
    leaves(canvas, height, coverage, (4.0 * SMALLEST_LEAF, LARGEST_LEAF), texture, rng);
}

/// Two colours joined by a fractal field, as clouds, water, walls and grass are.
pub(super) fn clouds(canvas: &mut Canvas, field: &Field, detail: &Field, rng: &mut ChaCha8Rng) {
    let colours = palette(rng, 0.5);
    let (dark, light) = (colours[rng.random_range(0..4)], colours[rng.random_range(4..8)]);
    let contrast = rng.random_range(0.15..0.45f32);
    let grain = rng.random_range(0.0..8.0f32);
    canvas.fill(|x, y| {
        let mut colour = mix(dark, light, (0.5 + contrast * field.at(x, y)).clamp(0.0, 1.0));
        colour[0] += grain * detail.at(x, y);
        colour
    });
}

/// A gradient that comes back to its beginning at the edges (so that it has none).
pub(super) fn gradient(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let colours = palette(rng, 0.6);
    let (from, to) = (colours[rng.random_range(0..4)], colours[rng.random_range(4..8)]);
    let (waves_x, waves_y) = [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)][rng.random_range(0..3)];
    let (width, height) = (canvas.width() as f32, canvas.height() as f32);
    canvas.fill(|x, y| {
        let phase = waves_x * x as f32 / width + waves_y * y as f32 / height;
        mix(from, to, 0.5 - 0.5 * (TAU * phase).cos())
    });
}

/// A ball lit from the upper left, with a highlight and perhaps a texture. The canvas is filled by it.
pub(super) fn ball(canvas: &mut Canvas, texture: &Field, rng: &mut ChaCha8Rng) {
    let base = from_hsv(rng.random(), rng.random_range(0.2..0.9), rng.random_range(0.5..1.0));
    let grain = if rng.random_bool(0.5) { rng.random_range(5.0..30.0f32) } else { 0.0 };
    let gloss = rng.random_range(0.0..0.8f32);
    let radius = canvas.width().min(canvas.height()) as f32 / 2.0 - 2.0;
    let centre = (canvas.width() as f32 / 2.0, canvas.height() as f32 / 2.0);
    canvas.paint(centre, (radius + 1.0, radius + 1.0), false, |x, y| {
        let from_centre = (x * x + y * y).sqrt();
        let (nx, ny) = (x / radius, y / radius);
        let nz = (1.0 - nx * nx - ny * ny).max(0.0).sqrt();
        // The light comes from (-1, -1, 1.2), made a unit vector.
        let facing = (-0.54 * nx - 0.54 * ny + 0.645 * nz).max(0.0);
        let mut colour = shade(base, 0.15 + 0.85 * facing);
        colour[0] += grain * facing * texture.at((x + radius) as usize, (y + radius) as usize);
        let highlight = gloss * facing.powi(24);
        (0.5 - (from_centre - radius), mix(colour, [235.0, 128.0, 128.0], highlight))
    });
}

/// A flat body with a dark outline, as drawn animation has them. The canvas is filled by it.
pub(super) fn drawing(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let fill = from_hsv(rng.random(), rng.random_range(0.3..1.0), rng.random_range(0.5..1.0));
    let ink = from_hsv(rng.random(), 0.5, 0.1);
    let radius = canvas.width().min(canvas.height()) as f32 / 2.0 - 2.0;
    let line = (radius * rng.random_range(0.03..0.12f32)).max(1.0);
    let (rx, ry) = (radius, radius * rng.random_range(0.5..1.0f32));
    let outline = Outline::random(rng);
    let centre = (canvas.width() as f32 / 2.0, canvas.height() as f32 / 2.0);
    canvas.paint(centre, (radius + 1.0, radius + 1.0), false, |x, y| {
        let distance = outline.distance(x, y, rx, ry);
        let inner = (0.5 - (distance + line)).clamp(0.0, 1.0);
        (0.5 - distance, mix(ink, fill, inner))
    });
}

/// Flat areas with hard edges: large leaves of one colour each.
pub(super) fn flat_areas(canvas: &mut Canvas, height: f32, rng: &mut ChaCha8Rng) {
    let colours = palette(rng, 0.7);
    let ground = colours[rng.random_range(3..8)];
    canvas.fill(|_, _| ground);
    for _ in 0..rng.random_range(15..60) {
        let rx = height * rng.random_range(0.04..0.4f32);
        let ry = rx * rng.random_range(0.3..1.0f32);
        let place =
            (rng.random::<f32>() * canvas.width() as f32, rng.random::<f32>() * canvas.height() as f32);
        let colour = colours[rng.random_range(0..colours.len())];
        let (sine, cosine) = rng.random_range(0.0..TAU).sin_cos();
        let outline = Outline::random(rng);
        let reach = outline.reach(rx);
        canvas.paint(place, (reach, reach), true, |x, y| -> (f32, Colour) {
            (0.5 - outline.distance(cosine * x + sine * y, cosine * y - sine * x, rx, ry), colour)
        });
    }
}
