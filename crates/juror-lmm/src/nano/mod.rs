//! `nano`: juror's own small model, whose weights are inside the program.
//!
//! The parts of the large judges in miniature, trained by juror's own pipeline (`juror train sft`):
//! `observation` (fragments of a few moments and their tone, a profile of all frames, viewing facts) -> `body` (mixers over
//! DCT patches, quality logits, distortions) -> `decoder` (writes the reasons, corrects the margin). Two videos of one content are
//! references for each other, too (`pair`): laid over each other place by place (`contrast`, of what the body sees) and block by block
//! (`overlay`, of the `evidence` in their `spectra`), and held beside each other in time (`cadence`) and in what is named (`naming`).
//! What it follows and measured: the design notes `nano.md`; its own figures: `MODEL_CARD.md` beside the weights.

mod body;
mod cadence;
mod config;
mod contrast;
mod decoder;
mod ensemble;
mod evidence;
mod fragments;
mod motion;
mod naming;
mod observation;
mod overlay;
mod pair;
mod patches;
mod profile;
mod spectra;
mod tone;
mod voice;
mod watch;

pub use body::{Body, BodyOutput, FACTS_LEN, Numbers, Sides, Views, is_temporal, kind_index};
pub use cadence::Cadence;
pub use config::{Calibration, KINDS, NanoConfig};
pub use decoder::{Cache, Decoder, VideoFeatures};
pub use ensemble::Ensemble;
pub use evidence::{COMMON, DIFFERENCES, Evidence};
pub use fragments::{CONTEXT_PLACES, FRAGMENT_BYTES, Hue, MOMENT_BYTES, NATIVE_PLACES, Offset, PLACES, Turn};
pub use observation::{Moment, Observation, facts, moment_frames, observe_frames};
pub use overlay::{Faults, LAID_KINDS, Overlaid, Overlay};
pub use pair::{PairFeatures, Vision};
pub use patches::{PATCH_LEN, PATCHES, features as patch_features};
pub use profile::{HOLD_CENTRE, PROFILE_LEN, ProfileBuilder};
pub use spectra::Spectra;
pub use tone::TONE_LEN;
pub use voice::{COMPARE, DESCRIBE, END, Voice};

use crate::error::{Error, Result};
use crate::judge::{
    Features, JudgeOptions, Lmm, ModelInfo, PairJudgement, ScoreJudgement, WatchOptions, Watched,
};
use candle_core::{Device, IndexOp, Tensor};
use juror_media::Video;
use juror_nn::params::Params;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

/// The embedded weights and what goes with them.
mod embedded {
    pub(super) const WEIGHTS: &[u8] = include_bytes!("../../weights/nano/model.safetensors");
    pub(super) const CONFIG: &str = include_str!("../../weights/nano/config.json");
    pub(super) const TOKENIZER: &[u8] = include_bytes!("../../weights/nano/tokenizer.json");
}

/// Size of the weights inside the program.
pub fn embedded_bytes() -> u64 {
    embedded::WEIGHTS.len() as u64
}

/// Margins below this, in points, have no sign worth agreeing on.
const NO_SIGN: f64 = 0.05;
/// What a rank logit is worth in points, at middling quality.
const POINTS_PER_LOGIT: f64 = 0.3;
/// Standard deviation of one viewer's opinion, in points: two viewers' difference is this times root two.
const VIEWER_SD: f64 = 0.7;

/// The model, ready to judge.
pub struct Nano {
    info: ModelInfo,
    config: NanoConfig,
    vision: Vision,
    decoder: Decoder,
    voice: Voice,
}

impl Nano {
    /// The model inside this program.
    ///
    /// # Errors
    /// Only if the program was built with broken weights.
    pub fn embedded() -> Result<Self> {
        Self::from_parts("nano", embedded::WEIGHTS, embedded::CONFIG, embedded::TOKENIZER)
    }

    /// A model from a folder with `config.json`, `model.safetensors` and `tokenizer.json`, as training writes it.
    ///
    /// # Errors
    /// When a file is missing or does not fit the others.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| Error::Io { source, path })
        };
        let config = String::from_utf8_lossy(&read("config.json")?).into_owned();
        let name = folder.file_name().map_or_else(|| "nano".into(), |n| n.to_string_lossy().into_owned());
        Self::from_parts(&name, &read("model.safetensors")?, &config, &read("tokenizer.json")?)
            .map_err(|e| Error::Checkpoint { message: e.to_string(), path: folder.to_owned() })
    }

    fn from_parts(name: &str, weights: &[u8], config: &str, tokenizer: &[u8]) -> Result<Self> {
        let config: NanoConfig =
            serde_json::from_str(config).map_err(|e| Error::Input(format!("config.json: {e}")))?;
        config.check()?;
        let params = Params::from_bytes(weights, &Device::Cpu)?;
        let vision = Vision::new(&params, &config)?;
        let decoder = Decoder::new(&params, &config)?;
        params.verify()?;
        let sha256 = Sha256::digest(weights).iter().map(|b| format!("{b:02x}")).collect();
        let voice = Voice::from_bytes(tokenizer)?;
        Ok(Self { info: ModelInfo { name: name.to_owned(), sha256 }, config, vision, decoder, voice })
    }

    /// Sizes and calibration.
    #[must_use]
    pub fn config(&self) -> &NanoConfig {
        &self.config
    }

    /// The vision stage of one observation. `codec_kind` is what compression is called in its attributions.
    ///
    /// # Errors
    /// Only where tensor work fails.
    pub fn watched(&self, observation: &Observation, codec_kind: Option<&'static str>) -> Result<Watched> {
        let started = Instant::now();
        let features = look(&self.vision.bodies, observation)?;
        Ok(Watched {
            frames_sampled_secs: observation.moments.iter().map(|m| m.pts_secs).collect(),
            warnings: Vec::new(),
            decode_secs: 0.0,
            vision_secs: started.elapsed().as_secs_f64(),
            codec_kind,
            features: Features::Nano(Box::new(Seen {
                features,
                observation: observation.clone(),
                spectra: OnceLock::new(),
            })),
        })
    }

    /// Margin of A over B by the cheap path (`hidden` of the question) and, if wanted, the written reasons.
    fn ask(&self, pair: &PairFeatures, rationale: bool) -> Result<(f64, Option<String>)> {
        let videos = self.decoder.project_pair(pair)?;
        let mut talk = self.voice.ask(&self.decoder, &videos, COMPARE)?;
        let text = if rationale { Some(talk.write()?) } else { None };
        let margin = self.decoder.margin(talk.question(), &pair.rank_a, &pair.rank_b)?;
        Ok((f64::from(margin.to_vec1::<f32>()?[0]), text))
    }

    /// Both videos beside each other.
    fn pair(&self, a: &Seen, b: &Seen) -> Result<PairFeatures> {
        let overlaid = match &self.vision.overlay {
            Some(overlay) => overlay.over(a.spectra(), b.spectra())?,
            None => Overlaid::default(),
        };
        Ok(self.vision.pair(&a.features, &b.features, &[overlaid])?)
    }
}

/// What `nano` saw of a video.
pub(crate) struct Seen {
    /// What the language stage reads.
    pub(crate) features: VideoFeatures,
    /// What the spectra are made of.
    observation: Observation,
    /// What it is laid over another video by, once it is.
    spectra: OnceLock<Spectra>,
}

impl Seen {
    /// Made when they are first asked for: whoever only scores a video needs none.
    fn spectra(&self) -> &Spectra {
        self.spectra.get_or_init(|| Spectra::of(&self.observation))
    }
}

/// Score logits by aspect.
struct Logits {
    score_visual: f64,
    score_temporal: f64,
}

impl Logits {
    fn of(features: &VideoFeatures) -> Result<Self> {
        let v: Vec<f32> = features.verdict.i(0)?.to_vec1()?;
        Ok(Self { score_visual: f64::from(v[2]), score_temporal: f64::from(v[3]) })
    }

    /// What single pictures are worth, in points.
    fn visual_points(&self) -> f64 {
        4.0 * sigmoid(self.score_visual)
    }

    /// What the temporal faults cost, in points (never positive).
    fn temporal_points(&self) -> f64 {
        4.0 * (sigmoid(self.score_visual + self.score_temporal) - sigmoid(self.score_visual))
    }
}

/// Splits a margin into its visual and temporal parts. The scores differ by `visual + temporal`; what the margin
/// is beside that falls to each part by its size, so that videos alike in one aspect stay alike in it.
fn split(margin: f64, visual: f64, temporal: f64) -> (f64, f64) {
    let (rest, size) = (margin - (visual + temporal), visual.abs() + temporal.abs());
    if size < 1e-9 {
        return (margin, 0.0);
    }
    let temporal = temporal + rest * (temporal.abs() / size);
    (margin - temporal, temporal)
}

/// The vision stage: all moments, all places.
///
/// # Errors
/// Only where tensor work fails.
pub fn look(body: &Ensemble, observation: &Observation) -> candle_core::Result<VideoFeatures> {
    let moments = observation.moments.len();
    let bytes: Vec<u8> = observation.moments.iter().flat_map(|m| m.fragments.iter().copied()).collect();
    let shape = (1, moments, PLACES, PATCHES, PATCH_LEN);
    let patches = Tensor::from_vec(patch_features(&bytes), shape, &Device::Cpu)?;
    let numbers = Numbers::of(observation)?;
    let out = body.forward(&patches, NATIVE_PLACES, &numbers)?;
    let cadence = Tensor::new(vec![observation.cadence.row()], &Device::Cpu)?;
    VideoFeatures::new(&out, numbers.profile(), cadence)
}

impl Lmm for Nano {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn watch(&self, video: &mut Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Watched> {
        let started = Instant::now();
        let moments = options.frames.unwrap_or(self.config.moments);
        let (observation, warnings) = watch::observe(video, moments, options, progress)?;
        let decode_secs = started.elapsed().as_secs_f64();
        let codec_kind = watch::codec_kind(&video.info().codec);
        Ok(Watched { warnings, decode_secs, ..self.watched(&observation, codec_kind)? })
    }

    fn compare(&self, a: &Watched, b: &Watched, options: &JudgeOptions) -> Result<PairJudgement> {
        let started = Instant::now();
        let pair = self.pair(a.nano()?, b.nano()?)?;
        let (forward, rationale) = self.ask(&pair, options.rationale)?;
        let (margin, order_agreement) = if options.single_order {
            (forward, None)
        } else {
            let backward = self.ask(&pair.swapped()?, false)?.0;
            // Exactly antisymmetric: swapping A and B swaps `forward` and `backward`.
            (
                (forward - backward) / 2.0,
                Some(forward * backward <= 0.0 || forward.abs().max(backward.abs()) < NO_SIGN),
            )
        };
        let sd = self.config.calibration.margin_sd;
        let number = |t: &Tensor| t.to_vec1::<f32>().map(|t| f64::from(t[0]));
        let (of_a, of_b) = (Logits::of(&pair.a)?, Logits::of(&pair.b)?);
        let (visual, temporal) = split(
            margin,
            of_a.visual_points() - of_b.visual_points() + number(&pair.visual_lead)? * POINTS_PER_LOGIT,
            (of_a.temporal_points() - of_b.temporal_points()) * number(&pair.alone)?
                + number(&pair.temporal_lead)? * POINTS_PER_LOGIT,
        );
        Ok(PairJudgement {
            margin,
            margin_sd: sd,
            probability: normal_cdf(margin / (sd * sd + 2.0 * VIEWER_SD * VIEWER_SD).sqrt()),
            visual,
            temporal,
            distortions_a: naming::attributions(&pair.a, a.codec_kind)?,
            distortions_b: naming::attributions(&pair.b, b.codec_kind)?,
            rationale,
            order_agreement,
            language_secs: started.elapsed().as_secs_f64(),
        })
    }

    fn score(&self, video: &Watched, options: &JudgeOptions) -> Result<ScoreJudgement> {
        let started = Instant::now();
        let seen = &video.nano()?.features;
        let logits = Logits::of(seen)?;
        let rationale = if options.rationale {
            let tokens = self.decoder.project(seen, 0)?;
            Some(self.voice.ask(&self.decoder, &tokens, DESCRIBE)?.write()?)
        } else {
            None
        };
        let points = |logit: f64| 1.0 + 4.0 * sigmoid(logit);
        Ok(ScoreJudgement {
            score: points(logits.score_visual + logits.score_temporal),
            score_sd: self.config.calibration.score_sd,
            visual: points(logits.score_visual),
            // Motion alone: what an otherwise flawless video (sigmoid(3.5) = .97) would get.
            temporal: points(3.5 + logits.score_temporal),
            distortions: naming::attributions(seen, video.codec_kind)?,
            rationale,
            language_secs: started.elapsed().as_secs_f64(),
        })
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}
