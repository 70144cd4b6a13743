//! Varied sources: other contents made of the same clip, so that a model meets more of the world.
//!
//! The picture is turned over, the colours move, a part is cut out, time runs faster; sometimes the lens is a little
//! soft, the light low, or a first generation of compression is in it. A varied clip is a source like any other: its
//! versions are measured against it, so a source that is soft or dark by itself is not to be blamed for it.

use anyhow::Result;
use juror_media::distort::{self, Chain, Distortion, Kind};
use juror_media::encode::{Codec, EncodeOptions, Rate};
use juror_media::{Frame, Picture};
use rand::{Rng, RngExt};

/// Least side of a cut-out, in pixels.
const LEAST_SIDE: usize = 160;
/// Frames that must be left when time runs faster.
const LEAST_FRAMES: usize = 24;

/// A varied source made of `frames`.
///
/// # Errors
/// When an encoder is missing.
pub(super) fn vary(frames: Vec<Frame>, rng: &mut impl Rng) -> Result<Vec<Frame>> {
    let (mirror, flip, transpose) = (rng.random(), rng.random(), rng.random::<f64>() < 0.3);
    let colours = Colours::random(rng);
    let (width, height) = (frames[0].picture.width(), frames[0].picture.height());
    let view = View::random(width, height, rng);
    let mut frames =
        if frames.len() >= 2 * LEAST_FRAMES && rng.random::<f64>() < 0.3 { faster(&frames) } else { frames };
    for frame in &mut frames {
        let cut = view.cut(&frame.picture)?;
        frame.picture = turn(&colours.apply(cut), mirror, flip, transpose)?;
    }
    let seed = rng.random();
    let mut fault = |kind, from: f64, to: f64| Distortion::new(kind, rng.random_range(from..to));
    let (dark, grain, soft) = (
        fault(Kind::Darken, 0.5, 3.0)?,
        fault(Kind::GaussianNoise, 0.2, 1.2)?,
        fault(Kind::GaussianBlur, 1.5, 3.0)?,
    );
    let steps = match rng.random_range(0..10) {
        0 => vec![dark],
        1 => vec![dark, grain],
        2 => vec![grain],
        3 | 4 => vec![soft],
        5 | 6 => {
            let crf = rng.random_range(19.0..28.0);
            return Ok(distort::recode(&frames, EncodeOptions::new(Codec::H264, Rate::Crf(crf)))?);
        }
        _ => return Ok(frames),
    };
    Ok(Chain::new(steps).apply_all(&frames, seed)?)
}

/// Every second frame, in the time of the first half.
fn faster(frames: &[Frame]) -> Vec<Frame> {
    let kept = frames.iter().step_by(2).zip(frames);
    kept.map(|(shown, clock)| Frame { picture: shown.picture.clone(), pts_secs: clock.pts_secs }).collect()
}

/// A part of the picture; all numbers even.
struct View {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl View {
    fn random(width: usize, height: usize, rng: &mut impl Rng) -> Self {
        let share = if rng.random() { rng.random_range(0.55..1.0) } else { 1.0 };
        let side = |size: usize| ((size as f64 * share) as usize).max(LEAST_SIDE.min(size)) & !1;
        let (part_width, part_height) = (side(width).max(2), side(height).max(2));
        let mut start = |free: usize| rng.random_range(0..=free) & !1;
        let (x, y) = (start(width - part_width), start(height - part_height));
        Self { x, y, width: part_width, height: part_height }
    }

    fn cut(&self, picture: &Picture) -> Result<Picture> {
        let plane = |samples: &[u8], stride: usize, by: usize| -> Vec<u8> {
            let rows = samples.chunks_exact(stride).skip(self.y / by).take(self.height / by);
            rows.flat_map(|row| row[self.x / by..][..self.width / by].iter().copied()).collect()
        };
        let (width, chroma_width) = (picture.width(), picture.chroma_width());
        Ok(Picture::new(
            self.width,
            self.height,
            plane(picture.y(), width, 1),
            plane(picture.u(), chroma_width, 2),
            plane(picture.v(), chroma_width, 2),
        )?
        .with_matrix(picture.matrix()))
    }
}

/// Luma by a curve, chroma turned and scaled around grey.
struct Colours {
    luma: [u8; 256],
    sin: f64,
    cos: f64,
}

impl Colours {
    fn random(rng: &mut impl Rng) -> Self {
        let gamma = rng.random_range(-0.35f64..0.35).exp();
        let gain = rng.random_range(0.0..1.4);
        let angle = if rng.random() { rng.random_range(0.0..std::f64::consts::TAU) } else { 0.0 };
        let luma = std::array::from_fn(|code| {
            let light = ((code as f64 - 16.0) / 219.0).clamp(0.0, 1.0);
            (16.0 + 219.0 * light.powf(gamma)).round() as u8
        });
        Self { luma, sin: gain * angle.sin(), cos: gain * angle.cos() }
    }

    fn apply(&self, mut picture: Picture) -> Picture {
        let [y, u, v] = picture.planes_mut();
        y.iter_mut().for_each(|code| *code = self.luma[usize::from(*code)]);
        for (u, v) in u.iter_mut().zip(v) {
            let (a, b) = (f64::from(*u) - 128.0, f64::from(*v) - 128.0);
            let code = |x: f64| (x + 128.0).round().clamp(16.0, 240.0) as u8;
            (*u, *v) = (code(self.cos * a - self.sin * b), code(self.sin * a + self.cos * b));
        }
        picture
    }
}

/// Mirrored left to right, turned upside down, rows and columns exchanged.
fn turn(picture: &Picture, mirror: bool, flip: bool, transpose: bool) -> Result<Picture> {
    let plane = |samples: &[u8], width: usize| -> Vec<u8> {
        let height = samples.len() / width;
        let (out_width, out_height) = if transpose { (height, width) } else { (width, height) };
        let mut out = Vec::with_capacity(samples.len());
        for row in 0..out_height {
            for column in 0..out_width {
                let (x, y) = if transpose { (row, column) } else { (column, row) };
                let x = if mirror { width - 1 - x } else { x };
                let y = if flip { height - 1 - y } else { y };
                out.push(samples[y * width + x]);
            }
        }
        out
    };
    let (width, height) = (picture.width(), picture.height());
    let (shown_width, shown_height) = if transpose { (height, width) } else { (width, height) };
    let (y, u, v) = (
        plane(picture.y(), width),
        plane(picture.u(), picture.chroma_width()),
        plane(picture.v(), picture.chroma_width()),
    );
    Ok(Picture::new(shown_width, shown_height, y, u, v)?.with_matrix(picture.matrix()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use juror_media::scenes::Scene;

    fn frames() -> Vec<Frame> {
        Scene::random(3).render(200, 168, 30.0, 50).unwrap().collect()
    }

    #[test]
    fn turning_twice_gives_the_picture_back() {
        let picture = &frames()[0].picture;
        for (mirror, flip, transpose) in [(true, false, false), (false, true, false), (false, false, true)] {
            let once = turn(picture, mirror, flip, transpose).unwrap();
            assert_ne!(&once, picture);
            assert_eq!(&turn(&once, mirror, flip, transpose).unwrap(), picture);
        }
    }

    #[test]
    fn a_varied_source_is_another_and_follows_from_the_seed() {
        let source = frames();
        let varied = |seed| vary(source.clone(), &mut juror_nn::rng::stream(seed, &[])).unwrap();
        for seed in 0..4 {
            let made = varied(seed);
            assert_eq!(made, varied(seed));
            assert!(made.len() >= LEAST_FRAMES);
            assert!(made.windows(2).all(|w| w[0].pts_secs < w[1].pts_secs));
            let picture = &made[0].picture;
            assert!(picture != &source[0].picture && picture.width().min(picture.height()) >= LEAST_SIDE);
        }
    }
}
