//! Groups: all versions of one source at one size, observed, with what is known of each.
//!
//! One safetensors file per group, written atomically, so that a stopped run goes on where it was:
//! `fragments` u8 `[versions, moments, PLACES, 2, FRAGMENT_BYTES]`; everything else is JSON in the metadata.

use super::sources::Source;
use super::versions::{self, Place, Version};
use super::yardstick as full_reference;
use crate::config::{DataConfig, YardstickConfig};
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use juror_lmm::nano::{
    Cadence, FACTS_LEN, KINDS, MOMENT_BYTES, Moment, NanoConfig, Observation, Offset, PROFILE_LEN, TONE_LEN,
    kind_index, moment_frames, observe_frames,
};
use juror_media::distort::{self, Chain, Distortion, Kind};
use juror_media::encode::{Codec, EncodeOptions, Rate};
use juror_media::{Frame, Picture};
use memmap2::Mmap;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One version of a group and what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Example {
    /// How it was made.
    pub version: Version,
    /// Quality 0..1 of single pictures against the source, by the yardstick and its bounds.
    pub visual: f64,
    /// Quality 0..1 of motion alone.
    pub temporal: f64,
    /// The target, 0..1: `visual * temporal`, and what the source's size is worth.
    #[serde(skip)]
    pub quality: f64,
    /// True where the distortion was too mild to change a sample of the pictures looked at.
    pub same_pixels_as_source: bool,
    /// See `juror_lmm::nano`.
    #[serde(with = "as_list")]
    pub profile: [f32; PROFILE_LEN],
    /// See `juror_lmm::nano`; groups made before it was kept have none.
    #[serde(default)]
    pub cadence: Cadence,
    /// See `juror_lmm::nano`.
    pub tone: [f32; TONE_LEN],
    /// See `juror_lmm::nano`.
    pub facts: [f32; FACTS_LEN],
}

impl Example {
    /// Profile, tone and facts, as the body reads them.
    #[must_use]
    pub fn numbers(&self) -> (&[f32], &[f32], &[f32]) {
        (&self.profile, &self.tone, &self.facts)
    }

    /// Whether this is the untouched source.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.version.steps.is_empty()
    }

    /// Whether a temporal (or else a visual) distortion was applied.
    #[must_use]
    pub fn has_fault(&self, temporal: bool) -> bool {
        self.version.steps.iter().any(|step| named(&step.kind).is_ok_and(|k| k.is_temporal() == temporal))
    }

    /// Severity 0..1 per kind that the model names.
    #[must_use]
    pub fn severities(&self) -> [f32; KINDS.len()] {
        let mut out = [0f32; KINDS.len()];
        if !self.same_pixels_as_source {
            for step in &self.version.steps {
                if let Some(index) = model_kind(&step.kind) {
                    out[index] = out[index].max((step.level / 5.0) as f32);
                }
            }
        }
        out
    }

    /// The kind with the highest severity, if any is visible.
    #[must_use]
    pub fn dominant(&self) -> Option<usize> {
        self.dominant_among(0..KINDS.len())
    }

    /// The same of some kinds only.
    pub(crate) fn dominant_among(&self, kinds: Range<usize>) -> Option<usize> {
        let severities = self.severities();
        let best = kinds.max_by(|&a, &b| severities[a].total_cmp(&severities[b]))?;
        (severities[best] > 0.06).then_some(best)
    }
}

/// The model's kind for a simulator's, none where it has no word: all lossy video codecs are one.
pub(crate) fn model_kind(kind: &str) -> Option<usize> {
    kind_index(if named(kind).is_ok_and(Kind::is_codec) { "compression" } else { kind })
}

fn named(kind: &str) -> Result<Kind> {
    Ok(kind.parse::<Kind>()?)
}

/// Serde knows arrays only up to 32 numbers.
mod as_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        list: &[f32; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        list[..].serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[f32; N], D::Error> {
        let list = Vec::<f32>::deserialize(from)?;
        let len = list.len();
        list.try_into().map_err(|_| D::Error::invalid_length(len, &"as many numbers as a profile has"))
    }
}

/// A group on disk, memory-mapped.
pub struct GroupFile {
    /// The source's id.
    pub id: String,
    /// The source's content.
    pub content: String,
    /// The source first.
    pub examples: Vec<Example>,
    /// Moments per version.
    pub moments: usize,
    map: Mmap,
    data_start: usize,
}

impl GroupFile {
    /// The fragments of one moment, `[PLACES, 2, FRAGMENT_BYTES]`.
    ///
    /// # Errors
    /// When the file is shorter than it says.
    pub fn fragments(&self, version: usize, moment: usize) -> Result<&[u8]> {
        let start = self.data_start + (version * self.moments + moment) * MOMENT_BYTES;
        self.map.get(start..start + MOMENT_BYTES).with_context(|| format!("group {} is cut short", self.id))
    }

    /// What the model would keep of one version; when its moments were shown is not stored.
    ///
    /// # Errors
    /// When the file is shorter than it says.
    pub fn observation(&self, version: usize) -> Result<Observation> {
        let example = self.examples.get(version).context("no such version")?;
        let moments = (0..self.moments)
            .map(|m| Ok(Moment { pts_secs: 0.0, fragments: self.fragments(version, m)?.to_vec() }))
            .collect::<Result<_>>()?;
        Ok(Observation {
            moments,
            profile: example.profile,
            cadence: example.cadence.clone(),
            tone: example.tone,
            facts: example.facts,
        })
    }

    /// Opens a group.
    ///
    /// # Errors
    /// When the file is missing or is no group.
    #[allow(unsafe_code)]
    pub fn open(path: &Path) -> Result<Self> {
        let context = || format!("in {}", path.display());
        let file = std::fs::File::open(path).with_context(context)?;
        // SAFETY: groups are written under another name and renamed, and never changed afterwards.
        let map = unsafe { Mmap::map(&file) }.with_context(context)?;
        let (header_len, metadata) = safetensors::SafeTensors::read_metadata(&map).with_context(context)?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get("group")).with_context(context)?;
        let Header { id, content, short_side, moments, mut examples } =
            serde_json::from_str(text).with_context(context)?;
        for example in &mut examples {
            example.quality = example.visual * example.temporal * size_prior(short_side);
        }
        let data_start = 8 + header_len;
        ensure!(
            map.len() == data_start + examples.len() * moments * MOMENT_BYTES,
            "{} has {} bytes, which does not fit its header",
            path.display(),
            map.len()
        );
        Ok(Self { id, content, examples, moments, map, data_start })
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    id: String,
    content: String,
    /// Of the source, in pixels.
    short_side: usize,
    moments: usize,
    examples: Vec<Example>,
}

/// How one version of a group is made and cut.
pub struct Recipe {
    /// What is done to the source.
    pub version: Version,
    /// Decides the randomness in it.
    pub seed: u64,
    /// Where the fragments lie.
    pub offset: Offset,
}

/// Makes every training group that is not there yet and opens all of them. Sources that cannot be used are told
/// and left out.
///
/// # Errors
/// When a group cannot be written, or none is left.
pub fn prepare(
    config: &DataConfig,
    model: &NanoConfig,
    sources: &[Source],
    dir: &Path,
) -> Result<Vec<GroupFile>> {
    let held_out = config.held_out_codecs.iter().map(|k| named(k)).collect::<Result<Vec<_>>>()?;
    prepare_recipes(config, model, sources, dir, |rng| {
        // One seed for all: a higher level then drops the frames of a lower one and more.
        let seed = rng.random();
        let drawn = versions::draw(config.versions, &held_out, rng);
        // One place for all: what differs between two versions shows where they are laid over each other.
        let offset = Offset { x: 2 * rng.random_range(0..5), y: 2 * rng.random_range(0..5) };
        drawn.into_iter().map(|version| Recipe { version, seed, offset }).collect()
    })
}

/// As [`prepare`], with the versions that `recipes` draws for each source.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_recipes(
    config: &DataConfig,
    model: &NanoConfig,
    sources: &[Source],
    dir: &Path,
    recipes: impl Fn(&mut ChaCha8Rng) -> Vec<Recipe> + Sync,
) -> Result<Vec<GroupFile>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let bar = ProgressBar::new(sources.len() as u64).with_prefix("data");
    bar.set_style(ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} groups {eta} left")?);
    let made: Vec<Result<Option<GroupFile>>> = sources
        .par_iter()
        .map(|source| {
            let path = dir.join(format!("{}.safetensors", source.id));
            if !path.exists() {
                let recipes = recipes(&mut juror_nn::rng::stream(source.seed, &[1]));
                if let Err(error) = make(config, model, source, recipes, &path) {
                    tracing::warn!("left out {}: {error:#}", source.id);
                    bar.inc(1);
                    return Ok(None);
                }
            }
            bar.inc(1);
            GroupFile::open(&path).map(Some)
        })
        .collect();
    bar.finish_and_clear();
    let mut groups = Vec::new();
    for group in made {
        groups.extend(group?);
    }
    if groups.is_empty() {
        bail!("no source could be used");
    }
    Ok(groups)
}

fn make(
    config: &DataConfig,
    model: &NanoConfig,
    source: &Source,
    recipes: Vec<Recipe>,
    path: &Path,
) -> Result<()> {
    let frames = source.load(config)?;
    let looked_at: Vec<usize> = moment_frames(frames.len(), model.moments).iter().map(|m| m.0).collect();
    let mut examples = Vec::new();
    let mut fragments = Vec::new();
    for Recipe { version, seed, offset } in recipes {
        let shown = apply(&version, &frames, seed).with_context(|| format!("{version:?}"))?;
        let observation = observe_frames(&deliver(&version, &shown)?, model.moments, offset)?;
        for moment in &observation.moments {
            fragments.extend_from_slice(&moment.fragments);
        }
        let Judged { visual, temporal, same_pixels } =
            judge(&config.yardstick, &version, &frames, &shown, &looked_at)?;
        examples.push(Example {
            visual,
            temporal,
            quality: 0.0, // follows on opening
            same_pixels_as_source: same_pixels,
            profile: observation.profile,
            cadence: observation.cadence,
            tone: observation.tone,
            facts: observation.facts,
            version,
        });
    }
    let picture = &frames[0].picture;
    let header = Header {
        id: source.id.clone(),
        content: source.content.clone(),
        short_side: picture.width().min(picture.height()),
        moments: model.moments,
        examples,
    };
    write(&header, &fragments, path)
}

/// What a flawless picture of this size is worth, 0..1: a yardstick that compares a version with its source
/// calls any source perfect, but fewer pixels show less. Mild: .90 at a short side of 240, .95 at 480, .98 at 1080.
fn size_prior(short_side: usize) -> f64 {
    1.0 - 0.5 / (1.0 + (short_side as f64 / 80.0).powf(1.3))
}

fn write(header: &Header, fragments: &[u8], path: &Path) -> Result<()> {
    let shape = vec![header.examples.len(), header.moments, MOMENT_BYTES];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, shape, fragments)?;
    let metadata = [("group".to_owned(), serde_json::to_string(header)?)].into();
    let part = path.with_extension("part");
    safetensors::serialize_to_file([("fragments", view)], Some(metadata), &part)?;
    std::fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes one version in memory.
///
/// # Errors
/// When a kind is unknown or an encoder missing.
fn apply(version: &Version, source: &[Frame], seed: u64) -> Result<Vec<Frame>> {
    let mut frames = source.to_vec();
    for (i, step) in version.steps.iter().enumerate() {
        let distortion = Distortion::new(named(&step.kind)?, step.level)?;
        frames = match (&version.preset, distortion.encode_options()) {
            (Some(preset), Some(options)) => {
                distort::recode(&frames, EncodeOptions { preset: Some(preset.clone()), ..options })?
            }
            _ => Chain::new(vec![distortion]).apply_all(&frames, seed.wrapping_add(i as u64))?,
        };
    }
    if version.place != Place::Whole {
        for (frame, untouched) in frames.iter_mut().zip(source) {
            frame.picture = confine(&frame.picture, &untouched.picture, version.place)?;
        }
    }
    let touched = version.span.range(frames.len());
    for (i, (frame, untouched)) in frames.iter_mut().zip(source).enumerate() {
        if !touched.contains(&i) {
            frame.picture = untouched.picture.clone();
        }
    }
    Ok(frames)
}

/// The last encode of a version, where it has one. It is meant to be invisible, so what is known of the version
/// is judged without it.
fn deliver<'a>(version: &Version, shown: &'a [Frame]) -> Result<Cow<'a, [Frame]>> {
    let Some(crf) = version.delivery_crf else { return Ok(Cow::Borrowed(shown)) };
    let options =
        EncodeOptions { preset: Some("veryfast".into()), ..EncodeOptions::new(Codec::H264, Rate::Crf(crf)) };
    Ok(Cow::Owned(distort::recode(shown, options)?))
}

/// `inside` within the place, `outside` elsewhere; both of the same size.
fn confine(inside: &Picture, outside: &Picture, place: Place) -> Result<Picture> {
    let covers = |x: f64, y: f64| match place {
        Place::Whole => true,
        Place::Left => x < 0.5,
        Place::Right => x >= 0.5,
        Place::Top => y < 0.5,
        Place::Bottom => y >= 0.5,
        Place::Centre => (0.25..0.75).contains(&x) && (0.25..0.75).contains(&y),
    };
    let mix = |a: &[u8], b: &[u8], width: usize, height: usize| -> Vec<u8> {
        let position = |i: usize| ((i % width) as f64 / width as f64, (i / width) as f64 / height as f64);
        a.iter()
            .zip(b)
            .enumerate()
            .map(|(i, (a, b))| {
                let (x, y) = position(i);
                if covers(x, y) { *a } else { *b }
            })
            .collect()
    };
    let (width, height) = (inside.width(), inside.height());
    let (half_width, half_height) = (inside.chroma_width(), inside.chroma_height());
    Ok(Picture::new(
        width,
        height,
        mix(inside.y(), outside.y(), width, height),
        mix(inside.u(), outside.u(), half_width, half_height),
        mix(inside.v(), outside.v(), half_width, half_height),
    )?)
}

/// Whether the yardstick measures a kind: it compares frame by frame, and takes exposure too hard.
pub(crate) fn is_measured(kind: Kind) -> bool {
    !kind.is_temporal() && !matches!(kind, Kind::Darken | Kind::Brighten | Kind::Contrast)
}

/// A version against its source.
pub(crate) struct Judged {
    /// Quality 0..1 of single pictures.
    pub(crate) visual: f64,
    /// Quality 0..1 of motion alone.
    pub(crate) temporal: f64,
    /// True where none of the pictures looked at differs from the source's.
    same_pixels: bool,
}

/// Quality by the yardstick where it can see the distortion, by the severity where it cannot: VMAF and SSIM
/// compare frame by frame, and take exposure too hard and banding too lightly.
///
/// # Errors
/// When the yardstick fails.
pub(crate) fn judge(
    yardstick: &YardstickConfig,
    version: &Version,
    source: &[Frame],
    shown: &[Frame],
    looked_at: &[usize],
) -> Result<Judged> {
    let mut temporal = 1.0;
    let mut bound: f64 = 1.0;
    let mut measured = version.steps.is_empty();
    for step in &version.steps {
        match named(&step.kind)? {
            kind if kind.is_temporal() => temporal *= 1.0 - 0.15 * step.level,
            kind if !is_measured(kind) => bound = bound.min(1.0 - 0.12 * step.level),
            Kind::Banding => {
                bound = bound.min(1.0 - 0.1 * step.level);
                measured = true;
            }
            _ => measured = true,
        }
    }
    // On a still stretch a freeze changes nothing: then nothing is to be seen.
    if !version.steps.is_empty() && shown.iter().map(|f| &f.picture).eq(source.iter().map(|f| &f.picture)) {
        let itself = judge(yardstick, &Version::source(), source, shown, looked_at)?;
        return Ok(Judged { same_pixels: true, ..itself });
    }
    let alone = version.steps.len() == 1 || temporal == 1.0;
    let pick = |frames: &[Frame]| -> Vec<Picture> {
        looked_at.iter().filter_map(|&i| frames.get(i)).map(|f| f.picture.clone()).collect()
    };
    let (reference, distorted) = (pick(source), pick(shown));
    let same_pixels = reference == distorted && temporal == 1.0;
    let visual = if measured && alone {
        let (reference, distorted): (Vec<_>, Vec<_>) =
            (reference.iter().collect(), distorted.iter().collect());
        full_reference::quality(yardstick, &reference, &distorted)?.min(bound)
    } else if measured {
        // Frames no longer meet: judge the visual steps by themselves.
        let steps = version.steps.iter().filter(|s| named(&s.kind).is_ok_and(|k| !k.is_temporal()));
        let visual_only = Version { steps: steps.cloned().collect(), ..version.clone() };
        let shown = apply(&visual_only, source, 0)?;
        return Ok(Judged { temporal, ..judge(yardstick, &visual_only, source, &shown, looked_at)? });
    } else {
        bound
    };
    Ok(Judged { visual: visual.clamp(0.01, 1.0), temporal, same_pixels })
}

/// Where the groups of a run are kept.
#[must_use]
pub fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("groups")
}
