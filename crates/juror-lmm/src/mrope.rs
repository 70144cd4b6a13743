//! Three-axis positions of prompts with videos, for Qwen2.5-VL and Qwen3-VL.
//!
//! Text counts up on all axes. A visual span that starts at the free index n gives its tokens
//! (n + time, n + row, n + column) on the merged grid; what follows goes on at the largest index used plus 1.

use crate::error::{Error, Result};
use crate::preprocess::patches::Grid;
use crate::rotary::{Position, Positions};
use crate::sequence::Batch;

/// A run of placeholders that shares one start: a whole video (Qwen2.5-VL) or one slice of it (Qwen3-VL).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Time index of each slice, from 0.
    pub times: Vec<u32>,
    /// Rows of merged cells.
    pub rows: usize,
    /// Columns of merged cells.
    pub columns: usize,
}

impl Span {
    fn tokens(&self) -> usize {
        self.times.len() * self.rows * self.columns
    }
}

/// How Qwen2.5-VL's published code turns seconds into time indices; the versions differ where a slice does not last
/// whole seconds. At the default two frames per second both agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeRule {
    /// transformers 4.57: seconds are truncated first.
    #[default]
    Transformers,
    /// The model's first release: the product is truncated.
    FirstRelease,
}

/// The spans of Qwen2.5-VL: one per video. `seconds` is the time of a slice (two frames) per video; 1 where unknown.
pub fn qwen2_5_spans(
    grids: &[Grid],
    seconds: Option<&[f32]>,
    tokens_per_second: f32,
    rule: TimeRule,
) -> Vec<Span> {
    let span = |(i, grid): (usize, &Grid)| {
        let seconds = seconds.and_then(|s| s.get(i).copied()).unwrap_or(1.0);
        let time = |slice: usize| match rule {
            TimeRule::Transformers => (slice as f32 * seconds.trunc() * tokens_per_second) as u32,
            TimeRule::FirstRelease => (slice as f32 * seconds * tokens_per_second) as u32,
        };
        Span { times: (0..grid.slices).map(time).collect(), rows: grid.rows / 2, columns: grid.columns / 2 }
    };
    grids.iter().enumerate().map(span).collect()
}

/// The spans of Qwen3-VL: one per slice; time is told by text between them.
pub fn qwen3_spans(grids: &[Grid]) -> Vec<Span> {
    let slice = |grid: &Grid| Span { times: vec![0], rows: grid.rows / 2, columns: grid.columns / 2 };
    grids.iter().flat_map(|grid| std::iter::repeat_n(slice(grid), grid.slices)).collect()
}

/// Positions of a batch whose placeholders `placeholder` take the `spans` in order. Padded places hold 1.
///
/// # Errors
/// [`Error::Input`] when placeholders and spans do not fit each other.
pub fn positions(batch: &Batch, placeholder: u32, spans: &[Span]) -> Result<Positions> {
    let mut spans = spans.iter();
    let mut rows = Vec::with_capacity(batch.ids.len());
    for (ids, &pad) in batch.ids.iter().zip(&batch.pads) {
        let mut row: Vec<Position> = vec![[1; 3]; pad];
        let mut next = 0;
        while row.len() < ids.len() {
            if ids[row.len()] != placeholder {
                row.push([next; 3]);
                next += 1;
                continue;
            }
            let span = spans
                .next()
                .ok_or_else(|| Error::Input("the prompt has more places for video than videos".into()))?;
            let run =
                ids[row.len()..].iter().take(span.tokens()).take_while(|&&id| id == placeholder).count();
            if run < span.tokens() {
                return Err(Error::Input(format!(
                    "a video of {} tokens meets {run} places in the prompt",
                    span.tokens()
                )));
            }
            let cells = (0..span.rows as u32).flat_map(|r| (0..span.columns as u32).map(move |c| (r, c)));
            for &time in &span.times {
                row.extend(cells.clone().map(|(r, c)| [next + time, next + r, next + c]));
            }
            let last = span.times.iter().copied().max().unwrap_or(0);
            next +=
                last.max((span.rows as u32).saturating_sub(1)).max((span.columns as u32).saturating_sub(1))
                    + 1;
        }
        rows.push(row);
    }
    match spans.len() {
        0 => Ok(Positions { rows }),
        left => Err(Error::Input(format!("the prompt has no place for {left} of the videos"))),
    }
}
