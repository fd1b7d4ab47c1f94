// expects: async-copy
// launch: grid=1 block=32 shared=512 n=0
// A barrier does not wait for copies in the background.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    cp_async_16(shared + 16 * threadIdx.x, in + 4 * threadIdx.x, 16);
    cp_async_commit();
    __syncthreads();
    out[threadIdx.x] = reinterpret_cast<const float*>(shared)[127 - threadIdx.x];
    cp_async_wait<0>();
}
