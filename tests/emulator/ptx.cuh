// The emulated twin of kernels/common/ptx.cuh: the same functions, answered by the emulator.
#pragma once

#define DYNAMIC_SHARED(name) unsigned char* name = emu_dynamic_shared()

inline unsigned shared_address(const void* shared) { return emu_shared_address(shared); }

inline void cp_async_16(void* shared, const void* global, int bytes) { emu_cp_async(shared, global, bytes, 16); }
inline void cp_async_4(void* shared, const void* global, int bytes) { emu_cp_async(shared, global, bytes, 4); }
inline void cp_async_commit() { emu_cp_async_commit(); }
template <int N> inline void cp_async_wait() { emu_cp_async_wait(N); }

inline void emu_ldmatrix(unsigned* r, const void* shared, int matrices, int trans) {
    unsigned in[2];
    __builtin_memcpy(in, &shared, sizeof shared);
    emu_collective(EMU_LDMATRIX, 0xffffffffu, matrices | trans << 8, in, 2, r, matrices);
}
inline void ldmatrix_x4(unsigned (&r)[4], const void* shared) { emu_ldmatrix(r, shared, 4, 0); }
inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* shared) { emu_ldmatrix(r, shared, 4, 1); }
inline void ldmatrix_x2(unsigned (&r)[2], const void* shared) { emu_ldmatrix(r, shared, 2, 0); }
inline void ldmatrix_x2_trans(unsigned (&r)[2], const void* shared) { emu_ldmatrix(r, shared, 2, 1); }

inline void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    unsigned in[10];
    __builtin_memcpy(in, a, 16);
    __builtin_memcpy(in + 4, b, 8);
    __builtin_memcpy(in + 6, c, 16);
    unsigned out[4];
    emu_collective(EMU_MMA_M16N8K16, 0xffffffffu, 0, in, 10, out, 4);
    __builtin_memcpy(c, out, 16);
}

inline unsigned pack_bf16x2(float low, float high) {
    unsigned packed = 0;
    const float values[2] = {low, high};
    for (int i = 0; i < 2; i++) {
        unsigned bits = __float_as_uint(values[i]);
        unsigned half = values[i] != values[i] ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
        packed |= half << (16 * i);
    }
    return packed;
}

inline void named_barrier(int id, int threads) { emu_named_barrier(id, threads); }
inline float exp2_approx(float x) { return exp2f(x); }
