//! Plots as SVG, written by hand: a canvas, axes with round ticks, and text that cannot break the markup.
//!
//! - [`scatter`]: scores against ratings;
//! - [`reliability`]: probabilities against choices;
//! - [`lines`]: values by step;
//! - [`histogram`]: how values are distributed, and bars by name;
//! - [`ranking`]: scores with intervals, and the matrix of margins.
//!
//! Units are pixels, from the upper left. [`super::plot`] makes pictures of them.

pub mod histogram;
pub mod lines;
pub mod ranking;
pub mod reliability;
pub mod scatter;

use std::fmt::Write;

/// Text and lines.
const INK: &str = "#222";
/// Grid lines.
const FAINT: &str = "#ddd";
/// Colours that stay apart for most colour-blind eyes (Okabe, Ito 2008).
pub const PALETTE: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A drawing in the making.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text hangs on its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// How the numbers at a grid are written.
#[derive(Clone, Copy)]
pub struct Numbers {
    size: f64,
    below: f64,
    beside: f64,
}

impl Numbers {
    /// For drawings that stand alone.
    pub const LARGE: Self = Self { size: 12.0, below: 18.0, beside: 8.0 };
    /// For small ones among others.
    pub const SMALL: Self = Self { size: 11.0, below: 16.0, beside: 6.0 };
}

impl Svg {
    /// An empty drawing.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Adds markup; writing to a `String` cannot fail.
    fn add(&mut self, markup: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(markup);
        self.body.push('\n');
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
        ));
    }

    /// A line through points.
    pub fn curve(&mut self, points: &[(f64, f64)], colour: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let path = path.trim_end();
        self.add(format_args!(
            r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#
        ));
    }

    /// A filled circle.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, colour: &str, opacity: f64) {
        let (x, y) = at;
        self.add(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}" fill-opacity="{opacity}"/>"#
        ));
    }

    /// A filled rectangle, from its upper left.
    pub fn cell(&mut self, at: (f64, f64), size: (f64, f64), colour: &str, opacity: f64) {
        let ((x, y), (width, height)) = (at, size);
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}" fill-opacity="{opacity:.2}"/>"#
        ));
    }

    /// Text of `size` pixels.
    pub fn text(&mut self, at: (f64, f64), size: f64, anchor: Anchor, text: &str) {
        self.turned_text(at, 0.0, size, anchor, text);
    }

    /// Text turned by `degrees`, clockwise.
    pub fn turned_text(&mut self, at: (f64, f64), degrees: f64, size: f64, anchor: Anchor, text: &str) {
        let (x, y) = at;
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let turn = if degrees == 0.0 {
            String::new()
        } else {
            format!(r#" transform="rotate({degrees} {x:.1} {y:.1})""#)
        };
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}" fill="{INK}"{turn}>{text}</text>"#
        ));
    }

    /// Two axes with grid lines at round values: `x` from left to right, `y` from bottom to top, about as many as is said.
    pub fn grid(&mut self, (x, across): (&Axis, usize), (y, up): (&Axis, usize), numbers: Numbers) {
        let (left, right, bottom, top) = (x.from, x.to, y.from, y.to);
        for (value, text) in x.ticks(across) {
            let at = x.place(value);
            self.line((at, top), (at, bottom), FAINT, 1.0);
            self.text((at, bottom + numbers.below), numbers.size, Anchor::Middle, &text);
        }
        for (value, text) in y.ticks(up) {
            let at = y.place(value);
            self.line((left, at), (right, at), FAINT, 1.0);
            self.text((left - numbers.beside, at + 4.0), numbers.size, Anchor::End, &text);
        }
        self.line((left, bottom), (right, bottom), INK, 1.0);
        self.line((left, top), (left, bottom), INK, 1.0);
    }

    /// The drawing as a document.
    pub fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"system-ui, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }
}

/// Text as it may stand in XML and HTML; control characters, which XML cannot hold, become spaces.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// Values along a line of pixels.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis over all of `values` with a little air, from pixel `from` (low values) to `to`.
    pub fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (lo, hi) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), value| (lo.min(value), hi.max(value)));
        let (lo, hi) = if lo <= hi { (lo, hi) } else { (0.0, 1.0) };
        let air = if hi > lo { 0.05 * (hi - lo) } else { 0.5 * lo.abs().max(1.0) };
        Self { lo: lo - air, hi: hi + air, from, to }
    }

    /// The pixel of a value.
    pub fn place(&self, value: f64) -> f64 {
        self.from + (value - self.lo) / (self.hi - self.lo) * (self.to - self.from)
    }

    /// `count` values spread evenly over the axis.
    pub fn spread(&self, count: usize) -> impl Iterator<Item = f64> + use<> {
        let (lo, step) = (self.lo, (self.hi - self.lo) / (count.max(2) - 1) as f64);
        (0..count).map(move |k| lo + k as f64 * step)
    }

    /// About `count` round values inside the axis, with as many decimals as they need.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let raw = (self.hi - self.lo) / count.max(1) as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|round| round * power).into_iter().find(|s| *s >= raw * 0.999);
        let step = step.unwrap_or(raw);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.lo / step).ceil() as i64;
        let last = (self.hi / step).floor() as i64;
        let most = 10 * count as i64;
        let tick = |k: i64| {
            let value = k as f64 * step;
            (value, format!("{value:.decimals$}"))
        };
        (first..=last.min(first.saturating_add(most))).map(tick).collect()
    }
}

/// `text`, its middle replaced where it is longer than `most` characters: beginnings and ends of names tell most.
pub fn shortened(text: &str, most: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= most {
        return text.to_owned();
    }
    let head = most / 3;
    let tail = most.saturating_sub(head + 1);
    characters[..head].iter().chain(&['…']).chain(&characters[characters.len() - tail..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |lo: f64, hi: f64| -> Vec<String> {
            let axis = Axis { lo, hi, from: 0.0, to: 100.0 };
            axis.ticks(5).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(0.9, 5.1), ["1", "2", "3", "4", "5"]);
        assert_eq!(texts(-0.11, 0.27), ["-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(texts(8.0, 93.0), ["20", "40", "60", "80"]);
        let single = Axis::over([3.0].into_iter(), 0.0, 100.0);
        assert_eq!(single.place(3.0), 50.0);
        assert!(!single.ticks(5).is_empty());
        assert_eq!(Axis::over(std::iter::empty(), 0.0, 1.0).ticks(2).len(), 2);
    }

    #[test]
    fn names_cannot_break_the_markup() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 1.0), 9.0, Anchor::Start, "a<b>&\"c\"\u{1}'");
        assert!(svg.finish().contains(">a&lt;b&gt;&amp;&quot;c&quot; &#39;</text>"));
        assert_eq!(shortened("abcdefghij", 7), "ab…ghij");
        assert_eq!(shortened("abc", 7), "abc");
    }
}
