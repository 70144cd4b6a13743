#!/usr/bin/env bash
# Prints nano's figures on a folder of clips (with its CSV table beside it): the tables of the model card.
#
#   scripts/validate-nano.sh [CLIPS] [OPTION...]   options as in crates/juror-train/examples/validate.rs; with
#                                                  `--ladders DIR` the next run takes three minutes instead of twenty
#
# VMAF, the yardstick of the cross-content figure, comes from the FFmpeg in the PyPI package `imageio-ffmpeg`,
# which scripts/vmaf.sh puts into runs/vmaf.
set -euo pipefail
cd "$(dirname "$0")/.."
clips=${1:-../shared/clips/validate}
shift || true
vmaf=$(scripts/vmaf.sh)
echo "machine: $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1); commit $(git rev-parse --short HEAD)"
exec cargo run --release --locked --quiet -p juror-train --example validate -- "$clips" --vmaf "$vmaf" "$@"
