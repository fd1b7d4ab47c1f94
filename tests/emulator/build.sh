#!/usr/bin/env bash
# Builds the emulator: one shared library that answers for the CUDA driver and for NVRTC, with the headers it gives to kernels beside it, and
# the program that runs the kernels of broken/, correct/ and hopper/ on it.
#   bash tests/emulator/build.sh OUT_FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUT_FOLDER}
mkdir -p "$out"
objects=$(mktemp -d "$out/objects.XXXXXX")
trap 'rm -rf "$objects"' EXIT
ls "$here"/*.cpp | xargs -P "$(nproc)" -I{} sh -c 'g++ -std=c++20 -O2 -march=native -Wall -Wextra -Werror -fPIC -c -o "$1/$(basename "$2" .cpp).o" "$2"' sh "$objects" {}
g++ -o "$out/selftest" "$objects/selftest.o" -ldl
rm "$objects/selftest.o"
g++ -shared -o "$out/libmoesharp-emulator.so.part" "$objects"/*.o -ldl -lpthread
cp "$here"/cuda_builtins.h "$here"/*_api.h "$here"/*.cuh "$out/"
mv "$out/libmoesharp-emulator.so.part" "$out/libmoesharp-emulator.so"
