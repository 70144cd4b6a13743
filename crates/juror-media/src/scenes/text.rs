//! A tiny bitmap font and pages of words set in it, for screen content.

use super::tile::{Canvas, Colour};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Columns and rows of a letter; one column and two rows of space follow.
const GLYPH_WIDTH: usize = 5;
const GLYPH_HEIGHT: usize = 7;

/// Rows of each letter from the top, five bits each, the leftmost column highest.
#[rustfmt::skip]
const GLYPHS: [(char, [u8; GLYPH_HEIGHT]); 46] = [
    ('a', [0, 0, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111]),
    ('b', [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('c', [0, 0, 0b01110, 0b10000, 0b10000, 0b10001, 0b01110]),
    ('d', [0b00001, 0b00001, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111]),
    ('e', [0, 0, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110]),
    ('f', [0b00110, 0b01001, 0b01000, 0b11100, 0b01000, 0b01000, 0b01000]),
    ('g', [0, 0b01111, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('h', [0b10000, 0b10000, 0b10110, 0b11001, 0b10001, 0b10001, 0b10001]),
    ('i', [0b00100, 0, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('j', [0b00010, 0, 0b00110, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('k', [0b10000, 0b10000, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010]),
    ('l', [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('m', [0, 0, 0b11010, 0b10101, 0b10101, 0b10001, 0b10001]),
    ('n', [0, 0, 0b10110, 0b11001, 0b10001, 0b10001, 0b10001]),
    ('o', [0, 0, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('p', [0, 0, 0b11110, 0b10001, 0b11110, 0b10000, 0b10000]),
    ('q', [0, 0, 0b01101, 0b10011, 0b01111, 0b00001, 0b00001]),
    ('r', [0, 0, 0b10110, 0b11001, 0b10000, 0b10000, 0b10000]),
    ('s', [0, 0, 0b01110, 0b10000, 0b01110, 0b00001, 0b11110]),
    ('t', [0b01000, 0b01000, 0b11100, 0b01000, 0b01000, 0b01001, 0b00110]),
    ('u', [0, 0, 0b10001, 0b10001, 0b10001, 0b10011, 0b01101]),
    ('v', [0, 0, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('w', [0, 0, 0b10001, 0b10001, 0b10101, 0b10101, 0b01010]),
    ('x', [0, 0, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001]),
    ('y', [0, 0, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('z', [0, 0, 0b11111, 0b00010, 0b00100, 0b01000, 0b11111]),
    ('0', [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111]),
    ('3', [0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110]),
    ('4', [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110]),
    ('6', [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000]),
    ('8', [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100]),
    ('A', [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
    ('E', [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001]),
    ('S', [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('.', [0, 0, 0, 0, 0, 0b01100, 0b01100]),
    (',', [0, 0, 0, 0, 0b01100, 0b00100, 0b01000]),
    ('-', [0, 0, 0, 0b11111, 0, 0, 0]),
    ('(', [0b00010, 0b00100, 0b01000, 0b01000, 0b01000, 0b00100, 0b00010]),
    (')', [0b01000, 0b00100, 0b00010, 0b00010, 0b00010, 0b00100, 0b01000]),
];
/// Share of letters in English text, in thousandths, for `a` to `z`.
const LETTER_SHARES: [u32; 26] =
    [82, 15, 28, 43, 127, 22, 20, 61, 70, 2, 8, 40, 24, 67, 75, 19, 1, 60, 63, 91, 28, 10, 24, 2, 20, 1];

/// Draws one glyph with its upper left corner at `(x, y)`; a dot of the font is `dot` pixels wide and high.
fn glyph(canvas: &mut Canvas, rows: &[u8; GLYPH_HEIGHT], (x, y): (f32, f32), dot: f32, ink: Colour) {
    for (row, bits) in rows.iter().enumerate() {
        for column in 0..GLYPH_WIDTH {
            if bits >> (GLYPH_WIDTH - 1 - column) & 1 == 1 {
                canvas.rectangle(x + column as f32 * dot, y + row as f32 * dot, dot, dot, ink);
            }
        }
    }
}

/// A random word: mostly small letters, sometimes a number or a capital first.
fn word(rng: &mut ChaCha8Rng) -> Vec<&'static [u8; GLYPH_HEIGHT]> {
    let total: u32 = LETTER_SHARES.iter().sum();
    let letter = |rng: &mut ChaCha8Rng| {
        let mut left = rng.random_range(0..total);
        let at = LETTER_SHARES.iter().position(|&share| {
            let found = left < share;
            left = left.saturating_sub(share);
            found
        });
        &GLYPHS[at.unwrap_or(4)].1
    };
    let length = rng.random_range(1..10);
    if rng.random_bool(0.1) {
        return (0..length.min(5)).map(|_| &GLYPHS[rng.random_range(26..36)].1).collect();
    }
    let mut glyphs: Vec<_> = (0..length).map(|_| letter(rng)).collect();
    if rng.random_bool(0.15) {
        glyphs[0] = &GLYPHS[rng.random_range(36..41)].1;
    }
    if rng.random_bool(0.15) {
        glyphs.push(&GLYPHS[rng.random_range(41..46)].1);
    }
    glyphs
}

/// Fills a rectangle with lines of words. `dot` is the size of a font dot in pixels.
pub(super) fn paragraph(
    canvas: &mut Canvas,
    (left, top, width, height): (f32, f32, f32, f32),
    dot: f32,
    ink: Colour,
    rng: &mut ChaCha8Rng,
) {
    let advance = (GLYPH_WIDTH + 1) as f32 * dot;
    let line_height = (GLYPH_HEIGHT + 3) as f32 * dot;
    let mut y = top;
    while y + line_height <= top + height {
        // The end of a paragraph leaves a line short.
        let line_end = left + width * if rng.random_bool(0.15) { rng.random_range(0.2..0.8f32) } else { 1.0 };
        let mut x = left;
        loop {
            let glyphs = word(rng);
            if x + glyphs.len() as f32 * advance > line_end {
                break;
            }
            for rows in glyphs {
                glyph(canvas, rows, (x, y), dot, ink);
                x += advance;
            }
            x += advance;
        }
        y += line_height;
    }
}
