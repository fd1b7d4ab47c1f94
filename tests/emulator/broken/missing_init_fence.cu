// expects: missing-fence
// launch: grid=1 block=64 shared=2176 n=0
// map: of=in dims=64,64 strides=128 box=64,16
// A new barrier must be shown to the copies that signal it.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 2048);
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_arrive_expect(full, 2048);
        tensor_load(shared, &map, full, 0, 0);
    }
    __syncthreads();
    barrier_wait(full, 0);
    out[threadIdx.x] = reinterpret_cast<const float*>(shared)[threadIdx.x];
}
