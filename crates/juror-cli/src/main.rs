//! The juror program: arguments, tables, progress bars, exit codes; nothing else.
//!
//! - [`args`]: what may be typed, and [`settings`]: the same checked and resolved, the only type commands see;
//! - [`commands`]: one module per command;
//! - [`output`]: the way to standard output and files; [`progress`] and messages go to standard error;
//! - [`interrupt`]: Ctrl-C leaves no half-written file.
//!
//! Exit status: 0 all done; 1 done, but some inputs failed; 2 wrong usage or nothing could be done;
//! 130 after Ctrl-C. A closed pipe downstream is no error.

mod args;
mod commands;
mod inputs;
mod interrupt;
mod output;
mod progress;
mod settings;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::commands::Outcome;

fn main() -> ExitCode {
    juror_nn::memory::keep_freed_memory();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(outcome) => outcome.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("error: {error:#}"));
            Outcome::Nothing.into()
        }
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    interrupt::install()?;
    match command {
        Command::Compare(args) => commands::judge::compare(args),
        Command::Score(args) => commands::judge::score(args),
        Command::Rank(args) => commands::rank::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Distort(args) => commands::distort::run(args),
        Command::Pairs(args) => commands::pairs::run(*args),
        Command::Label(args) => commands::label::run(*args),
        Command::Train(args) => commands::train::run(&args),
        Command::Improve(args) => commands::train::improve(&args),
        Command::Pull(args) => commands::pull::run(&args),
        Command::Models(args) => commands::models::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Completions { shell } => commands::shell::completions(shell),
        Command::Man { command } => commands::shell::man(command.as_deref()),
    }
}

/// Whether a reader of our output went away, as `juror ... | head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
