//! How evenly motion comes: sixty-one numbers of the temporal profile, from two series over all frames.
//!
//! One series is the mean change of the grid from frame to frame, the other the mean of its most changed hundredth: where only a
//! cursor or a face moves, the mean hides what the eye follows. Both count in luma levels on the nominal clock, so that a frame
//! that stays is a change followed by zeros. What counts as held is measured against the *scale* of a series, its mean weighted
//! by itself: held frames add nothing to it, however many there are. Of each series: holds at three thresholds (share, longest in
//! frames and in time, number, mean length), how far motion jumps after a hold, its size, its rhythm and its roughness. Then exact
//! copies (share, longest, number), nearly still steps, and how local the change is.
//!
//! Measured on the ladders of `validate.rs` with a network on the profile alone, contents of the test kept from training: mean SRCC
//! of stutter, freezes and dropped frames .97, .99 and .94 with these numbers, .90, .92 and .89 without.

use super::profile::{autocorrelation, mean, quantile, runs};

/// Numbers.
pub(super) const MOTION_LEN: usize = 61;
/// Below these shares of the scale a step holds the picture.
const THRESHOLDS: [f32; 3] = [0.01, 0.05, 0.2];
/// No change under this many luma levels is motion.
const FLOOR: f32 = 1e-3;
/// Lags of the autocorrelation, nominal intervals.
const LAGS: [usize; 7] = [1, 2, 3, 4, 6, 8, 12];
/// A step whose most changed cell moves by less, in luma levels, is nearly still.
const STILL: f32 = 2.0;

/// What changed from one frame to the next, in luma levels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Mean over the grid.
    pub(super) mean: f32,
    /// Mean of the most changed hundredth.
    pub(super) top: f32,
    /// The most changed cell.
    pub(super) peak: f32,
}

impl Change {
    /// Between two grids of equal size.
    pub(super) fn between(before: &[f32], now: &[f32]) -> Self {
        let mut changes: Vec<f32> = before.iter().zip(now).map(|(a, b)| (a - b).abs()).collect();
        let first = changes.len() - changes.len().div_ceil(100);
        changes.select_nth_unstable_by(first, f32::total_cmp);
        let top = &changes[first..];
        Self { top: mean(top), peak: top.iter().copied().fold(0.0, f32::max), mean: mean(&changes) }
    }
}

/// The numbers; `ticks` puts a series of the steps on the nominal clock.
pub(super) fn numbers(
    changes: &[Change],
    ticks: impl Fn(fn(&Change) -> f32) -> Vec<f32>,
    nominal_secs: f32,
    out: &mut Vec<f32>,
) {
    let all = ticks(|change| change.mean);
    evenness(&all, nominal_secs, out);
    evenness(&ticks(|change| change.top), nominal_secs, out);
    let n = all.len() as f32;
    let copies = runs(&all.iter().map(|&change| change <= 1e-6).collect::<Vec<_>>());
    out.push(copies.iter().sum::<usize>() as f32 / n);
    out.push(longest(&copies).ln_1p());
    out.push(4.0 * copies.len() as f32 / n);
    let still = changes.iter().filter(|change| change.peak < STILL).count();
    out.push(still as f32 / changes.len() as f32);
    let locality: Vec<f32> = changes.iter().map(|change| change.top / (change.mean + 0.02)).collect();
    out.push(0.2 * mean(&locality).sqrt());
}

/// Twenty-eight numbers of one series.
fn evenness(ticks: &[f32], nominal_secs: f32, out: &mut Vec<f32>) {
    let n = ticks.len() as f32;
    let scale = scale(ticks);
    let held_below = |share: f32| -> Vec<bool> {
        let threshold = (share * scale).max(FLOOR);
        ticks.iter().map(|&t| t < threshold).collect()
    };
    for share in THRESHOLDS {
        let held = held_below(share);
        let runs = runs(&held);
        let frames = runs.iter().sum::<usize>() as f32;
        out.push(frames / n);
        out.push(longest(&runs).ln_1p());
        out.push((longest(&runs) * nominal_secs * 10.0).ln_1p());
        out.push(4.0 * runs.len() as f32 / n);
        out.push((frames / runs.len().max(1) as f32).ln_1p());
    }
    let held = held_below(THRESHOLDS[1]);
    let moving_after = |was_held: bool| -> Vec<f32> {
        (1..ticks.len()).filter(|&i| !held[i] && held[i - 1] == was_held).map(|i| ticks[i]).collect()
    };
    let (after, free) = (moving_after(true), moving_after(false));
    out.push(match (after.is_empty(), free.is_empty()) {
        (true, true) => 0.0,
        // Nothing moves but in jumps.
        (false, true) => 2.0,
        _ => (mean(&after) / (mean(&free) + 1e-3)).ln_1p(),
    });
    let largest = ticks.iter().copied().fold(0.0, f32::max);
    for size in [scale, mean(ticks), quantile(ticks.to_vec(), 0.5), largest] {
        out.push(0.5 * (0.02 + size).ln());
    }
    let average = mean(ticks) + 1e-3;
    let clipped: Vec<f32> = ticks.iter().map(|&t| (t / average).min(4.0) - 1.0).collect();
    for lag in LAGS {
        out.push(autocorrelation(&clipped, lag));
    }
    let bends: Vec<f32> = ticks.windows(3).map(|w| (w[1] - (w[0] + w[2]) / 2.0).abs()).collect();
    out.push(mean(&bends) / (scale + 1e-3));
}

/// The scale of a series: its mean weighted by itself, to which held frames add nothing.
pub(super) fn scale(ticks: &[f32]) -> f32 {
    ticks.iter().map(|t| t * t).sum::<f32>() / ticks.iter().sum::<f32>().max(1e-6)
}

fn longest(runs: &[usize]) -> f32 {
    runs.iter().copied().max().unwrap_or(0) as f32
}
