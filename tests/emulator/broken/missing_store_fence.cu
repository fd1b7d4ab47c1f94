// expects: missing-fence
// launch: grid=1 block=64 shared=2048 n=0
// map: of=out dims=64,64 strides=128 box=64,16
// The store reads through the asynchronous proxy what threads have written plainly.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    for (int i = threadIdx.x; i < 512; i += 64) {
        values[i] = in[i];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        tensor_store(&map, shared, 0, 0);
        bulk_commit();
        bulk_wait<0>();
    }
}
