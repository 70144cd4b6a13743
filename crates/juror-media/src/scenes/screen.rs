//! Screen content: a desktop with windows, text, buttons and pictures; a page that scrolls; a pointer.

use super::noise::Field;
use super::paint;
use super::text::paragraph;
use super::tile::{Canvas, Colour, from_hsv, mix};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const WHITE: Colour = [235.0, 128.0, 128.0];
const BLACK: Colour = [16.0, 128.0, 128.0];

/// A dark or a light colour scheme.
struct Scheme {
    ground: Colour,
    window: Colour,
    ink: Colour,
    accent: Colour,
}

impl Scheme {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let hue = rng.random::<f32>();
        let accent = from_hsv(hue, 0.7, rng.random_range(0.4..0.9));
        if rng.random_bool(0.4) {
            Self {
                ground: from_hsv(hue, 0.4, 0.1),
                window: from_hsv(hue, 0.15, 0.18),
                ink: mix(WHITE, BLACK, 0.15),
                accent,
            }
        } else {
            Self {
                ground: from_hsv(hue, 0.4, 0.55),
                window: mix(WHITE, BLACK, 0.03),
                ink: mix(BLACK, WHITE, 0.1),
                accent,
            }
        }
    }
}

/// Size of a font dot: whole pixels, 1 to 3 for pictures of 360 to 1080 lines.
fn dot_size(height: f32, rng: &mut ChaCha8Rng) -> f32 {
    (height / 360.0 * rng.random_range(0.8..1.8f32)).round().max(1.0)
}

/// Windows over a desktop. Tile coordinates are picture coordinates: nothing of it moves.
pub(super) fn desktop(canvas: &mut Canvas, height: f32, texture: &Field, rng: &mut ChaCha8Rng) {
    let scheme = Scheme::random(rng);
    if rng.random_bool(0.5) {
        paint::gradient(canvas, rng);
    } else {
        canvas.fill(|_, _| scheme.ground);
    }
    for _ in 0..rng.random_range(2..6) {
        let (width, window_height) =
            (height * rng.random_range(0.4..1.2f32), height * rng.random_range(0.3..0.8f32));
        let left = (rng.random_range(-0.1..1.4f32) * height).round();
        let top = (rng.random_range(0.0..0.6f32) * height).round();
        window(canvas, (left, top, width.round(), window_height.round()), height, &scheme, texture, rng);
    }
    canvas.rectangle(0.0, (0.94 * height).round(), canvas.width() as f32, height, scheme.window);
    let button = (0.045 * height).round();
    for i in 0..rng.random_range(4..14) {
        let colour = from_hsv(rng.random(), 0.6, 0.8);
        canvas.rectangle(i as f32 * 1.3 * button + 4.0, (0.95 * height).round(), button, button, colour);
    }
}

fn window(
    canvas: &mut Canvas,
    (left, top, width, height): (f32, f32, f32, f32),
    picture_height: f32,
    scheme: &Scheme,
    texture: &Field,
    rng: &mut ChaCha8Rng,
) {
    let bar = (0.045 * picture_height).round();
    canvas.rectangle(left - 1.0, top - 1.0, width + 2.0, height + 2.0, mix(scheme.window, BLACK, 0.4));
    canvas.rectangle(left, top, width, height, scheme.window);
    canvas.rectangle(left, top, width, bar, scheme.accent);
    let dot = dot_size(picture_height, rng);
    let title = (left + bar, top + 0.15 * bar, 0.4 * width, 0.85 * bar);
    paragraph(canvas, title, dot.min(bar / 13.0).max(1.0), WHITE, rng);
    let margin = (0.02 * picture_height).round();
    let body = (left + margin, top + bar + margin, width - 2.0 * margin, height - bar - 2.0 * margin);
    if rng.random_bool(0.3) {
        photograph(canvas, body, texture, rng);
    } else {
        paragraph(canvas, body, dot, scheme.ink, rng);
    }
}

/// A rectangle that looks like a picture: two colours mixed by a fractal field.
fn photograph(
    canvas: &mut Canvas,
    (left, top, width, height): (f32, f32, f32, f32),
    texture: &Field,
    rng: &mut ChaCha8Rng,
) {
    let dark = from_hsv(rng.random(), 0.5, rng.random_range(0.05..0.4));
    let light = from_hsv(rng.random(), 0.4, rng.random_range(0.6..1.0));
    let (half_width, half_height) = (width / 2.0, height / 2.0);
    canvas.paint((left + half_width, top + half_height), (half_width, half_height), false, |x, y| {
        let t = 0.5 + 0.3 * texture.at((x + half_width) as usize, (y + half_height) as usize);
        let inside = x.abs() <= half_width && y.abs() <= half_height;
        (if inside { 1.0 } else { 0.0 }, mix(dark, light, t.clamp(0.0, 1.0)))
    });
}

/// A page of text and pictures to be scrolled through a window.
pub(super) fn page(canvas: &mut Canvas, height: f32, texture: &Field, rng: &mut ChaCha8Rng) {
    let scheme = Scheme::random(rng);
    canvas.fill(|_, _| scheme.window);
    let (width, bottom) = (canvas.width() as f32, canvas.height() as f32);
    let margin = (0.04 * height).round();
    let mut top = margin;
    while top < bottom - margin {
        let block = (height * rng.random_range(0.1..0.4f32)).round().min(bottom - margin - top);
        let area = (margin, top, width - 2.0 * margin, block);
        match rng.random_range(0..5) {
            0 => photograph(canvas, area, texture, rng),
            1 => {
                let dot = 2.0 * dot_size(height, rng);
                paragraph(canvas, (margin, top, area.2, dot * 11.0), dot, scheme.accent, rng);
            }
            _ => paragraph(canvas, area, dot_size(height, rng), scheme.ink, rng),
        }
        top += block + margin;
    }
}

/// A mouse pointer: a dark triangle with a light edge, its tip in the upper left. The canvas is filled by it.
pub(super) fn pointer(canvas: &mut Canvas) {
    let size = canvas.width().min(canvas.height()) as f32 - 4.0;
    canvas.paint((2.0, 2.0), (size, size), false, |x, y| {
        // Inside where x <= 0.7 y on the left of the diagonal and above the lower edge.
        let distance = (-x).max((x - 0.7 * y) * 0.82).max(y + 0.4 * x - 0.85 * size);
        (0.5 - distance, mix(WHITE, BLACK, (0.5 - (distance + 1.5)).clamp(0.0, 1.0)))
    });
}
