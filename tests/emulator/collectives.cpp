// What threads of a block do together: barriers, warp operations, atomics, asynchronous copies.
#include <cstring>
#include <string>

#include "device_api.h"
#include "exec.h"
#include "hopper_api.h"
#include "report.h"

#define HERE __builtin_return_address(0)

namespace emu {
namespace {

const char* const NAMES[] = {"__syncwarp", "__shfl_sync", "__ballot_sync", "__any_sync", "__all_sync", "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",
                             "__reduce_and_sync", "__reduce_or_sync", "__match_any_sync", "ldmatrix", "mma", "stmatrix"};

float bf16(uint32_t bits) {
    bits <<= 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

float as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// Accumulates each element over k in ascending order, in float32.
void mma(Thread* const* lanes) {
    float a[16][16], b[16][8];
    for (unsigned l = 0; l < 32; l++) {
        const unsigned g = l / 4, q = l % 4;
        const uint32_t* in = lanes[l]->in;
        for (unsigned r = 0; r < 4; r++) {
            const unsigned row = g + 8 * (r & 1), column = 2 * q + 8 * (r >> 1);
            a[row][column] = bf16(in[r] & 0xffff);
            a[row][column + 1] = bf16(in[r] >> 16);
        }
        for (unsigned r = 0; r < 2; r++) {
            b[2 * q + 8 * r][g] = bf16(in[4 + r] & 0xffff);
            b[2 * q + 8 * r + 1][g] = bf16(in[4 + r] >> 16);
        }
    }
    for (unsigned l = 0; l < 32; l++) {
        const unsigned g = l / 4, q = l % 4;
        for (unsigned r = 0; r < 4; r++) {
            const unsigned row = g + 8 * (r >> 1), column = 2 * q + (r & 1);
            float sum = as_float(lanes[l]->in[6 + r]);
            for (unsigned k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
            std::memcpy(&lanes[l]->out[r], &sum, 4);
        }
    }
}

void ldmatrix(Thread* const* lanes, int argument, const void* at) {
    const unsigned matrices = argument & 0xff;
    const bool trans = argument >> 8;
    for (unsigned m = 0; m < matrices; m++) {
        uint16_t tile[8][8];
        for (unsigned row = 0; row < 8; row++) {
            Thread* owner = lanes[8 * m + row];
            const uint8_t* from;
            std::memcpy(&from, owner->in, sizeof from);
            Thread* me = exec->current;
            exec->current = owner;  // the access is that of the lane that gave the address
            if (reinterpret_cast<uintptr_t>(from) % 16) fail("misaligned", "ldmatrix needs row addresses that are multiples of 16", at);
            check_access(reinterpret_cast<uintptr_t>(from), 16, Access::Read, at);
            exec->current = me;
            std::memcpy(tile[row], from, 16);
        }
        for (unsigned l = 0; l < 32; l++) {
            const unsigned g = l / 4, q = l % 4;
            const uint32_t low = trans ? tile[2 * q][g] : tile[g][2 * q], high = trans ? tile[2 * q + 1][g] : tile[g][2 * q + 1];
            lanes[l]->out[m] = low | high << 16;
        }
    }
}

void stmatrix(Thread* const* lanes, bool trans, const void* at) {
    Thread* me = exec->current;
    for (unsigned m = 0; m < 4; m++) {
        uint16_t tile[8][8];
        for (unsigned l = 0; l < 32; l++) {
            for (unsigned half = 0; half < 2; half++) {
                const unsigned row = l / 4, column = 2 * (l % 4) + half;
                (trans ? tile[column][row] : tile[row][column]) = static_cast<uint16_t>(lanes[l]->in[2 + m] >> (16 * half));
            }
        }
        for (unsigned row = 0; row < 8; row++) {
            Thread* owner = lanes[8 * m + row];
            uint8_t* to;
            std::memcpy(&to, owner->in, sizeof to);
            exec->current = owner;
            if (reinterpret_cast<uintptr_t>(to) % 16) fail("misaligned", "stmatrix needs row addresses that are multiples of 16", at);
            check_access(reinterpret_cast<uintptr_t>(to), 16, Access::Write, at);
            std::memcpy(to, tile[row], 16);
        }
    }
    exec->current = me;
}

void compute(int kind, uint32_t mask, int argument, Thread* const* lanes, const void* at) {
    if (kind == EMU_MMA_M16N8K16) return mma(lanes);
    if (kind == EMU_STMATRIX) return stmatrix(lanes, argument != 0, at);
    if (kind == EMU_LDMATRIX) return ldmatrix(lanes, argument, at);
    if (kind == EMU_SYNC_WARP) {
        std::vector<Thread*> all;
        for (int l = 0; l < 32; l++) {
            if (mask >> l & 1) all.push_back(lanes[l]);
        }
        return synchronise(all);
    }
    uint32_t ballot = 0, sum = 0, low = ~0u, high = 0, both = ~0u, either = 0;
    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        const uint32_t v = lanes[l]->in[0];
        ballot |= (v != 0) << l;
        sum += v;
        low = std::min(low, v);
        high = std::max(high, v);
        both &= v;
        either |= v;
    }
    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        Thread* t = lanes[l];
        switch (kind) {
            case EMU_SHUFFLE: {
                const unsigned source = t->in[argument] & 31;
                if (!(mask >> source & 1)) fail("divergent-collective", "a shuffle reads lane " + std::to_string(source) + ", which is not in its mask", at);
                for (int w = 0; w < argument; w++) t->out[w] = lanes[source]->in[w];
                break;
            }
            case EMU_BALLOT: t->out[0] = ballot; break;
            case EMU_ANY: t->out[0] = ballot != 0; break;
            case EMU_ALL: t->out[0] = ballot == mask; break;
            case EMU_REDUCE_ADD: t->out[0] = sum; break;
            case EMU_REDUCE_MIN: t->out[0] = low; break;
            case EMU_REDUCE_MAX: t->out[0] = high; break;
            case EMU_REDUCE_AND: t->out[0] = both; break;
            case EMU_REDUCE_OR: t->out[0] = either; break;
            case EMU_MATCH_ANY: {
                uint32_t same = 0;
                for (int o = 0; o < 32; o++) same |= (mask >> o & 1 && lanes[o]->in[0] == t->in[0]) << o;
                t->out[0] = same;
                break;
            }
            default: fail("internal", "unknown warp operation", at);
        }
    }
}

// Two code addresses may be copies of one call that the compiler made; then their source lines agree.
bool same_place(const void* a, const void* b) { return a == b || source_line(a) == source_line(b); }

EmuIndex value(const Index3& v) { return {v.x, v.y, v.z}; }

void arrive_block(const void* at) {
    Thread* me = exec->current;
    Block* b = me->block;
    if (b->arrived > 0 && !same_place(b->arrived_at, at)) {
        fail("divergent-barrier", "waits at this __syncthreads while others of the block wait at " + source_line(b->arrived_at), at);
    }
    b->arrived_at = at;
    if (++b->arrived < b->threads) return wait_here(State::WaitsForBlock, "__syncthreads", at);
    b->arrived = 0;
    synchronise_block(b);
    for (int i = 0; i < b->threads; i++) {
        if (b->fibers[i] != me) make_ready(b->fibers[i]);
    }
}

Barrier& arrive_named(int id, int threads, const void* at) {
    Block* b = exec->current->block;
    if (id < 0 || id >= NAMED_BARRIERS || threads <= 0 || threads % 32 || threads > b->threads) {
        fail("divergent-barrier", "named barrier " + std::to_string(id) + " for " + std::to_string(threads) + " threads: ids are 0..15, counts multiples of 32 up to the block", at);
    }
    Barrier& barrier = b->barriers[id];
    if (barrier.arrived > 0 && barrier.expected != threads) {
        fail("divergent-barrier", "named barrier " + std::to_string(id) + " with " + std::to_string(threads) + " threads, others said " + std::to_string(barrier.expected), at);
    }
    barrier.expected = threads;
    barrier.arrived++;
    return barrier;
}

// All have arrived: those who wait go on, and `last` if it has not begun to wait.
void open_named(int id, Thread* last) {
    Block* b = exec->current->block;
    std::vector<Thread*> met;
    if (last) met.push_back(last);
    for (int i = 0; i < b->threads; i++) {
        Thread* t = b->fibers[i];
        if (t != last && t->state == State::WaitsForBarrier && t->barrier == id) met.push_back(t);
    }
    Barrier& barrier = b->barriers[id];
    barrier.arrived = 0;
    synchronise(met, &barrier.known);
    for (Thread* t : met) {
        if (t != last) make_ready(t);
    }
}

}  // namespace
}  // namespace emu

using namespace emu;

extern "C" {

EmuIndex emu_thread_index() { return value(exec->current->index); }
EmuIndex emu_block_index() { return value(exec->current->block->index); }
EmuIndex emu_block_dim() { return value(exec->config.block); }
EmuIndex emu_grid_dim() { return value(exec->config.grid); }
unsigned char* emu_dynamic_shared() { return exec->current->block->shared; }
unsigned emu_shared_address(const void* shared) { return static_cast<unsigned>(static_cast<const uint8_t*>(shared) - exec->current->block->shared); }

void emu_sync_block() { arrive_block(HERE); }

int emu_sync_block_count(int kind, int predicate) {
    Thread* me = exec->current;
    Block* b = me->block;
    me->in[0] = predicate != 0;
    arrive_block(HERE);
    int count = 0;
    for (int i = 0; i < b->threads; i++) count += static_cast<int>(b->fibers[i]->in[0]);
    arrive_block(HERE);  // nobody overwrites its word before all have counted
    return kind == 0 ? count == b->threads : kind == 1 ? count > 0 : count;
}

void emu_named_barrier(int id, int threads) {
    Thread* me = exec->current;
    Barrier& barrier = arrive_named(id, threads, HERE);
    me->barrier = static_cast<uint8_t>(id);
    if (barrier.arrived < threads) return wait_here(State::WaitsForBarrier, "a named barrier", HERE);
    open_named(id, me);
}

void emu_named_barrier_arrive(int id, int threads) {
    Barrier& barrier = arrive_named(id, threads, HERE);
    publish(exec->current, barrier.known);
    if (barrier.arrived == threads) open_named(id, nullptr);
}

void emu_collective(int kind, unsigned mask, int argument, const unsigned* in, int words_in, unsigned* out, int words_out) {
    Thread* me = exec->current;
    Block* b = me->block;
    const unsigned lane = me->number % 32;
    if (!(mask >> lane & 1)) fail("divergent-collective", std::string(NAMES[kind]) + " is called by a lane that is not in its mask", HERE);
    const int first = me->number / 32 * 32;
    if (b->threads - first < 32) mask &= (1u << (b->threads - first)) - 1;  // a last warp that is not full
    if (words_in > 0) std::memcpy(me->in, in, sizeof(unsigned) * static_cast<size_t>(words_in));
    Warp& warp = b->warps[static_cast<size_t>(me->number) / 32];
    int m = 0;
    while (m < warp.count && !(warp.meetings[m].mask == mask && warp.meetings[m].kind == kind && warp.meetings[m].argument == argument)) m++;
    if (m == warp.count) {
        if (m == 8) fail("divergent-collective", "more than 8 groups of one warp wait for different collectives", HERE);
        warp.meetings[warp.count++] = {mask, 0, kind, argument, HERE};
    }
    Meeting& meeting = warp.meetings[m];
    meeting.arrived |= 1u << lane;
    if (meeting.arrived != mask) {
        wait_here(State::WaitsForWarp, NAMES[kind], HERE);
    } else {
        Thread* lanes[32] = {};
        for (int l = 0; l < 32 && first + l < b->threads; l++) lanes[l] = b->fibers[first + l];
        compute(kind, mask, argument, lanes, HERE);
        warp.meetings[m] = warp.meetings[--warp.count];
        for (int l = 0; l < 32; l++) {
            if (mask >> l & 1 && lanes[l] != me) make_ready(lanes[l]);
        }
    }
    if (words_out > 0) std::memcpy(out, me->out, sizeof(unsigned) * static_cast<size_t>(words_out));
}

unsigned emu_active_mask() {
    const Block* b = exec->current->block;
    const int first = exec->current->number / 32 * 32;
    unsigned mask = 0;
    for (int l = 0; l < 32 && first + l < b->threads; l++) mask |= (b->fibers[first + l]->state != State::Done) << l;
    return mask;
}

unsigned emu_atomic(int kind, unsigned* at, unsigned value, int is_signed) {
    check_access(reinterpret_cast<uintptr_t>(at), 4, Access::Atomic, HERE);
    const unsigned old = *at;
    const bool less = is_signed ? static_cast<int>(value) < static_cast<int>(old) : value < old;
    switch (kind) {
        case EMU_ATOMIC_ADD: *at = old + value; break;
        case EMU_ATOMIC_MIN: *at = less ? value : old; break;
        case EMU_ATOMIC_MAX: *at = less ? old : value; break;
        case EMU_ATOMIC_EXCHANGE: *at = value; break;
        case EMU_ATOMIC_AND: *at = old & value; break;
        default: *at = old | value; break;
    }
    return old;
}

unsigned emu_atomic_cas(unsigned* at, unsigned compare, unsigned value) {
    check_access(reinterpret_cast<uintptr_t>(at), 4, Access::Atomic, HERE);
    const unsigned old = *at;
    if (old == compare) *at = value;
    return old;
}

void emu_cp_async(void* shared, const void* global, int bytes, int total) { begin_copy(exec->current, shared, global, bytes, total, HERE); }
void emu_cp_async_commit() { commit_copies(exec->current); }
void emu_cp_async_wait(int pending) { finish_copies(exec->current, static_cast<size_t>(pending)); }
void emu_trap() { fail("trap", "the kernel stopped itself", HERE); }
}
