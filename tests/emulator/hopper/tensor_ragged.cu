// expects: silence
// launch: grid=1 block=32 shared=9216 n=0
// map: of=in dims=64,1073741824,2147483647,2147483647 strides=128,17179869056,128 box=64,64,1,1 swizzle=128
// map: of=out dims=64,1073741824,2147483647,2147483647 strides=128,17179869056,128 box=64,64,1,1 swizzle=128
// One constant map for experts of any number of rows: the box's edge 2^30 falls on the end of the expert, by a row stride of 2^34 - s and
// the wrap of addresses at 2^64. Loads become zeros behind the end, stores are clipped there.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap from, const __grid_constant__ TensorMap to) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 8192);
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_fence();
    }
    __syncthreads();
    const int edge = 1 << 30;
    const int experts[3][2] = {{0, 10}, {10, 70}, {80, 1}};  // first row, rows
    int phase = 0;
    for (int e = 0; e < 3; e++) {
        const int first = experts[e][0], rows = experts[e][1];
        for (int i = 0; i < rows; i += 64) {
            if (threadIdx.x == 0) {
                barrier_arrive_expect(full, 8192);
                tensor_load(shared, &from, full, 0, edge - rows + i, edge, first + rows);
            }
            barrier_wait(full, phase++ % 2);
            for (int row = threadIdx.x; row < 64; row += 32) {
                for (int column = 0; column < 64; column++) {
                    const int o = row * 128 + column * 2;
                    if (*reinterpret_cast<const unsigned short*>(shared + (o ^ (o >> 3 & 0x70))) != (i + row < rows ? (first + i + row) * 64 + column : 0)) {
                        __trap();
                    }
                }
            }
            __syncthreads();
            if (threadIdx.x == 0) {
                tensor_store(&to, shared, 0, edge - rows + i, edge, first + rows);
                bulk_commit();
                bulk_wait<0>();
            }
            __syncthreads();
        }
    }
    for (int i = threadIdx.x; i < 81 * 64; i += 32) {
        if (reinterpret_cast<const unsigned short*>(out)[i] != i) {
            __trap();
        }
    }
}
