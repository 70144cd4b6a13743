#!/usr/bin/env python3
"""Times `juror compare` against the ffmpeg program that decodes both videos to nothing, in turns, in one run.

    scripts/bench-compare.py [A B] [--rounds N]     needs target/release/juror (or CARGO_TARGET_DIR) and ffmpeg

Without files, two encodes of a rendered ten-second 1080p clip are used. Prints medians, ratios of medians, and the
peak resident memory of juror. Wall-clock seconds; every program has all cores.
"""
import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def render(folder):
    """Two encodes of one clip: camera-like motion and detail from FFmpeg's own sources, with a little grain."""
    source = "mandelbrot=size=1920x1080:rate=30:start_scale=0.02:end_scale=0.002:end_pts=400,noise=alls=6:allf=t"
    clips = []
    for name, crf in [("good.mp4", 20), ("cheap.mp4", 34)]:
        clips.append(folder / name)
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-t", "10", "-c:v", "libx264",
             "-preset", "veryfast", "-crf", str(crf), "-pix_fmt", "yuv420p", str(clips[-1])],
            check=True)
    return clips


def measure(commands):
    """Wall seconds and peak KiB of commands run one after the other."""
    started, peak = time.perf_counter(), 0
    for command in commands:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"failed ({status}): {' '.join(map(str, command))}")
        peak = max(peak, usage.ru_maxrss)
    return time.perf_counter() - started, peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    juror = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "juror"
    with tempfile.TemporaryDirectory() as folder:
        clips = arguments.clips or render(Path(folder))
        runs = {
            "ffmpeg decodes both": [["ffmpeg", "-v", "error", "-i", c, "-an", "-f", "null", "-"] for c in clips],
            "juror compare --no-rationale": [[juror, "compare", *clips, "--no-rationale", "--quiet"]],
            "juror compare": [[juror, "compare", *clips, "--quiet"]],
        }
        results = {name: [] for name in runs}
        for turn in range(arguments.rounds + 1):
            for name, commands in runs.items():
                result = measure(commands)
                if turn:  # the first round fills the caches
                    results[name].append(result)
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"machine: {os.cpu_count()} cores, {cpu}; commit {commit}; {arguments.rounds} rounds\n")
    print("| run | median s | ratio | peak MB |\n|---|---|---|---|")
    base = statistics.median(t for t, _ in results["ffmpeg decodes both"])
    for name, values in results.items():
        median, peak = statistics.median(t for t, _ in values), max(p for _, p in values)
        print(f"| {name} | {median:.2f} | {median / base:.2f} | {peak / 1024:.0f} |")


if __name__ == "__main__":
    main()
