//! Reliability diagram: probability as told (across) against the share that came true (up), with 95 % intervals.
//!
//! On the diagonal a probability keeps its word. A dot grows with the choices behind it.

use juror::Calibration;

use super::{Anchor, Axis, INK, Numbers, PALETTE, Svg};

const SIDE: f64 = 480.0;
/// The area of the points: left, right, top, bottom.
const AREA: [f64; 4] = [64.0, 460.0, 44.0, 424.0];

/// Draws the bins of `calibration`.
pub fn draw(calibration: &Calibration) -> String {
    let [left, right, top, bottom] = AREA;
    let (x, y) =
        (Axis::over([0.0, 1.0].into_iter(), left, right), Axis::over([0.0, 1.0].into_iter(), bottom, top));
    let mut svg = Svg::new(SIDE, SIDE);
    svg.grid((&x, 6), (&y, 6), Numbers::LARGE);
    svg.line((x.place(0.0), y.place(0.0)), (x.place(1.0), y.place(1.0)), INK, 1.0);
    let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
    svg.text((middle.0, bottom + 42.0), 14.0, Anchor::Middle, "probability that A is preferred");
    svg.turned_text((18.0, middle.1), -90.0, 14.0, Anchor::Middle, "share that preferred A");
    for bin in &calibration.bins {
        let at = x.place(bin.predicted);
        svg.line((at, y.place(bin.ci95[0])), (at, y.place(bin.ci95[1])), PALETTE[0], 1.5);
        svg.dot(
            (at, y.place(bin.observed)),
            3.0 + 9.0 * (bin.votes / calibration.votes).sqrt(),
            PALETTE[0],
            0.7,
        );
    }
    let error = calibration.expected_calibration_error;
    let title = format!("{} pairs, expected calibration error {error:.3}", calibration.n);
    svg.text((left, 26.0), 15.0, Anchor::Start, &title);
    svg.finish()
}
