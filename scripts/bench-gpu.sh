#!/usr/bin/env bash
# All that needs an NVIDIA GPU, in one command: builds juror for it, runs the golden tests on it, times every published
# network at its real size and transformers beside it, checks training's averages between GPUs where there are two. Prints the tables
# for docs/benchmarks/gpu.md.
#
#   scripts/bench-gpu.sh [FAMILY...]      default: all
#
# CUDA_COMPUTE_CAP is found by nvidia-smi. The machine needs a driver, g++, FFmpeg's libraries and Rust (scripts/setup.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
export CUDA_COMPUTE_CAP

scripts/build-cuda.sh
eval "export $(scripts/build-cuda.sh --env)"
target=${CARGO_TARGET_DIR:-target}

echo "== golden tests on the GPU (f32, tolerance 1e-3; the CPU's are 1e-4)"
JUROR_TEST_DEVICE=cuda:0 scripts/build-cuda.sh test --release -p juror-lmm --test golden -- golden_ --test-threads 1

families=(); [ $# -eq 0 ] || families=(--family "$@")
JUROR=$target/cuda-build/release/juror scripts/bench-published.sh --device cuda:0 --clips 8 --new-tokens 128 --rounds 3 "${families[@]}"

if [ "$(nvidia-smi --list-gpus | wc -l)" -gt 1 ]; then
    scripts/check-ranks.sh cuda
fi
