//! Which frames each family looks at, by the rules of the published code.
//!
//! Indices count decoded frames. The rules of `qwen_vl_utils` and transformers differ, and so do their roundings.

use crate::error::{Error, Result};

/// InternVL and VQAThinker: `segments` frames, one from the middle of each segment of `0..=last` (or of a time window).
///
/// With segment length `s`, index k is `trunc(start + s / 2 + round_half_even(s * k))`.
///
/// # Errors
/// No segments.
pub fn internvl(
    last: usize,
    segments: usize,
    fps: f64,
    window_secs: Option<(f64, f64)>,
) -> Result<Vec<usize>> {
    if segments == 0 {
        return Err(Error::Input("0 frames asked for: at least 1".into()));
    }
    let (start, end) = match window_secs {
        None => (0.0, last as f64),
        Some((start, end)) => {
            ((start * fps).round_ties_even().max(0.0), (end * fps).round_ties_even().min(last as f64))
        }
    };
    let length = (end - start) / segments as f64;
    Ok((0..segments)
        .map(|k| (start + length / 2.0 + (length * k as f64).round_ties_even()) as usize)
        .collect())
}

/// W2S-VQA: the first frame of every second, `k * round(fps)`; a part of a second at the end counts too.
///
/// # Errors
/// A frame rate below one half.
pub fn one_per_second(total: usize, fps: f64) -> Result<Vec<usize>> {
    let step = fps.round();
    if step < 1.0 {
        return Err(Error::Input(format!("{fps} frames per second: one frame a second needs at least 0.5")));
    }
    Ok((0..total).step_by(step as usize).collect())
}

/// How many frames the Qwen families take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Count {
    /// So many per second of video.
    Rate(f64),
    /// So many in all.
    Frames(usize),
}

const MIN_FRAMES: f64 = 4.0;
const MAX_FRAMES: usize = 768;

fn even(x: f64) -> usize {
    (x / 2.0).floor() as usize * 2
}

fn even_count(total: usize, video_fps: f64, count: Count) -> usize {
    match count {
        Count::Frames(n) => (n as f64 / 2.0).round_ties_even() as usize * 2,
        Count::Rate(fps) => {
            let most = even(MAX_FRAMES.min(total) as f64);
            even((total as f64 / video_fps * fps).max(MIN_FRAMES).min(most as f64).min(total as f64))
        }
    }
}

/// `qwen_vl_utils` on video files: an even count, then evenly from the first to the last frame.
///
/// # Errors
/// Fewer than two frames, or more asked for than there are.
pub fn qwen_vl_utils(total: usize, video_fps: f64, count: Count) -> Result<Vec<usize>> {
    let n = even_count(total, video_fps, count);
    if !(2..=total).contains(&n) {
        return Err(Error::Input(format!("{n} frames of {total}: 2 to {total} are allowed")));
    }
    Ok(linspace_f32((total - 1) as f32, n).into_iter().map(|x| x.round_ties_even() as usize).collect())
}

/// transformers' Qwen2.5-VL video processor: an even count, then `0, total / n, ...`, truncated.
///
/// The reference's index beyond the end (17 frames of which 14, and other pairs) is kept: it is what the rule yields;
/// decoding clamps it to the last frame.
///
/// # Errors
/// No frames, or more asked for than there are.
pub fn transformers_qwen2_5(total: usize, video_fps: f64, count: Count) -> Result<Vec<usize>> {
    let n = even_count(total, video_fps, count);
    if n == 0 || n > total {
        return Err(Error::Input(format!("{n} frames of {total}: 2 to {total} are allowed")));
    }
    let step = total as f64 / n as f64;
    let steps = (total as f64 / step).ceil() as usize;
    Ok((0..steps).map(|i| (i as f64 * step) as f32 as usize).collect())
}

/// transformers' Qwen3-VL video processor: evenly from the first to the last frame, count not made even.
///
/// # Errors
/// No frames.
pub fn transformers_qwen3(total: usize, video_fps: f64, count: Count) -> Result<Vec<usize>> {
    let n = match count {
        Count::Frames(n) => n,
        Count::Rate(fps) => {
            ((total as f64 / video_fps * fps) as usize).max(MIN_FRAMES as usize).min(MAX_FRAMES).min(total)
        }
    };
    if n == 0 || total == 0 {
        return Err(Error::Input(format!("{n} frames of {total}: at least 1 is needed")));
    }
    let last = (total - 1) as f64;
    let step = if n > 1 { last / (n - 1) as f64 } else { 0.0 };
    let index = |i: usize| if n > 1 && i == n - 1 { last } else { i as f64 * step };
    Ok((0..n).map(|i| index(i).round_ties_even() as usize).collect())
}

/// Qwen3-VL's time stamps in seconds: the mean time of the two frames of each slice (the last frame repeated if odd).
pub fn slice_seconds(indices: &[usize], video_fps: f64) -> Vec<f64> {
    let seconds = |i: usize| i as f64 / video_fps;
    indices
        .chunks(2)
        .map(|pair| (seconds(pair[0]) + seconds(*pair.last().unwrap_or(&pair[0]))) / 2.0)
        .collect()
}

/// `torch.linspace(0, last, n)` in f32: the second half is counted from the end.
pub fn linspace_f32(last: f32, n: usize) -> Vec<f32> {
    let step = if n > 1 { last / (n - 1) as f32 } else { 0.0 };
    (0..n)
        .map(|i| if i < n / 2 || n == 1 { step * i as f32 } else { last - step * (n - 1 - i) as f32 })
        .collect()
}
