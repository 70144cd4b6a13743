//! InternVL's tiling of still pictures: the grid of squares whose aspect ratio is closest, and a thumbnail.
//!
//! Video frames are one tile each: a plain squash to the square.

use juror_media::Rgb;

use super::picture;
use super::resize::{Arithmetic, resize};
use crate::error::Result;

/// Cuts a picture into at most `max_tiles` squares of `side` pixels; a thumbnail follows if there is more than one.
///
/// # Errors
/// `side` or `max_tiles` of 0.
pub fn tiles(source: &Rgb, side: usize, max_tiles: usize) -> Result<Vec<Rgb>> {
    let (columns, rows) = closest_grid(source.width(), source.height(), side, max_tiles);
    let whole = resize(source, columns * side, rows * side, Arithmetic::Pil)?;
    let mut tiles = Vec::with_capacity(rows * columns + 1);
    for row in 0..rows {
        for column in 0..columns {
            let line = |y: usize| {
                let start = ((row * side + y) * columns + column) * side * 3;
                &whole.data()[start..start + side * 3]
            };
            tiles.push(picture(side, side, (0..side).flat_map(line).copied().collect())?);
        }
    }
    if tiles.len() != 1 {
        tiles.push(resize(source, side, side, Arithmetic::Pil)?);
    }
    Ok(tiles)
}

/// Columns and rows, of all grids with at most `max_tiles` cells, nearest in aspect ratio; of two equally near ones the
/// larger if the picture fills more than half of it.
fn closest_grid(width: usize, height: usize, side: usize, max_tiles: usize) -> (usize, usize) {
    let mut grids: Vec<(usize, usize)> = (1..=max_tiles)
        .flat_map(|columns| (1..=max_tiles).map(move |rows| (columns, rows)))
        .filter(|(columns, rows)| columns * rows <= max_tiles)
        .collect();
    grids.sort_by_key(|(columns, rows)| columns * rows);
    let aspect = width as f64 / height as f64;
    let (mut best, mut nearest) = ((1, 1), f64::INFINITY);
    for (columns, rows) in grids {
        let distance = (aspect - columns as f64 / rows as f64).abs();
        let fills = (width * height) as f64 > 0.5 * (side * side * columns * rows) as f64;
        if distance < nearest || (distance == nearest && fills) {
            (best, nearest) = ((columns, rows), distance);
        }
    }
    best
}
