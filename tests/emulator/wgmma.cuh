// The emulator's own kernels/common/wgmma.cuh: the same functions, answered by the emulator.
#pragma once
#include "common/hopper.cuh"

enum TileLayout { TILE_PLAIN = 0, TILE_SWIZZLE_128 = 1, TILE_SWIZZLE_64 = 2, TILE_SWIZZLE_32 = 3 };

inline unsigned long long tile_descriptor(const void* shared, TileLayout layout, int leading, int stride) {
    return static_cast<unsigned long long>((shared_address(shared) & 0x3ffff) >> 4) | static_cast<unsigned long long>((leading & 0x3ffff) >> 4) << 16 |
           static_cast<unsigned long long>((stride & 0x3ffff) >> 4) << 32 | static_cast<unsigned long long>(layout) << 62;
}

inline void wgmma_fence() { emu_wgmma_fence(); }
inline void wgmma_commit() { emu_wgmma_commit(); }
template <int N> inline void wgmma_wait() { emu_wgmma_wait(N); }
template <int N, int Count> inline void wgmma_wait(float (&)[Count]) { emu_wgmma_wait(N); }

template <int N, int RowsInnerA = 0, int RowsInnerB = 0> inline void wgmma(float (&sums)[N / 2], unsigned long long a, unsigned long long b, int accumulate) {
    static_assert(N == 8 || N == 16 || N == 32 || N == 64 || N == 128 || N == 192 || N == 256, "a width that has its instruction here");
    emu_wgmma(sums, N, a, b, accumulate, RowsInnerA, RowsInnerB);
}
