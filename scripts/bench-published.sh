#!/usr/bin/env bash
# Times the published networks in juror and in Python side by side (see bench-published.py), and prints the ratios.
#
#   scripts/bench-published.sh [ARGUMENTS OF bench-published.py]
#   default: tiny scale on the CPU, f32, all families, 3 runs in turns
#
# Makes a virtual environment under the target folder on first use (PyTorch and transformers from PyPI, some gigabytes).
# JUROR names a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/bench-venv
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import torch, transformers' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch numpy transformers==4.57.6
fi
if [ -z "${JUROR:-}" ]; then
    cargo build --release --locked -p juror-cli
    JUROR=$target/release/juror
fi
[ $# -gt 0 ] || set -- --scale tiny --new-tokens 128 --context 128 --rounds 5 --runs 3
exec "$venv/bin/python" scripts/bench-published.py --juror "$JUROR" "$@"
