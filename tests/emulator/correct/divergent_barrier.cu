// expects: silence
// launch: grid=1 block=64 shared=0 n=40
// Only some threads of the block reach the barrier.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    float x = in[threadIdx.x];
    if (threadIdx.x < n) {
        x += 1.0f;
    }
    __syncthreads();
    out[threadIdx.x] = x;
}
