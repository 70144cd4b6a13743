//! One module per command. Each takes its arguments, validates them and tells how it went.

pub mod bench;
pub mod distort;
pub mod doctor;
pub mod eval;
pub mod judge;
pub mod label;
pub mod models;
pub mod pairs;
pub mod pull;
pub mod rank;
pub mod shell;
pub mod train;

use std::process::ExitCode;

/// How a command that ran to its end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    All,
    /// Some inputs failed, others were done.
    Some,
    /// Nothing could be done.
    Nothing,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::All => 0,
            Outcome::Some => 1,
            Outcome::Nothing => 2,
        })
    }
}
