//! What is typed to hold scores against people's ratings: eval.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ModelArgs, ReportArgs, ViewArgs};

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

/// The names of public sets.
fn names_of_benchmarks() -> String {
    let names: Vec<&str> = juror::evaluation::BENCHMARKS.iter().map(|known| known.name).collect();
    format!("Public sets: {}", names.join(", "))
}
