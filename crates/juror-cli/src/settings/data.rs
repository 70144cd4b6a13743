//! Distort, pairs and label, checked and resolved.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use juror_media::TimeWindow;
use juror_media::distort::{Chain, Distortion};
use juror_train::pairs::PairsConfig;
use juror_train::panel::PanelConfig;
use juror_train::panel::external::ExternalConfig;

use super::Report;
use crate::args::{DistortArgs, LabelArgs, PairsArgs, PanelArgs};
use crate::inputs;

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
