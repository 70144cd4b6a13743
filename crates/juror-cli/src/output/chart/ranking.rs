//! A ranking: each video's score with its interval, and beside it the matrix of judged margins.
//!
//! Rows and columns of the matrix follow the ranking. A cell is the margin of its row over its column: blue for better,
//! orange for worse, stronger for more; white was not judged.

use std::collections::HashMap;

use juror::Ranking;

use super::{Anchor, Axis, FAINT, INK, PALETTE, Svg, shortened};

/// Where names end, and where the scores lie, pixels.
const NAMES: f64 = 250.0;
const SCORES: [f64; 2] = [262.0, 622.0];
const TOP: f64 = 44.0;
/// Between the scores and the matrix.
const GAP: f64 = 28.0;
/// Width of the line below the matrix.
const NOTE: f64 = 330.0;

/// Draws the ranking; the matrix needs its `graph`.
pub fn draw(ranking: &Ranking) -> String {
    let count = ranking.items.len();
    let row = (760.0 / count.max(1) as f64).clamp(6.0, 24.0);
    let bottom = TOP + row * count as f64;
    let matrix = ranking.graph.as_deref().unwrap_or_default();
    let left = SCORES[1] + GAP;
    let width =
        if matrix.is_empty() { SCORES[1] + 16.0 } else { left + (row * count as f64).max(NOTE) + 16.0 };
    let mut svg = Svg::new(width, bottom + 56.0);
    let middle = |place: usize| TOP + row * (place as f64 + 0.5);

    let ends = ranking.items.iter().flat_map(|item| item.ci95.unwrap_or([item.score; 2]));
    let axis = Axis::over(ends, SCORES[0], SCORES[1]);
    for (value, text) in axis.ticks(6) {
        let at = axis.place(value);
        svg.line((at, TOP), (at, bottom), FAINT, 1.0);
        svg.text((at, bottom + 18.0), 12.0, Anchor::Middle, &text);
    }
    svg.line((SCORES[0], bottom), (SCORES[1], bottom), INK, 1.0);
    svg.text(((SCORES[0] + SCORES[1]) / 2.0, bottom + 42.0), 14.0, Anchor::Middle, "score, 95 % interval");
    for (place, item) in ranking.items.iter().enumerate() {
        let y = middle(place);
        if let Some([lo, hi]) = item.ci95 {
            svg.line((axis.place(lo), y), (axis.place(hi), y), PALETTE[0], 2.0);
        }
        svg.dot((axis.place(item.score), y), (row / 4.0).clamp(1.5, 4.0), PALETTE[0], 1.0);
        // Smaller names could not be read anyway.
        if row >= 9.0 {
            let sign = if item.tied { "=" } else { "" };
            let name = format!("{sign}{}  {}", item.rank, shortened(&item.path, 32));
            svg.text((NAMES, y + 4.0), (row - 2.0).min(12.0), Anchor::End, &name);
        }
    }
    svg.text((16.0, 26.0), 15.0, Anchor::Start, &format!("{count} videos"));
    if matrix.is_empty() {
        return svg.finish();
    }

    svg.text((left, 26.0), 15.0, Anchor::Start, "margin of row over column");
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, item) in ranking.items.iter().enumerate() {
        places.entry(&item.path).or_insert(place);
    }
    let largest = matrix.iter().map(|edge| edge.margin.abs()).fold(f64::MIN_POSITIVE, f64::max);
    svg.cell((left, TOP), (row * count as f64, row * count as f64), "#f6f6f6", 1.0);
    for edge in matrix {
        let (Some(&a), Some(&b)) = (places.get(edge.a.as_str()), places.get(edge.b.as_str())) else {
            continue;
        };
        for (up, across, margin) in [(a, b, edge.margin), (b, a, -edge.margin)] {
            let at = (left + row * across as f64, TOP + row * up as f64);
            let colour = if margin >= 0.0 { PALETTE[0] } else { PALETTE[1] };
            svg.cell(at, (row - 1.0, row - 1.0), colour, 0.08 + 0.92 * margin.abs() / largest);
        }
    }
    let note = format!("blue better, orange worse, full colour {largest:.1} points");
    svg.text((left, bottom + 18.0), 12.0, Anchor::Start, &note);
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::ranking::tests::ranking;

    #[test]
    fn every_video_and_every_judged_pair_is_drawn() {
        let drawing = draw(&ranking());
        assert_eq!(drawing.matches("<circle").count(), 4);
        // The background, the ground of the matrix, and two cells for each pair.
        assert_eq!(drawing.matches("<rect").count(), 2 + 2 * 4);
        assert!(drawing.contains("=3  c &lt;i&gt;.mp4"));
        let mut without = ranking();
        without.graph = None;
        assert_eq!(draw(&without).matches("<rect").count(), 1);
    }

    #[test]
    fn a_thousand_videos_fit() {
        let mut many = ranking();
        let item = many.items[0].clone();
        many.items = vec![item; 1000];
        let drawing = draw(&many);
        assert_eq!(drawing.matches("<circle").count(), 1000);
        assert!(!drawing.contains("a.mp4"), "names of six pixels are left out");
    }
}
