// Tensor and bulk copies. A load arrives when somebody waits for its barrier and no thread can run; a store moves when its thread waits.
// Until then both sides are held: what is to be read must stay, what is to be written must not be looked at.
#include <algorithm>
#include <cstring>

#include "hopper.h"
#include "hopper_api.h"
#include "tensor_map.h"

#define HERE __builtin_return_address(0)

namespace emu {
namespace {

struct Load {
    Block* block;                // whose shared memory and barrier
    uint32_t barrier;
    Thread* issuer;
    int64_t bytes;
    std::vector<Piece> pieces;
};

thread_local std::vector<Load> loads;

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

void hold_for_reading(uintptr_t at, size_t bytes, int by) {
    if (bytes == 0) return;
    auto [cell, end] = cells_between(at, bytes);
    for (; cell < end; cell++) {
        if (by > 0 && cell->readers == 255) fail("internal", "more than 255 copies of the same bytes under way, which the emulator cannot count", nullptr);
        cell->readers = static_cast<uint8_t>(cell->readers + by);
    }
}

void hold_for_writing(uintptr_t at, size_t bytes) {
    if (bytes == 0) return;
    std::memset(reinterpret_cast<void*>(at), 0xff, bytes);
    auto [cell, end] = cells_between(at, bytes);
    for (; cell < end; cell++) cell->hold = Hold::InFlight;
}

void arrive(uintptr_t at, size_t bytes, uint32_t epoch) {
    if (bytes == 0) return;
    auto [cell, end] = cells_between(at, bytes);
    for (; cell < end; cell++) {
        cell->hold = Hold::None;
        cell->epoch = epoch;
    }
}

void start_load(Load load, const void* code) {
    for (const Piece& p : load.pieces) {
        if (p.bytes) check_async(address(p.global), p.bytes, Access::Read, code);
        check_async(address(p.shared), 16, Access::Write, code);
        hold_for_reading(address(p.global), p.bytes, 1);
        hold_for_writing(address(p.shared), 16);
    }
    loads.push_back(std::move(load));
}

void finish_load(size_t index) {
    const Load load = std::move(loads[index]);
    loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(index));
    const uint32_t epoch = async_epoch(load.issuer);
    for (const Piece& p : load.pieces) {
        std::memset(p.shared, 0, 16);
        std::memcpy(p.shared + p.skip, p.global, p.bytes);
        hold_for_reading(address(p.global), p.bytes, -1);
        arrive(address(p.shared), 16, epoch);
    }
    complete_bytes(load.block, load.barrier, load.issuer, load.bytes);
}

template <class F> bool deliver_one(F wanted) {
    std::vector<size_t> able;
    for (size_t i = 0; i < loads.size(); i++) {
        if (wanted(loads[i])) able.push_back(i);
    }
    if (able.empty()) return false;
    finish_load(able[exec->policy > 0 ? exec->draw() % able.size() : 0]);
    return true;
}

TensorMapData map_at(const void* map, int rank, const void* code) {
    TensorMapData m;
    std::memcpy(&m, map, sizeof m);
    if (address(map) % 64 || std::memcmp(m.magic, TENSOR_MAP_MAGIC, sizeof m.magic) != 0) {
        fail("uninitialised", "the tensor map is not one that cuTensorMapEncodeTiled has filled, or is not aligned to 64 bytes: take it as const __grid_constant__ TensorMap", code);
    }
    if (m.rank != rank) fail("out-of-bounds", std::to_string(rank) + " coordinates for a tensor map of " + std::to_string(m.rank) + " dimensions", code);
    return m;
}

void check_shared(const void* shared, size_t bytes, size_t alignment, const void* code) {
    const Block* b = exec->current->block;
    const uintptr_t offset = address(shared) - address(b->shared);
    if (offset >= b->shared_bytes || bytes > b->shared_bytes - offset) {
        fail("out-of-bounds", "a copy of " + std::to_string(bytes) + " bytes at " + what_is(address(shared)) + " does not lie in the block's shared memory", code);
    }
    if (offset % alignment) fail("misaligned", "a copy at " + what_is(address(shared)) + ": a multiple of " + std::to_string(alignment) + " is needed", code);
}

void move_stores(Thread* t, size_t keep, bool whole) {
    HopperThread& h = *t->hopper;
    for (size_t i = 0; i + keep < h.groups.size(); i++) {
        BulkGroup& group = h.groups[i];
        if (group.read) continue;
        group.read = true;
        for (const Piece& p : group.pieces) {
            std::memcpy(p.global, p.shared + p.skip, p.bytes);
            auto [cell, end] = cells_between(address(p.shared) + p.skip, p.bytes);
            for (; cell < end; cell++) {
                cell->readers--;
                cell->reads[0] = cell->reads[1];
                cell->reads[1] = Read{t->block->serial, epoch_of(t), t->number, true};
            }
        }
    }
    if (!whole) return;
    while (h.groups.size() > keep) {
        const uint32_t epoch = async_epoch(t);
        for (const Piece& p : h.groups.front().pieces) arrive(address(p.global), p.bytes, epoch);
        h.groups.pop_front();
        std::vector<uint32_t> known(static_cast<size_t>(slot_of(t->block, t->block->threads + t->number)) + 1);
        known.back() = epoch + 1;
        learn(t, known);
    }
}

void add_store(Piece piece, const void* code) {
    if (piece.bytes == 0) return;
    check_async(address(piece.shared) + piece.skip, piece.bytes, Access::Read, code);
    check_async(address(piece.global), piece.bytes, Access::Write, code);
    hold_for_reading(address(piece.shared) + piece.skip, piece.bytes, 1);
    hold_for_writing(address(piece.global), piece.bytes);
    exec->current->hopper->open.pieces.push_back(piece);
}

}  // namespace

bool deliver_something() {
    return deliver_one([](const Load& l) { return !l.block->hopper->barriers.at(l.barrier).waiting.empty(); });
}

bool deliver_to(Block* b, uint32_t barrier) {
    return deliver_one([=](const Load& l) { return l.block == b && l.barrier == barrier; });
}

void leave_bulk(Thread* t) {
    HopperThread& h = *t->hopper;
    const bool unread = std::any_of(h.groups.begin(), h.groups.end(), [](const BulkGroup& g) { return !g.read; });
    if (!h.open.pieces.empty() || unread) fail("async-copy", "the thread leaves the kernel while its stores still read shared memory: bulk_commit or bulk_wait_read is missing", nullptr);
    move_stores(t, 0, true);
    if (t->block->alive > 1) return;
    for (const Load& l : loads) {
        if (l.block == t->block || l.issuer->block == t->block) fail("async-copy", "the block leaves the kernel while a copy into shared memory is on its way: barrier_wait is missing", nullptr);
    }
}

void abandon_copies() {
    for (const Load& l : loads) {
        for (const Piece& p : l.pieces) hold_for_reading(address(p.global), p.bytes, -1);
    }
    loads.clear();
    for (Block* b : exec->blocks) {
        for (int i = 0; i < b->threads; i++) {
            if (!b->fibers[i]->hopper) continue;
            HopperThread& h = *b->fibers[i]->hopper;
            h.groups.push_back(h.open);
            for (const BulkGroup& group : h.groups) {
                for (const Piece& p : group.pieces) arrive(address(p.global), p.bytes, 0);
            }
        }
    }
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_tensor_load(void* shared, const void* map, void* barrier, unsigned blocks, const EmuCoordinates* at) {
    Thread* me = exec->current;
    const TensorMapData m = map_at(map, at->count, HERE);
    const size_t bytes = box_bytes(m);
    check_shared(shared, bytes, 128, HERE);
    if (blocks >> exec->blocks.size()) fail("out-of-bounds", "a multicast to blocks that the cluster of " + std::to_string(exec->blocks.size()) + " does not have", HERE);
    const auto offset = static_cast<uint32_t>(static_cast<uint8_t*>(shared) - me->block->shared);
    const auto barrier_offset = static_cast<uint32_t>(static_cast<uint8_t*>(barrier) - me->block->shared);
    for (Block* b : exec->blocks) {
        if (blocks ? !(blocks >> b->rank & 1) : b != me->block) continue;
        transactions_at(b, b->shared + barrier_offset, true, HERE);
        Load load{b, barrier_offset, me, static_cast<int64_t>(bytes), {}};
        for_each_chunk(m, at->c, offset, [&](uint32_t to, int skip, int count, uint64_t from) {
            load.pieces.push_back({b->shared + to, reinterpret_cast<uint8_t*>(from), static_cast<uint8_t>(skip), static_cast<uint8_t>(count)});
        });
        start_load(std::move(load), HERE);
    }
}

void emu_tensor_store(const void* map, const void* shared, const EmuCoordinates* at) {
    Block* b = exec->current->block;
    const TensorMapData m = map_at(map, at->count, HERE);
    check_shared(shared, box_bytes(m), 128, HERE);
    for_each_chunk(m, at->c, static_cast<uint32_t>(static_cast<const uint8_t*>(shared) - b->shared), [&](uint32_t from, int skip, int count, uint64_t to) {
        add_store({b->shared + from, reinterpret_cast<uint8_t*>(to), static_cast<uint8_t>(skip), static_cast<uint8_t>(count)}, HERE);
    });
}

void emu_bulk_load(void* shared, const void* global, int bytes, void* barrier) {
    Thread* me = exec->current;
    if (bytes < 0 || bytes % 16 || address(global) % 16) fail("misaligned", "a bulk copy of " + std::to_string(bytes) + " bytes: addresses and count are multiples of 16", HERE);
    check_shared(shared, static_cast<size_t>(bytes), 16, HERE);
    transactions_at(me->block, barrier, true, HERE);
    Load load{me->block, static_cast<uint32_t>(static_cast<uint8_t*>(barrier) - me->block->shared), me, bytes, {}};
    auto* from = static_cast<uint8_t*>(const_cast<void*>(global));
    for (int i = 0; i < bytes; i += 16) load.pieces.push_back({static_cast<uint8_t*>(shared) + i, from + i, 0, 16});
    start_load(std::move(load), HERE);
}

void emu_bulk_store(void* global, const void* shared, int bytes) {
    if (bytes < 0 || bytes % 16 || address(global) % 16) fail("misaligned", "a bulk copy of " + std::to_string(bytes) + " bytes: addresses and count are multiples of 16", HERE);
    check_shared(shared, static_cast<size_t>(bytes), 16, HERE);
    auto* from = static_cast<uint8_t*>(const_cast<void*>(shared));
    for (int i = 0; i < bytes; i += 16) add_store({from + i, static_cast<uint8_t*>(global) + i, 0, 16}, HERE);
}

void emu_bulk_commit() {
    HopperThread& h = *exec->current->hopper;
    h.groups.push_back(std::move(h.open));
    h.open = BulkGroup{};
}

void emu_bulk_wait(int pending, int read) { move_stores(exec->current, static_cast<size_t>(pending), read == 0); }
}
