// expects: silence
// launch: grid=1 block=64 shared=2048 n=0
// map: of=out dims=64,64 strides=128 box=64,16
// The buffer of a store is written again only after the store has read it.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = threadIdx.x; i < 512; i += 64) {
            values[i] = in[512 * turn + i];
        }
        fence_proxy_async();
        __syncthreads();
        if (threadIdx.x == 0) {
            tensor_store(&map, shared, 0, 16 * turn);
            bulk_commit();
            bulk_wait_read<0>();
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        bulk_wait<0>();
    }
}
