//! Fragments: what survives of a moment's two frames, at native resolution.
//!
//! Quality lives in detail that shrinking destroys, so a 7 x 7 grid of 32 x 32 squares is cut from the picture
//! as it is (FAST-VQA's grid mini-patch sampling), beside a 4 x 3 grid that tiles the whole picture shrunk to
//! 128 x 96, for context. Both frames of a moment are cut at the same places. Planar YUV 4:2:0, 8 bit.
//!
//! One fragment is `FRAGMENT_BYTES` = 1536 bytes: Y `[32, 32]`, U `[16, 16]`, V `[16, 16]`. A moment is
//! `[PLACES, 2 frames, FRAGMENT_BYTES]`, native places row by row first, then the context places.

use juror_media::{Picture, Result};

/// Side of a fragment in luma samples.
pub const SIDE: usize = 32;
/// Bytes of one fragment of one frame.
pub const FRAGMENT_BYTES: usize = SIDE * SIDE + 2 * (SIDE / 2) * (SIDE / 2);
/// Fragments along each axis of the native grid.
pub const GRID: usize = 7;
/// Native fragments of a moment.
pub const NATIVE_PLACES: usize = GRID * GRID;
const CONTEXT_COLUMNS: usize = 4;
const CONTEXT_ROWS: usize = 3;
/// Context fragments of a moment.
pub const CONTEXT_PLACES: usize = CONTEXT_COLUMNS * CONTEXT_ROWS;
/// All fragments of a moment.
pub const PLACES: usize = NATIVE_PLACES + CONTEXT_PLACES;
/// Bytes of a whole moment.
pub const MOMENT_BYTES: usize = PLACES * 2 * FRAGMENT_BYTES;

/// Where the native grid lies: shifted by a few samples in training, so that the codec's block grid does not
/// always meet the fragments in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Luma samples to the right; even.
    pub x: usize,
    /// Luma samples down; even.
    pub y: usize,
}

/// Cuts the fragments of one moment out of its two neighbouring frames: `[PLACES, 2, FRAGMENT_BYTES]`.
///
/// # Errors
/// Only where a picture cannot be resized.
pub fn cut(first: &Picture, second: &Picture, offset: Offset) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(MOMENT_BYTES);
    for row in 0..GRID {
        for column in 0..GRID {
            for picture in [first, second] {
                let x = place(column, GRID, picture.width(), offset.x);
                let y = place(row, GRID, picture.height(), offset.y);
                copy_fragment(picture, x, y, &mut out);
            }
        }
    }
    let shrink = |picture: &Picture| picture.resized(CONTEXT_COLUMNS * SIDE, CONTEXT_ROWS * SIDE);
    let shrunk = [shrink(first)?, shrink(second)?];
    for row in 0..CONTEXT_ROWS {
        for column in 0..CONTEXT_COLUMNS {
            for picture in &shrunk {
                copy_fragment(picture, column * SIDE, row * SIDE, &mut out);
            }
        }
    }
    debug_assert_eq!(out.len(), MOMENT_BYTES);
    Ok(out)
}

/// One of the eight ways to lay down a square: what training turns fragments by, since no fault knows left from right or up from
/// down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Left to right.
    pub mirrored: bool,
    /// Upside down.
    pub upended: bool,
    /// Rows as columns, after the others.
    pub transposed: bool,
}

impl Turn {
    /// Turns one fragment of one frame, `FRAGMENT_BYTES`.
    pub fn apply(self, fragment: &mut [u8]) {
        let (y, uv) = fragment.split_at_mut(SIDE * SIDE);
        let (u, v) = uv.split_at_mut(uv.len() / 2);
        for (plane, side) in [(y, SIDE), (u, SIDE / 2), (v, SIDE / 2)] {
            if self.mirrored {
                plane.chunks_exact_mut(side).for_each(<[u8]>::reverse);
            }
            if self.upended {
                for row in 0..side / 2 {
                    let (above, below) = plane.split_at_mut((side - 1 - row) * side);
                    above[row * side..][..side].swap_with_slice(&mut below[..side]);
                }
            }
            if self.transposed {
                for row in 0..side {
                    for column in row + 1..side {
                        plane.swap(row * side + column, column * side + row);
                    }
                }
            }
        }
    }
}

/// One of eight ways to lay the chroma plane down: what training recolours fragments by, since a fault looks the same in other
/// colours. Luma stays, and so does every sample's distance from grey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hue {
    /// U for its complement.
    pub u_negated: bool,
    /// V for its complement.
    pub v_negated: bool,
    /// U for V, after the others.
    pub swapped: bool,
}

impl Hue {
    /// Recolours one fragment of one frame, `FRAGMENT_BYTES`.
    pub fn apply(self, fragment: &mut [u8]) {
        let (u, v) = fragment[SIDE * SIDE..].split_at_mut(SIDE * SIDE / 4);
        for (plane, negated) in [(&mut *u, self.u_negated), (&mut *v, self.v_negated)] {
            if negated {
                plane.iter_mut().for_each(|code| *code = 0u8.wrapping_sub(*code).max(1)); // 256 - code
            }
        }
        if self.swapped {
            u.swap_with_slice(v);
        }
    }
}

/// Left (or top) edge of grid cell `index` along an axis of `size` samples: cells spread evenly from edge to
/// edge, on even samples so that chroma stays aligned.
fn place(index: usize, cells: usize, size: usize, offset: usize) -> usize {
    let free = size.saturating_sub(SIDE);
    let at = free * index / (cells - 1);
    (at + offset).min(free) & !1
}

/// Appends Y, U and V of the square at (`x`, `y`); samples beyond the picture repeat its edge.
fn copy_fragment(picture: &Picture, x: usize, y: usize, out: &mut Vec<u8>) {
    let (width, height) = (picture.width(), picture.height());
    copy_square(picture.y(), width, height, x, y, SIDE, out);
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    copy_square(picture.u(), chroma_width, chroma_height, x / 2, y / 2, SIDE / 2, out);
    copy_square(picture.v(), chroma_width, chroma_height, x / 2, y / 2, SIDE / 2, out);
}

fn copy_square(
    plane: &[u8],
    width: usize,
    height: usize,
    x: usize,
    y: usize,
    side: usize,
    out: &mut Vec<u8>,
) {
    for row in y..y + side {
        let line = &plane[row.min(height - 1) * width..][..width];
        let from = x.min(width);
        let inside = (width - from).min(side);
        out.extend_from_slice(&line[from..from + inside]);
        out.extend(std::iter::repeat_n(line[width - 1], side - inside));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_move_every_plane_alike() {
        let fragment: Vec<u8> = (0..FRAGMENT_BYTES).map(|i| (i * 7 + i / 251) as u8).collect();
        let turned = |mirrored, upended, transposed| {
            let mut copy = fragment.clone();
            Turn { mirrored, upended, transposed }.apply(&mut copy);
            copy
        };
        // Row and column of the sample that lands at (3, 5) of a plane that begins at `start`.
        for (start, side) in [(0, SIDE), (SIDE * SIDE, SIDE / 2), (SIDE * SIDE + SIDE * SIDE / 4, SIDE / 2)] {
            let at = |row: usize, column: usize| fragment[start + row * side + column];
            let landed = |turned: Vec<u8>| turned[start + 3 * side + 5];
            assert_eq!(landed(turned(false, false, false)), at(3, 5));
            assert_eq!(landed(turned(true, false, false)), at(3, side - 1 - 5));
            assert_eq!(landed(turned(false, true, false)), at(side - 1 - 3, 5));
            assert_eq!(landed(turned(false, false, true)), at(5, 3));
            assert_eq!(landed(turned(true, true, true)), at(side - 1 - 5, side - 1 - 3));
        }
    }

    #[test]
    fn hues_keep_luma_and_the_distance_from_grey() {
        let mut fragment = vec![16u8; FRAGMENT_BYTES];
        let (u, v) = (SIDE * SIDE, SIDE * SIDE + SIDE * SIDE / 4);
        (fragment[u], fragment[v]) = (128 - 40, 128 + 7);
        let hued = |u_negated, v_negated, swapped| {
            let mut copy = fragment.clone();
            Hue { u_negated, v_negated, swapped }.apply(&mut copy);
            assert_eq!(copy[..u], fragment[..u]);
            (copy[u], copy[v])
        };
        assert_eq!(hued(false, false, false), (88, 135));
        assert_eq!(hued(true, false, false), (168, 135));
        assert_eq!(hued(false, true, false), (88, 121));
        assert_eq!(hued(true, true, true), (121, 168));
    }
}
