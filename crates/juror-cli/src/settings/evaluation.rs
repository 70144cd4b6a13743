//! Eval, checked and resolved: files of scores and of ratings, and what is measured on them.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use juror::Options;
use juror::evaluation::{BENCHMARKS, Benchmark, RatingColumns, Ratings, ScoreColumn};
use juror_stats::Bootstrap;

use super::{Model, Report, options};
use crate::args::EvalArgs;
use crate::output::PlotPath;

/// Scores to hold against ratings.
#[derive(Debug)]
pub struct Evaluating {
    /// Where the ratings come from.
    pub ratings: RatingSource,
    /// Where the scores come from.
    pub source: ScoreSource,
    /// A second file of scores, and what of it is taken.
    pub against: Option<(PathBuf, Vec<ScoreColumn>)>,
    /// Whether videos may lack a rating or a score.
    pub allow_missing: bool,
    /// Behind the intervals, if any.
    pub bootstrap: Option<Bootstrap>,
    /// Where the plot goes.
    pub plot: Option<PlotPath>,
    /// 0: one per core.
    pub threads: usize,
    /// Of everything random.
    pub seed: u64,
    /// Where results go.
    pub report: Report,
}

/// Where ratings come from.
#[derive(Debug)]
pub enum RatingSource {
    /// A file with these columns.
    File(PathBuf, Box<RatingColumns>),
    /// Label files of public sets.
    Benchmarks {
        /// The sets, at least one.
        sets: Vec<&'static Benchmark>,
        /// The label file, of a single set.
        labels: Option<PathBuf>,
        /// Where the videos are.
        videos: Option<PathBuf>,
    },
}

impl RatingSource {
    fn new(args: &EvalArgs) -> anyhow::Result<Self> {
        if args.benchmark.is_empty() {
            let Some(path) = args.ratings.clone() else { bail!("either --ratings or --benchmark is needed") };
            let columns = rating_columns(&args.rating_columns, args.video_suffix.clone())?;
            return Ok(Self::File(path, Box::new(columns)));
        }
        let mut sets: Vec<&'static Benchmark> = Vec::new();
        for name in &args.benchmark {
            let Some(set) = Benchmark::named(name.trim()) else {
                let known: Vec<&str> = BENCHMARKS.iter().map(|known| known.name).collect();
                bail!("`{name}` is no set that juror knows; allowed are {}", known.join(", "));
            };
            ensure!(!sets.contains(&set), "--benchmark names {} twice", set.name);
            sets.push(set);
        }
        let (labels, videos) = (args.ratings.clone(), args.videos.clone());
        ensure!(
            labels.is_some() || videos.is_some(),
            "--benchmark needs --videos DIR, or --ratings FILE with its label file"
        );
        ensure!(
            labels.is_none() || sets.len() == 1,
            "--ratings names the label file of one set; several are looked for below --videos"
        );
        Ok(Self::Benchmarks { sets, labels, videos })
    }

    /// The ratings, and what a careful reader should know of them.
    ///
    /// # Errors
    /// Files that cannot be read or make no sense.
    pub fn read(&self) -> Result<(Ratings, Vec<String>), juror::evaluation::Error> {
        let (sets, labels, videos) = match self {
            Self::File(path, columns) => return Ok((Ratings::read(path, columns)?, Vec::new())),
            Self::Benchmarks { sets, labels, videos } => (sets, labels, videos),
        };
        let folder = |set: &Benchmark| match videos {
            Some(videos) if sets.len() > 1 => Some(videos.join(set.name)),
            videos => videos.clone(),
        };
        let (mut all, mut told) = (None::<Ratings>, Vec::new());
        for set in sets {
            let folder = folder(set);
            let labels = match (labels, &folder) {
                (Some(labels), _) => labels.clone(),
                (None, folder) => set.find_labels(folder.as_deref().unwrap_or(Path::new(".")))?,
            };
            let (mut ratings, warnings) = set.read(&labels, folder.as_deref())?;
            told.extend(warnings);
            if sets.len() > 1 {
                for row in &mut ratings.rows {
                    row.video = format!("{}/{}", set.name, row.video);
                    row.group = Some(set.name.to_owned());
                }
            }
            match &mut all {
                Some(all) => all.rows.extend(ratings.rows),
                None => all = Some(ratings),
            }
        }
        if let (true, Some(all), Some(videos)) = (sets.len() > 1, &mut all, videos) {
            all.path.clone_from(videos);
            told.push(
                "each set has a scale of its own: figures over all videos mix them; those per group and their weighted \
                 means do not"
                    .to_owned(),
            );
        }
        let none = || juror::evaluation::Error::Unreadable {
            reason: "no set is named".to_owned(),
            path: PathBuf::new(),
        };
        Ok((all.ok_or_else(none)?, told))
    }
}

/// Where scores come from.
#[derive(Debug)]
pub enum ScoreSource {
    /// A file.
    File {
        /// The file.
        path: PathBuf,
        /// What of it is taken.
        columns: Vec<ScoreColumn>,
        /// Paths below this folder are relative to it.
        folder: Option<PathBuf>,
    },
    /// A model, which watches the rated videos.
    Model {
        /// Where they are.
        folder: PathBuf,
        /// Which model.
        model: Box<Model>,
        /// How it watches.
        options: Options,
        /// Whether to go on after a failure.
        continue_on_error: bool,
    },
}

/// Probabilities to hold against what people chose.
#[derive(Debug)]
pub struct Calibrating {
    /// What people chose.
    pub preferences: PathBuf,
    /// What a judge told.
    pub comparisons: PathBuf,
    /// Whether pairs may lack a comparison.
    pub allow_missing: bool,
    /// Where the plot goes.
    pub plot: Option<PlotPath>,
    /// Of everything random; nothing is, but records name it.
    pub seed: u64,
    /// Where results go.
    pub report: Report,
}

impl Calibrating {
    /// `None` where scores are to be evaluated instead.
    ///
    /// # Errors
    /// When the plot cannot be written under its name.
    pub fn new(args: &EvalArgs) -> anyhow::Result<Option<Self>> {
        let (Some(preferences), Some(comparisons)) = (args.preferences.clone(), args.comparisons.clone())
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            preferences,
            comparisons,
            allow_missing: args.allow_missing,
            plot: args.plot.clone().map(PlotPath::new).transpose()?,
            seed: args.model.seed,
            report: Report::new(&args.report, false),
        }))
    }
}

impl Evaluating {
    /// # Errors
    /// When arguments contradict each other.
    pub fn new(args: EvalArgs) -> anyhow::Result<Self> {
        let seed = args.model.seed;
        let ratings = RatingSource::new(&args)?;
        let options = options(&args.view, false)?;
        let (model, columns) = (Model::new(args.model)?, score_columns(&args.score_column)?);
        let threads = model.threads;
        let source = match (args.scores, args.videos) {
            (Some(path), folder) => ScoreSource::File { path, columns, folder },
            (None, Some(folder)) => ScoreSource::Model {
                folder,
                model: Box::new(model),
                options,
                continue_on_error: args.continue_on_error,
            },
            (None, None) => bail!("either --scores or --videos is needed"),
        };
        let against_columns = score_columns(&args.against_column)?;
        let many = args.continue_on_error && matches!(source, ScoreSource::Model { .. });
        Ok(Self {
            ratings,
            source,
            against: args.against.map(|path| (path, against_columns)),
            allow_missing: args.allow_missing,
            bootstrap: (args.bootstrap > 0)
                .then_some(Bootstrap { replicates: args.bootstrap as usize, seed }),
            plot: args.plot.map(PlotPath::new).transpose()?,
            threads,
            seed,
            report: Report::new(&args.report, many),
        })
    }
}

/// Names of columns from `KEY=NAME` each.
fn rating_columns(renamed: &[String], suffix: String) -> anyhow::Result<RatingColumns> {
    let mut columns = RatingColumns::with_suffix(suffix);
    for text in renamed {
        let known = text.split_once('=').is_some_and(|(key, name)| columns.rename(key.trim(), name.trim()));
        ensure!(
            known,
            "`{text}` renames no column of ratings; allowed is KEY=NAME with a key of {}",
            RatingColumns::KEYS.join(", ")
        );
    }
    Ok(columns)
}

/// Columns from `NAME` or `NAME:WEIGHT,NAME:WEIGHT`.
fn score_columns(text: &str) -> anyhow::Result<Vec<ScoreColumn>> {
    let column = |part: &str| {
        let (name, weight) = part.rsplit_once(':').unwrap_or((part, "1"));
        let weight = weight.trim().parse::<f64>().ok().filter(|weight| weight.is_finite() && *weight != 0.0);
        match (name.trim(), weight) {
            ("", _) | (_, None) => bail!(
                "`{part}` is no column of scores; allowed are `name` and `name:weight`, \
                 the weight a number other than 0"
            ),
            (name, Some(weight)) => Ok(ScoreColumn { name: name.to_owned(), weight }),
        }
    };
    text.split(',').map(column).collect()
}
