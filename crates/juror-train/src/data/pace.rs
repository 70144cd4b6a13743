//! Sources at another pace: what holds, repeats or misses frames by itself.
//!
//! Films shot at 8 to 12 frames a second, animation that moves every second or third frame, screens that stand still until someone
//! scrolls and recorders that keep what changed in time: a temporal profile finds holds and jumps in all of them,
//! though nothing was done to them. As sources of groups they teach what is no fault, and that a fault on top of it is one.

use juror_media::Frame;
use rand::{Rng, RngExt};

/// Frames that must be left.
const LEAST_FRAMES: usize = 14;

/// Every second to fourth frame, each with its own time: a lower frame rate.
pub(super) fn slow(frames: Vec<Frame>, rng: &mut impl Rng) -> Vec<Frame> {
    let step = rng.random_range(2..=4).min(frames.len() / LEAST_FRAMES).max(1);
    frames.into_iter().step_by(step).collect()
}

/// What a screen recorder keeps of `frames`: one of animation on twos or threes, updates that come too late, and
/// pauses in which nothing moves, or the last two together.
pub(super) fn record(frames: Vec<Frame>, rng: &mut impl Rng) -> Vec<Frame> {
    let count = frames.len();
    let kind = rng.random_range(0..4);
    let shown: Vec<usize> = if kind == 0 {
        let hold = rng.random_range(2..=3);
        (0..count).map(|i| i - i % hold).collect()
    } else {
        let reached = if kind == 1 { (0..count).collect() } else { with_pauses(count, rng) };
        if kind == 2 { reached } else { late(&reached, rng) }
    };
    let pictures: Vec<_> = shown.iter().map(|&i| frames[i].picture.clone()).collect();
    let times = frames.into_iter().map(|frame| frame.pts_secs);
    pictures.into_iter().zip(times).map(|(picture, pts_secs)| Frame { picture, pts_secs }).collect()
}

/// The frame that is reached at each time where what is shown stands still now and then and goes on from there.
fn with_pauses(count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let start = rng.random_range(0.01..0.08); // of a pause, at each frame
    let (mut at, mut pause) = (0, 0);
    (0..count)
        .map(|i| {
            if i > 0 && pause == 0 && rng.random::<f64>() < start {
                pause = rng.random_range(3..=30);
            }
            if i > 0 && pause == 0 {
                at += 1;
            }
            pause = usize::saturating_sub(pause, 1);
            at
        })
        .collect()
}

/// The picture is renewed at some of the times only, and then is up to date.
fn late(reached: &[usize], rng: &mut impl Rng) -> Vec<usize> {
    let renewed = rng.random_range(0.4..0.9);
    let mut shown = reached.first().copied().unwrap_or(0);
    reached
        .iter()
        .map(|&at| {
            if rng.random::<f64>() < renewed {
                shown = at;
            }
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use juror_media::scenes::Scene;

    fn frames() -> Vec<Frame> {
        Scene::random(3).render(64, 48, 30.0, 50).unwrap().collect()
    }

    #[test]
    fn a_slower_source_keeps_times_and_enough_frames() {
        let source = frames();
        for seed in 0..8 {
            let slow = slow(source.clone(), &mut juror_nn::rng::stream(seed, &[]));
            assert!(slow.len() >= LEAST_FRAMES && slow.len() <= source.len() / 2);
            assert!(slow.iter().all(|frame| source.contains(frame)));
        }
    }

    #[test]
    fn a_recorder_holds_frames_and_never_goes_back() {
        let source = frames();
        for seed in 0..16 {
            let shown = record(source.clone(), &mut juror_nn::rng::stream(seed, &[]));
            assert!(shown.iter().map(|f| f.pts_secs).eq(source.iter().map(|f| f.pts_secs)));
            let place = |frame: &Frame| source.iter().position(|f| f.picture == frame.picture).unwrap();
            let places: Vec<usize> = shown.iter().map(place).collect();
            assert!(places.is_sorted());
            assert!(places.windows(2).any(|w| w[0] == w[1]), "seed {seed} holds nothing");
        }
    }
}
