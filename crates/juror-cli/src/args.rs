//! What may be typed: the one definition behind the parser, the help, the man page and the completions.
//!
//! First of two stages. Here values are only parsed, each by itself; [`crate::settings`] checks how they
//! fit together and resolves defaults, and nothing after it sees these types. Parsers of values carry
//! their tests at the end of the file.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use juror::ranking::ChoiceModel;
use juror_lmm::published::random::Scale;
use juror_nn::packed::WeightPrecision;

/// Tells how good a video looks, without a reference
#[derive(Debug, Parser)]
#[command(
    name = "juror",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 all done; 1 done, but some inputs failed; 2 wrong usage or nothing could be done."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What juror can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Compare(CompareArgs),
    Score(ScoreArgs),
    Rank(RankArgs),
    Eval(EvalArgs),
    Distort(DistortArgs),
    Pairs(Box<PairsArgs>),
    Label(Box<LabelArgs>),
    Train(TrainArgs),
    Improve(ImproveArgs),
    Pull(PullArgs),
    Models(ModelsArgs),
    Bench(BenchArgs),
    Doctor(DoctorArgs),
    /// Print shell completions
    ///
    /// For bash: `juror completions bash > ~/.local/share/bash-completion/completions/juror`.
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    ///
    /// `juror man | man -l -` reads it; `juror man compare` prints the page of one command.
    Man {
        /// Print the page of this command instead of the whole program's
        command: Option<String>,
    },
}

/// Tell which of two videos looks better, by how much, and why
///
/// The margin is positive when A is better; its unit is one point of the five-point scale (1 bad .. 5 excellent).
/// Both are judged as shown at the same size on the same screen. Length, size and frame rate may differ.
#[derive(Debug, Args)]
#[command(override_usage = "juror compare [OPTIONS] <A> <B>\n       juror compare [OPTIONS] --list <FILE>")]
pub struct CompareArgs {
    /// The first video
    #[arg(value_name = "A", required_unless_present = "list", requires = "b", value_hint = ValueHint::FilePath)]
    pub a: Option<PathBuf>,
    /// The second video
    #[arg(value_name = "B", conflicts_with = "list", value_hint = ValueHint::FilePath)]
    pub b: Option<PathBuf>,
    /// Judge only A-B, not B-A as well: less work, but a bias for one side stays in
    #[arg(long)]
    pub single_order: bool,
    /// Read pairs from this file, one a line, A and B separated by a tab (`-`: standard input)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub list: Option<PathBuf>,
    /// Go on with the next pair when one fails
    #[arg(long)]
    pub continue_on_error: bool,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub reasons: ReasonArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Score videos on the five-point scale (1 bad .. 5 excellent), with interval and reasons
#[derive(Debug, Args)]
#[command(
    override_usage = "juror score [OPTIONS] <VIDEO>...\n       juror score [OPTIONS] --list <FILE> [VIDEO]..."
)]
pub struct ScoreArgs {
    /// The videos
    #[arg(value_name = "VIDEO", required_unless_present = "list", value_hint = ValueHint::FilePath)]
    pub videos: Vec<PathBuf>,
    /// Score segments of this many seconds too, and pool them
    #[arg(long, value_name = "SECONDS", value_parser = positive_number)]
    pub segment_seconds: Option<f64>,
    /// Score by margins over anchors, videos of known score: `scenes` for those of the program, or ratings of your own on the
    /// five-point scale (video,mos), with paths from the folder of this file
    #[arg(long, value_name = "FILE|scenes", value_hint = ValueHint::FilePath)]
    pub anchors: Option<PathBuf>,
    /// Read more videos from this file, one a line (`-`: standard input)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub list: Option<PathBuf>,
    /// Go on with the next video when one fails
    #[arg(long)]
    pub continue_on_error: bool,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub reasons: ReasonArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Order many videos by comparing few pairs; scores with intervals
///
/// Every video is watched once. The next pairs are those that tell most; judging stops when the order is settled (each video is
/// above the next, or similar to it, with 95 % confidence), or as --interval says, at the latest after --budget pairs.
#[derive(Debug, Args)]
#[command(
    override_usage = "juror rank [OPTIONS] <VIDEO> <VIDEO>...\n       juror rank [OPTIONS] --list <FILE> [VIDEO]...\n       \
        juror rank [OPTIONS] --comparisons <FILE>"
)]
pub struct RankArgs {
    /// The videos, two or more
    #[arg(value_name = "VIDEO", required_unless_present_any = ["list", "comparisons"], value_hint = ValueHint::FilePath)]
    pub videos: Vec<PathBuf>,
    /// Watch nothing: score comparisons that were made before. A table of a,b,margin[,weight], one of people's choices
    /// a,b,preferred[,votes] (`a`, `b`, `tie` or the share for `a`), JSON lines of either, or the records of `juror compare`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["videos", "list", "budget", "interval", "state"], value_hint = ValueHint::FilePath)]
    pub comparisons: Option<PathBuf>,
    /// How scores are made of people's choices
    #[arg(long, value_name = "MODEL", default_value = "thurstone", requires = "comparisons")]
    pub choice_model: ChoiceScale,
    /// Judge at most this many pairs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: Option<u32>,
    /// Judge until no 95 % interval of a score is wider than this many points
    #[arg(long, value_name = "WIDTH", value_parser = positive_number)]
    pub interval: Option<f64>,
    /// Keep what is watched and judged in this file, and go on from it: after a stop, or with more videos
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub state: Option<PathBuf>,
    /// Write every judged pair and its margin too
    #[arg(long)]
    pub pairs: bool,
    /// Draw scores with intervals and the matrix of margins into this file, SVG or PNG by its extension
    #[arg(long, value_name = "FILE.svg|FILE.png", value_hint = ValueHint::FilePath)]
    pub plot: Option<PathBuf>,
    /// Write the ranking as one HTML page with thumbnails, which needs nothing else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Read more videos from this file, one a line (`-`: standard input)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub list: Option<PathBuf>,
    /// Go on with the others when a video fails
    #[arg(long)]
    pub continue_on_error: bool,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Reasons are never written here; scripts may say so all the same.
    #[arg(long, hide = true)]
    pub no_rationale: bool,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Tell how well scores agree with people's ratings
///
/// Files are joined by the text of `video`. The scores may be on any scale where more is better. Figures: SRCC, KRCC, PLCC (after
/// the 4-parameter logistic, and raw), RMSE, pair accuracy, outlier ratio (with `std`), per `group`, and the share of bitrate
/// ladders (`ladder`, `bitrate`) that keep their order.
#[derive(Debug, Args)]
#[command(override_usage = "juror eval [OPTIONS] --ratings <FILE> --scores <FILE>\n       \
        juror eval [OPTIONS] --ratings <FILE> --videos <DIR>\n       \
        juror eval [OPTIONS] --benchmark <NAME,...> --videos <DIR>\n       \
        juror eval [OPTIONS] --preferences <FILE> --comparisons <FILE>", after_help = names_of_benchmarks())]
pub struct EvalArgs {
    /// The ratings: CSV with the columns video,mos[,std][,votes][,group][,ladder,bitrate], or JSON lines; with a column observer
    /// every row is the opinion of one, and bias and inconsistency of each are taken out
    #[arg(long, value_name = "FILE", required_unless_present_any = ["benchmark", "preferences"], value_hint = ValueHint::FilePath)]
    pub ratings: Option<PathBuf>,
    /// Public sets, named below, in whose own label files the ratings are: below --videos (of several sets: below its folder of
    /// that name), or the one that --ratings names
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', conflicts_with_all = ["rating_columns", "video_suffix"])]
    pub benchmark: Vec<String>,
    /// What the columns of --ratings are called, where it is otherwise (`video=flickr_id,mos=MOS`)
    #[arg(long, value_name = "KEY=NAME,...", value_delimiter = ',')]
    pub rating_columns: Vec<String>,
    /// What follows the ids of --ratings to make them names of videos (`.mp4`)
    #[arg(long, value_name = "SUFFIX", default_value = "", hide_default_value = true)]
    pub video_suffix: String,
    /// The scores: CSV with the columns video,score, JSON lines, or the records of `juror score`
    #[arg(long, value_name = "FILE", required_unless_present_any = ["videos", "preferences"], value_hint = ValueHint::FilePath)]
    pub scores: Option<PathBuf>,
    /// The folder of the videos: without --scores the model scores them, with --scores paths are taken relative to it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub videos: Option<PathBuf>,
    /// What people chose of pairs: a table of a,b,preferred[,votes], or JSON lines; preferred is `a`, `b`, `tie` or the share for
    /// `a`. Are the probabilities of --comparisons right as often as they say?
    #[arg(long, value_name = "FILE", requires = "comparisons", conflicts_with_all = ["ratings", "benchmark", "scores", "videos", "against"], value_hint = ValueHint::FilePath)]
    pub preferences: Option<PathBuf>,
    /// What a judge told of the same pairs: the records of `juror compare`, or a table of a,b,margin,probability
    #[arg(long, value_name = "FILE", requires = "preferences", value_hint = ValueHint::FilePath)]
    pub comparisons: Option<PathBuf>,
    /// Other scores of the same videos: is the difference more than chance?
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub against: Option<PathBuf>,
    /// What of --scores is evaluated: a column, or several, which are standardised and summed by weight
    #[arg(long, value_name = "NAME[:WEIGHT],...", default_value = "score", requires = "scores")]
    pub score_column: String,
    /// The same for --against
    #[arg(long, value_name = "NAME[:WEIGHT],...", default_value = "score", requires = "against")]
    pub against_column: String,
    /// Leave out videos that lack a rating or a score, and pairs that lack a comparison
    #[arg(long)]
    pub allow_missing: bool,
    /// Resamples behind the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub bootstrap: u32,
    /// Draw scores against ratings, with the fitted curve, into this file, SVG or PNG by its extension; with --preferences
    /// the reliability diagram
    #[arg(long, value_name = "FILE.svg|FILE.png", value_hint = ValueHint::FilePath)]
    pub plot: Option<PathBuf>,
    /// Go on with the next video when one fails, and leave it out
    #[arg(long)]
    pub continue_on_error: bool,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Reasons are never written here; scripts may say so all the same.
    #[arg(long, hide = true)]
    pub no_rationale: bool,
    #[command(flatten)]
    pub report: ReportArgs,
}

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

/// Train a judge on distorted versions of clips; a stopped run goes on where it was
///
/// Several processes train as one when the environment says so as torchrun does: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// How to train
    #[command(subcommand)]
    pub method: TrainMethod,
}

/// Let a judge label new versions, learn from where it errs, and go on while that helps
///
/// Each stage labels with the current model, mines hard pairs and trains the start model anew on all data so far; the validation
/// set says when to stop. Prints the folder of the best model, which `--model` opens. A stopped run goes on where it was.
#[derive(Debug, Args)]
pub struct ImproveArgs {
    /// The configuration, such as configs/nano-improve.toml
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
}

/// Ways of training.
#[derive(Debug, Subcommand)]
pub enum TrainMethod {
    /// Supervised: ranking, regression and attribution, then written comparisons
    ///
    /// Prints the folder of the finished model, which `--model` opens.
    Sft {
        /// The configuration, such as configs/nano.toml
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
    /// By rewarded rollouts: reasons and margins together (Margin-Coupled GRPO)
    ///
    /// Starts from a model folder that `juror train sft` wrote; its body stays as it is. Prints the folder of the
    /// finished model, which `--model` opens.
    McGrpo {
        /// The configuration, such as configs/nano-mc-grpo.toml
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
    /// A page with plots of everything that a run has logged, its rollouts and its model card
    ///
    /// Also of a run at work. Every finished training writes it as report.html into its folder.
    Report {
        /// The folder of the run
        #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
        run_dir: PathBuf,
        /// Where the page is written [default: report.html in the folder of the run]
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
}

/// Get a published checkpoint from a Hugging Face hub, for `--model`
///
/// Only what a judge needs is fetched, and every file is checked. A broken pull goes on where it stopped. HF_ENDPOINT, HF_HOME
/// and HF_TOKEN are honoured; the cache is shared with the Python programs. Prints the folder of the checkpoint.
#[derive(Debug, Args)]
#[command(after_help = names_to_pull())]
pub struct PullArgs {
    /// OWNER/NAME of a repository, or one of the short names below
    #[arg(value_name = "REPO_OR_NAME")]
    pub repo: String,
    /// A branch, a tag or a commit
    #[arg(long, value_name = "REVISION", default_value = "main")]
    pub revision: String,
    /// Show no progress on standard error; errors still appear
    #[arg(long, short)]
    pub quiet: bool,
}

/// List the models that are here: the one inside the program, and those that were pulled
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only these: names or folders, as for `--model`
    #[arg(value_name = "NAME_OR_PATH", value_hint = ValueHint::AnyPath)]
    pub models: Vec<PathBuf>,
    /// Tell the memory that each would take, without loading it
    #[arg(long)]
    pub need: bool,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Time this machine: decoding, vision, reading, writing, and a whole judgement
///
/// The model scores a rendered clip. With --random-weights the network of a published checkpoint (internvl3, vqathinker,
/// llava-onevision, qwen2.5-vl, qwen3-vl) is built from noise instead, and its parts are timed.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The model, as for `juror score`; with --random-weights a family
    #[arg(long, short, value_name = "NAME_OR_PATH", default_value = "nano", value_hint = ValueHint::AnyPath)]
    pub model: PathBuf,
    /// Build the network of the family from noise: no checkpoint is needed
    #[arg(long)]
    pub random_weights: bool,
    /// Its size
    #[arg(long, value_name = "SCALE", default_value = "full", requires = "random_weights")]
    pub scale: SizeScale,
    /// Frames of a video [default: as the family looks at ten seconds]
    #[arg(long, value_name = "N", requires = "random_weights", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub frames: Option<u32>,
    /// Rows to write at once, several sizes
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,4,16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub batches: Vec<u16>,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub new_tokens: u16,
    /// Tokens in front of those that are written
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=32_768))]
    pub context: u16,
    /// Videos to score with text at once, from pictures to words
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub clips: u8,
    /// Timed runs; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub rounds: u8,
    /// Where it runs: `cpu`, or `cuda:N` in a build for NVIDIA GPUs
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// How weights are kept; of several, the others are compared with the first [default: f32 on the cpu, bf16 elsewhere]
    #[arg(long, value_name = "PRECISION,...", value_delimiter = ',', value_parser = precision())]
    pub precision: Vec<WeightPrecision>,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// The size of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SizeScale {
    /// As published
    Full,
    /// The same network of some megabytes
    Tiny,
}

/// Tell what this machine has (FFmpeg, codecs, CPU features, memory, models) and what is missing
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub report: ReportArgs,
}

/// What part of a video is read.
#[derive(Debug, Args)]
pub struct WindowArgs {
    /// Begin at this time: seconds, MM:SS or HH:MM:SS, with decimals
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub start: Option<f64>,
    /// End before this time: seconds, MM:SS or HH:MM:SS, with decimals
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub end: Option<f64>,
}

/// What of a video is looked at.
#[derive(Debug, Args)]
#[command(next_help_heading = "Watching")]
pub struct ViewArgs {
    #[command(flatten)]
    pub window: WindowArgs,
    /// Look closely at this many moments [default: as the model was trained]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub frames: Option<u32>,
}

/// Which model judges, and how it runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// The judge: `nano`, which is inside the program, the folder of a checkpoint, the name of one that was pulled, or
    /// `openai:NAME` for one served at `--base-url`
    #[arg(long, short, value_name = "NAME_OR_PATH", default_value = "nano", value_hint = ValueHint::AnyPath)]
    pub model: PathBuf,
    /// Where it runs: `cpu`, or `cuda:N` in a build for NVIDIA GPUs
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// How the weights of a published checkpoint are kept: fewer bits need less memory and are faster, and less exact
    /// [default: f32 on the cpu, bf16 elsewhere]
    #[arg(long, value_name = "PRECISION", value_parser = precision())]
    pub precision: Option<WeightPrecision>,
    /// Merge the PEFT (LoRA) adapter in this folder into the weights of a published checkpoint
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub adapter: Option<PathBuf>,
    /// Threads to use; results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Whether reasons are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ReasonArgs {
    /// Skip the written reasons: faster
    #[arg(long)]
    pub no_rationale: bool,
}

/// How a model that is served elsewhere is asked. The key is taken from OPENAI_API_KEY.
#[derive(Debug, Args)]
#[command(next_help_heading = "Remote model")]
pub struct RemoteArgs {
    /// Where `openai:NAME` is served (vLLM, SGLang, ...), such as http://localhost:8000/v1
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub base_url: Option<String>,
    /// What is sent of a video
    #[arg(long, value_name = "WHAT", default_value = "frames")]
    pub send: Sending,
    /// Give up waiting for an answer after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = positive_number)]
    pub timeout: f64,
    /// Ask again this many times when the server is busy or fails
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub requests: u16,
}

/// What is sent of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sending {
    /// Pictures of chosen frames
    Frames,
    /// The file as it is, for servers that read videos
    File,
}

/// Where and how results are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ReportArgs {
    /// How results are written [default: table on a terminal, else json; jsonl for many inputs]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Write results to this file instead of standard output; it appears only when complete
    #[arg(long, short, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Show no progress and no warnings on standard error; errors still appear
    #[arg(long, short)]
    pub quiet: bool,
}

/// What people's choices are taken to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChoiceScale {
    /// Thurstone Case V: scores in standard deviations of the difference
    Thurstone,
    /// Bradley-Terry: scores in logits
    BradleyTerry,
}

impl From<ChoiceScale> for ChoiceModel {
    fn from(scale: ChoiceScale) -> Self {
        match scale {
            ChoiceScale::Thurstone => Self::Thurstone,
            ChoiceScale::BradleyTerry => Self::BradleyTerry,
        }
    }
}

/// A form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON object, or an array of them for many inputs
    Json,
    /// One JSON object a line, written as soon as it is known
    Jsonl,
    /// One row per record, nested fields flattened with dots
    Csv,
}

impl From<SizeScale> for Scale {
    fn from(scale: SizeScale) -> Self {
        match scale {
            SizeScale::Full => Self::Full,
            SizeScale::Tiny => Self::Tiny,
        }
    }
}

/// The short names of checkpoints.
fn names_to_pull() -> String {
    let line =
        |known: &juror_net::hub::Known| format!("  {:<14} {} ({})", known.name, known.repo, known.about);
    let lines: Vec<String> = juror_net::hub::KNOWN.iter().map(line).collect();
    format!("Short names:\n{}", lines.join("\n"))
}

/// One of the precisions by its name.
fn precision() -> impl TypedValueParser<Value = WeightPrecision> {
    PossibleValuesParser::new(WeightPrecision::ALL.map(WeightPrecision::name))
        .try_map(|name| name.parse::<WeightPrecision>())
}

/// The names of public sets.
fn names_of_benchmarks() -> String {
    let names: Vec<&str> = juror::evaluation::BENCHMARKS.iter().map(|known| known.name).collect();
    format!("Public sets: {}", names.join(", "))
}

/// A number above zero.
fn positive_number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 is allowed".to_owned()),
    }
}

/// Seconds, from `SS`, `MM:SS` or `HH:MM:SS`, each with decimals in its last part.
fn timestamp(text: &str) -> Result<f64, String> {
    let allowed = || "seconds (12.5), MM:SS or HH:MM:SS (1:02:03.5) are allowed".to_owned();
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(allowed());
    }
    let mut secs = 0.0;
    for (index, part) in parts.iter().enumerate() {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, decimals) = part.split_once('.').unwrap_or((part, "0"));
        let is_last = index + 1 == parts.len();
        if !digits(whole) || !digits(decimals) || (part.contains('.') && !is_last) {
            return Err(allowed());
        }
        let value: f64 = part.parse().map_err(|_| allowed())?;
        if index > 0 && value >= 60.0 {
            return Err(format!("`{part}` is 60 or more; {}", allowed()));
        }
        secs = secs * 60.0 + value;
    }
    Ok(secs)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn timestamps() {
        for (text, secs) in
            [("0", 0.0), ("90", 90.0), ("12.5", 12.5), ("1:30", 90.0), ("01:02:03.25", 3723.25)]
        {
            assert_eq!(timestamp(text), Ok(secs), "{text}");
        }
        for text in ["", "-1", "1:60", "1.5:00", "1:2:3:4", "x", "1e3", ".5", "nan", "1:", "٣"] {
            assert!(timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_above_zero() {
        assert_eq!(positive_number("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "1e999", "x", ""] {
            assert!(positive_number(text).is_err(), "{text}");
        }
    }
}
