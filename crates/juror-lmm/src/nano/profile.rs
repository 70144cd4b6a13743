//! The temporal profile: what every decoded frame tells about motion, holds, flicker and shake.
//!
//! A pair of neighbouring frames cannot show that a video stutters; a series over all frames can. Each frame
//! is reduced to a grid of 240 x 135 mean luma values (0..255, whatever the bit depth). From it come, per step
//! from one frame to the next:
//! - the *difference*: mean absolute difference of 48 x 27 thumbnails, in luma levels;
//! - the *gain*: change of the mean luma, in luma levels;
//! - the *shift*: global translation found by matching the column and row means, as a fraction of the width
//!   and height.
//!
//! Timestamps count: a frame that stays for three nominal intervals is a hold of two, just like a frame coded
//! three times. The nominal interval is the median one, so a low but steady frame rate is no hold.
//!
//! Leaves out: local motion, colour, and anything that needs more than one number per step (the fragments of
//! the moments see those). Memory: 32 bytes a frame.

use super::motion::{self, Change, MOTION_LEN};
use juror_media::Luma;

/// Numbers in a finished profile: those of this file, then those of `motion.rs`.
pub const PROFILE_LEN: usize = OWN_LEN + MOTION_LEN;
/// Numbers of this file.
const OWN_LEN: usize = 48;
/// Where in a profile the centre of the longest hold stands, 0..1 of the duration.
pub const HOLD_CENTRE: usize = 14;

const GRID_WIDTH: usize = 240;
const GRID_HEIGHT: usize = 135;
/// Grid cells per thumbnail cell, along each axis.
const CELL: usize = 5;
const THUMB_WIDTH: usize = GRID_WIDTH / CELL;
const THUMB_HEIGHT: usize = GRID_HEIGHT / CELL;
/// Thumbnail cells per cell of the mean picture, along each axis.
const POOL: usize = 3;
/// Cells of the mean picture, 16 x 9.
pub(super) const CELLS: usize = THUMB_WIDTH / POOL * (THUMB_HEIGHT / POOL);
/// Largest shift searched, in grid cells.
const MAX_SHIFT: isize = 10;
/// A difference under this many luma levels is a held frame even in the stillest video.
const HOLD_FLOOR: f32 = 0.02;
/// Longest hold, in nominal intervals, that a gap between timestamps may stand for.
const MAX_GAP: usize = 600;
/// Lags (in nominal intervals) of the autocorrelation of the differences.
const LAGS: [usize; 8] = [1, 2, 3, 4, 5, 6, 8, 12];

/// What happened between two consecutive frames.
#[derive(Clone, Copy, Debug)]
struct Step {
    interval_secs: f32,
    difference: f32,
    change: Change,
    gain: f32,
    shift_x: f32,
    shift_y: f32,
}

/// Builds a profile from frames in presentation order.
#[derive(Debug, Default)]
pub struct ProfileBuilder {
    previous: Option<Snapshot>,
    steps: Vec<Step>,
    column_sums: Vec<u32>,
    frames: usize,
    /// Thumbnails pooled to 16 x 9, added up.
    picture_sum: Vec<f64>,
}

#[derive(Debug)]
struct Snapshot {
    pts_secs: f64,
    grid: Vec<f32>,
    thumb: Vec<f32>,
    columns: Vec<f32>,
    rows: Vec<f32>,
    mean: f32,
}

impl ProfileBuilder {
    /// Adds the next frame.
    pub fn push(&mut self, luma: &Luma<'_>, pts_secs: f64) {
        let now = self.snapshot(luma, pts_secs);
        self.add_picture(&now.thumb);
        if let Some(before) = &self.previous {
            let difference = before.thumb.iter().zip(&now.thumb).map(|(a, b)| (a - b).abs()).sum::<f32>()
                / now.thumb.len() as f32;
            self.steps.push(Step {
                interval_secs: (pts_secs - before.pts_secs) as f32,
                difference,
                change: Change::between(&before.grid, &now.grid),
                gain: now.mean - before.mean,
                shift_x: shift(&before.columns, &now.columns),
                shift_y: shift(&before.rows, &now.rows),
            });
        }
        self.previous = Some(now);
    }

    fn add_picture(&mut self, thumb: &[f32]) {
        self.frames += 1;
        self.picture_sum.resize(CELLS, 0.0);
        for (i, &value) in thumb.iter().enumerate() {
            let cell = i / THUMB_WIDTH / POOL * (THUMB_WIDTH / POOL) + i % THUMB_WIDTH / POOL;
            self.picture_sum[cell] += f64::from(value) / (POOL * POOL) as f64;
        }
    }

    /// Starts a new stretch: what comes next does not follow what came before.
    pub fn cut(&mut self) {
        self.previous = None;
    }

    fn snapshot(&mut self, luma: &Luma<'_>, pts_secs: f64) -> Snapshot {
        let grid = area_grid(luma, &mut self.column_sums);
        let mut thumb = vec![0f32; THUMB_WIDTH * THUMB_HEIGHT];
        let mut columns = vec![0f32; GRID_WIDTH];
        let mut rows = vec![0f32; GRID_HEIGHT];
        for (y, line) in grid.chunks_exact(GRID_WIDTH).enumerate() {
            for (x, &value) in line.iter().enumerate() {
                thumb[(y / CELL) * THUMB_WIDTH + x / CELL] += value;
                columns[x] += value;
                rows[y] += value;
            }
        }
        thumb.iter_mut().for_each(|v| *v /= (CELL * CELL) as f32);
        columns.iter_mut().for_each(|v| *v /= GRID_HEIGHT as f32);
        rows.iter_mut().for_each(|v| *v /= GRID_WIDTH as f32);
        let mean = rows.iter().sum::<f32>() / GRID_HEIGHT as f32;
        Snapshot { pts_secs, grid, thumb, columns, rows, mean }
    }

    /// The difference of each step on the nominal clock, in luma levels.
    pub(super) fn changes(&self) -> Vec<f32> {
        ticks(&self.steps, self.nominal_secs(), |step| step.difference)
    }

    /// Mean luma of all frames in 16 x 9 cells, 0..255; empty without a frame.
    pub(super) fn mean_picture(&self) -> Vec<f32> {
        self.picture_sum.iter().map(|sum| (sum / self.frames as f64) as f32).collect()
    }

    /// The median interval.
    fn nominal_secs(&self) -> f32 {
        quantile(self.steps.iter().map(|s| s.interval_secs).collect(), 0.5).max(1e-4)
    }

    /// The profile of the frames seen so far: `[PROFILE_LEN]`, each number of order one; all zero for fewer
    /// than two frames.
    #[must_use]
    pub fn finish(&self) -> [f32; PROFILE_LEN] {
        if self.steps.is_empty() {
            return [0.0; PROFILE_LEN];
        }
        let mut out = Vec::with_capacity(PROFILE_LEN);
        let nominal_secs = self.nominal_secs();
        let differences = self.changes();
        holds(&differences, nominal_secs, &mut out);
        flicker(&self.steps, &mut out);
        shake(&self.steps, &differences, &mut out);
        out.push((nominal_secs * 30.0).ln());
        out.push((differences.len() as f32).ln() - 4.0);
        let gaps = self.steps.iter().filter(|s| s.interval_secs > 1.5 * nominal_secs).count();
        out.push(gaps as f32 / self.steps.len() as f32);
        out.resize(OWN_LEN, 0.0);
        let changes: Vec<Change> = self.steps.iter().map(|step| step.change).collect();
        let on_the_clock = |of: fn(&Change) -> f32| ticks(&self.steps, nominal_secs, |step| of(&step.change));
        motion::numbers(&changes, on_the_clock, nominal_secs, &mut out);
        let mut profile = [0.0; PROFILE_LEN];
        for (slot, value) in profile.iter_mut().zip(out) {
            *slot = if value.is_finite() { value.clamp(-8.0, 8.0) } else { 0.0 };
        }
        profile
    }
}

/// Mean luma per grid cell, `[GRID_HEIGHT * GRID_WIDTH]`, 0..255.
fn area_grid(luma: &Luma<'_>, column_sums: &mut Vec<u32>) -> Vec<f32> {
    let span = |i: usize, cells: usize, size: usize| {
        let from = (i * size / cells).min(size - 1);
        (from, ((i + 1) * size / cells).max(from + 1).min(size))
    };
    let to_eight_bits = 1.0 / f32::from(1u16 << (luma.bits - 8));
    let mut grid = vec![0f32; GRID_WIDTH * GRID_HEIGHT];
    if luma.width == 0 || luma.height == 0 {
        return grid;
    }
    column_sums.clear();
    column_sums.resize(luma.width, 0);
    for (y, line) in grid.chunks_exact_mut(GRID_WIDTH).enumerate() {
        let (top, bottom) = span(y, GRID_HEIGHT, luma.height);
        column_sums.fill(0);
        for row in top..bottom {
            let bytes = &luma.data[row * luma.stride..];
            if luma.bits > 8 {
                for (sum, pair) in column_sums.iter_mut().zip(bytes.chunks_exact(2)) {
                    *sum += u32::from(u16::from_le_bytes([pair[0], pair[1]]));
                }
            } else {
                for (sum, &byte) in column_sums.iter_mut().zip(bytes) {
                    *sum += u32::from(byte);
                }
            }
        }
        for (x, value) in line.iter_mut().enumerate() {
            let (left, right) = span(x, GRID_WIDTH, luma.width);
            let sum: u32 = column_sums[left..right].iter().sum();
            *value = sum as f32 * to_eight_bits / ((right - left) * (bottom - top)) as f32;
        }
    }
    grid
}

/// The translation of a one-dimensional profile, as a fraction of its length: the minimum of the mean squared
/// difference over whole shifts, refined by a parabola and damped where the match explains little.
fn shift(before: &[f32], now: &[f32]) -> f32 {
    let len = before.len() as isize;
    let mean_difference = (now.iter().sum::<f32>() - before.iter().sum::<f32>()) / len as f32;
    let cost = |s: isize| {
        let (from, to) = (s.max(0), len + s.min(0));
        let sum: f32 =
            (from..to).map(|i| (now[i as usize] - before[(i - s) as usize] - mean_difference).powi(2)).sum();
        sum / (to - from) as f32
    };
    let costs: Vec<f32> = (-MAX_SHIFT..=MAX_SHIFT).map(cost).collect();
    let still = costs[MAX_SHIFT as usize];
    let best = (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(MAX_SHIFT as usize);
    if still < 1e-4 || costs[best] >= still && best == MAX_SHIFT as usize && still < 1e-2 {
        return 0.0;
    }
    let mut at = best as f32 - MAX_SHIFT as f32;
    if best > 0 && best + 1 < costs.len() {
        let (left, centre, right) = (costs[best - 1], costs[best], costs[best + 1]);
        let curvature = left - 2.0 * centre + right;
        if curvature > 1e-9 {
            at += (0.5 * (left - right) / curvature).clamp(-0.5, 0.5);
        }
    }
    let neighbour = costs[best.saturating_sub(1)].max(costs[(best + 1).min(costs.len() - 1)]).max(still);
    let trust = (1.0 - costs[best] / neighbour.max(1e-9)).clamp(0.0, 1.0);
    at * trust / len as f32
}

/// A series on the nominal clock: a longer interval becomes holds (zeros) and then the change.
fn ticks(steps: &[Step], nominal_secs: f32, of: impl Fn(&Step) -> f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(steps.len());
    for step in steps {
        let held = ((step.interval_secs / nominal_secs).round() as usize).clamp(1, MAX_GAP) - 1;
        out.extend(std::iter::repeat_n(0.0, held));
        out.push(of(step));
    }
    out
}

/// Eighteen numbers on held frames (how many, how long, when), six on the size of motion, eight on its rhythm.
fn holds(ticks: &[f32], nominal_secs: f32, out: &mut Vec<f32>) {
    let n = ticks.len() as f32;
    let sorted = |q: f32| quantile(ticks.to_vec(), q);
    let upper = sorted(0.75);
    for threshold in [HOLD_FLOOR, (0.08 * upper).max(HOLD_FLOOR), (0.3 * upper).max(HOLD_FLOOR)] {
        let held: Vec<bool> = ticks.iter().map(|&d| d < threshold).collect();
        let runs = runs(&held);
        let longest = runs.iter().copied().max().unwrap_or(0) as f32;
        out.push(held.iter().filter(|&&h| h).count() as f32 / n);
        out.push((1.0 + longest).ln());
        out.push((1.0 + longest * nominal_secs * 10.0).ln());
        out.push(runs.len() as f32 / n * 4.0);
    }
    // A freeze that jumps: the step after the longest hold against the usual step.
    let threshold = (0.08 * upper).max(HOLD_FLOOR);
    let moving: Vec<f32> = ticks.iter().copied().filter(|&d| d >= threshold).collect();
    let typical = quantile(moving.clone(), 0.5).max(0.05);
    let after: Vec<f32> =
        ticks.windows(2).filter(|w| w[0] < threshold && w[1] >= threshold).map(|w| w[1]).collect();
    let jump = after.iter().copied().fold(0.0, f32::max);
    out.push((1.0 + jump / typical).ln());
    out.push((1.0 + mean(&after) / typical).ln());
    out.extend(where_held(ticks, threshold));
    let mean_all = mean(ticks).max(1e-3);
    for value in [mean_all, sorted(0.1), sorted(0.5), sorted(0.9), sorted(1.0), mean(&moving)] {
        out.push((0.02 + value).ln() * 0.5);
    }
    let clipped: Vec<f32> = ticks.iter().map(|&d| (d / mean_all).min(4.0) - 1.0).collect();
    for lag in LAGS {
        out.push(autocorrelation(&clipped, lag));
    }
}

/// When frames are held: the centre of the longest hold (0..1 of the duration, .5 for none) and the share of
/// held frames in each third.
fn where_held(ticks: &[f32], threshold: f32) -> [f32; 4] {
    let n = ticks.len();
    let (mut best, mut best_centre, mut run) = (0, 0.5, 0);
    let mut thirds = [0f32; 3];
    for (i, &difference) in ticks.iter().enumerate() {
        run = if difference < threshold { run + 1 } else { 0 };
        if run > best {
            (best, best_centre) = (run, (i as f32 + 1.0 - run as f32 / 2.0) / n as f32);
        }
        if run > 0 {
            thirds[i * 3 / n] += 3.0 / n as f32;
        }
    }
    [best_centre, thirds[0], thirds[1], thirds[2]]
}

/// Five numbers on the mean luma: size of its changes, their alternation, their share of all change.
fn flicker(steps: &[Step], out: &mut Vec<f32>) {
    let gains: Vec<f32> = steps.iter().map(|s| s.gain).collect();
    let size: Vec<f32> = gains.iter().map(|g| g.abs()).collect();
    let bend: Vec<f32> = gains.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    let difference = steps.iter().map(|s| s.difference).sum::<f32>() / steps.len() as f32;
    out.push((0.02 + mean(&size)).ln() * 0.5);
    out.push((0.02 + quantile(size.clone(), 0.9)).ln() * 0.5);
    out.push((0.02 + mean(&bend)).ln() * 0.5);
    out.push(energy_correlation(&gains));
    out.push(mean(&size) / (difference + 0.05));
}

/// Eight numbers on the global shift: speed, jerk, alternation, along each axis where it matters.
fn shake(steps: &[Step], ticks: &[f32], out: &mut Vec<f32>) {
    let x: Vec<f32> = steps.iter().map(|s| s.shift_x).collect();
    let y: Vec<f32> = steps.iter().map(|s| s.shift_y).collect();
    let speed: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x.hypot(*y)).collect();
    let jerk: Vec<f32> = (1..x.len()).map(|i| (x[i] - x[i - 1]).hypot(y[i] - y[i - 1])).collect();
    for value in [mean(&speed), quantile(speed.clone(), 0.9), mean(&jerk), quantile(jerk.clone(), 0.5)] {
        out.push((1e-4 + value).ln() * 0.5 + 3.0);
    }
    out.push(energy_correlation(&x));
    out.push(energy_correlation(&y));
    out.push(mean(&jerk) / (mean(&speed) + 1e-4));
    out.push((mean(&jerk) * 1000.0 / (mean(ticks) + 0.2)).ln_1p());
}

/// Lengths of the runs of `true`.
pub(super) fn runs(flags: &[bool]) -> Vec<usize> {
    flags.split(|&f| !f).map(<[bool]>::len).filter(|&len| len > 0).collect()
}

pub(super) fn mean(values: &[f32]) -> f32 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f32>() / values.len() as f32 }
}

/// The value at quantile `q` (0..1, nearest rank); 0 for no values.
pub(super) fn quantile(mut values: Vec<f32>, q: f32) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_unstable_by(f32::total_cmp);
    values[((values.len() - 1) as f32 * q).round() as usize]
}

/// Autocorrelation of a zero-mean series at `lag`, -1..1; 0 where the series is too short.
pub(super) fn autocorrelation(series: &[f32], lag: usize) -> f32 {
    if series.len() <= lag + 1 {
        return 0.0;
    }
    let energy: f32 = series.iter().map(|v| v * v).sum();
    let product: f32 = series[lag..].iter().zip(series).map(|(a, b)| a * b).sum();
    product / (energy + 1e-3)
}

/// Correlation of neighbours about zero: -1 for a value that alternates, 1 for a steady one.
fn energy_correlation(series: &[f32]) -> f32 {
    let energy: f32 = series.iter().map(|v| v * v).sum();
    let product: f32 = series.windows(2).map(|w| w[0] * w[1]).sum();
    product / (energy + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use juror_media::Range;

    const WIDTH: usize = 480;
    const HEIGHT: usize = 270;
    /// Share of held frames, by the middle threshold.
    const HELD_SHARE: usize = 4;

    /// A smooth texture, moved right by `shift` samples.
    fn picture(shift: f64) -> Vec<u8> {
        (0..HEIGHT)
            .flat_map(|y| {
                (0..WIDTH).map(move |x| {
                    let (x, y) = (x as f64 - shift, y as f64);
                    (128.0 + 50.0 * (x / 17.0).sin() + 40.0 * (x / 41.0 + y / 29.0).cos()) as u8
                })
            })
            .collect()
    }

    /// Of pictures that are shifted so far at these times.
    fn profile(frames: impl IntoIterator<Item = (f64, f64)>) -> [f32; PROFILE_LEN] {
        profile_of(frames.into_iter().map(|(pts_secs, shift)| (pts_secs, picture(shift))))
    }

    fn profile_of(frames: impl Iterator<Item = (f64, Vec<u8>)>) -> [f32; PROFILE_LEN] {
        let mut builder = ProfileBuilder::default();
        for (pts_secs, data) in frames {
            let luma = Luma {
                data: &data,
                stride: WIDTH,
                width: WIDTH,
                height: HEIGHT,
                bits: 8,
                range: Range::Limited,
            };
            builder.push(&luma, pts_secs);
        }
        builder.finish()
    }

    #[test]
    fn steady_motion_has_no_holds_at_any_frame_rate() {
        for fps in [8.0, 30.0, 60.0] {
            let steady = profile((0..40).map(|i| (f64::from(i) / fps, f64::from(i) * 2.0)));
            assert_eq!(steady[HELD_SHARE], 0.0, "{fps} frames per second");
        }
    }

    #[test]
    fn a_frame_repeated_and_a_frame_that_stays_are_the_same_hold() {
        // Every third frame is new.
        let repeated = profile((0..60).map(|i| (f64::from(i) / 30.0, f64::from(i / 3 * 3) * 2.0)));
        assert!((repeated[HELD_SHARE] - 2.0 / 3.0).abs() < 0.02, "{}", repeated[HELD_SHARE]);
        // Frames 20 to 29 are missing: the one before stays for eleven intervals.
        let times = (0..60).filter(|i| !(20..30).contains(i));
        let staying = profile(times.map(|i| (f64::from(i) / 30.0, f64::from(i) * 2.0)));
        let frozen = profile(
            (0..60)
                .map(|i| (f64::from(i) / 30.0, f64::from(if (20..30).contains(&i) { 19 } else { i }) * 2.0)),
        );
        for i in [HELD_SHARE, HELD_SHARE + 1, HOLD_CENTRE] {
            assert!((staying[i] - frozen[i]).abs() < 1e-3, "number {i}: {} and {}", staying[i], frozen[i]);
        }
        assert!((frozen[HOLD_CENTRE] - 25.0 / 60.0).abs() < 0.03, "{}", frozen[HOLD_CENTRE]);
    }

    /// A small square on a still texture, at `at` in each frame of 30 a second.
    fn square(at: impl Iterator<Item = usize>) -> [f32; PROFILE_LEN] {
        let still = picture(0.0);
        profile_of(at.enumerate().map(|(frame, at)| {
            let mut data = still.clone();
            for y in 100..124 {
                data[y * WIDTH + at..][..24].fill(250);
            }
            (frame as f64 / 30.0, data)
        }))
    }

    #[test]
    fn holds_of_a_small_thing_are_seen_beside_a_still_background() {
        // Share of held steps by the middle threshold: of the mean change, of the most changed hundredth.
        let shares = [OWN_LEN + 5, OWN_LEN + 28 + 5];
        let steady = square((0..60).map(|i| 10 + 4 * i));
        let stuttering = square((0..60).map(|i| 10 + 4 * (i / 5 * 5)));
        let frozen = square((0..60).map(|i| 10 + 4 * if i < 8 { i } else { 8 }));
        for share in shares {
            assert_eq!(steady[share], 0.0);
            assert!((stuttering[share] - 0.8).abs() < 0.03, "{}", stuttering[share]);
            assert!((frozen[share] - 51.0 / 59.0).abs() < 0.03, "{}", frozen[share]);
        }
    }

    #[test]
    fn a_translation_is_measured_in_shares_of_the_width() {
        let columns = |shift: f64| {
            let data = picture(shift);
            let luma = Luma {
                data: &data,
                stride: WIDTH,
                width: WIDTH,
                height: HEIGHT,
                bits: 8,
                range: Range::Limited,
            };
            ProfileBuilder::default().snapshot(&luma, 0.0).columns
        };
        let moved = shift(&columns(0.0), &columns(6.0));
        assert!((moved - 6.0 / WIDTH as f32).abs() < 0.2 * 6.0 / WIDTH as f32, "{moved}");
        assert_eq!(shift(&columns(3.0), &columns(3.0)), 0.0);
    }

    #[test]
    fn nothing_to_see_gives_zeros() {
        assert_eq!(profile([]), [0.0; PROFILE_LEN]);
        assert_eq!(profile([(0.0, 0.0)]), [0.0; PROFILE_LEN]);
    }
}
