#!/usr/bin/env bash
# Installs what juror needs to build and test on Debian 12 or Ubuntu: FFmpeg's libraries and program, a C
# toolchain, and libclang (for the bindings). Quiet when everything is there already. Rust itself is not
# installed: see https://rustup.rs.
set -euo pipefail

packages=(
  build-essential pkg-config clang libclang-dev ffmpeg
  libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libavfilter-dev libavdevice-dev
)

if ! command -v cargo >/dev/null; then
  if [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    echo "setup: cargo is installed but not on the PATH: run  . \"${CARGO_HOME:-$HOME/.cargo}/env\"" >&2
  else
    echo "setup: Rust is missing: install it from https://rustup.rs, then run this again" >&2
  fi
  exit 1
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  if command -v ffmpeg >/dev/null && command -v clang >/dev/null &&
    pkg-config --exists libavcodec libavformat libavutil libswscale libavfilter libavdevice 2>/dev/null; then
    exit 0
  fi
  echo "setup: this is neither Debian nor Ubuntu. Install by hand: FFmpeg 5.1 or newer (the program, and its" >&2
  echo "setup: libraries with headers), clang with libclang, a C compiler, and pkg-config." >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: missing, and neither root nor sudo to install them: ${missing[*]}" >&2
    echo "setup: ask an administrator for:  apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "setup: installing ${missing[*]}" >&2
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install update -qq || ! install install -y -qq --no-install-recommends "${missing[@]}"; then
  tail -n 20 "$log" >&2
  echo "setup: apt-get failed (above); try:  ${as_root[*]:+sudo }apt-get install ${missing[*]}" >&2
  exit 1
fi
