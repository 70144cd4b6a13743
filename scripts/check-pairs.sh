#!/usr/bin/env bash
# Kills runs of `juror pairs` at 20 random moments (kill -9) and compares the finished set with that of an undisturbed run,
# byte for byte; prints when each was killed.
set -euo pipefail
cd "$(dirname "$0")/.."
JUROR_KILLS="${1:-20}" exec cargo test --locked -p juror-cli --test it -- --nocapture \
  pairs::a_run_that_is_killed_again_and_again_gives_the_same_bytes
