// expects: silence
// launch: grid=1 block=256 shared=40960 n=0
// Every width of the product, by two warpgroups at once, with two groups of products under way.
#include "common/wgmma.cuh"

template <int N>
__device__ void check(const unsigned char* a, const unsigned char* b) {
    const unsigned long long left = tile_descriptor(a, TILE_SWIZZLE_128, 0, 1024), right = tile_descriptor(b, TILE_SWIZZLE_128, 0, 1024);
    const int t = threadIdx.x % 128;
    float sums[N / 2];
    for (int i = 0; i < N / 2; i++) {
        sums[i] = static_cast<float>(i);
    }
    wgmma_fence();
    wgmma<N>(sums, left, right, 1);
    wgmma_commit();
    wgmma<N>(sums, left + 2, right + 2, 1);
    wgmma<N>(sums, left + 4, right + 4, 1);
    wgmma_commit();
    wgmma_wait<1>();
    wgmma_wait<0>(sums);
    for (int i = 0; i < N / 2; i++) {
        const int row = 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
        // a is the row where k is 1, b is the column where k is 1; the second group adds zeros.
        if (sums[i] != static_cast<float>(i + row * column)) {
            __trap();
        }
    }
    wgmma_fence();
    wgmma<N>(sums, left + 6, right + 6, 0);
    wgmma_commit();
    wgmma_wait<0>(sums);
    for (int i = 0; i < N / 2; i++) {
        if (sums[i] != 0.0f) {
            __trap();
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    unsigned char *a = shared, *b = shared + 8192;
    for (int i = threadIdx.x; i < (64 + 256) * 64; i += 256) {
        const int row = i / 64, k = i % 64, o = row * 128 + k * 2;
        const float value = k != 1 ? 0.0f : row < 64 ? static_cast<float>(row) : static_cast<float>(row - 64);
        *reinterpret_cast<unsigned short*>(a + (o ^ (o >> 3 & 0x70))) = static_cast<unsigned short>(pack_bf16x2(value, 0.0f));
    }
    fence_proxy_async();
    __syncthreads();
    check<8>(a, b);
    check<16>(a, b);
    check<32>(a, b);
    check<64>(a, b);
    check<128>(a, b);
    check<192>(a, b);
    check<256>(a, b);
}
