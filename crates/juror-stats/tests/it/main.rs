//! Behaviour and reference numbers of the statistics.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // helpers of tests

mod bad_input;
mod choices;
mod evaluation;
mod golden;
mod human_ratings;
mod judging;
mod least_squares;
mod pair_choice;
mod properties;
