//! The panel: several judges score videos, each is mapped to one scale, and what they say together is the label.
//!
//! - [`Judge`]: what a member must offer; [`models`] (nano, any checkpoint), [`classical`] (NIQE, CPBD, blockiness), [`mod@reference`]
//!   (PSNR, SSIM, MS-SSIM, VMAF where the pristine source is known) and [`external`] (any program) offer it;
//! - [`Member`]: a judge behind a guard: a panic, a crash, a hang or nonsense costs a label, never the run;
//! - [`scale`]: raw scores to the five-point scale by a 4-parameter logistic against common anchors, mean and variance.
//!
//! After LMM-PVQA's homogeneous ensemble (arXiv 2505.03631): mean and variance over the teachers are the pseudo label of a
//! real video. Raw scores are any numbers; they need not even grow with quality, since the logistic may fall.

pub mod classical;
pub mod external;
pub mod models;
pub mod reference;
pub mod scale;

use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A video as judges get it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The file.
    pub video: &'a Path,
    /// Its pristine source, frame for frame, where there is one.
    pub reference: Option<&'a Path>,
}

/// Why there is no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The judge cannot do this video; asking again would not help.
    #[error("{0}")]
    Video(String),
    /// The judge itself went wrong.
    #[error("{0}")]
    Judge(String),
}

/// A member of the panel.
pub trait Judge: Send + Sync {
    /// What people call it; unique within a panel.
    fn name(&self) -> &str;

    /// Everything that decides its scores (weights, command, settings): scores under one identity never mix judges.
    fn identity(&self) -> String;

    /// Whether it can judge only against a pristine source.
    fn needs_reference(&self) -> bool {
        false
    }

    /// Whether its scores are points of the five-point scale already.
    fn is_on_scale(&self) -> bool {
        false
    }

    /// The raw score, a finite number.
    ///
    /// # Errors
    /// [`Failure`]
    fn judge(&self, subject: &Subject<'_>) -> Result<f64, Failure>;
}

/// Which judges sit on a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PanelConfig {
    /// `nano`, `niqe`, `cpbd`, `blockiness`, `psnr`, `ssim`, `ms-ssim`, `vmaf` (with `vmaf_program`), a checkpoint's folder or the name
    /// of a pulled one.
    pub judges: Vec<String>,
    /// An FFmpeg program built with libvmaf.
    pub vmaf_program: Option<PathBuf>,
    /// Programs that judge by the one-line protocol.
    pub external: Vec<external::ExternalConfig>,
    /// Ratings (CSV `video,mos`) that give the scale; without it the first judge on the five-point scale gives it.
    pub anchors: Option<PathBuf>,
    /// The least standard deviation of a label, points: judges that agree by chance do not make it certain.
    pub least_sd: f64,
    /// A judge that scored a smaller share of the videos it was asked for is left out.
    pub least_share: f64,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self {
            judges: ["nano", "ms-ssim", "psnr"].map(str::to_owned).to_vec(),
            vmaf_program: None,
            external: Vec::new(),
            anchors: None,
            least_sd: 0.15,
            least_share: 0.9,
        }
    }
}

impl PanelConfig {
    /// Opens every judge.
    ///
    /// # Errors
    /// A panel without judges or with two of one name, a checkpoint that cannot be opened, numbers out of range.
    pub fn open(&self) -> anyhow::Result<Vec<Member>> {
        anyhow::ensure!(
            self.least_sd.is_finite() && self.least_sd > 0.0,
            "panel.least_sd is {}, a number above 0 is needed",
            self.least_sd
        );
        anyhow::ensure!(
            (0.0..=1.0).contains(&self.least_share),
            "panel.least_share is {}, 0 to 1 is allowed",
            self.least_share
        );
        let mut members: Vec<Member> = Vec::new();
        for name in &self.judges {
            let full_reference = reference::Measure::named(name, self.vmaf_program.as_deref())?;
            let judge: Box<dyn Judge> = match (full_reference, classical::Classical::named(name)) {
                (Some(measure), _) => Box::new(measure),
                (None, Some(measure)) => Box::new(measure),
                (None, None) => Box::new(models::Model::open(name)?),
            };
            members.push(Member::new(judge));
        }
        for program in &self.external {
            members.push(Member::new(Box::new(external::External::new(program.clone())?)));
        }
        anyhow::ensure!(!members.is_empty(), "the panel has no judge");
        for (index, member) in members.iter().enumerate() {
            let name = member.name();
            let twice = members[..index].iter().any(|other| other.name() == name);
            anyhow::ensure!(!twice, "two judges of the panel are called `{name}`");
        }
        Ok(members)
    }
}

/// How often a judge that went wrong is asked for one video.
const ATTEMPTS: usize = 3;
/// After this many videos in a row without an answer a judge is not asked again in this run.
const FAILURES_IN_A_ROW: usize = 3;

#[derive(Debug, Default)]
struct Record {
    failures_in_a_row: usize,
    failed: usize,
    done: usize,
    seconds: f64,
    last_failure: Option<String>,
    is_out: bool,
}

/// A judge behind a guard.
pub struct Member {
    judge: Box<dyn Judge>,
    record: Mutex<Record>,
}

/// How a member did in this run.
#[derive(Clone, Debug, PartialEq)]
pub struct Conduct {
    /// Scores given.
    pub done: usize,
    /// Videos without a score.
    pub failed: usize,
    /// Time spent, seconds, over all threads.
    pub seconds: f64,
    /// What went wrong last.
    pub last_failure: Option<String>,
    /// Whether it is not asked any more.
    pub is_out: bool,
}

impl Member {
    /// Guards a judge.
    #[must_use]
    pub fn new(judge: Box<dyn Judge>) -> Self {
        Self { judge, record: Mutex::default() }
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.judge.name()
    }

    /// See [`Judge::identity`].
    #[must_use]
    pub fn identity(&self) -> String {
        self.judge.identity()
    }

    /// See [`Judge::is_on_scale`].
    #[must_use]
    pub fn is_on_scale(&self) -> bool {
        self.judge.is_on_scale()
    }

    /// See [`Judge::needs_reference`].
    #[must_use]
    pub fn needs_reference(&self) -> bool {
        self.judge.needs_reference()
    }

    /// Whether it has what it needs to judge this.
    #[must_use]
    pub fn can_judge(&self, subject: &Subject<'_>) -> bool {
        subject.reference.is_some() || !self.needs_reference()
    }

    /// Asks for a score, again where the judge went wrong. `None` is a missing label, told by [`Self::conduct`].
    pub fn ask(&self, subject: &Subject<'_>) -> Option<f64> {
        if self.record().is_out || !self.can_judge(subject) {
            return None;
        }
        let begin = Instant::now();
        let mut answer = Err(Failure::Judge("it was not asked".into()));
        for _ in 0..ATTEMPTS {
            answer = guarded(|| self.judge.judge(subject));
            if !matches!(answer, Err(Failure::Judge(_))) {
                break;
            }
        }
        let mut record = self.record();
        record.seconds += begin.elapsed().as_secs_f64();
        match answer {
            Ok(score) => {
                record.done += 1;
                record.failures_in_a_row = 0;
                Some(score)
            }
            Err(failure) => {
                record.failed += 1;
                if let Failure::Judge(_) = failure {
                    record.failures_in_a_row += 1;
                    record.is_out |= record.failures_in_a_row >= FAILURES_IN_A_ROW;
                }
                tracing::debug!("{}: {failure}: {}", self.name(), subject.video.display());
                record.last_failure = Some(failure.to_string());
                None
            }
        }
    }

    /// How it did so far.
    #[must_use]
    pub fn conduct(&self) -> Conduct {
        let record = self.record();
        Conduct {
            done: record.done,
            failed: record.failed,
            seconds: record.seconds,
            last_failure: record.last_failure.clone(),
            is_out: record.is_out,
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a judge; a panic or a number that is none is its failure.
fn guarded(judge: impl FnOnce() -> Result<f64, Failure>) -> Result<f64, Failure> {
    match catch_unwind(AssertUnwindSafe(judge)) {
        Ok(Ok(score)) if !score.is_finite() => Err(Failure::Judge(format!("its score is {score}"))),
        Ok(answer) => answer,
        Err(_) => Err(Failure::Judge("it panicked".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Script {
        answers: Vec<Result<f64, Failure>>,
        asked: AtomicUsize,
    }

    impl Judge for Script {
        fn name(&self) -> &str {
            "script"
        }
        fn identity(&self) -> String {
            "script".into()
        }
        fn judge(&self, _: &Subject<'_>) -> Result<f64, Failure> {
            let turn = self.asked.fetch_add(1, Ordering::Relaxed);
            match self.answers.get(turn) {
                Some(answer) => answer.clone(),
                None => panic!("no answer is left"),
            }
        }
    }

    fn member(answers: Vec<Result<f64, Failure>>) -> Member {
        Member::new(Box::new(Script { answers, asked: AtomicUsize::new(0) }))
    }

    const SUBJECT: &str = "video.mp4";

    fn ask(member: &Member) -> Option<f64> {
        member.ask(&Subject { video: Path::new(SUBJECT), reference: None })
    }

    #[test]
    fn a_judge_that_stumbles_is_asked_again() {
        let member = member(vec![Err(Failure::Judge("crash".into())), Ok(f64::NAN), Ok(3.5), Ok(2.0)]);
        assert_eq!((ask(&member), ask(&member)), (Some(3.5), Some(2.0)));
        assert_eq!((member.conduct().done, member.conduct().failed), (2, 0));
    }

    #[test]
    fn a_bad_video_costs_one_label_and_no_second_try() {
        let member = member(vec![Err(Failure::Video("too short".into())), Ok(2.0)]);
        assert_eq!((ask(&member), ask(&member)), (None, Some(2.0)));
        assert_eq!(member.conduct().last_failure.as_deref(), Some("too short"));
        assert!(!member.conduct().is_out);
    }

    #[test]
    fn a_judge_that_always_fails_is_left_out() {
        let member = member(Vec::new()); // panics
        assert_eq!([ask(&member), ask(&member), ask(&member), ask(&member)], [None; 4]);
        let conduct = member.conduct();
        assert_eq!((conduct.is_out, conduct.failed), (true, FAILURES_IN_A_ROW), "{conduct:?}");
    }
}
