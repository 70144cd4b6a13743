#!/usr/bin/env bash
# Times the block stacks of juror-nn and the optimiser steps of nano (nano-body, nano-decoder) beside PyTorch (and plain candle
# with CANDLE=1), in turns, and prints the ratios.
#
#   scripts/bench-nn.sh [ROUNDS] [THREADS] [STACK...]      default: 3 rounds, all cores, everything
#
# Makes a virtual environment under the target folder on first use (PyTorch from PyPI, some gigabytes).
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
threads=${2:-$(nproc)}
stacks=("${@:3}")
[ ${#stacks[@]} -gt 0 ] || stacks=(vit384-forward vit384-train vit192-forward vit192-train mixer96-forward mixer96-train
    decode256-{01,04,16} decode1024-{01,04,16} nano-body nano-decoder)
target=${CARGO_TARGET_DIR:-target}
venv=$target/bench-venv
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch numpy
fi
build() { # CRATE NAME: builds it and prints where it is
    cargo bench --locked -p "$1" --bench "$2" --no-run 2>&1 | tee /dev/stderr | sed -n "s/.*Executable.*$2.rs (\(.*\))/\1/p"
}
of_stacks='' of_steps=''
case " ${stacks[*]} " in *" nano-"*) of_steps=$(build juror-train steps) ;; esac
for stack in "${stacks[@]}"; do
    case $stack in nano-*) ;; *) of_stacks=$(build juror-nn stacks); break ;; esac
done
export RAYON_NUM_THREADS=$threads OMP_NUM_THREADS=$threads
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for _ in $(seq "$rounds"); do
    for stack in "${stacks[@]}"; do
        case $stack in nano-*) bench=$of_steps ;; *) bench=$of_stacks ;; esac
        "$bench" "$stack" ${CANDLE:+--candle} | tee -a "$lines"
        "$venv/bin/python" scripts/bench-nn.py "$stack" | tee -a "$lines"
    done
done
"$venv/bin/python" - "$lines" <<'PY'
import collections, statistics, sys

times = collections.defaultdict(list)
for line in open(sys.argv[1]):
    name, kind, wall, cpu = line.split()
    times[name, kind].append((float(wall), float(cpu)))
print("\nMedians over rounds; a ratio is ours over PyTorch's, the median of the ratios of neighbouring runs.")
print("stack            implementation   wall ms   processor ms   wall ratio   processor ratio")
for (name, kind), runs in times.items():
    base = times[name, "pytorch"]
    wall, cpu = (statistics.median(run[i] for run in runs) for i in (0, 1))
    ratios = [statistics.median(a[i] / b[i] for a, b in zip(runs, base)) for i in (0, 1)]
    print(f"{name:16} {kind:14} {wall:9.1f} {cpu:14.1f} {ratios[0]:12.2f} {ratios[1]:17.2f}")
PY
