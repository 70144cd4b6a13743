//! How values are distributed: a histogram of several lists side by side, and bars by name.

use super::{Anchor, Axis, FAINT, INK, PALETTE, Svg, shortened};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// Lists of values over `range`, cut into `bins`; the bars of one bin are stacked.
pub fn stacked(title: &str, unit: &str, range: [f64; 2], bins: usize, lists: &[(&str, &[f64])]) -> String {
    let [lo, hi] = range;
    let bin = |value: f64| (((value - lo) / (hi - lo) * bins as f64) as usize).min(bins - 1);
    let counts: Vec<Vec<usize>> = lists
        .iter()
        .map(|(_, values)| {
            let mut counts = vec![0; bins];
            for value in values.iter().filter(|value| value.is_finite()) {
                counts[bin(value.clamp(lo, hi))] += 1;
            }
            counts
        })
        .collect();
    let total = |index: usize| counts.iter().map(|list| list[index]).sum::<usize>();
    let most = (0..bins).map(total).max().unwrap_or(0);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let up = Axis::over([0.0, most.max(1) as f64].into_iter(), HEIGHT - BOTTOM, TOP);
    let zero = up.place(0.0);
    for (value, text) in up.ticks(4).into_iter().filter(|(value, _)| *value >= 0.0) {
        svg.line((LEFT, up.place(value)), (WIDTH - RIGHT, up.place(value)), FAINT, 1.0);
        svg.text((LEFT - 6.0, up.place(value) + 4.0), 11.0, Anchor::End, &text);
    }
    let width = (WIDTH - LEFT - RIGHT) / bins as f64;
    for index in 0..bins {
        let mut below = 0;
        for (list, counts) in counts.iter().enumerate() {
            let above = below + counts[index];
            let (top, bottom) = (up.place(above as f64), up.place(below as f64));
            if above > below {
                let at = (LEFT + index as f64 * width + 1.0, top);
                svg.cell(at, (width - 2.0, bottom - top), PALETTE[list % PALETTE.len()], 0.9);
            }
            below = above;
        }
    }
    for step in 0..=8 {
        let value = lo + (hi - lo) * f64::from(step) / 8.0;
        let x = LEFT + (WIDTH - LEFT - RIGHT) * f64::from(step) / 8.0;
        svg.text((x, zero + 16.0), 11.0, Anchor::Middle, &format!("{value:.1}"));
    }
    svg.line((LEFT, zero), (WIDTH - RIGHT, zero), INK, 1.0);
    svg.text((WIDTH / 2.0, HEIGHT - 8.0), 12.0, Anchor::Middle, unit);
    svg.text((LEFT, 18.0), 13.0, Anchor::Start, title);
    let mut x = WIDTH - RIGHT;
    for (list, (name, _)) in lists.iter().enumerate().rev() {
        svg.text((x, 18.0), 11.0, Anchor::End, name);
        x -= 7.0 * name.chars().count() as f64 + 14.0;
        svg.cell((x, 9.0), (10.0, 10.0), PALETTE[list % PALETTE.len()], 0.9);
        x -= 8.0;
    }
    svg.finish()
}

/// A bar for each name, from 0 to `full`, with its text.
pub fn bars(title: &str, full: f64, bars: &[(String, f64, String)]) -> String {
    const ROW: f64 = 18.0;
    const NAMES: f64 = 170.0;
    const TEXTS: f64 = 150.0;
    let mut svg = Svg::new(WIDTH, TOP + ROW * bars.len() as f64 + 12.0);
    svg.text((8.0, 18.0), 13.0, Anchor::Start, title);
    for (row, (name, value, text)) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let length = (value / full).clamp(0.0, 1.0) * (WIDTH - NAMES - TEXTS);
        svg.text((NAMES - 8.0, y + 12.0), 11.0, Anchor::End, &shortened(name, 26));
        svg.cell((NAMES, y + 3.0), (length, ROW - 6.0), PALETTE[0], 0.9);
        svg.text((NAMES + length + 6.0, y + 12.0), 11.0, Anchor::Start, text);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bin() {
        let svg =
            stacked("t", "u", [-1.0, 1.0], 4, &[("one", &[-9.0, -1.0, 0.1, f64::NAN]), ("two", &[1.0])]);
        // Two bins of the first list and one of the second, and the legend.
        assert_eq!(svg.matches("fill=\"#0072b2\"").count(), 3);
        assert_eq!(svg.matches("fill=\"#d55e00\"").count(), 2);
        assert!(stacked("t", "u", [0.0, 1.0], 4, &[("none", &[])]).contains("</svg>"));
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = bars("t", 2.0, &[("a<b".into(), 1.0, "50 %".into()), ("c".into(), 9.0, "all".into())]);
        assert!(svg.contains("width=\"200.0\"") && svg.contains("width=\"400.0\""), "{svg}");
        assert!(svg.contains("a&lt;b"));
    }
}
