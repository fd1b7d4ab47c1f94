// The functions that compiled kernels call. Kernels see this through cuda_builtins.h; nothing here needs a standard header.
#pragma once

enum EmuCollective {
    EMU_SYNC_WARP,
    EMU_SHUFFLE,
    EMU_BALLOT,
    EMU_ANY,
    EMU_ALL,
    EMU_REDUCE_ADD,
    EMU_REDUCE_MIN,
    EMU_REDUCE_MAX,
    EMU_REDUCE_AND,
    EMU_REDUCE_OR,
    EMU_MATCH_ANY,
    EMU_LDMATRIX,
    EMU_MMA_M16N8K16,
    EMU_STMATRIX,
};

enum EmuAtomic { EMU_ATOMIC_ADD, EMU_ATOMIC_MIN, EMU_ATOMIC_MAX, EMU_ATOMIC_EXCHANGE, EMU_ATOMIC_AND, EMU_ATOMIC_OR };

struct EmuIndex {
    unsigned x, y, z;
};

extern "C" {
EmuIndex emu_thread_index();
EmuIndex emu_block_index();
EmuIndex emu_block_dim();
EmuIndex emu_grid_dim();
unsigned char* emu_dynamic_shared();
void emu_sync_block();
int emu_sync_block_count(int kind, int predicate);  // 0 and, 1 or, 2 count
void emu_named_barrier(int id, int threads);
// All lanes of `mask` meet; `in` (words) is read when the last one arrives, `out` written for each.
void emu_collective(int kind, unsigned mask, int argument, const unsigned* in, int words_in, unsigned* out, int words_out);
unsigned emu_atomic(int kind, unsigned* at, unsigned value, int is_signed);
unsigned emu_atomic_cas(unsigned* at, unsigned compare, unsigned value);
unsigned emu_active_mask();
void emu_cp_async(void* shared, const void* global, int bytes, int total);
void emu_cp_async_commit();
void emu_cp_async_wait(int pending);
unsigned emu_shared_address(const void* shared);
void emu_check_vector(const void* p, unsigned long n);
void emu_trap();
}
