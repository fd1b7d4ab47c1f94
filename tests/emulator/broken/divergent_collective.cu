// expects: deadlock
// launch: grid=1 block=32 shared=0 n=20
// A full mask, and half of the lanes are elsewhere.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    float x = in[threadIdx.x];
    if (threadIdx.x < n) {
        x += __shfl_xor_sync(0xffffffffu, x, 1);
    }
    out[threadIdx.x] = x;
    __syncwarp();
}
