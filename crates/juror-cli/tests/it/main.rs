//! The program as users and scripts meet it: every test runs the real binary.

#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

mod bad_input;
mod bench;
mod distort;
mod doctor;
mod eval;
mod help;
mod judging;
mod output;
mod pairs;
mod published;
mod pull;
mod rank;
mod remote;
#[path = "../../../juror-net/tests/it/server.rs"]
mod server;
mod support;
#[path = "../../../juror-lmm/tests/golden/tiny.rs"]
mod tiny;
mod train;
