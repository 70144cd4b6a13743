//! Scores (across) against ratings (up), with the curve of the logistic.

use std::collections::HashSet;

use juror::record::evaluation::Agreement;
use juror_stats::correlation::ScorePairs;

use super::{Anchor, Axis, Numbers, PALETTE, Svg};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 480.0;
/// The area of the points: left, right, top, bottom.
const AREA: [f64; 4] = [64.0, 620.0, 44.0, 424.0];

/// Draws the videos of `pairs` and the curve of `agreement`.
pub fn draw(pairs: &ScorePairs, agreement: &Agreement) -> String {
    let [left, right, top, bottom] = AREA;
    let x = Axis::over(pairs.predicted().iter().copied(), left, right);
    let y = Axis::over(pairs.subjective().iter().copied(), bottom, top);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.grid((&x, 7), (&y, 6), Numbers::LARGE);
    let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
    svg.text((middle.0, bottom + 42.0), 14.0, Anchor::Middle, "score");
    svg.turned_text((18.0, middle.1), -90.0, 14.0, Anchor::Middle, "rating (MOS)");

    // Of points that would cover each other exactly one is drawn, so that a million videos make no endless file.
    let mut drawn = HashSet::new();
    for (&score, &rating) in pairs.predicted().iter().zip(pairs.subjective()) {
        let at = (x.place(score), y.place(rating));
        if drawn.insert(((at.0 * 2.0).round() as i64, (at.1 * 2.0).round() as i64)) {
            svg.dot(at, 2.5, PALETTE[0], 0.45);
        }
    }
    if let Some(logistic) = agreement.logistic {
        let mapping = logistic.mapping();
        let points: Vec<(f64, f64)> = (x.spread(200))
            .map(|score| (x.place(score), y.place(mapping.map(score))))
            .filter(|(_, at)| (top..=bottom).contains(at))
            .collect();
        svg.curve(&points, PALETTE[1]);
    }
    let figure = |name, value: Option<f64>| value.map(|value| format!(", {name} {value:.4}"));
    let parts = [figure("SRCC", agreement.srcc.value), figure("PLCC", agreement.plcc.value)];
    let title = format!("{} videos", agreement.n) + &parts.into_iter().flatten().collect::<String>();
    svg.text((left, 26.0), 15.0, Anchor::Start, &title);
    svg.finish()
}
