//! What a set consists of before anything is made: for each source the video as it came, its pristine version and families
//! of distorted ones, each with an id that its content decides.
//!
//! A *family* is one distortion, or a chain whose last step varies, at every level of the configuration; all its versions share the
//! seed, so that what falls at random falls alike and only severity differs. Its order of quality is known.

use super::config::PairsConfig;
use super::id_of;
use super::sources::Source;
use anyhow::Result;
use juror_media::distort::{Chain, Distortion, Kind};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

/// Raised when the same recipe comes to give other pixels.
const RECIPES: &str = "recipes/1";

/// What a video of the set is.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// The file as it came.
    Original,
    /// The stretch that the distorted versions are made of.
    Pristine,
    /// A version of known severity.
    Distorted {
        /// Which family of its source.
        family: usize,
        /// Place among the levels, from 1; the pristine version is 0.
        place: usize,
        /// What is done.
        chain: Chain,
    },
}

/// A video before it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Decided by content and recipe.
    pub id: String,
    /// What it is.
    pub role: Role,
    /// Of what falls at random in its chain.
    pub seed: u64,
}

impl Planned {
    /// What is done, as text: `original`, `pristine` or the chain.
    #[must_use]
    pub fn recipe(&self) -> String {
        match &self.role {
            Role::Original => "original".into(),
            Role::Pristine => "pristine".into(),
            Role::Distorted { chain, .. } => chain.to_string(),
        }
    }
}

/// What is known of a video once it is there. An `error` says that it cannot be made, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Of the file.
    pub sha256: String,
    /// Of the file.
    pub bytes: u64,
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// Frames.
    pub frames: usize,
    /// Quality 0..1 of single pictures against the source, for the written comparisons; none where it was not measured.
    pub visual: Option<f64>,
    /// Quality 0..1 of motion; likewise.
    pub temporal: Option<f64>,
    /// Where the longest hold lies, 0..1 of the duration.
    pub hold_centre: f32,
    /// Why it cannot be made.
    pub error: Option<String>,
}

/// The videos of one source, the original (of files) and the pristine one first.
///
/// # Errors
/// An unknown kind.
pub fn of_source(config: &PairsConfig, source: &Source) -> Result<Vec<Planned>> {
    let mut videos = Vec::new();
    if let Some(sha256) = source.content_sha256() {
        let id = id_of(&["original", RECIPES, sha256]);
        videos.push(Planned { id, role: Role::Original, seed: 0 });
    }
    let delivery = config.versions.delivery_crf.to_string();
    let id = id_of(&["pristine", RECIPES, &source.id, &delivery]);
    videos.push(Planned { id, role: Role::Pristine, seed: 0 });
    let mut rng = juror_nn::rng::stream(source.seed, &[2]);
    let mut kinds = config.versions.kinds()?;
    kinds.retain(|kind| is_available(*kind));
    kinds.shuffle(&mut rng);
    for family in 0..config.versions.families {
        let Some(&kind) = kinds.get(family) else { break };
        let seed: u64 = rng.random();
        let before = before(kind, config.versions.chains, &mut rng)?;
        for (index, &level) in config.versions.levels.iter().enumerate() {
            let mut steps = before.clone();
            steps.push(Distortion::new(kind, level)?);
            let chain = Chain::new(steps);
            let recipe = chain.to_string();
            let id = id_of(&["distorted", RECIPES, &source.id, &delivery, &recipe, &seed.to_string()]);
            videos.push(Planned { id, role: Role::Distorted { family, place: index + 1, chain }, seed });
        }
    }
    Ok(videos)
}

/// Whether the FFmpeg at hand can make it.
#[must_use]
pub fn is_available(kind: Kind) -> bool {
    let options = Distortion::new(kind, 3.0).ok().and_then(Distortion::encode_options);
    options.is_none_or(|options| options.codec.is_available())
}

/// What happened to the picture before a codec gets it: often nothing, else what makes lower rungs and soft sources.
fn before(kind: Kind, share: f64, rng: &mut impl rand::Rng) -> Result<Vec<Distortion>> {
    // Drawn in any case, so that other kinds leave the stream of numbers as it is.
    let (draw, level): (f64, f64) = (rng.random(), rng.random_range(1.0..3.0));
    let first = [Kind::Rescale, Kind::Resolution, Kind::GaussianBlur].choose(rng).copied();
    let Some(first) = first.filter(|_| kind.is_codec() && draw < share) else { return Ok(Vec::new()) };
    // Two decimals say enough, and read well in a recipe.
    Ok(vec![Distortion::new(first, (level * 100.0).round() / 100.0)?])
}
