// expects: silence
// launch: grid=1 block=128 shared=16384 n=0
// map: of=out dims=40,20 strides=96 box=64,16 swizzle=128
// Fragments through swizzled shared memory to the tensor, two buffers in turn; what stands out of the tensor is clipped.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int turn = 0; turn < 4; turn++) {
        unsigned char* buffer = shared + turn % 2 * 2048;
        if (threadIdx.x == 0) {
            bulk_wait_read<1>();
        }
        __syncthreads();
        // A warp stores 16 rows by 16 columns: four matrices, of rows 0..7 and 8..15 at two chunks.
        unsigned r[4];
        for (int m = 0; m < 4; m++) {
            const unsigned row = turn * 16 + lane / 4 + m % 2 * 8, column = warp * 16 + m / 2 * 8 + 2 * (lane % 4);
            r[m] = (row * 64 + column) | (row * 64 + column + 1) << 16;
        }
        const int row = lane % 16, chunk = warp * 2 + lane / 16;
        stmatrix_x4(buffer + row * 128 + ((chunk ^ (row & 7)) << 4), r);
        fence_proxy_async();
        __syncthreads();
        if (threadIdx.x == 0) {
            tensor_store(&map, buffer, 0, turn * 16);
            bulk_commit();
        }
    }
    if (threadIdx.x == 0) {
        bulk_wait<0>();
        for (int i = 0; i < 20 * 40; i++) {
            if (reinterpret_cast<const unsigned short*>(out)[i / 40 * 48 + i % 40] != i / 40 * 64 + i % 40) {
                __trap();
            }
        }
    }
}
