// expects: silence
// launch: grid=1 block=64 shared=252 n=64
// The launch asks for one float too few.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    if (threadIdx.x < n - 1) {
        values[threadIdx.x] = in[threadIdx.x];
        out[threadIdx.x] = values[threadIdx.x];
    }
}
