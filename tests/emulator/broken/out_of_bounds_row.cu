// expects: out-of-bounds
// launch: grid=3 block=64 shared=0 n=4000
// The last block has rows behind the end.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    const int i = blockIdx.x * 2048 + threadIdx.x * 32;
    out[i / 32] = in[i];
}
