//! Results for people: the verdict in plain words first, then what speaks for it.

pub mod calibration;
pub mod evaluation;
pub mod ranking;

use std::fmt::Write;

use juror::record::Distortion;
use juror::verdict::quality_word;
use juror::{Comparison, Level, Preference, Record, Score};

/// Lines are no longer than this, however wide the terminal is: longer ones are hard to read.
const WIDEST: usize = 100;
/// The width where there is no terminal to ask.
const USUAL: usize = 80;

/// The width to fill, in characters.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(USUAL, |(width, _)| usize::from(width.0).min(WIDEST)).max(40)
}

/// A record as text; empty for failures. With `many` records scores become rows under a header.
pub fn render(record: &Record, many: bool, first: bool, width: usize) -> String {
    match record {
        Record::Comparison(comparison) => {
            let gap = if first { "" } else { "\n" };
            gap.to_owned() + &comparison_text(comparison, many, width)
        }
        Record::Score(score) if many => score_row(score, first, width),
        Record::Score(score) => score_text(score, width),
        Record::Evaluation(evaluation) => evaluation::text(evaluation, width),
        Record::Ranking(record) => ranking::text(record, width),
        Record::Calibration(calibration) => calibration::text(calibration),
        Record::Error(_) => String::new(),
    }
}

fn comparison_text(comparison: &Comparison, many: bool, width: usize) -> String {
    let mut text = String::new();
    if many {
        line(&mut text, &format!("A {}", comparison.a.path));
        line(&mut text, &format!("B {}", comparison.b.path));
    }
    let [lo, hi] = comparison.margin_ci95;
    let verdict = format!(
        "{}: margin {} points of 5 (95 % interval {} to {}); {}.",
        verdict(comparison),
        signed(comparison.margin),
        signed(lo),
        signed(hi),
        odds(comparison.probability),
    );
    text += &wrapped(&verdict, "", width);
    let aspects = comparison.aspects;
    line(&mut text, &format!("  visual {}, temporal {}", signed(aspects.visual), signed(aspects.temporal)));
    line(&mut text, &format!("  A shows {}", distortions(&comparison.distortions.a)));
    line(&mut text, &format!("  B shows {}", distortions(&comparison.distortions.b)));
    if comparison.order_agreement == Some(false) {
        text += &wrapped("The two orders of watching disagree: take this as a close call.", "  ", width);
    }
    reasons(&mut text, comparison.rationale.as_deref(), width);
    text
}

/// Which one looks better, and how clearly.
fn verdict(comparison: &Comparison) -> String {
    let better = match comparison.prefer {
        Preference::A => "A",
        Preference::B => "B",
        Preference::Tie => return "A and B look alike".to_owned(),
    };
    let by_how_much = match comparison.level {
        Level::Superior | Level::Inferior => "much better",
        Level::Better | Level::Worse => "better",
        Level::Similar => "slightly better",
    };
    format!("{better} looks {by_how_much}")
}

/// How many viewers would agree, told of the likelier side.
fn odds(probability_of_a: f64) -> String {
    let (side, share) =
        if probability_of_a >= 0.5 { ("A", probability_of_a) } else { ("B", 1.0 - probability_of_a) };
    match share {
        share if share < 0.505 => "viewers would be split evenly".to_owned(),
        share => format!("{:.0} of 100 viewers would prefer {side}", (share * 100.0).min(99.0)),
    }
}

fn score_text(score: &Score, width: usize) -> String {
    let mut text = String::new();
    let [lo, hi] = score.ci95;
    let verdict = format!(
        "Looks {}: {:.1} points of 5 (95 % interval {lo:.1} to {hi:.1}).",
        quality_word(score.score),
        score.score
    );
    text += &wrapped(&verdict, "", width);
    if let Some(by) = score.anchors {
        line(&mut text, &format!("  against {} anchors; {:.1} by itself", by.count, by.score_by_itself));
    }
    line(&mut text, &format!("  visual {:.1}, temporal {:.1}", score.aspects.visual, score.aspects.temporal));
    line(&mut text, &format!("  shows {}", distortions(&score.distortions)));
    if !score.segments.is_empty() {
        let pooled = score.pooled;
        line(
            &mut text,
            &format!(
                "  segments: mean {:.1}, harmonic mean {:.1}, 5th percentile {:.1}, worst {:.1}",
                pooled.mean, pooled.harmonic_mean, pooled.p5, pooled.min
            ),
        );
        for segment in &score.segments {
            line(
                &mut text,
                &format!("  {:>8.2} s to {:>8.2} s  {:.1}", segment.start, segment.end, segment.score),
            );
        }
    }
    reasons(&mut text, score.rationale.as_deref(), width);
    text
}

/// A score among many: what is short first, the path last.
fn score_row(score: &Score, first: bool, width: usize) -> String {
    let mut text = String::new();
    if first {
        line(&mut text, "score  95 % interval  looks      worst distortion           video");
    }
    let [lo, hi] = score.ci95;
    let worst = score.distortions.first().map_or("none".to_owned(), distortion);
    let looks = quality_word(score.score);
    line(
        &mut text,
        &format!(
            "{:>5.1}  {:<13}  {looks:<9}  {worst:<25}  {}",
            score.score,
            format!("{lo:.1} to {hi:.1}"),
            score.video.path
        ),
    );
    reasons(&mut text, score.rationale.as_deref(), width);
    text
}

fn reasons(text: &mut String, rationale: Option<&str>, width: usize) {
    for paragraph in rationale.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
        *text += &wrapped(paragraph, "  ", width);
    }
}

fn distortions(list: &[Distortion]) -> String {
    if list.is_empty() {
        return "no distortion worth naming".to_owned();
    }
    list.iter().map(distortion).collect::<Vec<_>>().join(", ")
}

/// A kind with its severity in words and number.
fn distortion(distortion: &Distortion) -> String {
    let word = match distortion.severity {
        s if s < 0.25 => "slight",
        s if s < 0.5 => "moderate",
        s if s < 0.75 => "strong",
        _ => "severe",
    };
    format!("{word} {} ({:.2})", distortion.kind, distortion.severity)
}

/// With a sign, and never "-0.0".
fn signed(points: f64) -> String {
    let rounded = (points * 10.0).round() / 10.0;
    if rounded == 0.0 { "0.0".to_owned() } else { format!("{rounded:+.1}") }
}

fn line(text: &mut String, content: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{content}");
}

/// `content` broken into lines of at most `width` characters where its words allow, each after `indent`.
fn wrapped(content: &str, indent: &str, width: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for word in content.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            text.push('\n');
            used = 0;
        }
        let lead = if used == 0 { indent } else { " " };
        text += lead;
        text += word;
        used += lead.len() + length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use juror::record::{
        Aspects, ComparisonType, ErrorRecord, Input, ModelId, PairDistortions, Provenance, Schema, ScoreType,
        Segment, Subject, Timings,
    };
    use juror::verdict::{MARGIN_RANGE, Pooled, SCORE_RANGE, ci95};

    use super::*;

    fn input(path: &str) -> Input {
        Input {
            path: path.to_owned(),
            sha256: "00".repeat(32),
            width: 1920,
            height: 1080,
            fps: Some(30.0),
            duration: Some(10.0),
            frames_sampled: vec![0.5, 1.5],
        }
    }

    fn provenance<M>(model: M) -> Provenance<M> {
        Provenance {
            model,
            seed: 0,
            device: "cpu".to_owned(),
            timings: Timings { decode: 1.0, vision: 0.5, language: 0.25, total: 1.75 },
            warnings: vec!["tone-mapped from PQ".to_owned()],
            version: "0.0.0".to_owned(),
        }
    }

    fn nano() -> ModelId {
        ModelId { name: "nano".to_owned(), sha256: "11".repeat(32) }
    }

    pub fn comparison(margin: f64) -> Comparison {
        let blur = Distortion { kind: "gaussian-blur".to_owned(), severity: 0.62 };
        let stutter = Distortion { kind: "stutter".to_owned(), severity: 0.2 };
        Comparison {
            schema: Schema,
            record_type: ComparisonType,
            a: input("a.mp4"),
            b: input("b.mp4"),
            margin,
            margin_ci95: ci95(margin, 0.2, MARGIN_RANGE),
            probability: 1.0 / (1.0 + (-2.0 * margin).exp()),
            prefer: Preference::of_margin(margin),
            level: Level::of_margin(margin),
            aspects: Aspects { visual: margin * 1.2, temporal: -0.01 },
            distortions: PairDistortions { a: vec![], b: vec![blur, stutter] },
            rationale: Some("Edges are crisp in the first video, while the second is soft all over the frame and holds still near the end.".to_owned()),
            order_agreement: Some(true),
            provenance: provenance(nano()),
        }
    }

    pub fn score(value: f64) -> Score {
        Score {
            schema: Schema,
            record_type: ScoreType,
            video: input("clips/a.mp4"),
            score: value,
            ci95: ci95(value, 0.3, SCORE_RANGE),
            aspects: Aspects { visual: value, temporal: 4.5 },
            distortions: vec![Distortion { kind: "h264".to_owned(), severity: 0.4 }],
            rationale: Some("Blocks show in flat areas.".to_owned()),
            segments: vec![Segment { start: 0.0, end: 10.0, score: value }],
            pooled: Pooled::of_scores(&[value]).unwrap(),
            anchors: None,
            provenance: provenance(nano()),
        }
    }

    pub fn failure() -> ErrorRecord {
        let error = juror::Error::Answer("its margin is NaN".to_owned());
        ErrorRecord::new(Subject::one(Path::new("clips/no,such.mp4")), &error, provenance(None))
    }

    #[test]
    fn a_comparison_reads_as_a_verdict() {
        insta::assert_snapshot!(render(&comparison(1.3).into(), false, true, 80));
        insta::assert_snapshot!(render(&comparison(-0.3).into(), true, false, 80));
        let mut split = comparison(0.01);
        split.order_agreement = Some(false);
        split.rationale = None;
        insta::assert_snapshot!(render(&split.into(), false, true, 80));
    }

    #[test]
    fn a_score_reads_as_a_verdict() {
        insta::assert_snapshot!(render(&score(3.8).into(), false, true, 80));
    }

    #[test]
    fn many_scores_make_rows() {
        let rows = render(&score(3.8).into(), true, true, 80) + &render(&score(1.2).into(), true, false, 80);
        insta::assert_snapshot!(rows);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        let text = "one two three four five six sevenseveneight nine";
        for width in 12..40 {
            let wrapped = wrapped(text, "  ", width);
            assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>().join(" "), text);
            assert!(wrapped.lines().all(|line| line.chars().count() <= width.max(17)), "{wrapped}");
        }
    }
}
