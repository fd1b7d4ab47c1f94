// expects: uninitialised or out-of-bounds
// launch: grid=1 block=128 shared=24576 n=0
// The descriptor's stride between 8 rows is that of another tile: the product reads bytes that are not the tile's.
#include "common/wgmma.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    for (int i = threadIdx.x; i < 64 * 128; i += 128) {
        reinterpret_cast<unsigned short*>(shared)[i] = 0x3f80;  // 1
    }
    fence_proxy_async();
    __syncthreads();
    const unsigned long long a = tile_descriptor(shared, TILE_SWIZZLE_128, 0, 1024);
    const unsigned long long b = tile_descriptor(shared + 8192, TILE_SWIZZLE_128, 0, 2048);
    float sums[32];
    wgmma_fence();
    wgmma<64>(sums, a, b, 0);
    wgmma_commit();
    wgmma_wait<0>(sums);
    out[threadIdx.x] = sums[0];
}
