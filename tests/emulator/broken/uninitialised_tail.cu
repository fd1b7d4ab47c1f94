// expects: uninitialised
// launch: grid=1 block=64 shared=256 n=50
// The tile is filled up to n and summed to the end.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    if (threadIdx.x < n) {
        values[threadIdx.x] = in[threadIdx.x];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (int i = 0; i < 64; i++) {
            sum += values[i];
        }
        out[0] = sum;
    }
}
