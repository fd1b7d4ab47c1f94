// expects: uninitialised
// launch: grid=1 block=32 shared=0 n=0
// A buffer that nobody has written is added to.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    out[threadIdx.x] += in[threadIdx.x];
}
