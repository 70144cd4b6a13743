#!/usr/bin/env bash
# Whether two ranks average right, how fast, and whether one that is killed is named: around the ring, and on GPUs by NCCL, too.
#
#   scripts/check-ranks.sh [cpu|cuda] [NUMBERS]      default: cpu, 4194304 numbers of 4 bytes
#
# `cuda` needs a driver, two GPUs, since NCCL takes one rank on each, and libnccl.so.2: the package libnccl2, or on LD_LIBRARY_PATH
# the folder nvidia/nccl/lib of a PyTorch. With one GPU it checks only that two ranks on it are refused; that needs libnccl.so.2, too.
set -euo pipefail
cd "$(dirname "$0")/.."
device=${1:-cpu} numbers=${2:-4194304}
if [ "$device" = cuda ]; then
    gpus=$(nvidia-smi --query-gpu=name --format=csv,noheader)
    echo "GPUs: ${gpus//$'\n'/, }"
    gpus=$(wc -l <<<"$gpus")
    CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
    export CUDA_COMPUTE_CAP
    # juror-cli is named so that both take dependencies, the GPU's kernels among them, as the program has them.
    build=(--release -p juror-cli -p juror-nn)
    scripts/build-cuda.sh build "${build[@]}" --example average
    own=${LD_LIBRARY_PATH:-}
    eval "export $(scripts/build-cuda.sh --env)"
    LD_LIBRARY_PATH+=${own:+:$own}
    program=${CARGO_TARGET_DIR:-target}/cuda-build/release/examples/average
else
    # The development profile, which optimises, too.
    cargo build --locked --quiet -p juror-nn --example average
    program=${CARGO_TARGET_DIR:-target}/debug/examples/average
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=${MASTER_PORT:-29527} JUROR_RANK_TIMEOUT_SECS=60
# rank N [ARGUMENTS]: what rank N says goes to a file.
rank() { RANK=$1 LOCAL_RANK=${local_rank:-$1} "$program" "$device" "${@:2}" >"$work/$1"; }
fail() { echo "FAILED: $*" >&2; cat "$work"/[01] >&2; exit 1; }

check() {
    echo "== $1: means"
    rank 1 "$numbers" & pid=$!
    rank 0 "$numbers" || fail "rank 0"
    wait "$pid" || fail "rank 1"
    cat "$work/0"

    echo "== $1: a rank that is killed is named"
    RANK=1 LOCAL_RANK=1 "$program" "$device" "$numbers" 1000000 >"$work/1" & victim=$!
    rank 0 "$numbers" 1000000 & pid=$!
    until grep -q "are right" "$work/0" 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || fail "rank 0 ended before its first mean"
        sleep 0.1
    done
    sleep 1
    kill -9 "$victim"
    wait "$victim" 2>/dev/null || true
    if wait "$pid"; then fail "rank 0 did not notice"; fi
    grep "rank 1 is missing" "$work/0" || fail "rank 0 does not name rank 1"
    rm "$work/0" "$work/1"
}

if [ "$device" = cpu ]; then
    check "ring, CPU"
    exit
fi
echo "== the functions of libnccl.so.2"
scripts/build-cuda.sh test "${build[@]}" --lib -- --ignored the_library_has_the_functions
echo "== two ranks on one GPU are refused"
(export local_rank=0; rank 1 & rank 0 || true; wait) || true
grep "are on the same GPU" "$work/0" || fail "rank 0 does not say that the ranks share a GPU"
if [ "$gpus" -lt 2 ]; then
    echo "SKIPPED: means by NCCL need 2 GPUs, there is $gpus"
    exit
fi
check "NCCL"
JUROR_COLLECTIVE=ring check "ring, GPU"
