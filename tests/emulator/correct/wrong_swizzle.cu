// expects: silence
// launch: grid=1 block=32 shared=1024 n=0
// Rows of 128 bytes, of which the tile fills the chunks 0..3 under one exclusive-or; the load uses another.
#include "common/ptx.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    const int row = threadIdx.x / 4, chunk = threadIdx.x % 4;
    cp_async_16(shared + row * 128 + ((chunk ^ row) << 4), in + 4 * threadIdx.x, 16);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    const int line = threadIdx.x % 8, matrix = threadIdx.x / 8;
    unsigned r[4];
    ldmatrix_x4(r, shared + line * 128 + ((matrix ^ line) << 4));
    out[threadIdx.x] = __uint_as_float(r[0] ^ r[1] ^ r[2] ^ r[3]);
}
