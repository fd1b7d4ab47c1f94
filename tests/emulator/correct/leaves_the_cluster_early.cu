// expects: silence
// launch: grid=2 block=32 shared=128 n=0 cluster=2
// A block stays until nobody uses its shared memory.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* mine = reinterpret_cast<float*>(shared) + threadIdx.x;
    *mine = in[threadIdx.x];
    cluster_arrive();
    cluster_wait();
    if (cluster_rank() == 1) {
        for (int i = 0; i < 32; i++) {
            __syncthreads();
        }
        out[threadIdx.x] = *peer_shared(mine, 0);
    }
    cluster_arrive();
    cluster_wait();
}
