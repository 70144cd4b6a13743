//! Compare, score and rank, checked and resolved.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use juror::Options;
use juror::ranking::{ChoiceModel, Stop};

use super::{Model, Report, options};
use crate::args::{CompareArgs, RankArgs, ScoreArgs};
use crate::inputs::{self, Pair};
use crate::output::PlotPath;

/// Many inputs to judge.
#[derive(Debug)]
pub struct Job<T> {
    /// What to judge; never empty.
    pub inputs: Vec<T>,
    /// How.
    pub options: Options,
    /// With which model.
    pub model: Model,
    /// Where results go.
    pub report: Report,
    /// What margins are brought to the scale by; for scores only.
    pub anchors: Option<AnchorSource>,
    /// Whether to go on after a failure.
    pub continue_on_error: bool,
}

/// Where videos of known score come from.
#[derive(Debug)]
pub enum AnchorSource {
    /// Rendered by the program.
    Scenes,
    /// Rated by people, in this file and its folder.
    Rated(PathBuf),
}

impl Job<Pair> {
    /// # Errors
    /// When arguments contradict each other or the list cannot be read.
    pub fn of_compare(args: CompareArgs) -> anyhow::Result<Self> {
        let inputs = match (args.list, args.a, args.b) {
            (Some(list), ..) => inputs::pairs(&list)?,
            (None, Some(a), Some(b)) => vec![Pair { a, b }],
            _ => bail!("two videos are needed: juror compare A B"),
        };
        let options = Options {
            single_order: args.single_order,
            segment_secs: None,
            ..options(&args.view, !args.reasons.no_rationale)?
        };
        Ok(Self {
            report: Report::new(&args.report, inputs.len() > 1),
            inputs,
            options,
            model: Model::new(args.model)?,
            anchors: None,
            continue_on_error: args.continue_on_error,
        })
    }
}

impl Job<PathBuf> {
    /// # Errors
    /// When arguments contradict each other or the list cannot be read.
    pub fn of_score(args: ScoreArgs) -> anyhow::Result<Self> {
        let mut inputs = args.videos;
        if let Some(list) = args.list {
            inputs.extend(inputs::videos(&list)?);
        }
        let options = Options {
            segment_secs: args.segment_seconds,
            ..options(&args.view, !args.reasons.no_rationale)?
        };
        Ok(Self {
            report: Report::new(&args.report, inputs.len() > 1),
            inputs,
            options,
            model: Model::new(args.model)?,
            anchors: args.anchors.map(|source| match source.to_str() {
                Some("scenes") => AnchorSource::Scenes,
                _ => AnchorSource::Rated(source),
            }),
            continue_on_error: args.continue_on_error,
        })
    }
}

/// Videos to rank.
#[derive(Debug)]
pub struct Tournament {
    /// Two or more.
    pub videos: Vec<PathBuf>,
    /// How they are watched and judged.
    pub options: Options,
    /// When judging stops.
    pub stop: Stop,
    /// The file to go on from.
    pub state: Option<PathBuf>,
    /// Whether judged pairs are written.
    pub pairs: bool,
    /// Where the plot goes.
    pub plot: Option<PlotPath>,
    /// Where the page goes.
    pub html: Option<PathBuf>,
    /// With which model.
    pub model: Model,
    /// Where results go.
    pub report: Report,
    /// Whether to go on after a failure.
    pub continue_on_error: bool,
}

impl Tournament {
    /// # Errors
    /// When arguments contradict each other or the list cannot be read.
    pub fn new(args: RankArgs) -> anyhow::Result<Self> {
        let mut videos = args.videos;
        if let Some(list) = args.list {
            videos.extend(inputs::videos(&list)?);
        }
        ensure!(videos.len() > 1, "a ranking needs at least two videos; {} was given", videos.len());
        Ok(Self {
            videos,
            options: options(&args.view, false)?,
            stop: Stop { budget: args.budget.map(|budget| budget as usize), interval_width: args.interval },
            state: args.state,
            pairs: args.pairs,
            plot: args.plot.map(PlotPath::new).transpose()?,
            html: args.html,
            model: Model::new(args.model)?,
            report: Report::new(&args.report, args.continue_on_error),
            continue_on_error: args.continue_on_error,
        })
    }
}

/// Comparisons to score.
#[derive(Debug)]
pub struct Scaling {
    /// Where they are.
    pub comparisons: PathBuf,
    /// What people's choices are taken to follow.
    pub choice_model: ChoiceModel,
    /// Whether the pairs are written.
    pub pairs: bool,
    /// Where the plot goes.
    pub plot: Option<PlotPath>,
    /// Where the page goes.
    pub html: Option<PathBuf>,
    /// Of everything random; nothing is, but records name it.
    pub seed: u64,
    /// Where results go.
    pub report: Report,
}

impl Scaling {
    /// `None` where videos are to be judged instead.
    ///
    /// # Errors
    /// When the plot cannot be written under its name.
    pub fn new(args: &RankArgs) -> anyhow::Result<Option<Self>> {
        let Some(comparisons) = args.comparisons.clone() else { return Ok(None) };
        Ok(Some(Self {
            comparisons,
            choice_model: args.choice_model.into(),
            pairs: args.pairs,
            plot: args.plot.clone().map(PlotPath::new).transpose()?,
            html: args.html.clone(),
            seed: args.model.seed,
            report: Report::new(&args.report, false),
        }))
    }
}
