// expects: race
// launch: grid=4 block=32 shared=0 n=0
// Blocks run in any order, side by side: each must have its own part of the output.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    out[threadIdx.x] = in[blockIdx.x * 32 + threadIdx.x];
}
