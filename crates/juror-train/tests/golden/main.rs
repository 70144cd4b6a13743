//! Rewards, losses, gradients and optimiser steps against the published training code and TRL.
//!
//! Fixtures are read from `grpo/` in the folder that `JUROR_GOLDEN` names, else from `tests/fixtures`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod losses;
mod rewards;

use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    let root = std::env::var_os("JUROR_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), PathBuf::from);
    root.join("grpo").join(name)
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}
