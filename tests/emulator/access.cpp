// Checks every access of a kernel before it happens: the compiler's thread-sanitizer calls, answered here instead of by its runtime.
#include <cstring>

#include "exec.h"
#include "hopper.h"

namespace emu {

namespace {
std::string place(const Allocation* a, uintptr_t at) {
    return "allocation " + std::to_string(a->id) + " (" + std::to_string(a->bytes) + " bytes) + " +
           std::to_string(static_cast<long long>(at) - static_cast<long long>(reinterpret_cast<uintptr_t>(a->base)));
}

}  // namespace

std::string what_is(uintptr_t at) {
    for (const Block* b : exec->blocks) {
        uintptr_t base = reinterpret_cast<uintptr_t>(b->shared);
        if (at >= base && at < base + SHARED_LIMIT) return "shared memory + " + std::to_string(at - base) + " of " + std::to_string(b->shared_bytes) + " bytes";
    }
    if (const Allocation* a = exec->memory->find(at)) return place(a, at);
    if (const Allocation* a = exec->memory->nearest(at)) return "a place beside " + place(a, at);
    return "no allocation at all";
}

namespace {

const char* verb(Access access) { return access == Access::Read ? "reads" : access == Access::Write ? "writes" : "updates"; }

[[noreturn]] void outside(uintptr_t at, size_t bytes, Access access, const void* code) {
    std::string text = std::string(verb(access)) + " " + std::to_string(bytes) + " bytes at ";
    if (at < 4096) fail("out-of-bounds", text + "the null pointer + " + std::to_string(at), code);
    if (const Allocation* a = exec->memory->find_freed(at)) fail("use-after-free", text + place(a, at) + ", which was freed", code);
    fail("out-of-bounds", text + what_is(at), code);
}

// The block of the running cluster that has this serial, or null.
Block* block_of(uint32_t serial) {
    const uint32_t rank = serial - exec->blocks[0]->serial;
    return rank < exec->blocks.size() ? exec->blocks[rank] : nullptr;
}

[[noreturn]] void race(uintptr_t at, Access access, const char* did, uint32_t block, uint16_t thread, const void* code) {
    const bool mine = block == exec->current->block->serial;
    const bool cluster = block_of(block) != nullptr;
    const int threads = exec->current->block->threads;
    std::string who = thread < threads ? "thread number " + std::to_string(thread) : thread < 2 * threads ? "an asynchronous copy of thread number " + std::to_string(thread - threads)
                                        : "a product of warpgroup " + std::to_string(thread - 2 * threads);
    fail("race", std::string(verb(access)) + " " + what_is(at) + ", which " + who + (mine ? " of the same block " : cluster ? " of another block of the cluster " : " of another block ") + did +
                     (cluster ? " with no barrier between" : " in the same launch"),
         code);
}

// The cells of an access, or does not return.
Cell* cells_of(uintptr_t at, size_t bytes, Access access, const void* code) {
    Exec& e = *exec;
    for (Block* b : e.blocks) {
        uintptr_t base = reinterpret_cast<uintptr_t>(b->shared);
        if (at - base < SHARED_LIMIT) {
            if (at - base + bytes > b->shared_bytes) outside(at, bytes, access, code);
            if (b->alive == 0) fail("use-after-free", std::string(verb(access)) + " shared memory of a block of the cluster that has left the kernel", code);
            return b->shared_cells + (at - base) / GRANULE;
        }
    }
    for (Allocation* a : e.recent) {
        if (a && a->holds(at) && a->holds(at + bytes - 1)) return a->cell(at);
    }
    Allocation* a = e.memory->find(at);
    if (!a) return nullptr;
    if (!a->holds(at + bytes - 1)) outside(at, bytes, access, code);
    e.recent[e.next_recent++ % 4] = a;
    return a->cell(at);
}

// Whether an earlier access, remembered as (block, thread, epoch), is ordered before the running thread.
inline bool is_before(const Thread* me, uint32_t block, uint16_t thread, uint32_t epoch) {
    return block < exec->first_serial || ordered(me, block, thread, epoch);
}

[[noreturn]] void held(const Cell* cell, uintptr_t here, Access access, const void* code) {
    const std::string does = std::string(verb(access)) + " " + what_is(here);
    if (cell->hold == Hold::Barrier) fail("race", does + ", which is part of a transaction barrier", code);
    if (cell->hold == Hold::InFlight) {
        const int threads = exec->current->block->threads;
        fail("async-copy", does + ", where an asynchronous copy of thread number " + std::to_string(cell->thread % threads) + " has not arrived: its wait is missing", code);
    }
    fail("async-copy", does + ", which an asynchronous copy or product has yet to read: its wait is missing", code);
}

// The order of the last write and of all reads before a write of `me`.
inline void check_order(const Thread* me, const Cell* cell, uintptr_t here, Access access, const void* code) {
    if (cell->written && !(access == Access::Atomic && cell->atomic) && !is_before(me, cell->block, cell->thread, cell->epoch)) {
        race(here, access, cell->atomic ? "updated" : "wrote", cell->block, cell->thread, code);
    }
    for (const Read& r : cell->reads) {
        if (r.used && !is_before(me, r.block, r.thread, r.epoch)) race(here, access, "read", r.block, r.thread, code);
    }
}

inline void check_value(const Thread* me, const Cell* cell, uintptr_t here, const void* code) {
    if (!cell->written) fail("uninitialised", "reads " + what_is(here) + ", which nobody has written", code);
    if (!is_before(me, cell->block, cell->thread, cell->epoch)) race(here, Access::Read, cell->atomic ? "updated" : "wrote", cell->block, cell->thread, code);
}

}  // namespace

void check_access(uintptr_t at, size_t bytes, Access access, const void* code) {
    Thread* me = exec->current;
    if (at - reinterpret_cast<uintptr_t>(me->stack) < STACK || bytes == 0) {
        if (me->hopper) check_sums(me, at, bytes, access == Access::Read, code);
        return;
    }
    Cell* cell = cells_of(at, bytes, access, code);
    if (!cell) {
        if (access == Access::Read && in_module(at)) return;
        outside(at, bytes, access, code);
    }
    const uint32_t serial = me->block->serial, epoch = epoch_of(me);
    const uint16_t thread = me->number;
    const Cell* end = cell + (at % GRANULE + bytes + GRANULE - 1) / GRANULE;
    for (size_t i = 0; cell < end; cell++, i++) {
        const uintptr_t here = at + i * GRANULE;
        if (cell->hold != Hold::None || (cell->readers && access != Access::Read)) held(cell, here, access, code);
        if (access == Access::Read) {
            check_value(me, cell, here, code);
            Read& r = cell->reads[0].used && cell->reads[0].thread == thread && cell->reads[0].block == serial ? cell->reads[0] : cell->reads[1];
            if (&r == &cell->reads[1] && r.used && !(r.thread == thread && r.block == serial)) cell->reads[0] = r;
            r = Read{serial, epoch, thread, true};
            continue;
        }
        if (access == Access::Atomic && !cell->written) fail("uninitialised", "updates " + what_is(here) + ", which nobody has written", code);
        check_order(me, cell, here, access, code);
        cell->block = serial;
        cell->epoch = epoch;
        cell->thread = thread;
        cell->written = true;
        cell->atomic = access == Access::Atomic;
        cell->async = false;
        cell->reads[0].used = cell->reads[1].used = false;
    }
}

void check_async(uintptr_t at, size_t bytes, Access access, const void* code) {
    const Thread* me = exec->current;
    Cell* cell = cells_of(at, bytes, access, code);
    if (!cell) outside(at, bytes, access, code);
    const Cell* end = cell + (at % GRANULE + bytes + GRANULE - 1) / GRANULE;
    for (size_t i = 0; cell < end; cell++, i++) {
        const uintptr_t here = at + i * GRANULE;
        if (cell->hold != Hold::None || (cell->readers && access != Access::Read)) held(cell, here, access, code);
        if (access == Access::Read) check_value(me, cell, here, code);
        else check_order(me, cell, here, access, code);
        if (cell->written && !cell->async && cell->block >= exec->first_serial && !is_fenced(me, block_of(cell->block)->fibers[cell->thread], cell->epoch)) {
            fail("missing-fence", std::string(verb(access)) + " " + what_is(here) + " through the asynchronous proxy, which thread number " + std::to_string(cell->thread) +
                                      " wrote with no fence_proxy_async() between", code);
        }
        if (access == Access::Read) continue;
        cell->block = me->block->serial;
        cell->epoch = epoch_of(me);
        cell->thread = static_cast<uint16_t>(me->block->threads + me->number);
        cell->written = cell->async = true;
        cell->atomic = false;
        cell->reads[0].used = cell->reads[1].used = false;
    }
}

std::pair<Cell*, Cell*> cells_between(uintptr_t at, size_t bytes) {
    Cell* first = cells_of(at, bytes, Access::Read, nullptr);
    return {first, first + (at % GRANULE + bytes + GRANULE - 1) / GRANULE};
}

void begin_copy(Thread* t, void* to, const void* from, int bytes, int total, const void* code) {
    uintptr_t target = reinterpret_cast<uintptr_t>(to);
    if (target % static_cast<unsigned>(total) || (bytes && reinterpret_cast<uintptr_t>(from) % static_cast<unsigned>(total))) {
        fail("misaligned", "an asynchronous copy of " + std::to_string(total) + " bytes needs addresses that are multiples of it", code);
    }
    check_access(target, static_cast<size_t>(total), Access::Write, code);
    if (bytes) check_access(reinterpret_cast<uintptr_t>(from), static_cast<size_t>(bytes), Access::Read, code);
    Cell* c = cells_of(target, static_cast<size_t>(total), Access::Write, code);
    for (int i = 0; i < total / static_cast<int>(GRANULE); i++) c[i].hold = Hold::InFlight;
    std::memset(to, 0xff, static_cast<size_t>(total));
    t->open.push_back({static_cast<uint8_t*>(to), static_cast<const uint8_t*>(from), static_cast<uint8_t>(bytes), static_cast<uint8_t>(total)});
}

void commit_copies(Thread* t) {
    t->groups.push_back(std::move(t->open));
    t->open.clear();
}

void finish_copies(Thread* t, size_t keep) {
    while (t->groups.size() > keep) {
        for (const AsyncCopy& copy : t->groups.front()) {
            std::memcpy(copy.to, copy.from, copy.bytes);
            std::memset(copy.to + copy.bytes, 0, copy.total - copy.bytes);
            Cell* c = cells_of(reinterpret_cast<uintptr_t>(copy.to), copy.total, Access::Write, nullptr);
            for (int i = 0; i < copy.total / static_cast<int>(GRANULE); i++) {
                c[i].hold = Hold::None;
                c[i].epoch = epoch_of(t);
            }
        }
        t->groups.erase(t->groups.begin());
    }
}

}  // namespace emu

#define HERE __builtin_return_address(0)
using emu::Access;
using emu::check_access;

namespace {

// The compiler merges neighbouring locals as it likes, so the thread's own stack may be accessed at any address.
inline void aligned(void* at, size_t bytes, const void* code) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    if (address % bytes == 0 || address - reinterpret_cast<uintptr_t>(emu::exec->current->stack) < emu::STACK) return;
    emu::fail("misaligned", "an access of " + std::to_string(bytes) + " bytes at an address that is no multiple of it", code);
}

}  // namespace

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
#define EMU_HOOK(n)                                                                                               \
    void __tsan_read##n(void* p) { aligned(p, n, HERE), check_access(reinterpret_cast<uintptr_t>(p), n, Access::Read, HERE); }   \
    void __tsan_write##n(void* p) { aligned(p, n, HERE), check_access(reinterpret_cast<uintptr_t>(p), n, Access::Write, HERE); } \
    void __tsan_unaligned_read##n(void* p) { check_access(reinterpret_cast<uintptr_t>(p), n, Access::Read, HERE); }              \
    void __tsan_unaligned_write##n(void* p) { check_access(reinterpret_cast<uintptr_t>(p), n, Access::Write, HERE); }
EMU_HOOK(1)
EMU_HOOK(2)
EMU_HOOK(4)
EMU_HOOK(8)
EMU_HOOK(16)
void __tsan_read_range(void* p, size_t n) { check_access(reinterpret_cast<uintptr_t>(p), n, Access::Read, HERE); }
void __tsan_write_range(void* p, size_t n) { check_access(reinterpret_cast<uintptr_t>(p), n, Access::Write, HERE); }
void* emu_memcpy(void* to, const void* from, size_t n) {
    check_access(reinterpret_cast<uintptr_t>(from), n, Access::Read, HERE);
    check_access(reinterpret_cast<uintptr_t>(to), n, Access::Write, HERE);
    return std::memmove(to, from, n);
}
void* emu_memset(void* to, int value, size_t n) {
    check_access(reinterpret_cast<uintptr_t>(to), n, Access::Write, HERE);
    return std::memset(to, value, n);
}
void emu_check_vector(const void* p, size_t n) { aligned(const_cast<void*>(p), n, HERE); }
}
