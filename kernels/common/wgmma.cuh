// Warpgroup products of compute capability 9.0: 128 threads multiply two tiles of shared memory into registers that they share out.
//
// The difficulty: the product runs on after the instruction. Its sums are not the thread's own until a wait, and the tiles must stay as they
// are; what threads stored into a tile needs fence_proxy_async() and a barrier before. One instruction names all its registers, so the text
// below spells them out, per width.
#pragma once
#include "common/hopper.cuh"

// How a tile lies in shared memory, as a warpgroup product reads it: rows of 128, 64 or 32 bytes whose 16-byte chunks are exchanged
// within blocks of 8 rows, or 8 x 16-byte blocks without a swizzle.
enum TileLayout { TILE_PLAIN = 0, TILE_SWIZZLE_128 = 1, TILE_SWIZZLE_64 = 2, TILE_SWIZZLE_32 = 3 };

// Names a tile to wgmma(). `leading` and `stride` are distances in bytes. Swizzled, k innermost: stride between 8 rows, leading unused.
// Swizzled, rows innermost: leading between the row chunks of one swizzle span, stride between 8 k. Plain: stride between 8 rows,
// leading between 8 k.
__device__ __forceinline__ unsigned long long tile_descriptor(const void* shared, TileLayout layout, int leading, int stride) {
    return static_cast<unsigned long long>((shared_address(shared) & 0x3ffff) >> 4) | static_cast<unsigned long long>((leading & 0x3ffff) >> 4) << 16 |
           static_cast<unsigned long long>((stride & 0x3ffff) >> 4) << 32 | static_cast<unsigned long long>(layout) << 62;
}

// Before the first product of a warpgroup, and whenever its threads have touched the sums since.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes the group of products since the last commit.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most N of the latest groups are still at work: the tiles of the others may be overwritten, sums under way stay untouched.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// The same; `sums` are complete then, and the caller reads them next.
template <int N, int Count>
__device__ __forceinline__ void wgmma_wait(float (&sums)[Count]) {
    wgmma_wait<N>();
#pragma unroll
    for (int i = 0; i < Count; i++) asm volatile("" : "+f"(sums[i])::"memory");
}

// The operands: registers of the sums as constraints (F) and as names (R).
#define WGMMA_F4(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#define WGMMA_F8(i) WGMMA_F4(i), WGMMA_F4(i + 4)
#define WGMMA_F16(i) WGMMA_F8(i), WGMMA_F8(i + 8)
#define WGMMA_F32(i) WGMMA_F16(i), WGMMA_F16(i + 16)
#define WGMMA_F64(i) WGMMA_F32(i), WGMMA_F32(i + 32)
#define WGMMA_F96(i) WGMMA_F64(i), WGMMA_F32(i + 64)
#define WGMMA_F128(i) WGMMA_F64(i), WGMMA_F64(i + 64)
#define WGMMA_R4 "%0, %1, %2, %3"
#define WGMMA_R8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_R16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_R32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_R64 \
    WGMMA_R32 ", " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_R96 \
    WGMMA_R64 ", " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_R128 \
    WGMMA_R96 ", " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define WGMMA(n, registers, outputs, a_at, b_at, accumulate_at, rows_a_at, rows_b_at)                                                             \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #accumulate_at ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" registers "}, %" #a_at ", %" #b_at \
                 ", p, 1, 1, %" #rows_a_at ", %" #rows_b_at ";\n}\n"                                                                               \
                 : outputs                                                                                                                         \
                 : "l"(a), "l"(b), "r"(accumulate), "n"(RowsInnerA), "n"(RowsInnerB)                                                               \
                 : "memory")

// sums (+)= a b for a 64 x N tile of the warpgroup, k = 16, bfloat16 in, float32 sums; `accumulate` 0 overwrites. a and b are tiles of shared
// memory; RowsInner says that rows (of a) or columns (of b), not k, are innermost there. Thread t holds in sums[i] row
// 16 (t / 32) + (t % 32) / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (t % 4) + i % 2. Runs on until wgmma_wait(): sums are not touched before.
template <int N, int RowsInnerA = 0, int RowsInnerB = 0>
__device__ __forceinline__ void wgmma(float (&sums)[N / 2], unsigned long long a, unsigned long long b, int accumulate) {
    static_assert(N == 8 || N == 16 || N == 32 || N == 64 || N == 128 || N == 192 || N == 256, "a width that has its instruction here");
    if constexpr (N == 8) WGMMA(8, WGMMA_R4, WGMMA_F4(0), 4, 5, 6, 7, 8);
    if constexpr (N == 16) WGMMA(16, WGMMA_R8, WGMMA_F8(0), 8, 9, 10, 11, 12);
    if constexpr (N == 32) WGMMA(32, WGMMA_R16, WGMMA_F16(0), 16, 17, 18, 19, 20);
    if constexpr (N == 64) WGMMA(64, WGMMA_R32, WGMMA_F32(0), 32, 33, 34, 35, 36);
    if constexpr (N == 128) WGMMA(128, WGMMA_R64, WGMMA_F64(0), 64, 65, 66, 67, 68);
    if constexpr (N == 192) WGMMA(192, WGMMA_R96, WGMMA_F96(0), 96, 97, 98, 99, 100);
    if constexpr (N == 256) WGMMA(256, WGMMA_R128, WGMMA_F128(0), 128, 129, 130, 131, 132);
}
#undef WGMMA
#undef WGMMA_F4
#undef WGMMA_F8
#undef WGMMA_F16
#undef WGMMA_F32
#undef WGMMA_F64
#undef WGMMA_F96
#undef WGMMA_F128
#undef WGMMA_R4
#undef WGMMA_R8
#undef WGMMA_R16
#undef WGMMA_R32
#undef WGMMA_R64
#undef WGMMA_R96
#undef WGMMA_R128
