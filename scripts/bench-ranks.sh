#!/usr/bin/env bash
# Steps a second of nano's body: one process with one and with two threads, and two processes with one thread each, on rendered scenes.
#
#   scripts/bench-ranks.sh [STEPS]
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${1:-200}
cargo build --release --locked --quiet -p juror-cli
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The data of a small set, the batches of configs/nano.toml; one body, and nothing else, is what is measured.
sed -e "s|^run_dir.*|run_dir = \"$work/run\"|" -e '/^joined/d' -e 's/^bodies.*/bodies = 1/' -e '/^clips = \[/,/^\]/d' -e 's/^scenes.*/scenes = 12/' \
  -e 's/^short_sides.*/short_sides = [240]/' -e 's/^versions = 20/versions = 12/' -e 's/^yardstick.*/yardstick = "ms-ssim"/' \
  -e "0,/^steps.*/s//steps = $steps/" -e '/^\[overlay\]/,/^\[language\]/{/^\[language\]/!d}' configs/nano.toml > "$work/nano.toml"
echo "machine: $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1); commit $(git rev-parse --short HEAD)"
train() { "${CARGO_TARGET_DIR:-target}/release/juror" train sft --config "$work/nano.toml" > /dev/null 2> "$work/errors" || { cat "$work/errors"; exit 1; }; }
speed() {
  tail -n 1 "$work/run/body/0/log.jsonl" | sed "s/.*\"steps_per_sec\":\([0-9.]*\).*/$1: \1 steps\/s/"
  rm -rf "$work/run/body" "$work/run/decoder" "$work/run/model"
}
train
rm -rf "$work/run/body" "$work/run/decoder" "$work/run/model" # that was for the data
RAYON_NUM_THREADS=1 train
speed "one process, one thread"
RAYON_NUM_THREADS=2 train
speed "one process, two threads"
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=${MASTER_PORT:-29517} RAYON_NUM_THREADS=1
RANK=1 train &
RANK=0 train
wait
speed "two processes, one thread each"
