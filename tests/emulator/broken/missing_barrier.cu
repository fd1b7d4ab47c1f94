// expects: race
// launch: grid=2 block=64 shared=256 n=64
// A thread reads what its neighbour put into shared memory.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    values[threadIdx.x] = 0.0f;
    __syncthreads();
    values[threadIdx.x] = in[threadIdx.x];
    out[blockIdx.x * n + threadIdx.x] = values[(threadIdx.x + 1) % n];
}
