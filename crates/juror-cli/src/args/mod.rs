//! What may be typed: the one definition behind the parser, the help, the man page and the completions.
//!
//! First of two stages. Here values are only parsed, each by itself; [`crate::settings`] checks how they
//! fit together and resolves defaults, and nothing after it sees these types. Parsers of values carry
//! their tests at the end of the file.

mod data;
mod evaluation;
mod judging;
mod models;
mod training;

pub use data::{DistortArgs, LabelArgs, PairsArgs, PanelArgs};
pub use evaluation::EvalArgs;
pub use judging::{CompareArgs, RankArgs, ScoreArgs};
pub use models::{BenchArgs, DoctorArgs, ModelsArgs, PullArgs};
pub use training::{ImproveArgs, TrainArgs, TrainMethod};

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use juror_lmm::answer::ScoreRule;
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
    /// How scores that a published checkpoint writes are read
    ///
    /// `strict` takes numbers from 1 to 5 and nothing else; the others do as VQAThinker's own programs, of which the evaluation
    /// makes 3 of what it cannot read.
    #[arg(long, value_name = "RULE", default_value = "strict", value_parser = answers())]
    pub answers: ScoreRule,
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

/// One of the ways to read answers by its name.
fn answers() -> impl TypedValueParser<Value = ScoreRule> {
    PossibleValuesParser::new(ScoreRule::NAMED.map(|(name, _)| name))
        .try_map(|name| name.parse::<ScoreRule>())
}

/// One of the precisions by its name.
fn precision() -> impl TypedValueParser<Value = WeightPrecision> {
    PossibleValuesParser::new(WeightPrecision::ALL.map(WeightPrecision::name))
        .try_map(|name| name.parse::<WeightPrecision>())
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
