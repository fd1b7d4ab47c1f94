// expects: silence
// launch: grid=1 block=384 shared=0 n=0
// Registers that one warpgroup takes are those that another has released.
#include "common/hopper.cuh"

extern "C" __global__ void __launch_bounds__(384, 1) kernel(float* out, const float* in, int n) {
    if (threadIdx.x < 128) {
        registers_release<40>();
    } else {
        registers_take<232>();
        out[threadIdx.x] = in[threadIdx.x];
    }
}
