#!/usr/bin/env bash
# Compares two videos from a fresh clone: sets up what is missing, builds juror, runs it.
#
#   scripts/compare.sh A B [OPTION...]   as `juror compare` takes them
#   scripts/compare.sh                   compares a clip of examples/ with a cheap encode of it
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
"$juror" distort "$here/examples/cups.mp4" "$clips/cups-cheap.mp4" --kind h264 --level 4
echo "\$ juror compare examples/cups.mp4 cups-cheap.mp4"
"$juror" compare "$here/examples/cups.mp4" "$clips/cups-cheap.mp4"
