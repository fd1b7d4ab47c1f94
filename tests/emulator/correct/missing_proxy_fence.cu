// expects: silence
// launch: grid=1 block=128 shared=16384 n=0
// Products read shared memory through a proxy of their own: a barrier alone does not show it what threads stored.
#include "common/wgmma.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    for (int i = threadIdx.x; i < 64 * 128; i += 128) {
        reinterpret_cast<unsigned short*>(shared)[i] = 0x3f80;  // 1
    }
    fence_proxy_async();
    __syncthreads();
    const unsigned long long a = tile_descriptor(shared, TILE_SWIZZLE_128, 0, 1024), b = tile_descriptor(shared + 8192, TILE_SWIZZLE_128, 0, 1024);
    float sums[32];
    wgmma_fence();
    wgmma<64>(sums, a, b, 0);
    wgmma_commit();
    wgmma_wait<0>(sums);
    out[threadIdx.x] = sums[0];
}
