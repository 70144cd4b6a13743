//! Sources: stretches of clips, shrunk to hide their own compression, as they are or varied, and procedural scenes.

use super::vary::vary;
use crate::config::{ClipFolder, DataConfig};
use anyhow::{Context, Result, ensure};
use juror_media::scenes::Scene;
use juror_media::{Frame, TimeWindow, Video};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source before it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Unique, and a fit file name.
    pub id: String,
    /// The clip or scene it shows: sources of one content are never on both sides of a split.
    pub content: String,
    /// Where its frames come from.
    pub origin: Origin,
    /// Decides stretch, size and scene.
    pub seed: u64,
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// A file, with its rough quality prior.
    Clip {
        /// The file.
        path: PathBuf,
        /// `pristine`, `light`, `moderate` or `heavy`.
        prior: String,
        /// Whether it is varied (`super::vary`).
        varied: bool,
    },
    /// A rendered scene.
    Scene,
}

#[derive(Deserialize)]
struct ClipRow {
    file: String,
    quality: String,
}

/// That no clip which decides is trained on.
pub(crate) fn apart(validation: &[Source], training: &[Source]) -> Result<()> {
    let clips = |sources: &[Source]| -> BTreeSet<PathBuf> {
        let path = |source: &Source| match &source.origin {
            Origin::Clip { path, .. } => Some(path.canonicalize().unwrap_or_else(|_| path.clone())),
            Origin::Scene => None,
        };
        sources.iter().filter_map(path).collect()
    };
    let both = clips(validation);
    let both: Vec<String> = both.intersection(&clips(training)).map(|p| p.display().to_string()).collect();
    ensure!(both.is_empty(), "{} clips are in `validation` too, the first is {}", both.len(), both[0]);
    Ok(())
}

/// All sources of a run, in a fixed order.
///
/// # Errors
/// When the clips' table is missing or broken.
pub fn list(config: &DataConfig, seed: u64) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let named = |name: &str| juror_nn::rng::derive_named(seed, name);
    for ClipFolder { folder, groups, varied } in &config.clips {
        let table = folder.with_extension("csv");
        let mut reader =
            csv::Reader::from_path(&table).with_context(|| format!("cannot read {}", table.display()))?;
        for row in reader.deserialize() {
            let ClipRow { file, quality } = row.with_context(|| format!("in {}", table.display()))?;
            let content =
                Path::new(&file).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            for turn in 0..groups + varied {
                let id = format!("{content}-{turn}");
                let (path, prior) = (folder.join(&file), quality.clone());
                let origin = Origin::Clip { path, prior, varied: turn >= *groups };
                sources.push(Source { seed: named(&id), id, content: content.clone(), origin });
            }
        }
    }
    for number in 0..config.scenes {
        let id = format!("scene-{number:03}");
        sources.push(Source { seed: named(&id), content: id.clone(), id, origin: Origin::Scene });
    }
    Ok(sources)
}

impl Source {
    /// Frames of this source: a random stretch at a random size.
    ///
    /// # Errors
    /// When the file cannot be decoded or is too short.
    pub fn load(&self, config: &DataConfig) -> Result<Vec<Frame>> {
        let mut rng = juror_nn::rng::stream(self.seed, &[0]);
        let count = rng.random_range(config.max_frames * 3 / 5..=config.max_frames);
        let side = config.short_sides.choose(&mut rng).copied().context("data.short_sides is empty")?;
        match &self.origin {
            Origin::Scene => {
                let shape = [(16, 9), (9, 16), (4, 3), (1, 1)].choose(&mut rng).copied().unwrap_or((16, 9));
                let (width, height) = sized(shape.0, shape.1, side);
                let fps = [24.0, 25.0, 30.0, 30.0, 50.0, 60.0].choose(&mut rng).copied().unwrap_or(30.0);
                Ok(Scene::random(self.seed).render(width, height, fps, count)?.collect())
            }
            Origin::Clip { path, prior, varied } => {
                let start: f64 = rng.random();
                let frames = load_clip(path, prior, side, count, start)
                    .with_context(|| format!("{}", path.display()))?;
                if *varied { vary(frames, &mut rng) } else { Ok(frames) }
            }
        }
    }
}

/// `count` frames from `start` (0..1 of what can be skipped), shrunk to a short side of at most `side`.
fn load_clip(path: &Path, prior: &str, side: usize, count: usize, start: f64) -> Result<Vec<Frame>> {
    let video = Video::open(path)?;
    let info = video.info();
    // The worse a clip's own compression, the more it must shrink to hide it.
    let hide = match prior {
        "pristine" => 1.0,
        "light" => 0.75,
        _ => 0.5,
    };
    let (width, height) = (info.width, info.height);
    let short = width.min(height);
    let side = side.min((short as f64 * hide) as usize).max(short.min(160));
    let available = (info.duration_secs * info.fps) as usize;
    let skip = (available.saturating_sub(count) as f64 * start) as usize;
    let mut stream = video.frames(TimeWindow::default())?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut index = 0;
    while frames.len() < count {
        let Some(decoded) = stream.next_frame()? else { break };
        if index >= skip {
            let (w, h) = sized(width, height, side);
            let picture = decoded.to_picture()?.resized(w, h)?;
            frames.push(Frame { picture, pts_secs: decoded.pts_secs() });
        }
        index += 1;
    }
    ensure!(frames.len() >= 12, "only {} frames, at least 12 are needed", frames.len());
    let zero = frames[0].pts_secs;
    frames.iter_mut().for_each(|f| f.pts_secs -= zero);
    Ok(frames)
}

/// Even width and height of the shape whose short side is `side`.
fn sized(width: usize, height: usize, side: usize) -> (usize, usize) {
    let scale = side as f64 / width.min(height) as f64;
    let even = |v: usize| ((v as f64 * scale / 2.0).round() as usize * 2).max(2);
    (even(width), even(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClipFolder, YardstickConfig};

    #[test]
    fn a_clip_gives_plain_and_varied_sources_of_one_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("clips.csv"), "file,quality\nsea.mp4,light\n").unwrap();
        let folder = ClipFolder { folder: dir.path().join("clips"), groups: 2, varied: 1 };
        let config = DataConfig {
            clips: vec![folder],
            scenes: 1,
            short_sides: vec![240],
            max_frames: 20,
            versions: 2,
            held_out_codecs: Vec::new(),
            yardstick: YardstickConfig::MsSsim,
        };
        let sources = list(&config, 1).unwrap();
        let shown: Vec<_> = sources
            .iter()
            .map(|s| {
                (s.id.as_str(), s.content.as_str(), matches!(s.origin, Origin::Clip { varied: true, .. }))
            })
            .collect();
        let scene = ("scene-000", "scene-000", false);
        assert_eq!(shown, [("sea-0", "sea", false), ("sea-1", "sea", false), ("sea-2", "sea", true), scene]);
        assert_ne!(sources[0].seed, sources[2].seed);
    }
}
