// Inline assembly stands here and, for compute capability 9.0, in hopper.cuh and wgmma.cuh: one function per instruction, named after it.
// The emulator of the tests replaces these files by its own with the same functions, so whatever a kernel does outside of it is plain CUDA C++.
#pragma once

// Dynamic shared memory of a kernel, the only shared memory there is. Declared inside the kernel; aligned to 1024 bytes.
#define DYNAMIC_SHARED(name) \
    extern __shared__ __align__(1024) unsigned char moesharp_dynamic_shared[]; \
    unsigned char* name = moesharp_dynamic_shared

// The address of a shared object in the shared window, as instructions want it.
__device__ __forceinline__ unsigned shared_address(const void* shared) {
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Copies 16 bytes to shared memory in the background: the first `bytes` (0..16) from `global`, the rest zeros. With 0 bytes the
// source is not read. Both addresses are 16-byte aligned.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
}

// Copies 4 bytes in the background: `bytes` is 4, or 0 for zeros without reading the source.
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
}

// Closes the group of this thread's background copies since the last commit.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's latest groups are still on their way. Other threads see the data after a barrier.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8; lane l receives elements
// (l / 4, 2 (l % 4)) and the next of each.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(shared))
                 : "memory");
}

// The same with every matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(shared))
                 : "memory");
}

// Two matrices; the addresses of lanes 0..15 count.
__device__ __forceinline__ void ldmatrix_x2(unsigned (&r)[2], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(shared))
                 : "memory");
}

// Two matrices, transposed.
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&r)[2], const void* shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(shared))
                 : "memory");
}

// c += a b for one 16x8 tile, k = 16, bfloat16 in, float32 sums. With g = lane / 4 and q = lane % 4: a holds rows g, g + 8 at
// columns 2q, then the same rows at 2q + 8; b rows 2q, then 2q + 8, of column g; c rows g, g, g + 8, g + 8 at columns 2q, 2q + 1.
__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Two floats as bfloat16, round to nearest even; `low` in the lower half.
__device__ __forceinline__ unsigned pack_bf16x2(float low, float high) {
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// Barrier `id` (1..15) for `threads` threads, a multiple of 32; every warp of them calls it as a whole.
__device__ __forceinline__ void named_barrier(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// 2^x to about 2 units in the last place.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
