// The emulator's own kernels/common/hopper.cuh: the same functions, answered by the emulator.
#pragma once
#include "common/ptx.cuh"
#include "hopper_api.h"

extern "C" {
extern const int emu_uses_hopper;
const int emu_uses_hopper = 1;
}

struct alignas(64) TensorMap {
    unsigned char bytes[128];
};

struct alignas(8) TransactionBarrier {
    unsigned long long state;
};

inline void barrier_init(TransactionBarrier* barrier, int count) { emu_barrier_init(barrier, count); }
inline void barrier_init_fence() { emu_barrier_init_fence(); }
inline void barrier_arrive(TransactionBarrier* barrier) { emu_barrier_arrive(barrier, -1, 0); }
inline void barrier_arrive_at(TransactionBarrier* barrier, int rank) { emu_barrier_arrive(barrier, rank, 0); }
inline void barrier_arrive_expect(TransactionBarrier* barrier, int bytes) { emu_barrier_arrive(barrier, -1, bytes); }
inline bool barrier_try_wait(TransactionBarrier* barrier, int parity) { return emu_barrier_try_wait(barrier, parity) != 0; }
inline void barrier_wait(TransactionBarrier* barrier, int parity) { emu_barrier_wait(barrier, parity); }
inline void barrier_wait_cluster(TransactionBarrier* barrier, int parity) { emu_barrier_wait(barrier, parity); }

inline void fence_proxy_async() { emu_fence_proxy_async(); }

inline void tensor_prefetch(const TensorMap*) {}
template <class... C> inline void tensor_load(void* shared, const TensorMap* map, TransactionBarrier* barrier, int c0, C... more) {
    static_assert(sizeof...(C) <= 4, "a tensor has up to 5 dimensions");
    const EmuCoordinates at{1 + sizeof...(C), {c0, more...}};
    emu_tensor_load(shared, map, barrier, 0, &at);
}
template <class... C> inline void tensor_load_multicast(void* shared, const TensorMap* map, TransactionBarrier* barrier, unsigned short blocks, int c0, int c1, C... more) {
    static_assert(sizeof...(C) == 0 || sizeof...(C) == 1 || sizeof...(C) == 3, "of 2, 3 or 5 dimensions");
    const EmuCoordinates at{2 + sizeof...(C), {c0, c1, more...}};
    emu_tensor_load(shared, map, barrier, blocks, &at);
}
template <class... C> inline void tensor_store(const TensorMap* map, const void* shared, int c0, C... more) {
    static_assert(sizeof...(C) <= 4, "a tensor has up to 5 dimensions");
    const EmuCoordinates at{1 + sizeof...(C), {c0, more...}};
    emu_tensor_store(map, shared, &at);
}
inline void bulk_load(void* shared, const void* global, int bytes, TransactionBarrier* barrier) { emu_bulk_load(shared, global, bytes, barrier); }
inline void bulk_store(void* global, const void* shared, int bytes) { emu_bulk_store(global, shared, bytes); }
inline void bulk_commit() { emu_bulk_commit(); }
template <int N> inline void bulk_wait_read() { emu_bulk_wait(N, 1); }
template <int N> inline void bulk_wait() { emu_bulk_wait(N, 0); }

template <int Count> inline void registers_release() {
    static_assert(Count % 8 == 0 && Count >= 24 && Count <= 256, "a multiple of 8 between 24 and 256");
    emu_registers(Count, 0);
}
template <int Count> inline void registers_take() {
    static_assert(Count % 8 == 0 && Count >= 24 && Count <= 256, "a multiple of 8 between 24 and 256");
    emu_registers(Count, 1);
}

inline int cluster_rank() { return emu_cluster_rank(); }
inline int cluster_blocks() { return emu_cluster_blocks(); }
inline void cluster_arrive() { emu_cluster_arrive(); }
inline void cluster_wait() { emu_cluster_wait(); }
template <class T> inline T* peer_shared(T* shared, int rank) { return static_cast<T*>(emu_peer_shared(shared, rank)); }

inline void launch_wait() {}
inline void launch_dependents() {}

inline void named_barrier_arrive(int id, int threads) { emu_named_barrier_arrive(id, threads); }

inline void emu_stmatrix(void* shared, const unsigned (&r)[4], int trans) {
    unsigned in[6];
    __builtin_memcpy(in, &shared, sizeof shared);
    __builtin_memcpy(in + 2, r, 16);
    emu_collective(EMU_STMATRIX, 0xffffffffu, trans, in, 6, nullptr, 0);
}
inline void stmatrix_x4(void* shared, const unsigned (&r)[4]) { emu_stmatrix(shared, r, 0); }
inline void stmatrix_x4_trans(void* shared, const unsigned (&r)[4]) { emu_stmatrix(shared, r, 1); }
