// expects: silence
// launch: grid=4 block=64 shared=4096 n=0 cluster=2
// map: of=in dims=64,64 strides=128 box=64,8
// Each block of a cluster loads half of a tile for both; arrivals at the other's barrier say that a tile has been read.
#include "common/hopper.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(shared);
    TransactionBarrier* full = reinterpret_cast<TransactionBarrier*>(shared + 2048);
    TransactionBarrier* empty = full + 1;
    const int rank = cluster_rank();
    if (cluster_blocks() != 2 || rank != blockIdx.x % 2) {
        __trap();
    }
    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init(empty, 2 * cluster_blocks());
        barrier_init_fence();
    }
    cluster_arrive();
    cluster_wait();
    for (int turn = 0; turn < 4; turn++) {
        if (threadIdx.x == 0) {
            barrier_wait_cluster(empty, (turn + 1) % 2);
            barrier_arrive_expect(full, 2048);
            tensor_load_multicast(shared + rank * 1024, &map, full, 3, 0, turn * 16 + rank * 8);
        }
        __syncwarp();
        barrier_wait(full, turn % 2);
        for (int i = threadIdx.x; i < 1024; i += 64) {
            if (reinterpret_cast<const unsigned short*>(shared)[i] != turn * 1024 + i) {
                __trap();
            }
        }
        __syncwarp();
        if (threadIdx.x % 32 < 2) {
            barrier_arrive_at(empty, threadIdx.x % 32);
        }
        __syncwarp();
    }
    // Plain accesses to the peer, between cluster barriers.
    int* mine = reinterpret_cast<int*>(shared + 3072);
    *peer_shared(mine + threadIdx.x, 1 - rank) = rank * 100 + threadIdx.x;
    cluster_arrive();
    cluster_wait();
    if (mine[threadIdx.x] != (1 - rank) * 100 + threadIdx.x) {
        __trap();
    }
}
