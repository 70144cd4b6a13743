//! `juror train`, `juror improve`: runs a training configuration; the stages themselves are `juror-train`'s.

use std::io::IsTerminal;
use std::path::Path;

use juror_nn::collective::{self, Collective};
use juror_nn::rng;
use juror_train::config::SftConfig;
use juror_train::improve::{self, ImproveConfig};
use juror_train::lora::config::{RankingConfig, ScoringConfig};
use juror_train::lora::{ranking, scoring};
use juror_train::mc_grpo::{self, McGrpoConfig};
use juror_train::sft;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::args::{ImproveArgs, TrainArgs, TrainMethod};
use crate::commands::Outcome;
use crate::output::{Destination, training_page, write_whole};

/// Trains, and prints the folder of the finished model.
///
/// # Errors
/// When the configuration is wrong, a rank is missing or a stage fails; what was saved is used by the next run.
pub fn run(args: &TrainArgs) -> anyhow::Result<Outcome> {
    let (folder, world) = match &args.method {
        TrainMethod::Report { run_dir, output } => {
            report(run_dir, output.as_deref())?;
            return Ok(Outcome::All);
        }
        TrainMethod::Sft { config } => {
            let config = SftConfig::read(config)?;
            let world = join("sft", &config, None)?;
            (sft::run(&config, &*world)?, world)
        }
        TrainMethod::McGrpo { config } => {
            let config = McGrpoConfig::read(config)?;
            let world = join("mc-grpo", &config, None)?;
            (mc_grpo::run(&config, &*world)?, world)
        }
        TrainMethod::Ranking { config } => {
            let config = RankingConfig::read(config)?;
            let world = join("ranking", &config, config.student.gpu()?)?;
            (ranking::run(&config, &*world)?, world)
        }
        TrainMethod::Grpo { config } => {
            let config = ScoringConfig::read(config)?;
            let world = join("grpo", &config, config.student.gpu()?)?;
            (scoring::run(&config, &*world)?, world)
        }
    };
    finish(&folder, &*world)
}

/// Improves, and prints the folder of the best model.
///
/// # Errors
/// As [`run`].
pub fn improve(args: &ImproveArgs) -> anyhow::Result<Outcome> {
    let config = ImproveConfig::read(&args.config)?;
    let world = join("improve", &config, None)?;
    finish(&improve::run(&config, &*world)?, &*world)
}

/// Writes the page of the run and prints the folder of its model.
fn finish(folder: &Path, world: &dyn Collective) -> anyhow::Result<Outcome> {
    if world.is_first() {
        // The model's folder lies in the run's.
        report(folder.parent().unwrap_or(folder), None)?;
        write_whole(Destination::open(None)?, format!("{}\n", folder.display()).as_bytes())?;
    }
    Ok(Outcome::All)
}

/// Writes the page of a run.
fn report(run_dir: &Path, output: Option<&Path>) -> anyhow::Result<()> {
    let page = training_page::page(run_dir)?;
    let output = output.map_or_else(|| run_dir.join("report.html"), Path::to_owned);
    write_whole(Destination::open(Some(&output))?, page.as_bytes())
}

/// The processes that train together, told by the environment, and who of them tells people what. `gpu` is what this one trains on,
/// where that is not the CPU.
fn join(method: &str, config: &impl Serialize, gpu: Option<usize>) -> anyhow::Result<Box<dyn Collective>> {
    let job = format!("{} {method} {}", juror::VERSION, serde_json::to_string(config)?);
    let world = collective::from_env(rng::derive_named(0, &job), gpu)?;
    let level = if world.is_first() { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Fails only where another subscriber is set already, which then does the telling.
    let ansi = std::io::stderr().is_terminal();
    let told = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr);
    let _ = told.try_init();
    Ok(world)
}
