//! Procedural scenes: moving pictures made from a seed, so that a fresh clone can train and test without any clip.
//!
//! A [`Scene`] is a few layers (large periodic pictures seen through a panning, zooming, turning camera, nearer ones moving faster) and
//! sprites on ways of their own, in one of five [`Family`]s. Textures have the 1/f spectrum and dead leaves the occlusions of nature;
//! screen content has hard edges, flat areas and long pauses. A quarter of the cameras stand still; half of the camera-like
//! scenes have sensor noise. The same seed gives the same scene at every size and frame rate, up to pixels.
//!
//! Left out: motion blur, depth of field, cuts, faces and everything else that only cameras find.

mod motion;
mod noise;
mod paint;
mod screen;
mod text;
mod tile;

use crate::distort::Noise;
use crate::{Frame, MediaError, Picture};
use motion::{Motion, Path};
use noise::Field;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tile::{FRACTION_BITS, Tile};

/// What a scene is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Textured dead leaves in up to three depths.
    Leaves,
    /// Fractal textures and gradients, little else.
    Texture,
    /// Lit balls before a texture or gradient.
    Bodies,
    /// Flat, outlined drawings; they may move on twos (every second frame of 24 per second), as drawn animation does.
    Drawing,
    /// Windows, text, a scrolling page, a pointer.
    Screen,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 5] = [Self::Leaves, Self::Texture, Self::Bodies, Self::Drawing, Self::Screen];
}

/// A scene, decided by its seed and family alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scene {
    family: Family,
    seed: u64,
}

impl Scene {
    /// A scene of a random family.
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::of(Family::ALL[rng.random_range(0..Family::ALL.len())], seed)
    }

    /// A scene of one family.
    pub fn of(family: Family, seed: u64) -> Self {
        Self { family, seed }
    }

    /// What it is made of.
    pub fn family(self) -> Family {
        self.family
    }

    /// Its frames, `n_frames` of `width` x `height` at times `i / fps`. Layers are painted here; the frames when asked for.
    ///
    /// # Errors
    /// [`MediaError::Invalid`] unless 16 to 8192 pixels a side and a frame rate over 0 are asked for.
    pub fn render(
        self,
        width: usize,
        height: usize,
        fps: f64,
        n_frames: usize,
    ) -> Result<Frames, MediaError> {
        if !(16..=8192).contains(&width) || !(16..=8192).contains(&height) {
            return Err(MediaError::invalid(format!(
                "a scene of {width}x{height} pixels; 16 to 8192 on each side are allowed"
            )));
        }
        if !(fps > 0.0 && fps.is_finite()) {
            return Err(MediaError::invalid(format!(
                "a scene of {fps} frames per second; more than 0 is needed"
            )));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + self.family as u64);
        let size = Size { width, height };
        let mut builder = Builder { size, rng: &mut rng, layers: Vec::new(), sprites: Vec::new() };
        match self.family {
            Family::Leaves => builder.leaves(),
            Family::Texture => builder.texture(),
            Family::Bodies => builder.bodies(),
            Family::Drawing => builder.drawing(),
            Family::Screen => builder.screen(),
        }
        let (layers, sprites) = (builder.layers, builder.sprites);
        let camera_like = !matches!(self.family, Family::Drawing | Family::Screen);
        let noise = (camera_like && rng.random_bool(0.5)).then(|| {
            let deviation: f64 = rng.random_range(0.5..2.5);
            Noise::new((deviation / 255.0).powi(2), self.seed)
        });
        Ok(Frames { size, fps, next: 0, n_frames, layers, sprites, noise })
    }
}

#[derive(Clone, Copy)]
struct Size {
    width: usize,
    height: usize,
}

impl Size {
    fn aspect(self) -> f64 {
        self.width as f64 / self.height as f64
    }
}

/// A part of the picture, in pixels.
#[derive(Clone, Copy)]
struct Window {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// A tile seen through a camera, within a window of the picture.
struct Layer {
    tile: Tile,
    motion: Motion,
    window: Window,
}

/// A tile on its way over the picture.
struct Sprite {
    tile: Tile,
    path: Path,
}

/// Puts a scene together.
struct Builder<'a> {
    size: Size,
    rng: &'a mut ChaCha8Rng,
    layers: Vec<Layer>,
    sprites: Vec<Sprite>,
}

impl Builder<'_> {
    /// Picture height in pixels.
    fn height(&self) -> f32 {
        self.size.height as f32
    }

    /// Side of the periodic tiles: two picture heights.
    fn side(&self) -> usize {
        2 * self.size.height
    }

    /// A generator for one part of the scene: how much a part draws depends on its size in pixels, and must not change
    /// the parts after it.
    fn own_rng(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.rng.random())
    }

    fn field(&mut self, roughness: f32) -> Field {
        Field::fractal(self.side(), roughness, &mut self.own_rng())
    }

    fn layer(&mut self, motion: Motion, paint: impl FnOnce(&mut tile::Canvas, &mut ChaCha8Rng)) {
        let Size { width, height } = self.size;
        let mut rng = self.own_rng();
        let tile = Tile::painted(self.side(), self.side(), |canvas| paint(canvas, &mut rng));
        self.layers.push(Layer { tile, motion, window: Window { left: 0, top: 0, width, height } });
    }

    /// A sprite of `share` of the picture's height.
    fn sprite(&mut self, share: f32, step_secs: f64, paint: impl FnOnce(&mut tile::Canvas, &mut ChaCha8Rng)) {
        let side = ((share * self.height()) as usize).max(8);
        let mut rng = self.own_rng();
        let tile = Tile::painted(side, side, |canvas| paint(canvas, &mut rng));
        let path = Path::random(step_secs, self.rng);
        self.sprites.push(Sprite { tile, path });
    }

    fn leaves(&mut self) {
        let (texture, height) = (self.field(0.7), self.height());
        let camera = Motion::camera(self.rng);
        self.layer(camera, |canvas, rng| paint::natural_leaves(canvas, height, &texture, rng));
        for depth in 0..self.rng.random_range(0..3) {
            let nearer = camera.nearer(1.6 + 0.8 * f64::from(depth), self.rng);
            self.layer(nearer, |canvas, rng| paint::sparse_leaves(canvas, height, &texture, rng));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let share = self.rng.random_range(0.1..0.4);
            self.sprite(share, 0.0, |canvas, rng| paint::ball(canvas, &texture, rng));
        }
    }

    fn texture(&mut self) {
        let roughness = self.rng.random_range(0.4..0.75);
        let (field, detail) = (self.field(roughness), self.field(0.85));
        let camera = Motion::camera(self.rng);
        if self.rng.random_bool(0.3) {
            self.layer(camera, paint::gradient);
        } else {
            self.layer(camera, |canvas, rng| paint::clouds(canvas, &field, &detail, rng));
        }
        if self.rng.random_bool(0.4) {
            let (nearer, height) = (camera.nearer(1.8, self.rng), self.height());
            self.layer(nearer, |canvas, rng| paint::sparse_leaves(canvas, height, &detail, rng));
        }
    }

    fn bodies(&mut self) {
        let (field, detail) = (self.field(0.5), self.field(0.8));
        let camera = Motion::camera(self.rng);
        if self.rng.random_bool(0.5) {
            self.layer(camera, paint::gradient);
        } else {
            self.layer(camera, |canvas, rng| paint::clouds(canvas, &field, &detail, rng));
        }
        for _ in 0..self.rng.random_range(3..10) {
            let share = self.rng.random_range(0.08..0.5);
            self.sprite(share, 0.0, |canvas, rng| paint::ball(canvas, &detail, rng));
        }
    }

    fn drawing(&mut self) {
        let height = self.height();
        let camera = Motion::camera(self.rng);
        self.layer(camera, |canvas, rng| paint::flat_areas(canvas, height, rng));
        let step_secs = if self.rng.random_bool(0.4) { 1.0 / 12.0 } else { 0.0 };
        for _ in 0..self.rng.random_range(2..9) {
            let share = self.rng.random_range(0.1..0.5);
            self.sprite(share, step_secs, paint::drawing);
        }
    }

    fn screen(&mut self) {
        let (texture, height) = (self.field(0.6), self.height());
        self.layer(Motion::Still, |canvas, rng| screen::desktop(canvas, height, &texture, rng));
        if self.rng.random_bool(0.75) {
            let Size { width, height: rows } = self.size;
            let mut share =
                |size: usize, from: f64, to: f64| (size as f64 * self.rng.random_range(from..to)) as usize;
            let window = Window {
                left: share(width, 0.0, 0.25),
                top: share(rows, 0.0, 0.15),
                width: share(width, 0.35, 0.75),
                height: share(rows, 0.5, 0.8),
            };
            let (motion, mut rng) = (Motion::scroll(self.rng), self.own_rng());
            let tile = Tile::painted(window.width, 3 * rows, |canvas| {
                screen::page(canvas, height, &texture, &mut rng)
            });
            self.layers.push(Layer { tile, motion, window });
        }
        self.sprite(0.06, 0.0, |canvas, _| screen::pointer(canvas));
    }
}

/// The frames of a scene; see [`Scene::render`].
pub struct Frames {
    size: Size,
    fps: f64,
    next: usize,
    n_frames: usize,
    layers: Vec<Layer>,
    sprites: Vec<Sprite>,
    noise: Option<Noise>,
}

impl Iterator for Frames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.next == self.n_frames {
            return None;
        }
        let pts_secs = self.next as f64 / self.fps;
        self.next += 1;
        let mut picture = self.draw(pts_secs)?;
        if let Some(noise) = &mut self.noise {
            noise.apply(&mut picture);
        }
        Some(Frame { picture, pts_secs })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.n_frames - self.next;
        (left, Some(left))
    }
}

impl Frames {
    /// All layers and sprites at a time, row by row, two rows at once for the chroma they share.
    fn draw(&self, secs: f64) -> Option<Picture> {
        let Size { width, height } = self.size;
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let mut luma = Vec::with_capacity(width * height);
        let mut chroma = [
            Vec::with_capacity(chroma_width * chroma_height),
            Vec::with_capacity(chroma_width * chroma_height),
        ];
        let strips: Vec<Strip> = self.strips(secs);
        let mut rows = [vec![0u64; width], vec![0u64; width]];
        for top in (0..height).step_by(2) {
            for (row, y) in rows.iter_mut().zip(top..height) {
                row.fill(0);
                for strip in &strips {
                    strip.draw(row, y);
                }
                luma.extend(row.iter().map(|&lanes| tile::channels(lanes)[0] as u8));
            }
            if top + 1 == height {
                let (first, second) = rows.split_at_mut(1);
                second[0].copy_from_slice(&first[0]);
            }
            for x in (0..width).step_by(2) {
                // Chroma lies on the left column, midway between the rows: weights 1 2 1 across.
                let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
                let mut sums = [4u16; 2];
                for row in &rows {
                    for (at, weight) in [(left, 1), (x, 2), (right, 1)] {
                        let [_, u, v] = tile::channels(row[at]);
                        sums[0] += weight * u;
                        sums[1] += weight * v;
                    }
                }
                chroma[0].push((sums[0] / 8) as u8);
                chroma[1].push((sums[1] / 8) as u8);
            }
        }
        let [u, v] = chroma;
        Picture::new(width, height, luma, u, v).ok()
    }

    /// Every layer and sprite as what is drawn in the frame at this time.
    fn strips(&self, secs: f64) -> Vec<Strip<'_>> {
        let (aspect, height) = (self.size.aspect(), self.size.height as f64);
        let layers = self.layers.iter().map(|Layer { tile, motion, window }| {
            let view = motion.at(secs, window.width as f64 / height, height);
            let (sine, cosine) = view.turn.sin_cos();
            let step = [view.scale * cosine, view.scale * sine];
            // From the middle of the picture's height-based frame to the middle of the window's first pixel.
            let (to_x, to_y) = (0.5 - window.width as f64 / 2.0, 0.5 - height / 2.0);
            let origin = [
                view.centre[0] * height + step[0] * to_x - step[1] * to_y - 0.5,
                view.centre[1] * height + step[1] * to_x + step[0] * to_y - 0.5,
            ];
            Strip { tile, window: *window, origin, step }
        });
        let sprites = self.sprites.iter().filter_map(|Sprite { tile, path }| {
            let place = path.at(secs, aspect);
            let left = place[0] * height - tile.width() as f64 / 2.0;
            let top = place[1] * height - tile.height() as f64 / 2.0;
            // Pixels all of whose four neighbours lie within the tile.
            let span = |start: f64, size: usize, limit: usize| {
                let first = start.ceil().max(0.0) as usize;
                let end = ((start + size as f64 - 1.0).floor().max(0.0) as usize).min(limit);
                (first, end.saturating_sub(first))
            };
            let (first_x, columns) = span(left, tile.width(), self.size.width);
            let (first_y, rows) = span(top, tile.height(), self.size.height);
            let window = Window { left: first_x, top: first_y, width: columns, height: rows };
            let origin = [first_x as f64 - left, first_y as f64 - top];
            (columns > 0 && rows > 0).then_some(Strip { tile, window, origin, step: [1.0, 0.0] })
        });
        layers.chain(sprites).collect()
    }
}

/// A tile placed in one frame.
struct Strip<'a> {
    tile: &'a Tile,
    window: Window,
    /// Tile coordinates of the window's first pixel.
    origin: [f64; 2],
    /// Change of the tile coordinates from one pixel to the next on its right; downwards it is this, turned by a quarter.
    step: [f64; 2],
}

impl Strip<'_> {
    fn draw(&self, row: &mut [u64], y: usize) {
        let Window { left, top, width, height } = self.window;
        if !(top..top + height).contains(&y) {
            return;
        }
        let down = (y - top) as f64;
        let fixed = |value: f64| (value * f64::from(1u32 << FRACTION_BITS)).round() as i64;
        let end = (left + width).min(row.len());
        self.tile.draw_row(
            &mut row[left..end],
            fixed(self.origin[0] - self.step[1] * down),
            fixed(self.origin[1] + self.step[0] * down),
            fixed(self.step[0]),
            fixed(self.step[1]),
        );
    }
}
