// expects: silence
// launch: grid=1 block=384 shared=50176 n=0
// map: of=in dims=64,128 strides=128 box=64,64 swizzle=128
// map: of=in dims=64,128 strides=128 box=64,128 swizzle=128
// A producer warpgroup fills a ring of two stages by tensor copies, two consumer warpgroups multiply; registers move between them, and a
// named barrier hands the epilogue from one to the other.
#include "common/wgmma.cuh"

extern "C" __global__ void __launch_bounds__(384, 1) kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b) {
    DYNAMIC_SHARED(shared);
    const int stage_bytes = 8192 + 16384;
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 2 * stage_bytes);
    TransactionBarrier* empty = full + 2;
    if (threadIdx.x == 0) {
        tensor_prefetch(&map_a);
        for (int stage = 0; stage < 2; stage++) {
            barrier_init(full + stage, 1);
            barrier_init(empty + stage, 2);
        }
        barrier_init_fence();
    }
    __syncthreads();
    const int blocks = 6;
    if (threadIdx.x < 128) {
        registers_release<40>();
        if (threadIdx.x == 0) {
            for (int i = 0; i < blocks; i++) {
                const int stage = i % 2;
                barrier_wait(empty + stage, (i / 2 + 1) % 2);
                barrier_arrive_expect(full + stage, stage_bytes);
                tensor_load(shared + stage * stage_bytes, &map_a, full + stage, 0, i % 2 * 64);
                tensor_load(shared + stage * stage_bytes + 8192, &map_b, full + stage, 0, 0);
            }
        }
        return;
    }
    registers_take<232>();
    const int t = threadIdx.x % 128, consumer = threadIdx.x / 128 - 1;
    float sums[32];
    for (int i = 0; i < blocks; i++) {
        const int stage = i % 2;
        barrier_wait(full + stage, i / 2 % 2);
        const unsigned long long a = tile_descriptor(shared + stage * stage_bytes, TILE_SWIZZLE_128, 0, 1024);
        const unsigned long long b = tile_descriptor(shared + stage * stage_bytes + 8192 + consumer * 8192, TILE_SWIZZLE_128, 0, 1024);
        wgmma_fence();
        for (int k = 0; k < 4; k++) {
            wgmma<64>(sums, a + 2 * k, b + 2 * k, i > 0 || k > 0);
        }
        wgmma_commit();
        wgmma_wait<0>(sums);
        if (t == 0) {
            barrier_arrive(empty + stage);
        }
    }
    if (consumer == 0) {
        out[t] = sums[0];
        named_barrier_arrive(1, 256);
    } else {
        named_barrier(1, 256);
        out[t] += sums[0];
    }
}
