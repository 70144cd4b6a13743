//! What is typed about models and the machine: pull, models, bench, doctor.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use juror_lmm::published::random::Scale;
use juror_nn::packed::WeightPrecision;

use super::{ReportArgs, precision};

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
    /// Read the files that are there again, and get those anew whose checksum is wrong
    #[arg(long)]
    pub verify: bool,
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

impl From<SizeScale> for Scale {
    fn from(scale: SizeScale) -> Self {
        match scale {
            SizeScale::Full => Self::Full,
            SizeScale::Tiny => Self::Tiny,
        }
    }
}

/// Tell what this machine has (FFmpeg, codecs, CPU features, memory, models) and what is missing
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub report: ReportArgs,
}

/// The short names of checkpoints.
fn names_to_pull() -> String {
    let line =
        |known: &juror_net::hub::Known| format!("  {:<14} {} ({})", known.name, known.repo, known.about);
    let lines: Vec<String> = juror_net::hub::KNOWN.iter().map(line).collect();
    format!("Short names:\n{}", lines.join("\n"))
}
