// expects: silence
// launch: grid=1 block=32 shared=1024 n=0
// Two groups are on their way, and the wait lets one of them be the one that is read.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    for (int stage = 0; stage < 2; stage++) {
        cp_async_16(shared + 512 * stage + 16 * threadIdx.x, in + 4 * threadIdx.x, 16);
        cp_async_commit();
    }
    cp_async_wait<0>();
    __syncthreads();
    out[threadIdx.x] = reinterpret_cast<const float*>(shared)[128 + threadIdx.x];
    cp_async_wait<0>();
}
