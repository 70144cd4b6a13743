//! What every judging model offers, from the embedded `nano` to the published checkpoints.

use crate::error::Result;
use candle_core::Tensor;
use juror_media::{TimeWindow, Video};

/// Which weights judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name, such as `nano`.
    pub name: String,
    /// Of the weights file, in hexadecimal; empty where the weights are not known.
    pub sha256: String,
}

/// How to watch a video.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// The stretch of time; all of it by default.
    pub window: TimeWindow,
    /// Moments looked at closely; the model's own number by default.
    pub frames: Option<usize>,
    /// Decoder threads; 0: one per core.
    pub threads: usize,
}

/// A video after decoding and the vision stage: watched once, judged as often as wanted.
pub struct Watched {
    /// Presentation times of the frames looked at closely, in seconds.
    pub frames_sampled_secs: Vec<f64>,
    /// What a user should know about the input.
    pub warnings: Vec<String>,
    /// Time spent decoding and gathering.
    pub decode_secs: f64,
    /// Time spent in the vision stage.
    pub vision_secs: f64,
    /// The lossy codec of the stream, in the words of `juror distort --list-kinds`, if it is one of those.
    pub(crate) codec_kind: Option<&'static str>,
    /// What the language stage reads.
    pub(crate) features: Features,
}

/// What the vision stage of a model leaves for its language stage.
pub(crate) enum Features {
    /// Of `nano`.
    Nano(Box<crate::nano::Seen>),
    /// Of a published checkpoint.
    Published(Box<crate::published::VideoTokens>),
    /// Of a model served elsewhere.
    Remote(crate::remote::RemoteVideo),
}

impl Watched {
    /// The features as tensors, for tests of equality.
    #[must_use]
    pub fn tensors(&self) -> Vec<&Tensor> {
        match &self.features {
            Features::Nano(seen) => {
                let f = &seen.features;
                vec![&f.moments, &f.regions, &f.temporal, &f.trunk, &f.verdict]
            }
            Features::Published(video) => std::iter::once(&video.tokens).chain(&video.deepstack).collect(),
            Features::Remote(_) => Vec::new(),
        }
    }

    /// What `nano` saw.
    pub(crate) fn nano(&self) -> Result<&crate::nano::Seen> {
        match &self.features {
            Features::Nano(seen) => Ok(seen),
            _ => Err(crate::error::Error::Input("the video was watched by another model".into())),
        }
    }
}

/// How to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeOptions {
    /// Write the reasons.
    pub rationale: bool,
    /// Judge A against B only, not B against A as well.
    pub single_order: bool,
    /// Of anything drawn at random; greedy models ignore it.
    pub seed: u64,
}

impl JudgeOptions {
    /// The verdict alone, in both orders.
    pub const PLAIN: Self = Self { rationale: false, single_order: false, seed: 0 };
}

/// A distortion that the model sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// In the words of `juror distort --list-kinds`.
    pub kind: String,
    /// 0 (invisible) to 1 (severe).
    pub severity: f64,
}

/// A against B.
#[derive(Clone, Debug)]
pub struct PairJudgement {
    /// Quality of A minus quality of B, in points of the five-point scale (-4..4).
    pub margin: f64,
    /// Standard deviation of the margin's error.
    pub margin_sd: f64,
    /// That a viewer prefers A, 0..1.
    pub probability: f64,
    /// The part of the margin that single pictures decide.
    pub visual: f64,
    /// The part of the margin that motion decides.
    pub temporal: f64,
    /// What A suffers from, the dominant one first.
    pub distortions_a: Vec<Attribution>,
    /// What B suffers from, the dominant one first.
    pub distortions_b: Vec<Attribution>,
    /// The written reasons.
    pub rationale: Option<String>,
    /// Whether both orders gave the same sign; absent for a single order.
    pub order_agreement: Option<bool>,
    /// Time spent in the language stage.
    pub language_secs: f64,
}

/// One video by itself.
#[derive(Clone, Debug)]
pub struct ScoreJudgement {
    /// 1 (bad) to 5 (excellent).
    pub score: f64,
    /// Standard deviation of the score's error.
    pub score_sd: f64,
    /// The score as far as single pictures go.
    pub visual: f64,
    /// The score of motion alone.
    pub temporal: f64,
    /// What it suffers from, the dominant one first.
    pub distortions: Vec<Attribution>,
    /// The written reasons.
    pub rationale: Option<String>,
    /// Time spent in the language stage.
    pub language_secs: f64,
}

/// A model that judges videos.
pub trait Lmm: Send + Sync {
    /// Which weights these are.
    fn info(&self) -> &ModelInfo;

    /// Where it runs: `cpu`, `cuda:N`, or `remote` for a model served elsewhere.
    fn device(&self) -> &str {
        "cpu"
    }

    /// Decodes a video and runs the vision stage. `progress` is told the share done, 0..1.
    ///
    /// # Errors
    /// When the video gives no frame.
    fn watch(&self, video: &mut Video, options: &WatchOptions, progress: &dyn Fn(f64)) -> Result<Watched>;

    /// Judges A against B.
    ///
    /// # Errors
    /// Only where tensor work fails.
    fn compare(&self, a: &Watched, b: &Watched, options: &JudgeOptions) -> Result<PairJudgement>;

    /// Judges one video.
    ///
    /// # Errors
    /// Only where tensor work fails.
    fn score(&self, video: &Watched, options: &JudgeOptions) -> Result<ScoreJudgement>;

    /// [`Self::compare`], with the text told piece by piece as it is written; judges that do not write token by token say
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::compare`].
    fn compare_aloud(
        &self,
        a: &Watched,
        b: &Watched,
        options: &JudgeOptions,
        _say: &dyn Fn(&str),
    ) -> Result<PairJudgement> {
        self.compare(a, b, options)
    }

    /// [`Self::score`], with the text told piece by piece as it is written.
    ///
    /// # Errors
    /// As [`Self::score`].
    fn score_aloud(
        &self,
        video: &Watched,
        options: &JudgeOptions,
        _say: &dyn Fn(&str),
    ) -> Result<ScoreJudgement> {
        self.score(video, options)
    }
}
