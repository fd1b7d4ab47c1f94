// expects: race or use-after-free or uninitialised
// launch: grid=2 block=32 shared=128 n=0 cluster=2
// The other block's shared memory is there, and written, only between cluster barriers.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    float* mine = reinterpret_cast<float*>(shared) + threadIdx.x;
    *mine = in[threadIdx.x];
    __syncthreads();
    out[32 * cluster_rank() + threadIdx.x] = *peer_shared(mine, 1 - cluster_rank());
    cluster_arrive();
    cluster_wait();
}
