//! What two videos of one content tell about each other's motion.
//!
//! Alone, a recorder that missed frames looks like a stream that dropped some. Beside each other they tell: two encodes of one source
//! show, hold and miss its frames at the same times, so neither is at fault; and where one stands still while the other
//! moves, and catches up in a jump, it is the one that stutters, freezes or drops frames. One that changes far more from frame to
//! frame than the other, at other times, shakes, flickers or shows its frames out of order.
//!
//! Compared is the *cadence* of two videos: the mean change of luma from frame to frame on the nominal clock (`profile.rs`), its
//! first [`STEPS`] steps, and the mean picture, by which two videos are known to show one content at all. With the steps
//! `x` of A and `y` of B:
//!
//! ```text
//! likeness  = clamp((correlation(sqrt x, sqrt y) - UNLIKE) / (ALIKE - UNLIKE), 0, 1)
//! missed(y) = share of steps with y < HELD x and x > FLOOR; 0 unless the other steps of y make up for them
//! excess(y) = clamp(ln(mean y / mean x) - EXTRA, 0, 1); 0 unless mean y > mean x + EXTRA_LUMA, and where any misses NONE or more
//! lead of A = (1 - likeness) ((missed(y) - missed(x)) LEAD + (excess(y) - excess(x)) EXCESS_LEAD)          in rank logits
//! ```
//!
//! Correlation, not agreement of sizes: darkening takes a share of every step, and is judged by the pictures.
//!
//! The temporal penalties that the body found in each video alone count the less the more alike the two move, and not at all
//! where one misses steps of the other. The numbers were chosen on the validation ladders (`juror_train::validate`), whose figures hardly change
//! around them. Leaves out: videos that are shifted in time against each other or differ in frame rate; the body judges them alone.

use super::motion::scale;
use super::profile::{CELLS, ProfileBuilder};
use candle_core::{Device, IndexOp, Result, Tensor};
use serde::{Deserialize, Serialize};

/// Steps of a video that are kept: 8 seconds at 60 frames a second, 20 at 25.
pub(super) const STEPS: usize = 512;
/// Length of a row: steps, then cells.
pub(super) const ROW: usize = STEPS + CELLS;
/// What stands behind the last step of a short video.
const END: f32 = -1.0;

/// Correlation of the mean pictures from which on two videos show one content.
const SAME: f64 = 0.9;
/// Numbers of steps may differ by this share.
const SLACK: f64 = 0.02;
/// Fewer steps have no cadence.
const LEAST_STEPS: usize = 8;
/// Correlation of the steps below which two videos do not move alike, and from which on they fully do.
const UNLIKE: f64 = 0.6;
const ALIKE: f64 = 0.9;
/// A step is held if it is less than this share of the other video's.
const HELD: f32 = 0.1;
/// The least change that is motion: in luma levels, and as a share of the scale (`motion.rs`).
const FLOOR: f32 = 0.02;
const FLOOR_SHARE: f32 = 0.05;
/// The other steps of a video that misses some hold at least this share of the motion that its neighbour has there.
const MADE_UP: f32 = 0.8;
/// And this share of all motion of its neighbour: frames out of order move far more than a source that holds some.
const CAUGHT_UP: f32 = 0.3;
/// Rank logits for missing every step.
const LEAD: f64 = 10.0;
/// Missing this share of the steps outweighs whatever the videos look like alone.
const PLAIN: f64 = 0.05;
/// Missing a smaller share is missing none.
const NONE: f64 = 0.02;
/// Logarithm of a ratio of mean steps that is no excess yet: sharp pictures change a little more than soft ones.
const EXTRA: f64 = 0.2;
/// Nor is a smaller difference of mean steps, in luma levels: compression adds as much to a picture that stands still.
const EXTRA_LUMA: f64 = 0.3;
/// Rank logits for the largest excess.
const EXCESS_LEAD: f64 = 3.0;

/// When a video moves how much, and what it shows on the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    /// Change from frame to frame on the nominal clock, in luma levels.
    pub steps: Vec<f32>,
    /// Mean luma of all frames in 16 x 9 cells.
    pub picture: Vec<f32>,
}

impl Cadence {
    /// Of the frames that `profile` has seen.
    pub(super) fn of(profile: &ProfileBuilder) -> Self {
        let mut steps = profile.changes();
        steps.truncate(STEPS);
        Self { steps, picture: profile.mean_picture() }
    }

    /// As a row of [`ROW`] numbers.
    pub(super) fn row(&self) -> Vec<f32> {
        let mut row = vec![END; ROW];
        for (slot, &step) in row[..STEPS].iter_mut().zip(&self.steps) {
            *slot = step;
        }
        for (slot, &cell) in row[STEPS..].iter_mut().zip(&self.picture) {
            *slot = cell;
        }
        row
    }
}

/// Videos and others beside them, `[pairs]` each.
pub(super) struct Beside {
    /// 1 where both show one content on one clock, 0 elsewhere.
    pub(super) together: Tensor,
    /// Share of the difference of their temporal penalties that still counts, 0..1.
    pub(super) alone: Tensor,
    /// Rank logits that the one is ahead by, since the other misses its steps or changes more.
    pub(super) lead: Tensor,
}

impl Beside {
    /// Of rows `[pairs, ROW]`.
    pub(super) fn of(a: &Tensor, b: &Tensor) -> Result<Self> {
        let (a, b) = (a.to_vec2::<f32>()?, b.to_vec2::<f32>()?);
        let rows: Vec<f32> = a.iter().zip(&b).flat_map(|(a, b)| beside(a, b)).collect();
        let rows = Tensor::from_vec(rows, (a.len(), 3), &Device::Cpu)?;
        Ok(Self { together: rows.i((.., 0))?, alone: rows.i((.., 1))?, lead: rows.i((.., 2))? })
    }
}

/// [`Beside`] of one pair, in the order of its fields.
fn beside(a: &[f32], b: &[f32]) -> [f32; 3] {
    let n = match common_steps(a, b) {
        None => return [0.0, 1.0, 0.0],
        Some(n) if n < LEAST_STEPS => return [1.0, 1.0, 0.0],
        Some(n) => n,
    };
    let (x, y) = (&a[..n], &b[..n]);
    let likeness = ((correlation(x, y, f64::sqrt) - UNLIKE) / (ALIKE - UNLIKE)).clamp(0.0, 1.0);
    let (missed_x, missed_y) = (missed(y, x), missed(x, y));
    let ahead = missed_y - missed_x;
    let excess = if missed_x.max(missed_y) < NONE { excess(x, y) - excess(y, x) } else { 0.0 };
    let settled = likeness.max((ahead.abs() / PLAIN).min(1.0));
    let lead = (1.0 - likeness) * (ahead * LEAD + excess * EXCESS_LEAD);
    [1.0, (1.0 - settled) as f32, lead as f32]
}

/// How many steps two rows share, if they are of one content and clock.
fn common_steps(a: &[f32], b: &[f32]) -> Option<usize> {
    let (steps_a, picture_a) = a.split_at(STEPS);
    let (steps_b, picture_b) = b.split_at(STEPS);
    let len = |steps: &[f32]| steps.iter().take_while(|&&step| step >= 0.0).count();
    let (of_a, of_b) = (len(steps_a), len(steps_b));
    let n = of_a.min(of_b);
    let in_step = of_a.abs_diff(of_b) as f64 <= SLACK * n as f64 + 1.0;
    (in_step && correlation(picture_a, picture_b, |cell| cell) >= SAME).then_some(n)
}

/// Share of the steps at which `y` is held while `x` moves.
fn missed(x: &[f32], y: &[f32]) -> f64 {
    let floor = (FLOOR_SHARE * scale(x)).max(FLOOR);
    let (mut held, mut own, mut others) = (0, 0.0, 0.0);
    for (&x, &y) in x.iter().zip(y) {
        if y < HELD * x && x > floor {
            held += 1;
        } else {
            (own, others) = (own + y, others + x);
        }
    }
    // A still video is not one that stopped.
    let catches_up = own >= MADE_UP * others && own >= CAUGHT_UP * x.iter().sum::<f32>();
    if own < 1e-6 || !catches_up { 0.0 } else { f64::from(held) / x.len() as f64 }
}

/// How much more `y` changes than `x`, 0..1.
fn excess(x: &[f32], y: &[f32]) -> f64 {
    let [of_x, of_y] = [x, y].map(|steps| f64::from(steps.iter().sum::<f32>()) / steps.len() as f64);
    if of_y <= of_x + EXTRA_LUMA { 0.0 } else { ((of_y / of_x.max(1e-6)).ln() - EXTRA).clamp(0.0, 1.0) }
}

/// Pearson's, of what `by` makes of the values; 1 where none vary.
fn correlation(x: &[f32], y: &[f32], by: impl Fn(f64) -> f64) -> f64 {
    let n = x.len() as f64;
    let of = |v: &[f32]| -> Vec<f64> { v.iter().map(|&v| by(f64::from(v))).collect() };
    let centred = |v: Vec<f64>| -> Vec<f64> {
        let mean = v.iter().sum::<f64>() / n;
        v.into_iter().map(|v| v - mean).collect()
    };
    let (x, y) = (centred(of(x)), centred(of(y)));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n;
    let (xx, yy) = (product(&x, &x), product(&y, &y));
    let spread = (xx * yy).sqrt();
    if spread < 1e-9 { f64::from(u8::from(xx + yy < 1e-9)) } else { product(&x, &y) / spread }
}

#[cfg(test)]
mod tests {
    use super::super::fragments::Offset;
    use super::super::observation::observe_frames;
    use super::*;
    use juror_media::Frame;
    use juror_media::distort::{Chain, Distortion, Kind};
    use juror_media::scenes::Scene;

    fn rendered(seed: u64) -> Vec<Frame> {
        Scene::random(seed).render(320, 180, 30.0, 60).unwrap().collect()
    }

    fn cadence(frames: &[Frame]) -> Cadence {
        observe_frames(frames, 2, Offset::default()).unwrap().cadence
    }

    fn pair(a: &Cadence, b: &Cadence) -> (f32, f32) {
        let ([together, alone, lead], back) = (beside(&a.row(), &b.row()), beside(&b.row(), &a.row()));
        assert_eq!([together, alone, -lead], back, "either way round");
        (alone, lead)
    }

    #[test]
    fn encodes_of_one_source_share_its_motion_and_held_frames_are_told() {
        for seed in 0..4 {
            let source = rendered(seed);
            let own = cadence(&source);
            assert_eq!((own.steps.len(), own.picture.len()), (59, CELLS));
            assert_eq!(pair(&own, &own), (0.0, 0.0));
            let with = |kind: Kind, level: f64| {
                let chain = Chain::new(vec![Distortion::new(kind, level).unwrap()]);
                cadence(&chain.apply_all(&source, 1).unwrap())
            };
            for kind in [Kind::H264, Kind::Mpeg4, Kind::GaussianBlur, Kind::Jpeg, Kind::Shake, Kind::Flicker]
            {
                let (alone, lead) = pair(&own, &with(kind, 3.0));
                // The scene of seed 0 moves unevenly; where all steps are of one size, noise alone tells them apart.
                let disturbed = matches!(kind, Kind::Shake | Kind::Flicker);
                assert!(
                    if disturbed { alone > 0.7 } else { seed != 0 || alone < 0.1 },
                    "seed {seed}: {kind:?} {alone}"
                );
                // None misses a step; what shakes or flickers may change more.
                assert!(if disturbed { lead >= 0.0 } else { lead == 0.0 }, "seed {seed}: {kind:?} {lead}");
            }
            // Darkness takes a share of every step: that is no motion of its own.
            for kind in [Kind::Darken, Kind::Contrast] {
                assert_eq!(pair(&own, &with(kind, 4.0)).1, 0.0, "seed {seed}: {kind:?}");
            }
            let (_, shuffled) = pair(&own, &with(Kind::Shuffle, 5.0));
            assert!(shuffled > 0.3, "seed {seed}: {shuffled}");
            let (_, frozen) = pair(&own, &with(Kind::Freeze, 2.0));
            assert!(frozen > 1.0, "seed {seed}: {frozen}");
            for kind in [Kind::Stutter, Kind::DroppedFrames] {
                let (mild, strong) = (with(kind, 2.0), with(kind, 4.0));
                let [of_mild, of_strong, between] =
                    [(&own, &mild), (&own, &strong), (&mild, &strong)].map(|(a, b)| pair(a, b).1);
                assert!(of_mild > 0.2 && between > 1.0, "seed {seed}: {kind:?} {of_mild} {between}");
                assert!(of_strong > of_mild + 1.0, "seed {seed}: {kind:?} {of_mild} {of_strong}");
            }
        }
    }

    #[test]
    fn other_contents_and_other_clocks_are_judged_alone() {
        let own = cadence(&rendered(0));
        assert_eq!(pair(&own, &cadence(&rendered(1))), (1.0, 0.0), "another content");
        let shorter = cadence(&rendered(0)[..40]);
        assert_eq!(pair(&own, &shorter), (1.0, 0.0), "a third is missing");
        assert!(pair(&own, &cadence(&rendered(0)[..59])).0 < 0.1, "a frame is missing");
        assert_eq!(pair(&Cadence::default(), &Cadence::default()), (1.0, 0.0), "two pictures");
    }
}
