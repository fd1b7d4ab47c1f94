// expects: silence
// launch: grid=1 block=32 shared=0 n=20
// A full mask, and half of the lanes are elsewhere.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    float x = in[threadIdx.x];
    const float other = __shfl_xor_sync(0xffffffffu, x, 1);
    if (threadIdx.x < n) {
        x += other;
    }
    out[threadIdx.x] = x;
    __syncwarp();
}
