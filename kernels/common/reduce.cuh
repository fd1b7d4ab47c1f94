// Reductions in a fixed order. A butterfly over the 32 lanes gives every lane the same bits; across warps, warp 0 adds the warps'
// values in the same shape of tree for every launch, so a result never depends on timing or on the grid.
#pragma once

constexpr unsigned ALL_LANES = 0xffffffffu;

struct Sum {
    __device__ __forceinline__ static float identity() { return 0.0f; }
    __device__ __forceinline__ static float join(float a, float b) { return a + b; }
};

struct Max {
    // Minus infinity: what an empty maximum is.
    __device__ __forceinline__ static float identity() { return __uint_as_float(0xff800000u); }
    __device__ __forceinline__ static float join(float a, float b) { return fmaxf(a, b); }
};

// All 32 lanes of the warp call this; all get the result.
template <class Op>
__device__ __forceinline__ float reduce_warp(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) {
        x = Op::join(x, __shfl_xor_sync(ALL_LANES, x, distance));
    }
    return x;
}

// All threads of a block of whole warps call this; all get the result. `scratch` is 33 floats of shared memory; it may be used again
// after the call without a barrier.
template <class Op>
__device__ __forceinline__ float reduce_block(float x, float* scratch) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = reduce_warp<Op>(x);
    if (lane == 0) {
        scratch[warp] = x;
    }
    __syncthreads();
    if (warp == 0) {
        x = reduce_warp<Op>(lane < warps ? scratch[lane] : Op::identity());
        if (lane == 0) {
            scratch[32] = x;
        }
    }
    __syncthreads();
    x = scratch[32];
    __syncthreads();
    return x;
}
