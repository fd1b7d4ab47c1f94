// expects: silence
// launch: grid=1 block=32 shared=512 n=0
// A wait makes a copy visible to the thread that started it, to nobody else.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    for (int i = 0; i < 4; i++) {
        reinterpret_cast<float*>(shared)[4 * threadIdx.x + i] = 0.0f;
    }
    __syncthreads();
    cp_async_16(shared + 16 * threadIdx.x, in + 4 * threadIdx.x, 16);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    out[threadIdx.x] = reinterpret_cast<const float*>(shared)[127 - 4 * threadIdx.x];
}
