// expects: race
// launch: grid=1 block=32 shared=128 n=32
// Lanes of one warp are not in step by themselves: a shuffle orders no memory.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    values[threadIdx.x] = 0.0f;
    __syncwarp();
    values[threadIdx.x] = __shfl_xor_sync(0xffffffffu, in[threadIdx.x], 1);
    out[threadIdx.x] = values[n - 1 - threadIdx.x];
}
