// expects: silence
// launch: grid=1 block=64 shared=256 n=8
// A loop that reuses shared memory overwrites it while others still read.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        values[threadIdx.x] = in[i * 64 + threadIdx.x];
        __syncthreads();
        sum += values[(threadIdx.x + i) % 64];
        __syncthreads();
    }
    out[threadIdx.x] = sum;
}
