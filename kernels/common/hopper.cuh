// Instructions of compute capability 9.0, one function each, beside ptx.cuh: transaction barriers, tensor copies, register shares,
// clusters; warpgroup products are in wgmma.cuh. Only for kernels that are compiled for sm_90a; the emulator of the tests replaces this file as well.
//
// The difficulty is what is asynchronous. A tensor copy and a warpgroup product run beside the thread that started them and see shared
// memory through a proxy of their own: what threads wrote needs fence_proxy_async() before it, what they read must stay until a wait.
#pragma once
#include "common/ptx.cuh"

// Describes a tensor in global memory and the box that one copy moves; filled by the host (cuTensorMapEncodeTiled). A kernel takes it as
// `const __grid_constant__ TensorMap map` and hands on its address; it is never copied.
struct alignas(64) TensorMap {
    unsigned char bytes[128];
};

// An object in shared memory that counts arrivals of threads and bytes of copies; when both are complete its phase ends and the next
// one begins. Phases have parity 0, 1, 0, ...
struct alignas(8) TransactionBarrier {
    unsigned long long state;
};

// One thread makes the barrier for `count` arrivals per phase. Others may use it after barrier_init_fence() and a block (or cluster) barrier.
__device__ __forceinline__ void barrier_init(TransactionBarrier* barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

// Shows the barriers that this thread has made to copies and to the cluster.
__device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// One arrival. What this thread did before is visible to those who wait for the phase.
__device__ __forceinline__ void barrier_arrive(TransactionBarrier* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// One arrival at the barrier of the same place in block `rank` of the cluster.
__device__ __forceinline__ void barrier_arrive_at(TransactionBarrier* barrier, int rank) {
    asm volatile(
        "{\n"
        ".reg .b32 peer;\n"
        "mapa.shared::cluster.u32 peer, %0, %1;\n"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [peer];\n"
        "}\n" ::"r"(shared_address(barrier)),
        "r"(rank)
        : "memory");
}

// One arrival, and the phase also waits for `bytes` that copies deliver: always those of whole boxes, clipped or not.
__device__ __forceinline__ void barrier_arrive_expect(TransactionBarrier* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}

// Whether the phase of this parity has ended; may wait a little before it says no.
__device__ __forceinline__ bool barrier_try_wait(TransactionBarrier* barrier, int parity) {
    unsigned done;
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}\n"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    return done != 0;
}

// Waits until the phase of this parity has ended. On a new barrier parity 1 has.
__device__ __forceinline__ void barrier_wait(TransactionBarrier* barrier, int parity) {
    while (!barrier_try_wait(barrier, parity)) {
    }
}

// The same, and acquires what threads of the whole cluster did before they arrived.
__device__ __forceinline__ void barrier_wait_cluster(TransactionBarrier* barrier, int parity) {
    unsigned done;
    do {
        asm volatile(
            "{\n"
            ".reg .pred p;\n"
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
            "selp.u32 %0, 1, 0, p;\n"
            "}\n"
            : "=r"(done)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    } while (done == 0);
}

// Orders this thread's reads and writes of shared memory (and those it knows of) before later asynchronous copies and warpgroup products.
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Fetches a tensor map ahead of its first use.
__device__ __forceinline__ void tensor_prefetch(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// Copies the box at the given coordinates (innermost first, in elements) to shared memory; its bytes arrive at `barrier`. Elements outside
// the tensor become zeros. The destination is aligned to 128 bytes, to 1024 with the 128-byte swizzle.
__device__ __forceinline__ void tensor_load(void* shared, const TensorMap* map, TransactionBarrier* barrier, int c0) {
    asm volatile("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::"r"(shared_address(shared)), "l"(map),
                 "r"(shared_address(barrier)), "r"(c0)
                 : "memory");
}
__device__ __forceinline__ void tensor_load(void* shared, const TensorMap* map, TransactionBarrier* barrier, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(shared)), "l"(map),
                 "r"(shared_address(barrier)), "r"(c0), "r"(c1)
                 : "memory");
}
__device__ __forceinline__ void tensor_load(void* shared, const TensorMap* map, TransactionBarrier* barrier, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(shared)), "l"(map),
                 "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}
__device__ __forceinline__ void tensor_load(void* shared, const TensorMap* map, TransactionBarrier* barrier, int c0, int c1, int c2, int c3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(shared)), "l"(map),
                 "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}
__device__ __forceinline__ void tensor_load(void* shared, const TensorMap* map, TransactionBarrier* barrier, int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(shared)), "l"(map),
                 "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

// The same box to the same place of every block in the bit mask `blocks`; each block's own barrier at that place receives the bytes.
__device__ __forceinline__ void tensor_load_multicast(void* shared, const TensorMap* map, TransactionBarrier* barrier, unsigned short blocks, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(shared)),
                 "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(c0), "r"(c1)
                 : "memory");
}
__device__ __forceinline__ void tensor_load_multicast(void* shared, const TensorMap* map, TransactionBarrier* barrier, unsigned short blocks, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(shared_address(shared)),
                 "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}
__device__ __forceinline__ void tensor_load_multicast(void* shared, const TensorMap* map, TransactionBarrier* barrier, unsigned short blocks, int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(
                     shared_address(shared)),
                 "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

// Copies the box from shared memory to the tensor; elements outside are clipped. Part of this thread's open bulk group.
__device__ __forceinline__ void tensor_store(const TensorMap* map, const void* shared, int c0) {
    asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [%0, {%2}], [%1];" ::"l"(map), "r"(shared_address(shared)), "r"(c0) : "memory");
}
__device__ __forceinline__ void tensor_store(const TensorMap* map, const void* shared, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(shared_address(shared)), "r"(c0), "r"(c1) : "memory");
}
__device__ __forceinline__ void tensor_store(const TensorMap* map, const void* shared, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map), "r"(shared_address(shared)), "r"(c0), "r"(c1), "r"(c2) : "memory");
}
__device__ __forceinline__ void tensor_store(const TensorMap* map, const void* shared, int c0, int c1, int c2, int c3) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map), "r"(shared_address(shared)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}
__device__ __forceinline__ void tensor_store(const TensorMap* map, const void* shared, int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(map), "r"(shared_address(shared)), "r"(c0), "r"(c1), "r"(c2),
                 "r"(c3), "r"(c4)
                 : "memory");
}

// Copies `bytes` contiguous bytes (addresses and count multiples of 16) that arrive at `barrier`.
__device__ __forceinline__ void bulk_load(void* shared, const void* global, int bytes, TransactionBarrier* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(shared)), "l"(global), "r"(bytes),
                 "r"(shared_address(barrier))
                 : "memory");
}

// The way back, part of this thread's open bulk group.
__device__ __forceinline__ void bulk_store(void* global, const void* shared, int bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(global), "r"(shared_address(shared)), "r"(bytes) : "memory");
}

// Closes the group of this thread's stores since the last commit.
__device__ __forceinline__ void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's latest groups are still reading shared memory: the others' sources may be overwritten.
template <int N>
__device__ __forceinline__ void bulk_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

// Waits until at most N of this thread's latest groups are still on their way to global memory.
template <int N>
__device__ __forceinline__ void bulk_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}

// Gives registers back until each thread of the warpgroup has `Count` (a multiple of 8).
template <int Count>
__device__ __forceinline__ void registers_release() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

// Takes registers until each thread of the warpgroup has `Count`; waits until others have released them.
template <int Count>
__device__ __forceinline__ void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

// The place of this block in its cluster, and the number of blocks there.
__device__ __forceinline__ int cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return static_cast<int>(rank);
}
__device__ __forceinline__ int cluster_blocks() {
    unsigned count;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
    return static_cast<int>(count);
}

// All threads of the cluster: nobody passes the wait before all have arrived. A block must not leave while others use its shared memory.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// The object at the same place of block `rank` of the cluster, for plain loads and stores.
template <class T>
__device__ __forceinline__ T* peer_shared(T* shared, int rank) {
    unsigned long long peer;
    asm("mapa.u64 %0, %1, %2;" : "=l"(peer) : "l"(shared), "r"(rank));
    return reinterpret_cast<T*>(peer);
}

// With programmatic launches: waits for the results of the kernel before; lets the next one start. Nothing otherwise.
__device__ __forceinline__ void launch_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
__device__ __forceinline__ void launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

// Arrives at named barrier `id` without waiting; the threads that wait there count these arrivals.
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// Stores four 8x8 matrices of 16-bit elements, the reverse of ldmatrix_x4.
__device__ __forceinline__ void stmatrix_x4(void* shared, const unsigned (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(shared)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

// The same with every matrix transposed.
__device__ __forceinline__ void stmatrix_x4_trans(void* shared, const unsigned (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(shared)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
