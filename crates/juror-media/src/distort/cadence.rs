//! Distortions of cadence: frames that are late, missing, blank, woven of two times, or in the wrong order.
//!
//! All but [`FrameRate`] keep every frame's pts and the number of frames. Random draws depend on the seed and the frame's
//! place only, never on the level, so that a higher level distorts a superset of what a lower level distorts. The
//! orders are those of VQAThinker's temporal reward (arXiv 2508.06051), made to stream: frames change places within
//! windows, so that memory holds one window.

use super::Stage;
use super::temporal::Hold;
use crate::{Frame, MediaError, Picture};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// Every random frame is shown twice; what follows is late until, [`DuplicatedFrames::LATE_FRAMES`] frames on, one is skipped.
pub(crate) struct DuplicatedFrames {
    probability: f64,
    rng: ChaCha8Rng,
    /// The newest pictures, the oldest first.
    recent: VecDeque<Picture>,
    /// Whether each of the last frames was a duplicate.
    duplicates: VecDeque<bool>,
}

impl DuplicatedFrames {
    const LATE_FRAMES: usize = 6;

    pub(crate) fn new(probability: f64, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { probability, rng, recent: VecDeque::new(), duplicates: VecDeque::new() }
    }
}

impl Stage for DuplicatedFrames {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let duplicate = self.rng.random::<f64>() < self.probability && !self.recent.is_empty();
        self.recent.push_back(frame.picture);
        self.duplicates.push_back(duplicate);
        if self.duplicates.len() > Self::LATE_FRAMES {
            self.duplicates.pop_front();
        }
        if self.recent.len() > Self::LATE_FRAMES + 1 {
            self.recent.pop_front();
        }
        let late = self.duplicates.iter().filter(|&&d| d).count();
        let shown = (self.recent.len() - 1).saturating_sub(late);
        out.push(Frame { picture: self.recent[shown].clone(), pts_secs: frame.pts_secs });
        Ok(())
    }
}

/// Random frames are black.
pub(crate) struct BlankFrames {
    probability: f64,
    rng: ChaCha8Rng,
}

impl BlankFrames {
    pub(crate) fn new(probability: f64, seed: u64) -> Self {
        Self { probability, rng: ChaCha8Rng::seed_from_u64(seed) }
    }
}

impl Stage for BlankFrames {
    fn push(&mut self, mut frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if self.rng.random::<f64>() < self.probability {
            let [y, u, v] = frame.picture.planes_mut();
            y.fill(16);
            u.fill(128);
            v.fill(128);
        }
        out.push(frame);
        Ok(())
    }
}

/// Counts frames of which an even share is chosen: the first, and every one at which `index * share` passes a whole
/// number.
struct Even {
    share: f64,
    index: u64,
}

impl Even {
    fn new(share: f64) -> Self {
        Self { share, index: 0 }
    }

    fn next_is_chosen(&mut self) -> bool {
        // A product early by rounding is on time.
        let passed = |index: u64| (index as f64 * self.share + 1e-9).floor();
        let chosen = self.index == 0 || passed(self.index) > passed(self.index - 1);
        self.index += 1;
        chosen
    }
}

/// Delivers an even share of the frames; the others are gone.
pub(crate) struct FrameRate {
    delivered: Even,
}

impl FrameRate {
    pub(crate) fn new(share: f64) -> Self {
        Self { delivered: Even::new(share) }
    }
}

impl Stage for FrameRate {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if self.delivered.next_is_chosen() {
            out.push(frame);
        }
        Ok(())
    }
}

/// A pulldown gone wrong: an even share of the pictures is lost, the ones before them stand in. At one fifth, 30 frames
/// a second show 24 pictures, every fourth of them twice as long.
pub(crate) struct Judder {
    shown: Even,
    hold: Hold,
}

impl Judder {
    pub(crate) fn new(lost_share: f64) -> Self {
        Self { shown: Even::new(1.0 - lost_share), hold: Hold::default() }
    }
}

impl Stage for Judder {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let advance = self.shown.next_is_chosen();
        out.push(self.hold.show(frame, advance));
        Ok(())
    }
}

/// Odd rows come from an earlier time than even ones, as when two fields are woven: moving edges comb.
pub(crate) struct Interlace {
    /// How much earlier, in frames.
    apart_frames: f64,
    /// The newest pictures, the oldest first.
    recent: VecDeque<Picture>,
}

impl Interlace {
    pub(crate) fn new(apart_frames: f64) -> Self {
        Self { apart_frames, recent: VecDeque::new() }
    }
}

impl Stage for Interlace {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let size = |picture: &Picture| (picture.width(), picture.height());
        // A source that changes its size has no fields to weave.
        if self.recent.back().is_some_and(|last| size(last) != size(&frame.picture)) {
            self.recent.clear();
        }
        self.recent.push_back(frame.picture);
        let reach = self.apart_frames.ceil() as usize;
        if self.recent.len() > reach + 1 {
            self.recent.pop_front();
        }
        let newest = self.recent.len() - 1;
        let earlier = |frames: f64| &self.recent[newest.saturating_sub(frames as usize)];
        let (near, far) = (earlier(self.apart_frames.floor()), earlier(self.apart_frames.ceil()));
        let far_weight = (256.0 * self.apart_frames.fract()).round() as u16;
        let mut woven = self.recent[newest].clone();
        let widths = [woven.width(), woven.chroma_width(), woven.chroma_width()];
        let [near, far] = [near, far].map(|picture| [picture.y(), picture.u(), picture.v()]);
        for (((out, near), far), width) in woven.planes_mut().into_iter().zip(near).zip(far).zip(widths) {
            let rows = near.chunks_exact(width).zip(far.chunks_exact(width));
            for (out, (near, far)) in out.chunks_exact_mut(width).zip(rows).skip(1).step_by(2) {
                for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
                    let sum = (256 - far_weight) * u16::from(near) + far_weight * u16::from(far);
                    *out = ((sum + 128) >> 8) as u8;
                }
            }
        }
        out.push(Frame { picture: woven, pts_secs: frame.pts_secs });
        Ok(())
    }
}

/// Random frames show a neighbour's picture: the one before or the one after.
pub(crate) struct FrameJitter {
    probability: f64,
    rng: ChaCha8Rng,
    before: Option<Picture>,
    waiting: Option<Frame>,
}

impl FrameJitter {
    pub(crate) fn new(probability: f64, seed: u64) -> Self {
        Self { probability, rng: ChaCha8Rng::seed_from_u64(seed), before: None, waiting: None }
    }

    /// The waiting frame, now that the picture after it is known.
    fn show(&mut self, frame: Frame, after: Option<&Picture>) -> Frame {
        let (draw, back) = (self.rng.random::<f64>(), self.rng.random());
        let neighbour = if back { self.before.as_ref() } else { after };
        let shown = match neighbour {
            Some(neighbour) if draw < self.probability => neighbour.clone(),
            _ => frame.picture.clone(),
        };
        self.before = Some(frame.picture);
        Frame { picture: shown, pts_secs: frame.pts_secs }
    }
}

impl Stage for FrameJitter {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if let Some(waiting) = self.waiting.take() {
            out.push(self.show(waiting, Some(&frame.picture)));
        }
        self.waiting = Some(frame);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if let Some(waiting) = self.waiting.take() {
            out.push(self.show(waiting, None));
        }
        Ok(())
    }
}

/// In which order the pictures of a window are shown.
enum Order {
    /// A random cycle: no picture keeps its place.
    Shuffled,
    /// A random cycle of this share of the pictures.
    PartlyShuffled(f64),
    /// The last first.
    Reversed,
}

/// Pictures change places within windows of frames.
pub(crate) struct Reorder {
    order: Order,
    window: usize,
    rng: ChaCha8Rng,
    held: Vec<Frame>,
}

impl Reorder {
    /// Frames within which [`Reorder::shuffle`] moves pictures.
    const SHUFFLE_WINDOW: usize = 48;

    fn new(order: Order, window: usize, seed: u64) -> Self {
        Self { order, window: window.max(1), rng: ChaCha8Rng::seed_from_u64(seed), held: Vec::new() }
    }

    /// All pictures of every window of (rounded) `frames` change places.
    pub(crate) fn local_shuffle(frames: f64, seed: u64) -> Self {
        Self::new(Order::Shuffled, frames.round() as usize, seed)
    }

    /// `share` of the pictures change places, over long windows.
    pub(crate) fn shuffle(share: f64, seed: u64) -> Self {
        Self::new(Order::PartlyShuffled(share), Self::SHUFFLE_WINDOW, seed)
    }

    /// Windows of (rounded) `frames` are played backwards.
    pub(crate) fn reverse(frames: f64) -> Self {
        Self::new(Order::Reversed, frames.round() as usize, 0)
    }

    fn release(&mut self, out: &mut Vec<Frame>) {
        let mut moved: Vec<usize> = match self.order {
            Order::Shuffled | Order::Reversed => (0..self.held.len()).collect(),
            Order::PartlyShuffled(share) => {
                (0..self.held.len()).filter(|_| self.rng.random::<f64>() < share).collect()
            }
        };
        let (times, mut pictures): (Vec<f64>, Vec<Option<Picture>>) =
            self.held.drain(..).map(|frame| (frame.pts_secs, Some(frame.picture))).unzip();
        // Which picture each place shows.
        let mut shown: Vec<usize> = (0..times.len()).collect();
        if let Order::Reversed = self.order {
            shown.reverse();
        } else {
            moved.shuffle(&mut self.rng);
            for (i, &place) in moved.iter().enumerate() {
                shown[place] = moved[(i + 1) % moved.len()];
            }
        }
        for (pts_secs, picture) in times.into_iter().zip(shown) {
            out.extend(pictures[picture].take().map(|picture| Frame { picture, pts_secs }));
        }
    }
}

impl Stage for Reorder {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        self.held.push(frame);
        if self.held.len() == self.window {
            self.release(out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        self.release(out);
        Ok(())
    }
}
