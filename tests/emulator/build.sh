#!/usr/bin/env bash
# Builds the emulator: one shared library that answers for the CUDA driver and for NVRTC, with the headers it gives to kernels beside it.
#   bash tests/emulator/build.sh OUT_FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUT_FOLDER}
mkdir -p "$out"
g++ -std=c++20 -O2 -march=native -Wall -Wextra -Werror -fPIC -shared -o "$out/libmoesharp-emulator.so.part" "$here"/*.cpp -ldl -lpthread
cp "$here"/cuda_builtins.h "$here"/device_api.h "$here"/hopper_api.h "$here"/*.cuh "$out/"
mv "$out/libmoesharp-emulator.so.part" "$out/libmoesharp-emulator.so"
