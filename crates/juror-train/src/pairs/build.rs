//! The run: from a configuration to the finished set, stage by stage.
//!
//! Sources are worked on side by side, each by one thread: its clips are made from frames held once in memory, and every judge that lacks
//! a score is asked while they are at hand. Memory is that of one stretch per thread. What belongs to the machine (a full disk, a
//! broken state) ends the run, and the next one goes on; what belongs to a video or a judge is kept as a fact or a note.

use super::choose::{self, Pair};
use super::clips::{self, Clips};
use super::config::PairsConfig;
use super::plan::{self, Facts, Planned, Role};
use super::select;
use super::sources::{self, Reject, Source};
use super::store::Store;
use super::summary::{self, Summary};
use super::{Progress, side_by_side, write};
use crate::config::YardstickConfig;
use crate::data::groups;
use crate::data::versions::{Step, Version};
use crate::panel::{Member, Subject};
use anyhow::{Context, Result, bail};
use juror_lmm::nano::{HOLD_CENTRE, Offset, observe_frames};
use juror_media::distort::{Chain, ClipInfo, Kind};
use juror_media::{Frame, MediaError};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

/// Pictures that the yardstick of the written comparisons looks at.
const YARDSTICK_PICTURES: usize = 4;

/// A source and its videos.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The source.
    pub source: Source,
    /// What is to be made of it.
    pub videos: Vec<Planned>,
}

/// A finished set.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The files that were written.
    pub files: Vec<PathBuf>,
    /// What is in them.
    pub summary: Summary,
    /// Sources that could not be used.
    pub rejects: Vec<Reject>,
}

/// What a run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Sources that can be used.
    pub sources: usize,
    /// Sources that cannot.
    pub rejects: usize,
    /// Videos of the set.
    pub videos: usize,
    /// Videos that lack a clip or a score.
    pub videos_to_do: usize,
    /// Time it would take, seconds.
    pub seconds: f64,
    /// Size of all clips, bytes, before the limit of the cache.
    pub clip_bytes: u64,
    /// Bytes free where the set goes; none where the system does not tell.
    pub free_bytes: Option<u64>,
    /// What time and size were reckoned from.
    pub basis: &'static str,
}

/// Everything that the stages share.
struct Run<'a> {
    config: &'a PairsConfig,
    store: Store,
    clips: Clips,
    panel: Vec<Member>,
    /// Not of the panel: only its weaknesses are wanted. None where it sits on the panel, too.
    student: Option<Member>,
    /// Whose scores are the student's.
    student_identity: Option<String>,
    progress: &'a dyn Progress,
}

/// Builds the set, or goes on with it.
///
/// # Errors
/// When nothing can be used, or the machine fails; what was done is kept.
pub fn run(config: &PairsConfig, progress: &dyn Progress) -> Result<Finished> {
    config.check()?;
    let panel = config.panel.open()?;
    let (student, student_identity) = open_student(config, &panel)?;
    let store = Store::open(&config.run_dir)?;
    let clips = Clips::open(&config.run_dir, config.versions.cache_gib)?;
    let run = Run { config, store, clips, panel, student, student_identity, progress };
    let begin = Instant::now();
    let inputs = sources::gather(&config.sources)?;
    let (found, mut rejects) = sources::inspect(config, inputs, &run.store, progress)?;
    let selection = select::select(config, found, &run.store, progress)?;
    rejects.extend(selection.rejects);
    run.store.spend("sources", begin.elapsed().as_secs_f64(), selection.sources.len() as u64)?;
    let plans = run.build(selection.sources, &mut rejects)?;
    rejects.sort_by(|a, b| a.path.cmp(&b.path));
    if plans.is_empty() {
        let why: Vec<String> =
            rejects.iter().take(5).map(|r| format!("{}: {}", r.path.display(), r.reason)).collect();
        bail!("no source can be used: {}", why.join("; "));
    }
    let begin = Instant::now();
    progress.begin("pairs", 1, 0);
    let labelled = run.label(&plans)?;
    let student = run.student_scores(&labelled)?;
    let pairs = choose::choose(config, &plans, &labelled, student.as_deref())?;
    progress.advance(1);
    run.store.spend("pairs", begin.elapsed().as_secs_f64(), pairs.len() as u64)?;
    run.restore_clips(&plans, &labelled, &pairs)?;
    let summary = summary::of(&plans, &labelled, &pairs, &rejects, &selection.measured);
    let set = write::Set {
        config,
        store: &run.store,
        plans: &plans,
        labelled: &labelled,
        pairs: &pairs,
        rejects: &rejects,
        measured: &selection.measured,
        summary: &summary,
    };
    let files = set.write()?;
    Ok(Finished { files, summary, rejects })
}

/// Tells what a run would cost. Sources are looked at and a rendered scene is worked on to learn the speed of this machine,
/// unless earlier work on this state tells it.
///
/// # Errors
/// As for [`run`].
pub fn estimate(config: &PairsConfig, progress: &dyn Progress) -> Result<Estimate> {
    config.check()?;
    let panel = config.panel.open()?;
    // The state is left as it is, and where there is none, none is made.
    let known = config.run_dir.join("state.sqlite").is_file();
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let store = Store::open(if known { &config.run_dir } else { scratch.path() })?;
    let inputs = sources::gather(&config.sources)?;
    let (found, rejects) = sources::inspect(config, inputs, &store, progress)?;
    let mut plans = Vec::new();
    // Which files are selected shows when they are measured; how many is known.
    let files = found.iter().filter(|source| source.input().is_some()).count();
    let surplus = config.sources.select.map_or(0, |select| files.saturating_sub(select));
    for source in found.into_iter().skip(surplus) {
        plans.push(SourcePlan { videos: plan::of_source(config, &source)?, source });
    }
    let (facts, labels) = (store.videos()?, store.labels()?);
    let videos: usize = plans.iter().map(|plan| plan.videos.len()).sum();
    let to_do = plans
        .iter()
        .flat_map(|plan| &plan.videos)
        .filter(|video| !facts.contains_key(&video.id) || !labels.contains_key(&video.id))
        .count();
    let (work, made) = (store.work()?, facts.values().filter(|f| f.error.is_none() && f.bytes > 0).count());
    let spent: f64 = work.iter().filter(|w| w.0 != "sources" && w.0 != "pairs").map(|w| w.1).sum();
    let (per_video_secs, per_video_bytes, basis) = if made >= 20 && spent > 0.0 {
        let bytes: u64 = facts.values().filter(|f| f.error.is_none()).map(|f| f.bytes).sum();
        (spent / facts.len() as f64, bytes as f64 / made as f64, "earlier work on this state")
    } else {
        let (secs, bytes) = rehearse(config, panel, scratch.path())?;
        (secs, bytes, "a rendered scene worked on now")
    };
    let threads = rayon::current_num_threads().max(1) as f64;
    Ok(Estimate {
        sources: plans.len(),
        rejects: rejects.len(),
        videos,
        videos_to_do: to_do,
        seconds: to_do as f64 * per_video_secs / threads,
        clip_bytes: (videos as f64 * per_video_bytes) as u64,
        free_bytes: free_bytes(config),
        basis,
    })
}

/// Works on one scene; gives seconds and bytes per video.
fn rehearse(config: &PairsConfig, panel: Vec<Member>, folder: &std::path::Path) -> Result<(f64, f64)> {
    let folder = folder.join("rehearsal");
    let run = Run {
        config,
        store: Store::open(&folder)?,
        clips: Clips::open(&folder, 1e6)?,
        panel,
        student: None,
        student_identity: None,
        progress: &(),
    };
    let source = sources::scene(config, 0);
    let plan = SourcePlan { videos: plan::of_source(config, &source)?, source };
    let begin = Instant::now();
    run.build_source(&plan, &HashMap::new(), &HashMap::new())?;
    let count = plan.videos.len().max(1) as f64;
    Ok((begin.elapsed().as_secs_f64() / count, run.clips.bytes() as f64 / count))
}

#[cfg(unix)]
fn free_bytes(config: &PairsConfig) -> Option<u64> {
    let folder = config.run_dir.ancestors().find(|folder| folder.is_dir() && !folder.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(folder.unwrap_or(std::path::Path::new("."))).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &PairsConfig) -> Option<u64> {
    None
}

/// The student as a judge of its own, unless it sits on the panel; and its identity.
fn open_student(config: &PairsConfig, panel: &[Member]) -> Result<(Option<Member>, Option<String>)> {
    let Some(name) = &config.choice.student else { return Ok((None, None)) };
    if let Some(member) = panel.iter().find(|member| member.name() == name) {
        return Ok((None, Some(member.identity())));
    }
    let student = Member::new(Box::new(crate::panel::models::Model::open(name)?));
    let identity = student.identity();
    let sits = panel.iter().any(|member| member.identity() == identity);
    Ok(((!sits).then_some(student), Some(identity)))
}

impl Run<'_> {
    /// Everyone who is to score videos.
    fn judges(&self) -> impl Iterator<Item = &Member> {
        self.panel.iter().chain(&self.student)
    }

    /// Makes and judges every video that lacks something. Sources that turn out to be of no use become rejects.
    fn build(&self, found: Vec<Source>, rejects: &mut Vec<Reject>) -> Result<Vec<SourcePlan>> {
        let mut plans = Vec::new();
        for source in found {
            plans.push(SourcePlan { videos: plan::of_source(self.config, &source)?, source });
        }
        let (facts, labels) = (self.store.videos()?, self.store.labels()?);
        let total: usize = plans.iter().map(|plan| plan.videos.len()).sum();
        let is_done = |video: &Planned| facts.contains_key(&video.id);
        let done = plans.iter().flat_map(|plan| &plan.videos).filter(|video| is_done(video)).count();
        self.progress.begin("videos", total as u64, done as u64);
        let known = self.store.rejects()?;
        let usable: Vec<&SourcePlan> =
            plans.iter().filter(|plan| !known.contains_key(&plan.source.id)).collect();
        side_by_side(&usable, |plan| {
            let work = AssertUnwindSafe(|| self.build_source(plan, &facts, &labels));
            let built = catch_unwind(work).unwrap_or_else(|_| {
                self.store
                    .reject(&plan.source.id, "a defect of juror, please report it: working on it panicked")
            });
            let new = plan.videos.iter().filter(|video| !is_done(video)).count();
            self.progress.advance(new as u64);
            built
        })?;
        let known = self.store.rejects()?;
        for (member, conduct) in self.judges().map(|member| (member, member.conduct())) {
            self.store.spend(&format!("judge {}", member.name()), conduct.seconds, conduct.done as u64)?;
            if let Some(reason) = conduct.last_failure {
                let end = if conduct.is_out { "; it was not asked any more" } else { "" };
                let (name, failed) = (member.name(), conduct.failed);
                self.progress.note(&format!("judge {name} gave no score of {failed} videos: {reason}{end}"));
            }
        }
        let (plans, rejected): (Vec<_>, Vec<_>) =
            plans.into_iter().partition(|plan| !known.contains_key(&plan.source.id));
        rejects.extend(rejected.into_iter().map(|plan| Reject {
            path: plan.source.input().map_or_else(PathBuf::new, |input| input.path.clone()),
            kind: "unsupported",
            reason: known[&plan.source.id].clone(),
        }));
        Ok(plans)
    }

    /// Makes and judges what one source lacks.
    fn build_source(
        &self,
        plan: &SourcePlan,
        facts: &HashMap<String, Facts>,
        labels: &HashMap<String, HashMap<String, f64>>,
    ) -> Result<()> {
        let mut stretch: Option<Vec<Frame>> = None;
        let pristine = plan.videos.iter().find(|video| video.role == Role::Pristine);
        let reference = pristine.map(|video| self.clips.path(&video.id));
        // Those that may have to go again: they are over the limit.
        let mut lent = Vec::new();
        for video in &plan.videos {
            let known = facts.get(&video.id);
            let scored = labels.get(&video.id);
            let lacking: Vec<&Member> = self
                .judges()
                .filter(|judge| {
                    let subject = self.subject(plan, video, reference.as_deref());
                    judge.can_judge(&subject.as_subject())
                        && scored.is_none_or(|scores| !scores.contains_key(&judge.identity()))
                })
                .collect();
            let cannot_be_made = known.is_some_and(|facts| facts.error.is_some());
            if cannot_be_made || (known.is_some() && lacking.is_empty()) {
                continue;
            }
            let facts = match video.role {
                Role::Original => original_facts(plan),
                _ => {
                    if stretch.is_none() {
                        match plan.source.load(&self.config.sources) {
                            Ok(frames) => stretch = Some(frames),
                            Err(error) => return self.store.reject(&plan.source.id, &format!("{error:#}")),
                        }
                    }
                    let frames = stretch.as_deref().unwrap_or_default();
                    // Full-reference judges need the pristine clip, too, if it went.
                    if let Some(pristine) = pristine
                        && pristine.id != video.id
                        && !self.clips.holds(&pristine.id)
                    {
                        self.make(pristine, frames, &mut lent)?;
                    }
                    match known {
                        Some(facts) if self.clips.holds(&video.id) => facts.clone(),
                        _ => self.make(video, frames, &mut lent)?,
                    }
                }
            };
            let subject = self.subject(plan, video, reference.as_deref());
            let mut scores = Vec::new();
            if facts.error.is_none() {
                for judge in lacking {
                    if let Some(score) = judge.ask(&subject.as_subject()) {
                        scores.push((judge.identity(), score));
                    }
                }
            }
            self.store.keep(&video.id, &plan.source.id, &video.recipe(), &facts, &scores)?;
        }
        if !self.clips.has_room(0) {
            for id in lent {
                self.clips.remove(&id)?;
            }
        }
        Ok(())
    }

    fn subject(
        &self,
        plan: &SourcePlan,
        video: &Planned,
        reference: Option<&std::path::Path>,
    ) -> OwnedSubject {
        match (&video.role, plan.source.input()) {
            (Role::Original, Some(input)) => OwnedSubject { video: input.path.clone(), reference: None },
            _ => OwnedSubject {
                video: self.clips.path(&video.id),
                reference: reference.map(std::path::Path::to_owned),
            },
        }
    }

    /// Makes a clip and measures it. What cannot be made is a fact; a machine that fails is an error.
    fn make(&self, video: &Planned, stretch: &[Frame], lent: &mut Vec<String>) -> Result<Facts> {
        let begin = Instant::now();
        let (steps, options) = clips::steps_and_encode(&video.role, self.config.versions.delivery_crf);
        let made = steps.apply_all(stretch, video.seed).map_err(anyhow::Error::from).and_then(|frames| {
            let bytes = self.clips.write(&video.id, &frames, ClipInfo::of(stretch).fps, options)?;
            lent.push(video.id.clone());
            self.measure(video, stretch, &frames, bytes)
        });
        self.store.spend("make", begin.elapsed().as_secs_f64(), 1)?;
        match made {
            Ok(facts) => Ok(facts),
            Err(error) => match error.downcast_ref::<MediaError>() {
                Some(MediaError::Write { .. } | MediaError::OutOfMemory { .. }) | None => Err(error),
                Some(other) => Ok(Facts { error: Some(other.to_string()), ..Facts::default() }),
            },
        }
    }

    /// The facts of a clip that was just written; `frames` are those before a last codec.
    fn measure(&self, video: &Planned, stretch: &[Frame], frames: &[Frame], bytes: u64) -> Result<Facts> {
        let path = self.clips.path(&video.id);
        let sha256 = sources::sha256_of(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let first = frames.first().context("no frame is left")?;
        let mut facts = Facts {
            sha256,
            bytes,
            width: first.picture.width(),
            height: first.picture.height(),
            frames: frames.len(),
            visual: None,
            temporal: None,
            hold_centre: 0.0,
            error: None,
        };
        if video.role == Role::Pristine {
            (facts.visual, facts.temporal) = (Some(1.0), Some(1.0));
        }
        if let Role::Distorted { chain, .. } = &video.role
            && self.config.choice.texts
            && frames.len() == stretch.len()
        {
            let version = version_of(chain);
            // The yardstick wants to see what the last codec did.
            let shown =
                if video_ends_in_codec(chain) { decoded(&path, stretch.len())? } else { frames.to_vec() };
            let looked_at: Vec<usize> = (0..YARDSTICK_PICTURES)
                .map(|i| (2 * i + 1) * stretch.len() / (2 * YARDSTICK_PICTURES))
                .collect();
            if shown.len() == stretch.len() {
                let judged = groups::judge(&YardstickConfig::MsSsim, &version, stretch, &shown, &looked_at)?;
                (facts.visual, facts.temporal) = (Some(judged.visual), Some(judged.temporal));
            }
            if chain.distortions().iter().any(|step| step.kind() == Kind::Freeze) {
                facts.hold_centre = observe_frames(&shown, 2, Offset { x: 0, y: 0 })?.profile[HOLD_CENTRE];
            }
        }
        Ok(facts)
    }

    /// Makes clips of the chosen pairs that went over the limit, where there is room now, and checks that they are what they
    /// were.
    fn restore_clips(&self, plans: &[SourcePlan], labelled: &choose::Labelled, pairs: &[Pair]) -> Result<()> {
        let mut wanted: Vec<usize> = pairs.iter().flat_map(|pair| [pair.a, pair.b]).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let missing = |index: &usize| {
            let video = &labelled.videos[*index];
            video.planned(plans).role != Role::Original && !self.clips.holds(&video.planned(plans).id)
        };
        let wanted: Vec<&choose::Video> =
            wanted.iter().filter(|index| missing(index)).map(|&index| &labelled.videos[index]).collect();
        self.progress.begin("clips", wanted.len() as u64, 0);
        let mut left = 0;
        for of_source in wanted.chunk_by(|a, b| a.source == b.source) {
            let size: u64 = of_source.iter().map(|video| video.facts.bytes).sum();
            if !self.clips.has_room(size) {
                left += of_source.len();
                continue;
            }
            let stretch = plans[of_source[0].source].source.load(&self.config.sources)?;
            for video in of_source {
                let planned = video.planned(plans);
                let facts = self.make(planned, &stretch, &mut Vec::new())?;
                if facts.sha256 != video.facts.sha256 {
                    self.progress.note(&format!(
                        "clip {} is not what it was: this machine's encoders give other bytes",
                        planned.id
                    ));
                }
                self.progress.advance(1);
            }
        }
        if left > 0 {
            self.progress.note(&format!(
                "{left} clips of the set are not kept: versions.cache_gib allows {} GiB; with more, another run makes them",
                self.config.versions.cache_gib
            ));
        }
        Ok(())
    }

    fn label(&self, plans: &[SourcePlan]) -> Result<choose::Labelled> {
        let (facts, labels) = (self.store.videos()?, self.store.labels()?);
        let labelled = choose::label(self.config, plans, &facts, &labels, &self.panel)?;
        for (name, reason) in &labelled.left_out {
            self.progress.note(&format!("judge {name} is left out: {reason}"));
        }
        Ok(labelled)
    }

    /// The student's score of every labelled video; none without a student.
    fn student_scores(&self, labelled: &choose::Labelled) -> Result<Option<Vec<Option<f64>>>> {
        let Some(identity) = &self.student_identity else { return Ok(None) };
        let labels = self.store.labels()?;
        let score = |video: &choose::Video| labels.get(&video.id).and_then(|l| l.get(identity)).copied();
        Ok(Some(labelled.videos.iter().map(score).collect()))
    }
}

/// A subject that owns its paths.
struct OwnedSubject {
    video: PathBuf,
    reference: Option<PathBuf>,
}

impl OwnedSubject {
    fn as_subject(&self) -> Subject<'_> {
        Subject { video: &self.video, reference: self.reference.as_deref() }
    }
}

fn original_facts(plan: &SourcePlan) -> Facts {
    let sha256 = plan.source.content_sha256().unwrap_or_default().to_owned();
    let bytes = plan.source.input().and_then(|i| std::fs::metadata(&i.path).ok()).map_or(0, |m| m.len());
    Facts { sha256, bytes, ..Facts::default() }
}

fn video_ends_in_codec(chain: &Chain) -> bool {
    chain.distortions().last().is_some_and(|step| step.encode_options().is_some())
}

/// A chain in the words of the written comparisons.
pub(super) fn version_of(chain: &Chain) -> Version {
    let step = |d: &juror_media::distort::Distortion| Step { kind: d.kind().to_string(), level: d.level() };
    Version::whole(chain.distortions().iter().map(step).collect())
}

fn decoded(path: &std::path::Path, most: usize) -> Result<Vec<Frame>> {
    let video = juror_media::Video::open(path)?.with_threads(1);
    let mut stream = video.frames(juror_media::TimeWindow::ALL)?;
    let mut frames = Vec::new();
    while let Some(frame) = stream.next_frame()? {
        if frames.len() == most {
            break;
        }
        frames.push(frame.to_frame()?);
    }
    Ok(frames)
}
