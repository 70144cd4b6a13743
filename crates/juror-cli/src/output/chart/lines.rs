//! Values by step: one line through all of them.

use super::{Anchor, Axis, Numbers, PALETTE, Svg};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 240.0;
/// The area of the lines: left, right, top, bottom.
const AREA: [f64; 4] = [64.0, 388.0, 36.0, 208.0];

/// Draws `(step, value)` by rising step; values that are no numbers break the line.
pub fn draw(title: &str, points: &[(f64, f64)]) -> String {
    let [left, right, top, bottom] = AREA;
    let x = Axis::over(points.iter().map(|point| point.0), left, right);
    let y = Axis::over(points.iter().map(|point| point.1), bottom, top);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.grid((&x, 5), (&y, 4), Numbers::SMALL);
    for part in points.split(|point| !point.1.is_finite()) {
        let places: Vec<(f64, f64)> =
            part.iter().map(|(step, value)| (x.place(*step), y.place(*value))).collect();
        match places[..] {
            [] => {}
            [alone] => svg.dot(alone, 2.5, PALETTE[0], 1.0),
            _ => svg.curve(&places, PALETTE[0]),
        }
    }
    svg.text((left, 22.0), 14.0, Anchor::Start, title);
    svg.finish()
}
