//! Many videos in order of quality by few comparisons: [`Ranker`] watches, chooses pairs, judges and scores; [`Recorded`] only
//! scores comparisons that were made elsewhere.
//!
//! Each video is watched once and judged by its tokens. Which pair comes next, and when to stop, is
//! [`juror_stats::pair_choice`]'s; scores are the least-squares scores of the margins (points), so that differences of
//! scores are margins, and their mean is that of the videos' scores by themselves. Files of the same content are one
//! video: they tie without being asked about. Intervals tell what more judgements of the same judge could still change;
//! they take errors of margins as independent, with the deviation that the model states until there are 30 comparisons
//! more than videos, and the one found from the margins' contradictions from then on. An error that the judge makes
//! alike in every comparison of a video is not in them.
//!
//! All viewings are kept in memory while pairs are judged.

mod recorded;
mod state;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use juror_stats::StatsError;
use juror_stats::pair_choice::{Settings, StopReason, StopRules, Tournament};
use juror_stats::scaling::{Comparison, Judge, MarginFit, Noise, PairTable, scale_margins, worst_cycles};

use crate::error::Error;
use crate::hash::sha256_of_file;
use crate::judge::{Juror, Options, Progress, Viewed};
use crate::record::evaluation::ends;
use crate::record::ranking::{Comparisons, GraphEdge, RankedItem, Ranking, Stopped, WorstCycle};
use crate::record::{RankingType, Schema, Timings};
use crate::verdict::{BETTER_MARGIN, Preference};

pub use recorded::{ChoiceModel, Recorded};
use state::Judged;
pub use state::State;

/// Probability with which neighbours must be known apart, or alike, for the order to count as settled.
const ORDER_CONFIDENCE: f64 = 0.95;
/// Deviation of the scores that pairs are chosen for, points: they may lie anywhere on the scale.
const PRIOR_STD: f64 = 2.0;
/// Noise of a margin before the first one tells what the model states, points.
const FIRST_NOISE: f64 = 0.5;
/// Contradictions that a record names.
const CYCLES: usize = 5;

/// When judging stops, besides when every pair is judged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stop {
    /// Most comparisons, those of earlier runs counted.
    pub budget: Option<usize>,
    /// Widest interval of a score, points. Without it judging stops when the order is settled.
    pub interval_width: Option<f64>,
}

/// A ranking in the making.
pub struct Ranker<'a> {
    juror: &'a Juror,
    options: Options,
    stop: Stop,
    state: State,
    entrants: Vec<Entrant>,
    /// Videos by content: the entrant that stands for each.
    contents: Vec<usize>,
    stopped: Option<Stopped>,
    timings: Timings,
    warnings: Vec<String>,
    begin: Instant,
}

/// A video that takes part.
struct Entrant {
    path: PathBuf,
    sha256: String,
    /// Index of its content.
    content: usize,
    /// Score by itself, points.
    score: f64,
    /// `None` while a resumed ranking has not needed to watch it.
    viewed: Option<Viewed>,
}

/// A failure at judging: what was being judged, and why it failed.
#[derive(Debug)]
pub struct Failure {
    /// The videos: one that could not be watched, or two that could not be compared.
    pub paths: Vec<PathBuf>,
    /// What happened.
    pub error: Box<Error>,
}

impl Failure {
    fn new(paths: Vec<PathBuf>, error: Error) -> Self {
        Self { paths, error: Box::new(error) }
    }
}

impl<'a> Ranker<'a> {
    /// A ranking by `juror`, going on from `state`.
    pub fn new(juror: &'a Juror, options: Options, stop: Stop, state: State) -> Self {
        Self {
            juror,
            options: Options { rationale: false, segment_secs: None, ..options },
            stop,
            state,
            entrants: Vec::new(),
            contents: Vec::new(),
            stopped: None,
            timings: Timings::default(),
            warnings: Vec::new(),
            begin: Instant::now(),
        }
    }

    /// Lets the video at `path` take part: watches it, unless it was watched in an earlier run.
    ///
    /// # Errors
    /// Those of [`Juror::watch`]; [`Error::State`].
    pub fn add(&mut self, path: &Path, progress: Progress<'_>) -> Result<(), Error> {
        let same_path = self.entrants.iter().find(|entrant| entrant.path == path);
        let known = match same_path {
            Some(entrant) => Some((entrant.sha256.clone(), entrant.score)),
            None if self.state.is_resumed() => {
                let sha256 = sha256_of_file(path, || Ok::<_, Error>(()))?.1;
                self.state.score(&sha256).map(|score| (sha256, score))
            }
            None => None,
        };
        let (sha256, score, viewed) = match known {
            Some((sha256, score)) => (sha256, score, None),
            None => {
                let viewed = self.watch(path, progress)?;
                let score = self.juror.score_viewed(&viewed)?;
                let sha256 = viewed.input().sha256.clone();
                self.state.keep_video(&sha256, &path.to_string_lossy(), score)?;
                (sha256, score, Some(viewed))
            }
        };
        let twin = self.contents.iter().position(|&entrant| self.entrants[entrant].sha256 == sha256);
        let content = twin.unwrap_or(self.contents.len());
        if twin.is_none() {
            self.contents.push(self.entrants.len());
        }
        // The tokens of a twin are those of the first.
        let viewed = if twin.is_none() { viewed } else { None };
        self.entrants.push(Entrant { path: path.to_owned(), sha256, content, score, viewed });
        Ok(())
    }

    fn watch(&mut self, path: &Path, progress: Progress<'_>) -> Result<Viewed, Error> {
        let viewed = self.juror.watch(path, &self.options, progress)?;
        let (decode, vision) = viewed.seconds();
        self.timings.decode += decode;
        self.timings.vision += vision;
        let warnings = viewed.warnings().iter();
        self.warnings.extend(warnings.map(|warning| format!("{warning}: {}", path.display())));
        Ok(viewed)
    }

    /// How many videos take part.
    pub fn videos(&self) -> usize {
        self.entrants.len()
    }

    /// The most comparisons that will be judged.
    pub fn most_comparisons(&self) -> usize {
        let all = pairs_of(self.contents.len());
        self.stop.budget.map_or(all, |budget| budget.min(all))
    }

    /// Judges pairs until a stop rule holds; `progress` is told how many are judged.
    ///
    /// # Errors
    /// The first failure; what was judged before it counts in [`Self::ranking`] all the same.
    pub fn judge(&mut self, progress: &dyn Fn(usize)) -> Result<(), Failure> {
        let nobody = |error| Failure::new(Vec::new(), error);
        // Large enough to spare choosing, small enough to use what was learnt.
        let batch = (self.contents.len() / 8).clamp(1, 64);
        loop {
            let judged = self.comparisons();
            if let Some(stopped) = self.stop_reason(&judged, batch).map_err(nobody)? {
                self.stopped = Some(stopped);
                return Ok(());
            }
            let pairs = self.next_pairs(&judged, batch).map_err(nobody)?;
            for (done, (a, b)) in pairs.into_iter().enumerate() {
                self.stopped = Some(Stopped::Failure);
                self.judge_pair(a, b)?;
                progress(judged.len() + done + 1);
            }
        }
    }

    fn judge_pair(&mut self, a: usize, b: usize) -> Result<(), Failure> {
        let (first, second) = (self.contents[a], self.contents[b]);
        for entrant in [first, second] {
            if self.entrants[entrant].viewed.is_none() {
                let path = self.entrants[entrant].path.clone();
                let failure = |error| Failure::new(vec![path.clone()], error);
                self.entrants[entrant].viewed = Some(self.watch(&path, &|_| ()).map_err(failure)?);
            }
        }
        let (a, b) = (&self.entrants[first], &self.entrants[second]);
        let failure = |error| Failure::new(vec![a.path.clone(), b.path.clone()], error);
        let (Some(viewed_a), Some(viewed_b)) = (&a.viewed, &b.viewed) else {
            return Err(failure(Error::Internal("a watched video is gone".to_owned())));
        };
        let begin = Instant::now();
        let margin = self.juror.margin(viewed_a, viewed_b, &self.options).map_err(failure)?;
        self.timings.language += begin.elapsed().as_secs_f64();
        let (a, b) = (a.sha256.clone(), b.sha256.clone());
        let judged = Judged { a, b, margin: margin.points, sd: margin.sd };
        self.state.keep_pair(judged).map_err(|error| Failure::new(Vec::new(), error))
    }

    /// The judgements among the present videos, in the order they were made, with the deviations that the model states.
    fn comparisons(&self) -> Vec<(Comparison, f64)> {
        let of_content: HashMap<&str, usize> = (self.contents.iter().enumerate())
            .map(|(content, &entrant)| (self.entrants[entrant].sha256.as_str(), content))
            .collect();
        let present = |judged: &Judged| {
            let (a, b) = (*of_content.get(judged.a.as_str())?, *of_content.get(judged.b.as_str())?);
            Some((Comparison::new(a, b, judged.margin), judged.sd))
        };
        self.state.judged.iter().filter_map(present).collect()
    }

    /// The comparisons as a tournament.
    fn tournament(&self, judged: &[(Comparison, f64)]) -> Result<Tournament, StatsError> {
        let stated = judged.iter().map(|(_, sd)| sd * sd).sum::<f64>() / judged.len().max(1) as f64;
        let noise = if stated > 0.0 { stated.sqrt() } else { FIRST_NOISE };
        let judge = Judge { limit: None, noise, prior_std: PRIOR_STD };
        let pairs = judged.iter().map(|(comparison, _)| *comparison).collect();
        let settings = Settings { judge, repeats: false, seed: self.juror.seed() };
        Tournament::new(PairTable::new(self.contents.len(), pairs)?, settings)
    }

    /// The next pairs. A batch that a kill cut short is chosen again from what stood before it, so that a resumed ranking
    /// judges the pairs that an unbroken one would have.
    fn next_pairs(&self, judged: &[(Comparison, f64)], batch: usize) -> Result<Vec<(usize, usize)>, Error> {
        let left = self.stop.budget.map_or(usize::MAX, |budget| budget - judged.len().min(budget));
        let known: HashSet<(usize, usize)> =
            judged.iter().map(|(c, _)| (c.a.min(c.b), c.a.max(c.b))).collect();
        let whole = judged.len() - judged.len() % batch;
        let mut pairs = self.tournament(&judged[..whole])?.next_pairs(batch)?;
        pairs.retain(|&(a, b)| !known.contains(&(a.min(b), a.max(b))));
        if pairs.is_empty() {
            pairs = self.tournament(judged)?.next_pairs(batch)?;
        }
        pairs.truncate(left);
        Ok(pairs)
    }

    fn stop_reason(&self, judged: &[(Comparison, f64)], batch: usize) -> Result<Option<Stopped>, Error> {
        if self.stop.budget.is_some_and(|budget| judged.len() >= budget) {
            return Ok(Some(Stopped::Budget));
        }
        let tournament = self.tournament(judged)?;
        // In the middle of a batch an unbroken ranking would not ask.
        let between_batches = judged.len().is_multiple_of(batch);
        let rules = StopRules {
            budget: None,
            interval_width: None,
            order_confidence: (self.stop.interval_width.is_none() && between_batches)
                .then_some(ORDER_CONFIDENCE),
            tie_margin: BETTER_MARGIN,
        };
        if let Some(reason) = tournament.stop(&rules)? {
            return Ok(Some(match reason {
                StopReason::NoPairsLeft => Stopped::AllPairs,
                StopReason::Budget => Stopped::Budget,
                StopReason::IntervalWidth => Stopped::Interval,
                StopReason::OrderSettled => Stopped::Order,
            }));
        }
        if let (Some(width), true) = (self.stop.interval_width, between_batches) {
            let (fit, _) = scores(&tournament)?;
            let narrow = |content| fit.scale.interval(content).is_some_and(|ci95| ci95.width() <= width);
            if fit.scale.components.count() == 1 && (0..self.contents.len()).all(narrow) {
                return Ok(Some(Stopped::Interval));
            }
        }
        Ok(None)
    }

    /// The ranking so far; with every judged pair when `with_graph`.
    ///
    /// # Errors
    /// Fewer than one video; arithmetic that does not converge.
    pub fn ranking(&self, with_graph: bool) -> Result<Ranking, Error> {
        let judged = self.comparisons();
        let tournament = self.tournament(&judged)?;
        let (fit, noise) = scores(&tournament)?;
        let groups = fit.scale.components.members();
        let mut warnings = self.warnings.clone();
        warnings.extend(told_of_pieces(groups.len()));
        // Where each group lies on the five-point scale.
        let mut levels = vec![(0.0, 0.0); groups.len()];
        for &entrant in &self.contents {
            let Entrant { content, score, .. } = self.entrants[entrant];
            let (sum, count) = &mut levels[fit.scale.components.of_item[content]];
            *sum += score;
            *count += 1.0;
        }
        let edges = self.edges(&judged);
        let mut tallies = vec![(0, 0, 0); self.entrants.len()];
        for &(a, b, margin) in &edges {
            match Preference::of_margin(margin) {
                Preference::A => (tallies[a].0, tallies[b].1) = (tallies[a].0 + 1, tallies[b].1 + 1),
                Preference::B => (tallies[a].1, tallies[b].0) = (tallies[a].1 + 1, tallies[b].0 + 1),
                Preference::Tie => (tallies[a].2, tallies[b].2) = (tallies[a].2 + 1, tallies[b].2 + 1),
            }
        }
        let path = |entrant: usize| self.entrants[entrant].path.to_string_lossy().into_owned();
        let mut items = Vec::with_capacity(self.entrants.len());
        for standing in fit.scale.standings() {
            let (sum, count) = levels[standing.group];
            let level = sum / count;
            let twins = (0..self.entrants.len()).filter(|&e| self.entrants[e].content == standing.item);
            for (twin, entrant) in twins.enumerate() {
                let (wins, losses, ties) = tallies[entrant];
                let interval = fit.scale.interval(standing.item).map(ends);
                items.push(RankedItem {
                    rank: standing.rank,
                    path: path(entrant),
                    score: level + fit.scale.scores[standing.item],
                    ci95: interval.map(|[lo, hi]| [level + lo, level + hi]),
                    tied: standing.tied_with_above || twin > 0,
                    wins,
                    losses,
                    ties,
                    group: standing.group + 1,
                    sha256: Some(self.entrants[entrant].sha256.clone()),
                });
            }
        }
        share_ranks(&mut items);
        let cycles = worst_cycles(tournament.pairs(), &fit, CYCLES);
        let stand_for = |content: usize| path(self.contents[content]);
        Ok(Ranking {
            schema: Schema,
            record_type: RankingType,
            items,
            comparisons: Comparisons { judged: edges.len(), possible: pairs_of(self.entrants.len()) },
            inconsistency: fit.inconsistency,
            noise: Some(noise),
            stopped: self.stopped.unwrap_or(Stopped::AllPairs),
            worst_cycles: (cycles.into_iter())
                .map(|cycle| WorstCycle {
                    paths: cycle.items.into_iter().map(stand_for).collect(),
                    margin_sum: cycle.margin_sum,
                    intransitive: cycle.intransitive,
                })
                .collect(),
            graph: with_graph.then(|| {
                (edges.iter()).map(|&(a, b, margin)| GraphEdge { a: path(a), b: path(b), margin }).collect()
            }),
            provenance: self.juror.provenance(
                Some(self.juror.model()),
                Timings { total: self.begin.elapsed().as_secs_f64(), ..self.timings },
                warnings,
            ),
        })
    }

    /// Every comparison of entrants `(a, b, margin)`: the judged ones, and the ties of files of equal content with the
    /// first of them.
    fn edges(&self, judged: &[(Comparison, f64)]) -> Vec<(usize, usize, f64)> {
        let stand_for = |content: usize| self.contents[content];
        let judged = judged.iter().map(|(c, _)| (stand_for(c.a), stand_for(c.b), c.margin));
        let twins = (self.entrants.iter().enumerate())
            .map(|(entrant, video)| (stand_for(video.content), entrant, 0.0))
            .filter(|(first, twin, _)| first != twin);
        judged.chain(twins).collect()
    }
}

/// Least-squares scores, with the noise that the tournament finds.
fn scores(tournament: &Tournament) -> Result<(MarginFit, f64), StatsError> {
    let noise = tournament.fit()?.judge.noise;
    Ok((scale_margins(tournament.pairs(), Noise::Known(noise))?, noise))
}

/// Ranks counted over videos instead of contents: after two equal files comes rank 3.
fn share_ranks(items: &mut [RankedItem]) {
    let (mut group, mut content_rank, mut place, mut rank) = (0, 0, 0, 0);
    for item in items {
        if item.group != group {
            (group, content_rank, place) = (item.group, 0, 0);
        }
        place += 1;
        if item.rank != content_rank {
            (content_rank, rank) = (item.rank, place);
        }
        item.rank = rank;
    }
}

/// What to tell of comparisons that leave several groups.
fn told_of_pieces(groups: usize) -> Option<String> {
    (groups > 1).then(|| {
        format!(
            "the comparisons leave {groups} groups of videos unconnected: ranks and scores hold within a group only"
        )
    })
}

fn pairs_of(count: usize) -> usize {
    count * count.saturating_sub(1) / 2
}
