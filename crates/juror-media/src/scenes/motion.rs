//! How layers and sprites move: pans, sways, zooms, scrolling with pauses, bouncing paths. Lengths in picture heights.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// A slow oscillation.
#[derive(Clone, Copy)]
pub(super) struct Sway {
    amplitude: f64,
    hertz: f64,
    phase: f64,
}

impl Sway {
    fn random(amplitude: f64, rng: &mut ChaCha8Rng) -> Self {
        let amplitude = amplitude * rng.random::<f64>();
        Self { amplitude, hertz: rng.random_range(0.05..0.6), phase: rng.random::<f64>() * TAU }
    }

    fn at(self, secs: f64) -> f64 {
        self.amplitude * (TAU * self.hertz * secs + self.phase).sin()
    }
}

/// Where a camera looks: what lies in the middle of the picture, how much is seen, how it is turned.
#[derive(Clone, Copy)]
pub(super) struct View {
    /// Place on the tile that is seen in the middle, in picture heights.
    pub(super) centre: [f64; 2],
    /// Tile pixels per picture pixel.
    pub(super) scale: f64,
    /// Radians.
    pub(super) turn: f64,
}

/// The motion of a layer under a camera.
#[derive(Clone, Copy)]
pub(super) enum Motion {
    /// Nothing moves; the tile lies in the picture's upper left.
    Still,
    /// A hand-held, panning, zooming camera.
    Camera { start: [f64; 2], velocity: [f64; 2], sway: [Sway; 2], zoom: Sway, scale: f64, turn: Sway },
    /// Vertical scrolling in whole pixels: moves for a while, then stands.
    Scroll { velocity: f64, moving_secs: f64, standing_secs: f64 },
}

impl Motion {
    /// A camera of random calm or haste; one in four stands on a tripod.
    pub(super) fn camera(rng: &mut ChaCha8Rng) -> Self {
        let tripod = rng.random_bool(0.25);
        let speed = if tripod { 0.0 } else { 0.4 * rng.random::<f64>().powi(2) + 0.01 };
        let shakiness = if tripod { 0.0 } else { 0.02 };
        let (sine, cosine) = (rng.random::<f64>() * TAU).sin_cos();
        let zooming = !tripod && rng.random_bool(0.5);
        let turning = !tripod && rng.random_bool(0.3);
        Self::Camera {
            start: [rng.random_range(0.0..2.0), rng.random_range(0.0..2.0)],
            velocity: [speed * cosine, 0.5 * speed * sine],
            sway: [Sway::random(shakiness, rng), Sway::random(shakiness, rng)],
            zoom: Sway::random(if zooming { 0.15 } else { 0.0 }, rng),
            scale: rng.random_range(0.85..1.05),
            turn: Sway::random(if turning { 0.05 } else { 0.0 }, rng),
        }
    }

    /// The same camera seen by a layer that is `factor` times nearer, and elsewhere on its tile.
    pub(super) fn nearer(self, factor: f64, rng: &mut ChaCha8Rng) -> Self {
        match self {
            Self::Camera { velocity, sway, zoom, scale, turn, .. } => Self::Camera {
                start: [rng.random_range(0.0..2.0), rng.random_range(0.0..2.0)],
                velocity: velocity.map(|v| v * factor),
                sway: sway.map(|s| Sway { amplitude: s.amplitude * factor, ..s }),
                zoom,
                scale,
                turn,
            },
            other => other,
        }
    }

    pub(super) fn scroll(rng: &mut ChaCha8Rng) -> Self {
        Self::Scroll {
            velocity: rng.random_range(0.1..0.8) * if rng.random_bool(0.2) { -1.0 } else { 1.0 },
            moving_secs: rng.random_range(0.3..2.0),
            standing_secs: rng.random_range(0.0..2.0),
        }
    }

    /// The view at a time, for a picture of `aspect` (width over height) and `height` pixels.
    pub(super) fn at(&self, secs: f64, aspect: f64, height: f64) -> View {
        let corner = [aspect / 2.0, 0.5];
        match self {
            Self::Still => View { centre: corner, scale: 1.0, turn: 0.0 },
            Self::Scroll { velocity, moving_secs, standing_secs } => {
                let cycle = moving_secs + standing_secs;
                let moved_secs = (secs / cycle).floor() * moving_secs + (secs % cycle).min(*moving_secs);
                let scrolled = (velocity * moved_secs * height).round() / height;
                View { centre: [corner[0], corner[1] + scrolled], scale: 1.0, turn: 0.0 }
            }
            Self::Camera { start, velocity, sway, zoom, scale, turn } => View {
                centre: [0, 1].map(|i| start[i] + velocity[i] * secs + sway[i].at(secs)),
                scale: scale * (1.0 + zoom.at(secs)),
                turn: turn.at(secs),
            },
        }
    }
}

/// The way of a sprite over the picture: straight on, thrown back beyond the edges, with a sway.
#[derive(Clone, Copy)]
pub(super) struct Path {
    start: [f64; 2],
    velocity: [f64; 2],
    sway: [Sway; 2],
    /// Changes of place happen only this often; 0: always.
    step_secs: f64,
}

impl Path {
    /// A random way; with `step_secs`, it moves only that often, as drawn animation does.
    pub(super) fn random(step_secs: f64, rng: &mut ChaCha8Rng) -> Self {
        let speed = 0.8 * rng.random::<f64>().powi(2);
        let (sine, cosine) = (rng.random::<f64>() * TAU).sin_cos();
        Self {
            start: [rng.random_range(0.0..2.0), rng.random_range(0.0..1.0)],
            velocity: [speed * cosine, speed * sine],
            sway: [Sway::random(0.1, rng), Sway::random(0.1, rng)],
            step_secs,
        }
    }

    /// Middle of the sprite at a time, in picture heights from the upper left.
    pub(super) fn at(&self, secs: f64, aspect: f64) -> [f64; 2] {
        let secs =
            if self.step_secs > 0.0 { (secs / self.step_secs + 1e-6).floor() * self.step_secs } else { secs };
        [0, 1].map(|i| {
            let size = if i == 0 { aspect } else { 1.0 };
            let place = self.start[i] + self.velocity[i] * secs + self.sway[i].at(secs);
            // There and back between -0.1 and size + 0.1.
            let span = size + 0.2;
            let folded = (place + 0.1).rem_euclid(2.0 * span);
            folded.min(2.0 * span - folded) - 0.1
        })
    }
}
