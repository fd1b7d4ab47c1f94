// expects: silence
// launch: grid=1 block=32 shared=17920 n=0
// map: of=in dims=64,128 strides=128 box=64,128 swizzle=128
// map: of=in dims=32,8 strides=64 box=32,8 swizzle=64
// map: of=in dims=16,8 strides=32 box=16,8 swizzle=32
// Where tensor copies put (row, column) under each swizzle: known bytes, and that every element arrives once.
#include "common/hopper.cuh"

__device__ void expect(const unsigned char* tile, int columns, int row, int column, int byte) {
    if (*reinterpret_cast<const unsigned short*>(tile + byte) != row * columns + column) {
        __trap();
    }
}

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap wide, const __grid_constant__ TensorMap middle,
                                  const __grid_constant__ TensorMap narrow) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 17408);
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_fence();
        barrier_arrive_expect(full, 16384 + 512 + 256);
        tensor_load(shared, &wide, full, 0, 0);
        tensor_load(shared + 16384, &middle, full, 0, 0);
        tensor_load(shared + 16896, &narrow, full, 0, 0);
    }
    __syncthreads();
    barrier_wait(full, 0);
    if (threadIdx.x == 0) {
        expect(shared, 64, 0, 0, 0);
        expect(shared, 64, 1, 0, 144);
        expect(shared, 64, 1, 8, 128);
        expect(shared, 64, 5, 17, 754);
        expect(shared, 64, 7, 63, 910);
        expect(shared, 64, 8, 0, 1024);
        expect(shared, 64, 63, 40, 8096);
        expect(shared, 64, 127, 63, 16270);
        expect(shared + 16384, 32, 2, 0, 144);
        expect(shared + 16384, 32, 3, 9, 194);
        expect(shared + 16384, 32, 7, 31, 462);
        expect(shared + 16896, 16, 4, 0, 144);
        expect(shared + 16896, 16, 7, 15, 238);
    }
    for (int row = threadIdx.x; row < 128; row += 32) {
        for (int column = 0; column < 64; column++) {
            const int o = row * 128 + column * 2;
            expect(shared, 64, row, column, o ^ (o >> 3 & 0x70));
        }
    }
}
