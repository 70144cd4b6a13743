//! From coded samples to an upright picture of square pixels: display matrix, sample aspect ratio.

use crate::error::Result;
use crate::picture::{MAX_PIXELS, Picture};

/// How a decoded picture must be turned to stand upright: first transposed, then mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orientation {
    pub(crate) transpose: bool,
    pub(crate) flip_x: bool,
    pub(crate) flip_y: bool,
}

impl Orientation {
    /// The orientation of a display matrix (`[a b u; c d v; x y w]`, 16.16): a point goes to `(a x + c y, b x + d y)`.
    /// Turns which are no multiple of 90 degrees take the nearest one; the second value says whether it was exact.
    pub(crate) fn from_matrix(matrix: [i32; 9]) -> (Self, bool) {
        let [a, b, _, c, d, ..] = matrix.map(i64::from);
        let straight = a.abs() + d.abs() >= b.abs() + c.abs();
        let (main, rest) = if straight { ((a, d), (b, c)) } else { ((c, b), (a, d)) };
        let exact = main.0.abs() == main.1.abs() && rest == (0, 0);
        (Self { transpose: !straight, flip_x: main.0 < 0, flip_y: main.1 < 0 }, exact)
    }

    /// The orientation of an Exif `Orientation` value (1..8).
    pub(crate) fn from_exif(value: u32) -> Option<Self> {
        let (transpose, flip_x, flip_y) = match value {
            1 => (false, false, false),
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return None,
        };
        Some(Self { transpose, flip_x, flip_y })
    }

    /// Degrees clockwise the decoded picture is turned by, after mirroring if [`Orientation::is_mirrored`].
    pub(crate) fn clockwise_degrees(self) -> u32 {
        match (self.transpose, self.flip_x, self.flip_y) {
            (false, _, false) => 0,
            (false, _, true) => 180,
            (true, true, _) => 90,
            (true, false, _) => 270,
        }
    }

    pub(crate) fn is_mirrored(self) -> bool {
        self.transpose ^ self.flip_x ^ self.flip_y
    }

    pub(crate) fn is_identity(self) -> bool {
        self == Self::default()
    }

    /// The size after turning.
    pub(crate) fn turned(self, width: usize, height: usize) -> (usize, usize) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// Turns every plane; samples only move.
    pub(crate) fn apply(self, picture: Picture) -> Result<Picture> {
        if self.is_identity() {
            return Ok(picture);
        }
        let (width, height) = (picture.width(), picture.height());
        let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
        let matrix = picture.matrix();
        let [y, u, v] = picture.into_planes();
        let (w, h) = self.turned(width, height);
        let turn = |plane: Vec<u8>, width, height| self.turn_plane(&plane, width, height);
        Ok(Picture::new(w, h, turn(y, width, height), turn(u, cw, ch), turn(v, cw, ch))?.with_matrix(matrix))
    }

    fn turn_plane(self, plane: &[u8], width: usize, height: usize) -> Vec<u8> {
        let (w, h) = self.turned(width, height);
        let mut out = Vec::with_capacity(plane.len());
        for y in 0..h {
            let y = if self.flip_y { h - 1 - y } else { y };
            let columns = (0..w).map(|x| if self.flip_x { w - 1 - x } else { x });
            if self.transpose {
                out.extend(columns.map(|x| plane[x * width + y]));
            } else {
                let row = &plane[y * width..][..width];
                out.extend(columns.map(|x| row[x]));
            }
        }
        out
    }
}

/// The size with square pixels: the axis with the larger pixels grows, so that no detail is lost. `None` where the ratio
/// is missing, square, or past belief (beyond 1:16, or a picture past all limits).
pub(crate) fn square_pixel_size(width: usize, height: usize, ratio: (i32, i32)) -> Option<(usize, usize)> {
    let (num, den) = (usize::try_from(ratio.0).ok()?, usize::try_from(ratio.1).ok()?);
    if num == 0 || den == 0 || num == den || num > 16 * den || den > 16 * num {
        return None;
    }
    let scaled = |size: usize, num: usize, den: usize| ((size * num) as f64 / den as f64).round() as usize;
    let size = if num > den { (scaled(width, num, den), height) } else { (width, scaled(height, den, num)) };
    (size.0 * size.1 <= MAX_PIXELS && size != (width, height)).then_some(size)
}
