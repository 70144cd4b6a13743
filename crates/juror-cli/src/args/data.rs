//! What is typed to make and label data: distort, pairs, label.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ReportArgs, WindowArgs, positive_number};

/// Worsen a video by simulated distortions, for tests and training
///
/// Sound is left out. The container follows the extension of OUT. Frames which no codec distorts are encoded without visible loss.
/// Kinds that are one encode take a preset of their encoder: `h264@slow`.
#[derive(Debug, Args)]
#[command(override_usage = "juror distort [OPTIONS] <IN> <OUT> --kind <KIND> --level <LEVEL>\n       \
        juror distort [OPTIONS] <IN> <OUT> --chain <KIND:LEVEL,...>\n       \
        juror distort --list-kinds")]
pub struct DistortArgs {
    /// The video to worsen
    #[arg(value_name = "IN", required_unless_present_any = ["list_kinds", "list_levels"], requires = "output", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// Where to write the result; it appears only when complete
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// What to do to it (`--list-kinds` names the kinds)
    #[arg(long, value_name = "KIND", requires = "level", conflicts_with = "chain", required_unless_present_any = ["chain", "list_kinds", "list_levels"])]
    pub kind: Option<String>,
    /// How strongly: 1 mild .. 5 severe, any number between
    #[arg(long, value_name = "LEVEL", requires = "kind", value_parser = positive_number)]
    pub level: Option<f64>,
    /// Several distortions one after the other, as `kind:level,kind:level`
    #[arg(long, value_name = "KIND:LEVEL,...")]
    pub chain: Option<String>,
    /// Print the kinds, one a line
    #[arg(long, exclusive = true)]
    pub list_kinds: bool,
    /// Print the kinds with what their levels mean
    #[arg(long, exclusive = true)]
    pub list_levels: bool,
    #[command(flatten)]
    pub window: WindowArgs,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Show no progress on standard error; errors still appear
    #[arg(long, short)]
    pub quiet: bool,
}

/// Build a set of labelled pairs from unlabelled videos; a stopped run goes on where it was
///
/// Sources are distorted at known severities and scored by a panel of judges; pairs are drawn from both kinds of knowledge and
/// written as pairs.jsonl and pairs.parquet, with a manifest and a report, into the folder of the run. Equal inputs give equal bytes.
#[derive(Debug, Args)]
#[command(override_usage = "juror pairs [OPTIONS] --config <FILE>\n       \
        juror pairs [OPTIONS] --run-dir <DIR> [VIDEO|FOLDER|TABLE.csv]...")]
pub struct PairsArgs {
    /// Videos, folders of videos, and tables (CSV with a column `file` or `video`, and perhaps `licence`, `quality`, `group`)
    #[arg(value_name = "VIDEO|FOLDER|TABLE.csv", value_hint = ValueHint::AnyPath)]
    pub videos: Vec<PathBuf>,
    /// Read more videos from this file, one a line (`-`: standard input)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub list: Option<PathBuf>,
    /// The folder that the names in tables are relative to [default: the table's own]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
    /// The configuration, such as configs/pairs.toml; options change it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The folder of state, clips and set
    #[arg(long, value_name = "DIR", required_unless_present = "config", value_hint = ValueHint::DirPath)]
    pub run_dir: Option<PathBuf>,
    /// Add this many procedural scenes to the sources
    #[arg(long, value_name = "N")]
    pub scenes: Option<usize>,
    /// Use only this many of the files, chosen so that what their pictures measure is spread evenly
    #[arg(long, value_name = "N")]
    pub select: Option<usize>,
    /// Spread it as in this table (with the columns of a set's sources.csv) instead
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub like: Option<PathBuf>,
    /// Pairs of the set [default: 2000]
    #[arg(long, value_name = "N")]
    pub pairs: Option<usize>,
    /// Distortions of each source, each at every level [default: 3]
    #[arg(long, value_name = "N")]
    pub families: Option<usize>,
    /// Largest size of all clips together, GiB; over it they are removed once they are judged [default: 20]
    #[arg(long, value_name = "GIB", value_parser = positive_number)]
    pub cache_gib: Option<f64>,
    /// The model whose weaknesses are mined: gMAD pairs against each judge, orders that it gets wrong
    #[arg(long, value_name = "NAME_OR_PATH")]
    pub student: Option<String>,
    /// Tell what would be done and what it would cost, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub panel: PanelArgs,
    /// Threads to use; results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Score videos by a panel of judges: mean, variance and five-level labels on one scale
///
/// A judge that is not on the five-point scale is mapped to it by a 4-parameter logistic, against the ratings of --anchors or else
/// against the first judge that is.
#[derive(Debug, Args)]
#[command(
    override_usage = "juror label [OPTIONS] <VIDEO>...\n       juror label [OPTIONS] --list <FILE> [VIDEO]..."
)]
pub struct LabelArgs {
    /// The videos
    #[arg(value_name = "VIDEO", required_unless_present = "list", value_hint = ValueHint::FilePath)]
    pub videos: Vec<PathBuf>,
    /// Read more videos from this file, one a line (`-`: standard input)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub list: Option<PathBuf>,
    /// The pristine source of all videos, for judges that compare with it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub reference: Option<PathBuf>,
    /// Write a record of every pair of the videos, too: margin and level
    #[arg(long)]
    pub pairs: bool,
    /// Keep scores in this folder, and go on from it after a stop
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub panel: PanelArgs,
    /// Threads to use; results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Who sits on the panel.
#[derive(Debug, Args)]
#[command(next_help_heading = "Panel")]
pub struct PanelArgs {
    /// A judge: `nano`, `niqe`, `cpbd`, `blockiness`, the folder of a checkpoint or the name of one that was pulled; with a pristine
    /// source `psnr`, `ssim`, `ms-ssim`, `vmaf` (may be given several times)
    #[arg(long, value_name = "NAME_OR_PATH")]
    pub judge: Vec<String>,
    /// A program as a judge, run by the shell; it reads {"id":1,"video":"/a.mp4","reference":null} and answers
    /// {"id":1,"score":3.2}, a line each (may be given several times)
    #[arg(long, value_name = "COMMAND")]
    pub external: Vec<String>,
    /// Seconds that an answer of a program may take
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = positive_number)]
    pub external_timeout: f64,
    /// An FFmpeg program that has libvmaf, for the judge `vmaf`
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandName)]
    pub vmaf: Option<PathBuf>,
    /// Ratings (CSV `video,mos`, 1 to 5) of some of the videos, which give the scale
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub anchors: Option<PathBuf>,
}
