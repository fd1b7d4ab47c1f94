// expects: silence
// launch: grid=1 block=32 shared=17408 n=0
// map: of=in dims=64,8,2,3,2 strides=128,3072,1024,6144 box=64,8,2,8,1 swizzle=128
// Weights [2 experts][gate 24 rows | up 24 rows][64] as boxes of 8 gate rows, 8 up rows, 8 gate rows, ...; rows behind the 24th are zeros.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 16384);
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_fence();
        barrier_arrive_expect(full, 16384);
        tensor_load(shared, &map, full, 0, 0, 0, 1, 1);  // from gate row 8 of expert 1 on
    }
    __syncthreads();
    barrier_wait(full, 0);
    for (int row = threadIdx.x; row < 128; row += 32) {
        const int group = 1 + row / 16, up = row / 8 % 2, source = 48 + 24 * up + 8 * group + row % 8;
        for (int column = 0; column < 64; column++) {
            const int o = row * 128 + column * 2;
            if (*reinterpret_cast<const unsigned short*>(shared + (o ^ (o >> 3 & 0x70))) != (group < 3 ? source * 64 + column : 0)) {
                __trap();
            }
        }
    }
}
