//! `juror train`: runs a training configuration; the stages themselves are `juror-train`'s.

use juror_train::config::SftConfig;
use juror_train::mc_grpo::{self, McGrpoConfig};
use juror_train::sft;
use tracing_subscriber::EnvFilter;

use crate::args::{TrainArgs, TrainMethod};
use crate::commands::Outcome;
use crate::output::{Destination, write_whole};

/// Trains, and prints the folder of the finished model.
///
/// # Errors
/// When the configuration is wrong or a stage fails; what was saved is used by the next run.
pub fn run(args: &TrainArgs) -> anyhow::Result<Outcome> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only where another subscriber is set already, which then does the telling.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let folder = match &args.method {
        TrainMethod::Sft { config } => sft::run(&SftConfig::read(config)?)?,
        TrainMethod::McGrpo { config } => mc_grpo::run(&McGrpoConfig::read(config)?)?,
    };
    write_whole(Destination::open(None)?, format!("{}\n", folder.display()).as_bytes())?;
    Ok(Outcome::All)
}
