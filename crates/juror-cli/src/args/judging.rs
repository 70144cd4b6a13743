//! What is typed to judge videos: compare, score, rank.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use juror::ranking::ChoiceModel;

use super::{ModelArgs, ReasonArgs, ReportArgs, ViewArgs, positive_number};

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
