// expects: silence
// launch: grid=1 block=32 shared=1024 n=0
// Matrices stored from fragments and loaded again, either way round.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    const int lane = threadIdx.x;
    unsigned stored[4], loaded[4], turned[4];
    for (int m = 0; m < 4; m++) {
        stored[m] = (64 * m + 2 * lane) | (64 * m + 2 * lane + 1) << 16;  // matrix m holds 64 m + 8 row + column
    }
    stmatrix_x4(shared + 16 * lane, stored);
    stmatrix_x4_trans(shared + 512 + 16 * lane, stored);
    __syncwarp();
    for (int i = lane; i < 256; i += 32) {
        const unsigned short* values = reinterpret_cast<const unsigned short*>(shared);
        if (values[i] != i || values[256 + i] != i / 64 * 64 + i % 8 * 8 + i / 8 % 8) {
            __trap();
        }
    }
    ldmatrix_x4(loaded, shared + 16 * lane);
    ldmatrix_x4_trans(turned, shared + 512 + 16 * lane);
    unsigned two[2], two_turned[2];
    ldmatrix_x2(two, shared + 128 + 16 * (lane % 16));
    ldmatrix_x2_trans(two_turned, shared + 512 + 128 + 16 * (lane % 16));
    for (int m = 0; m < 2; m++) {
        if (two[m] != stored[1 + m] || two_turned[m] != stored[1 + m]) {
            __trap();
        }
    }
    for (int m = 0; m < 4; m++) {
        if (loaded[m] != stored[m] || turned[m] != stored[m]) {
            __trap();
        }
    }
}
