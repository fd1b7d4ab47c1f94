// Reading a matrix in units of N neighbours of a row: 16 bytes at a time where every row starts on 16 bytes, else one element. A kernel
// writes its body once, as a template of N, and branches once per launch on what the host found out about the pointers.
#pragma once

#include "common/dtype.cuh"

template <int N>
struct Unit {
    float v[N];
};

template <int N>
__device__ __forceinline__ Unit<N> load_unit(const Float* from) {
    static_assert(N == VECTOR || N == 1, "a unit is a vector or one element");
    Unit<N> unit;
    if constexpr (N == VECTOR) {
        const Vector x = load_vector(from);
#pragma unroll
        for (int i = 0; i < N; i++) {
            unit.v[i] = x.v[i];
        }
    } else {
        unit.v[0] = to_float(*from);
    }
    return unit;
}

template <int N>
__device__ __forceinline__ void store_unit(Float* to, const Unit<N>& unit) {
    if constexpr (N == VECTOR) {
        Vector x;
#pragma unroll
        for (int i = 0; i < N; i++) {
            x.v[i] = unit.v[i];
        }
        store_vector(to, x);
    } else {
        store(to, unit.v[0]);
    }
}

// The same number of elements of a float32 array beside it: N = 8 is two 16-byte accesses.
template <int N>
__device__ __forceinline__ Unit<N> load_wide(const float* from) {
    Unit<N> unit;
    if constexpr (N == 1) {
        unit.v[0] = *from;
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            const float4 x = *reinterpret_cast<const float4*>(from + i);
            unit.v[i] = x.x;
            unit.v[i + 1] = x.y;
            unit.v[i + 2] = x.z;
            unit.v[i + 3] = x.w;
        }
    }
    return unit;
}

template <int N>
__device__ __forceinline__ void store_wide(float* to, const Unit<N>& unit) {
    if constexpr (N == 1) {
        *to = unit.v[0];
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            *reinterpret_cast<float4*>(to + i) = make_float4(unit.v[i], unit.v[i + 1], unit.v[i + 2], unit.v[i + 3]);
        }
    }
}

template <int N>
__device__ __forceinline__ Unit<N> zero_unit() {
    Unit<N> unit;
#pragma unroll
    for (int i = 0; i < N; i++) {
        unit.v[i] = 0.0f;
    }
    return unit;
}

// Units of a row that one warp takes at a time. Short enough that a few wide rows still fill the device.
constexpr int UNITS_PER_TILE = 128;

// Calls body(row, column) once for each unit of a [rows, width] matrix; `column` is the unit's first. No order is promised.
template <int N, class Body>
__device__ __forceinline__ void for_units(int rows, int width, Body body) {
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32, units = width / N;
    const int tiles = (units + UNITS_PER_TILE - 1) / UNITS_PER_TILE;
    const long long items = static_cast<long long>(rows) * tiles, stride = static_cast<long long>(gridDim.x) * warps;
    for (long long item = static_cast<long long>(blockIdx.x) * warps + threadIdx.x / 32; item < items; item += stride) {
        const int row = static_cast<int>(item / tiles);
        const int first = static_cast<int>(item - static_cast<long long>(row) * tiles) * UNITS_PER_TILE;
        const int last = min(first + UNITS_PER_TILE, units);
        for (int unit = first + lane; unit < last; unit += 32) {
            body(row, unit * N);
        }
    }
}
