#!/usr/bin/env bash
# Every check of the repository, from a bare machine: setup, format, lints, tests, documentation, licences.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh

step() {
  echo "== $*" >&2
  "$@"
}

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
step cargo test --workspace --locked
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --locked
if cargo deny --version >/dev/null 2>&1; then
  step cargo deny check licenses bans sources
else
  echo "== SKIPPED: cargo deny check licenses bans sources (cargo-deny is not installed:" \
    "cargo install --locked cargo-deny)" >&2
fi
