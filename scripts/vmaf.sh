#!/usr/bin/env bash
# Fetches an FFmpeg that has libvmaf (a training-time tool, never needed to judge) and prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
program=runs/vmaf/bin/ffmpeg
if ! [ -x "$program" ]; then
  python3 -m venv runs/vmaf >&2
  runs/vmaf/bin/pip install --quiet imageio-ffmpeg==0.8.1 >&2
  found=$(runs/vmaf/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
  ln -s "$found" "$program"
fi
echo "$PWD/$program"
