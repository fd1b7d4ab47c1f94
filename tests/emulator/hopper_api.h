// The functions behind the emulator's hopper.cuh and wgmma.cuh.
#pragma once

struct EmuCoordinates {
    int count, c[5];
};

extern "C" {
void emu_barrier_init(void* barrier, int count);
void emu_barrier_init_fence();
void emu_barrier_arrive(void* barrier, int rank, int expect);   // rank -1: this block
int emu_barrier_try_wait(void* barrier, int parity);
void emu_barrier_wait(void* barrier, int parity);
void emu_fence_proxy_async();
void emu_tensor_load(void* shared, const void* map, void* barrier, unsigned blocks, const EmuCoordinates* at);   // blocks 0: this one
void emu_tensor_store(const void* map, const void* shared, const EmuCoordinates* at);
void emu_bulk_load(void* shared, const void* global, int bytes, void* barrier);
void emu_bulk_store(void* global, const void* shared, int bytes);
void emu_bulk_commit();
void emu_bulk_wait(int pending, int read);
void emu_wgmma_fence();
void emu_wgmma(float* sums, int n, unsigned long long a, unsigned long long b, int accumulate, int rows_inner_a, int rows_inner_b);
void emu_wgmma_commit();
void emu_wgmma_wait(int pending);
void emu_registers(int count, int take);
int emu_cluster_rank();
int emu_cluster_blocks();
void emu_cluster_arrive();
void emu_cluster_wait();
void* emu_peer_shared(const void* shared, int rank);
void emu_named_barrier_arrive(int id, int threads);
}
