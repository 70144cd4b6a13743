#!/usr/bin/env bash
# Compares two videos from a fresh clone: sets up what is missing, builds juror, runs it.
#
#   scripts/compare.sh A B [OPTION...]   as `juror compare` takes them
#   scripts/compare.sh                   renders a clip and compares it with a cheap encode of it
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

"$here/scripts/setup.sh"
cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml" --package juror-cli
target=$(cargo metadata --format-version 1 --no-deps --locked --manifest-path "$here/Cargo.toml" |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
juror=$target/release/juror

if [ "$#" -gt 0 ]; then
  exec "$juror" compare "$@"
fi

clips=$(mktemp -d)
trap 'rm -rf "$clips"' EXIT
ffmpeg -v error -f lavfi -i "mandelbrot=size=1280x720:rate=30:start_scale=0.02:end_scale=0.002:end_pts=200" \
  -t 4 -c:v libx264 -crf 12 -pix_fmt yuv420p "$clips/zoom.mp4"
"$juror" distort "$clips/zoom.mp4" "$clips/zoom-cheap.mp4" --kind h264 --level 4
echo "\$ juror compare zoom.mp4 zoom-cheap.mp4"
"$juror" compare "$clips/zoom.mp4" "$clips/zoom-cheap.mp4" --format table
