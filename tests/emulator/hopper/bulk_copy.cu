// expects: silence
// launch: grid=2 block=32 shared=1152 n=0
// Contiguous bytes in and out, by polling.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 1024);
    if (threadIdx.x == 0) {
        barrier_init(full, 32);
        barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_arrive_expect(full, 1024);
        bulk_load(shared, in + 256 * blockIdx.x, 512, full);
        bulk_load(shared + 512, in + 256 * blockIdx.x + 128, 512, full);
    } else {
        barrier_arrive(full);
    }
    while (!barrier_try_wait(full, 0)) {
    }
    float* values = reinterpret_cast<float*>(shared);
    for (int i = threadIdx.x; i < 256; i += 32) {
        values[i] *= 2.0f;
    }
    fence_proxy_async();
    __syncwarp();
    if (threadIdx.x == 0) {
        bulk_store(out + 256 * blockIdx.x, shared, 1024);
        bulk_commit();
        bulk_wait<0>();
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += 32) {
        if (out[256 * blockIdx.x + i] != 2.0f * in[256 * blockIdx.x + i]) {
            __trap();
        }
    }
}
