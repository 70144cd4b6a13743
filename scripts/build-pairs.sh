#!/usr/bin/env bash
# Builds the set of configs/pairs.toml unattended and prints what is in it; further arguments go to `juror pairs`.
# A run that was stopped goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked -p juror-cli --bin juror
exec target/release/juror pairs --config configs/pairs.toml --format table "$@"
