//! What was typed, checked and resolved: the only form of the arguments that commands work with.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use juror::evaluation::{BENCHMARKS, Benchmark, RatingColumns, Ratings, ScoreColumn};
use juror::ranking::{ChoiceModel, Stop};
use juror::{Juror, OpenOptions, Options, Processor};
use juror_lmm::remote::Media;
use juror_media::TimeWindow;
use juror_media::distort::{Chain, Distortion};
use juror_net::chat::{KEY_VARIABLE, Service};
use juror_net::http::{Patience, Secret};
use juror_stats::Bootstrap;
use juror_train::pairs::PairsConfig;
use juror_train::panel::PanelConfig;
use juror_train::panel::external::ExternalConfig;

use crate::args::{
    CompareArgs, DistortArgs, EvalArgs, Format, LabelArgs, ModelArgs, PairsArgs, PanelArgs, RankArgs,
    RemoteArgs, ReportArgs, ScoreArgs, Sending, ViewArgs, WindowArgs,
};
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

/// Which model judges, and how it runs.
#[derive(Debug)]
pub struct Model {
    /// An embedded name or a folder.
    pub name_or_path: PathBuf,
    /// 0: one per core.
    pub threads: usize,
    /// Of everything random.
    pub seed: u64,
    /// Device, precision and adapter.
    pub open: OpenOptions,
    /// Set for a model that is served elsewhere.
    pub remote: Option<(Service, Media)>,
}

/// Where and how results are written.
#[derive(Debug)]
pub struct Report {
    /// Their form.
    pub format: Format,
    /// Their file; standard output where there is none.
    pub output: Option<PathBuf>,
    /// No progress, no warnings.
    pub quiet: bool,
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

impl WindowArgs {
    fn checked(&self) -> anyhow::Result<TimeWindow> {
        Ok(TimeWindow::new(self.start, self.end)?)
    }
}

fn options(view: &ViewArgs, rationale: bool) -> anyhow::Result<Options> {
    Ok(Options {
        window: view.window.checked()?,
        frames: view.frames.map(|frames| frames as usize),
        rationale,
        ..Options::default()
    })
}

impl Model {
    fn new(args: ModelArgs) -> anyhow::Result<Self> {
        let processor: Processor = args.device.parse()?;
        processor.check_build()?;
        let open = OpenOptions { processor, precision: args.precision, adapter: args.adapter };
        open.precision()?;
        let threads = args.threads.map_or(0, usize::from);
        let remote = remote(&args.model, &args.remote)?;
        if remote.is_some() {
            open.check_remote()?;
        }
        Ok(Self { name_or_path: args.model, threads, seed: args.seed, open, remote })
    }

    /// Opens the model, and bounds the threads of its arithmetic.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn open(&self) -> Result<Juror, juror::Error> {
        bound_threads(self.threads);
        let name_or_path: &OsStr = self.name_or_path.as_ref();
        let juror = match &self.remote {
            Some((service, media)) => Juror::remote(service.clone(), *media)?,
            None => Juror::open_with(name_or_path, &self.open)?,
        };
        Ok(juror.with_threads(self.threads).with_seed(self.seed))
    }
}

/// What begins the name of a model that is served elsewhere.
const REMOTE: &str = "openai:";

/// The service behind `openai:NAME`; `None` for models of this machine.
fn remote(model: &Path, args: &RemoteArgs) -> anyhow::Result<Option<(Service, Media)>> {
    let name = model.to_str().and_then(|model| model.strip_prefix(REMOTE));
    let (name, base_url) = match (name, &args.base_url) {
        (None, None) => return Ok(None),
        (None, Some(_)) => bail!("--base-url is for a model served elsewhere: --model {REMOTE}NAME"),
        (Some(_), None) => {
            bail!("{} needs --base-url URL, such as http://localhost:8000/v1", model.display())
        }
        (Some(name), Some(base_url)) => (name, base_url),
    };
    let patience = Patience {
        timeout: Duration::try_from_secs_f64(args.timeout)?,
        retries: args.retries,
        ..Patience::default()
    };
    let service = Service {
        base_url: base_url.clone(),
        model: name.to_owned(),
        key: Secret::from_env(KEY_VARIABLE)?,
        patience,
        concurrency: usize::from(args.requests),
    };
    let media = match args.send {
        Sending::Frames => Media::Frames,
        Sending::File => Media::File,
    };
    Ok(Some((service, media)))
}

/// Bounds the threads of all arithmetic; 0: one per core.
pub fn bound_threads(threads: usize) {
    // The pool exists already only when this is called twice; it then has this size already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}

impl Report {
    /// For `many` records or one. The form is the one asked for, else a table for a person at a terminal,
    /// else JSON (as lines for many records).
    pub fn new(args: &ReportArgs, many: bool) -> Self {
        let at_terminal = args.output.is_none() && std::io::stdout().is_terminal();
        let format = args.format.unwrap_or(match (at_terminal, many) {
            (true, _) => Format::Table,
            (false, true) => Format::Jsonl,
            (false, false) => Format::Json,
        });
        Self { format, output: args.output.clone(), quiet: args.quiet }
    }
}

/// A pair set to build.
#[derive(Debug)]
pub struct Building {
    /// Everything that decides the set.
    pub config: PairsConfig,
    /// Only tell what it would cost.
    pub dry_run: bool,
    /// 0: one per core.
    pub threads: usize,
    /// Where the summary goes.
    pub report: Report,
}

impl Building {
    /// # Errors
    /// When the configuration or the list cannot be read, or a value is out of range.
    pub fn new(args: PairsArgs) -> anyhow::Result<Self> {
        let mut config = match (&args.config, &args.run_dir) {
            (Some(path), _) => PairsConfig::read(path)?,
            (None, Some(run_dir)) => PairsConfig::new(run_dir.clone()),
            (None, None) => bail!("either --config or --run-dir is needed"),
        };
        let mut videos = args.videos;
        if let Some(list) = &args.list {
            videos.extend(inputs::videos(list)?);
        }
        if !videos.is_empty() {
            config.sources.videos = videos;
        }
        set(&mut config.run_dir, args.run_dir);
        set(&mut config.seed, args.seed);
        set(&mut config.sources.scenes, args.scenes);
        set(&mut config.versions.families, args.families);
        set(&mut config.versions.cache_gib, args.cache_gib);
        set(&mut config.choice.pairs, args.pairs);
        config.sources.folder = args.folder.or(config.sources.folder);
        config.sources.select = args.select.or(config.sources.select);
        config.sources.like = args.like.or(config.sources.like);
        config.choice.student = args.student.or(config.choice.student);
        panel(args.panel, &mut config.panel)?;
        config.check()?;
        Ok(Self {
            config,
            dry_run: args.dry_run,
            threads: args.threads.map_or(0, usize::from),
            report: Report::new(&args.report, false),
        })
    }
}

/// Videos for a panel to label.
#[derive(Debug)]
pub struct Labelling {
    /// Never empty.
    pub videos: Vec<PathBuf>,
    /// Their pristine source.
    pub reference: Option<PathBuf>,
    /// Whether pairs are written, too.
    pub pairs: bool,
    /// Where scores are kept.
    pub state: Option<PathBuf>,
    /// Who labels.
    pub panel: PanelConfig,
    /// 0: one per core.
    pub threads: usize,
    /// Where results go.
    pub report: Report,
}

impl Labelling {
    /// # Errors
    /// When the list cannot be read or the panel makes no sense.
    pub fn new(args: LabelArgs) -> anyhow::Result<Self> {
        let mut videos = args.videos;
        if let Some(list) = &args.list {
            videos.extend(inputs::videos(list)?);
        }
        let mut config = PanelConfig { judges: vec!["nano".to_owned()], ..PanelConfig::default() };
        panel(args.panel, &mut config)?;
        Ok(Self {
            report: Report::new(&args.report, videos.len() > 1 || args.pairs),
            videos,
            reference: args.reference,
            pairs: args.pairs,
            state: args.state,
            panel: config,
            threads: args.threads.map_or(0, usize::from),
        })
    }
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

/// Puts on the panel who was named; judges that are named replace those that sit there.
fn panel(args: PanelArgs, config: &mut PanelConfig) -> anyhow::Result<()> {
    if !args.judge.is_empty() {
        config.judges = args.judge;
    }
    config.vmaf_program = args.vmaf.or(config.vmaf_program.take());
    config.anchors = args.anchors.or(config.anchors.take());
    for command in args.external {
        let program = command.split_whitespace().next().unwrap_or_default();
        let stem =
            Path::new(program).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        ensure!(!stem.is_empty(), "--external needs a command");
        let taken = |name: &str| config.external.iter().any(|external| external.name == name);
        let name = (1..)
            .map(|number| if number == 1 { stem.clone() } else { format!("{stem}-{number}") })
            .find(|name| !taken(name))
            .unwrap_or(stem);
        config.external.push(ExternalConfig {
            name,
            command,
            timeout_secs: args.external_timeout,
            needs_reference: false,
            on_scale: false,
        });
    }
    Ok(())
}

/// What to do to a video, or to list the kinds of what can be done.
#[derive(Debug)]
pub enum Distorting {
    /// Print the kinds.
    ListKinds,
    /// Print the kinds with what their levels mean.
    ListLevels,
    /// Write a distorted video.
    File {
        /// The video to worsen.
        input: PathBuf,
        /// The result.
        output: PathBuf,
        /// What is done.
        chain: Chain,
        /// The part of the input to keep.
        window: TimeWindow,
        /// Of everything random.
        seed: u64,
        /// No progress.
        quiet: bool,
    },
}

impl Distorting {
    /// # Errors
    /// When a kind or level is unknown, or the output is the input.
    pub fn new(args: DistortArgs) -> anyhow::Result<Self> {
        if args.list_kinds {
            return Ok(Self::ListKinds);
        }
        if args.list_levels {
            return Ok(Self::ListLevels);
        }
        let (Some(input), Some(output)) = (args.input, args.output) else {
            bail!("two paths are needed: juror distort IN OUT");
        };
        let chain = match (&args.chain, &args.kind, args.level) {
            (Some(chain), ..) => chain.parse::<Chain>()?,
            (None, Some(kind), Some(level)) => Chain::from(format!("{kind}:{level}").parse::<Distortion>()?),
            _ => bail!("either --kind and --level or --chain is needed"),
        };
        ensure!(!same_file(&input, &output), "the output would replace the input: {}", output.display());
        let window = args.window.checked()?;
        Ok(Self::File { input, output, chain, window, seed: args.seed, quiet: args.quiet })
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
