//! What is typed to train: train, improve.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Train a judge; a stopped run goes on where it was
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
    /// An adapter (LoRA) of a published checkpoint, from pairs: how the second video compares with the first
    ///
    /// Pairs are those of `juror pairs`. Prints the folder of the adapter, which `--model` opens.
    Ranking {
        /// The configuration, such as configs/w2s-ranking.toml
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
    /// An adapter (LoRA) of a published checkpoint, by rewarded rollouts: reasons and a score (GRPO)
    ///
    /// Learns from a table of videos and their mean opinion scores. Prints the folder of the adapter, which `--model` opens.
    Grpo {
        /// The configuration, such as configs/vqathinker-grpo.toml
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
