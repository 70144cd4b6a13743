#!/usr/bin/env bash
# Builds the juror program for NVIDIA GPUs, without an installed CUDA toolkit; it also needs no GPU.
#
#   scripts/build-cuda.sh [CARGO ARGUMENTS]      default: build --release -p juror-cli
#
# CUDA_COMPUTE_CAP is the generation of the GPU: 90 for H100 and H200 (the default), 80 for A100, 89 for L4 and RTX 40.
# The compiler and the libraries come from NVIDIA's packages on PyPI (about 1 GB, under the target folder). The program needs
# the driver's libcuda.so.1, and libcudart.so.13, libcublas.so.13 and libcurand.so.10; `scripts/build-cuda.sh --env`
# prints the LD_LIBRARY_PATH where these lie. It does not start without a driver, so it is an artefact of its own, in
# the target folder's cuda-build/.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
cuda=$target/cuda-13.0

if [ ! -f "$cuda/complete" ]; then
    rm -rf "$cuda" "$target/cuda-wheels"
    mkdir -p "$cuda/lib64"
    python3 -m venv "$target/cuda-venv"
    # No dependencies: each package is named here, so that versions fit each other.
    "$target/cuda-venv/bin/pip" download --quiet --no-deps --only-binary :all: --dest "$target/cuda-wheels" \
        nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 \
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
    for wheel in "$target"/cuda-wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$cuda/unpacked"
    done
    cp -r "$cuda"/unpacked/nvidia/cu13/* "$cuda/"
    rm -rf "$cuda/unpacked" "$target/cuda-wheels" "$target/cuda-venv"
    chmod +x "$cuda"/bin/* "$cuda"/nvvm/bin/*
    for library in cublas cublasLt curand cudart nvrtc; do
        file=$(find "$cuda/lib" -name "lib$library.so.*" | sort | head -1)
        [ -n "$file" ] || { echo "lib$library is in none of the packages" >&2; exit 1; }
        ln -sf "$file" "$cuda/lib64/lib$library.so"
    done
    touch "$cuda/complete"
fi
if [ "${1:-}" = --env ]; then
    echo "LD_LIBRARY_PATH=$cuda/lib"
    exit
fi

# The driver's library comes with the driver: where there is none, a stub stands in for it while linking. It is made anew
# from the functions that cudarc may ask for, and each of them answers 100, no device.
stub=$cuda/stub
if [ ! -e "$stub/libcuda.so" ]; then
    mkdir -p "$stub"
    cargo fetch --locked --quiet
    sources=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path '*cudarc-*/src/driver/sys/*' -name '*.rs')
    # shellcheck disable=SC2086
    grep -ohE '\bcu[A-Z][A-Za-z0-9_]+\b' $sources | sort -u | sed 's/.*/int &(void) { return 100; }/' >"$stub/cuda.c"
    cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$stub/libcuda.so" "$stub/cuda.c"
fi

export CUDA_HOME=$cuda CUDA_PATH=$cuda CUDA_ROOT=$cuda CUDA_TOOLKIT_ROOT_DIR=$cuda
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
export NVCC=$cuda/bin/nvcc NVCC_CCBIN=${NVCC_CCBIN:-$(command -v g++)} NVCC_APPEND_FLAGS="-I$cuda/include/cccl"
export LIBRARY_PATH=$cuda/lib64:$stub${LIBRARY_PATH:+:$LIBRARY_PATH} PATH=$cuda/bin:$PATH
export CARGO_TARGET_DIR=$target/cuda-build
[ $# -gt 0 ] || set -- build --release -p juror-cli
# In front of what a `--` may end.
exec cargo "$1" --features cuda --locked "${@:2}"
