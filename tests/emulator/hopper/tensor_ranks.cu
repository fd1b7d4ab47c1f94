// expects: silence
// launch: grid=2 block=32 shared=1408 n=0 cluster=2
// map: of=in dims=64 strides= box=64
// map: of=in dims=8,8 strides=16 box=8,8
// map: of=in dims=8,2,4 strides=64,16 box=8,2,4
// map: of=in dims=8,2,2,2 strides=16,32,64 box=8,2,2,2
// map: of=in dims=8,2,2,2,1 strides=64,32,16,128 box=8,2,2,2,1
// map: of=out dims=64 strides= box=64
// map: of=out base=128 dims=8,8 strides=16 box=8,8
// map: of=out base=256 dims=8,2,4 strides=64,16 box=8,2,4
// map: of=out base=384 dims=8,2,2,2 strides=16,32,64 box=8,2,2,2
// map: of=out base=512 dims=8,2,2,2,1 strides=64,32,16,128 box=8,2,2,2,1
// Tensors of every rank in and out, some with dimensions in another order; a box goes to both blocks of a cluster, who store it twice.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap in1, const __grid_constant__ TensorMap in2,
                                  const __grid_constant__ TensorMap in3, const __grid_constant__ TensorMap in4, const __grid_constant__ TensorMap in5,
                                  const __grid_constant__ TensorMap out1, const __grid_constant__ TensorMap out2, const __grid_constant__ TensorMap out3,
                                  const __grid_constant__ TensorMap out4, const __grid_constant__ TensorMap out5) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 1280);
    launch_wait();
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init_fence();
        barrier_arrive_expect(full, 5 * 128 + 3 * 128);
    }
    cluster_arrive();
    cluster_wait();
    if (threadIdx.x == 0) {
        tensor_load(shared, &in1, full, 0);
        tensor_load(shared + 128, &in2, full, 0, 0);
        tensor_load(shared + 256, &in3, full, 0, 0, 0);
        tensor_load(shared + 384, &in4, full, 0, 0, 0, 0);
        tensor_load(shared + 512, &in5, full, 0, 0, 0, 0, 0);
        if (cluster_rank() == 0) {
            tensor_load_multicast(shared + 640, &in2, full, 3, 0, 0);
            tensor_load_multicast(shared + 768, &in3, full, 3, 0, 0, 0);
        } else {
            tensor_load_multicast(shared + 896, &in5, full, 3, 0, 0, 0, 0, 0);
        }
    }
    barrier_wait(full, 0);
    const unsigned short* got = reinterpret_cast<const unsigned short*>(shared);
    for (int i = threadIdx.x; i < 64; i += 32) {
        const int chunk = i / 8, element = i % 8;
        const int third = (chunk % 2 * 4 + chunk / 2) * 8 + element;                                  // dimensions of 2 and 4 exchanged
        const int fifth = (chunk % 2 * 4 + chunk / 2 % 2 * 2 + chunk / 4) * 8 + element;              // three of 2 in reverse
        const int expected[8] = {i, i, third, i, fifth, i, third, fifth};
        for (int box = 0; box < 8; box++) {
            if (got[64 * box + i] != expected[box]) {
                __trap();
            }
        }
    }
    if (cluster_rank() == 0 && threadIdx.x == 0) {
        tensor_store(&out1, shared, 0);
        tensor_store(&out2, shared + 128, 0, 0);
        tensor_store(&out3, shared + 256, 0, 0, 0);
        tensor_store(&out4, shared + 384, 0, 0, 0, 0);
        tensor_store(&out5, shared + 512, 0, 0, 0, 0, 0);
        bulk_commit();
        bulk_wait<0>();
        for (int i = 0; i < 5 * 64; i++) {
            if (reinterpret_cast<const unsigned short*>(out)[i] != i % 64) {
                __trap();
            }
        }
    }
    launch_dependents();
    cluster_arrive();
    cluster_wait();
}
