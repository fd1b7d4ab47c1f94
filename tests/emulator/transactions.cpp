// Transaction barriers (mbarrier) and the fences between the proxies.
#include <algorithm>

#include "hopper.h"
#include "hopper_api.h"

#define HERE __builtin_return_address(0)

namespace emu {
namespace {

constexpr int64_t MOST_BYTES = (1 << 20) - 1;
constexpr int MOST_ARRIVALS = (1 << 20) - 1;
constexpr int SPINS = 1 << 16;

uint32_t offset_of(const Block* b, const void* barrier) { return static_cast<uint32_t>(static_cast<const uint8_t*>(barrier) - b->shared); }

std::string text(const Transactions& x) {
    return "phase " + std::to_string(x.phase) + ", " + std::to_string(x.pending) + " of " + std::to_string(x.count) + " arrivals and " + std::to_string(x.bytes) + " bytes missing";
}

void end_phase(Transactions& x) {
    if (x.pending > 0 || x.bytes != 0) return;
    x.phase++;
    x.pending = x.count;
    if (x.known.size() < x.gathering.size()) x.known.resize(x.gathering.size());
    for (size_t i = 0; i < x.gathering.size(); i++) x.known[i] = std::max(x.known[i], x.gathering[i]);
    for (Thread* t : x.waiting) {
        t->hopper->waits_on = ~0u;
        learn(t, x.known);
        make_ready(t);
    }
    x.waiting.clear();
}

bool has_ended(const Transactions& x, int parity) { return (x.phase & 1) != static_cast<uint32_t>(parity); }

}  // namespace

std::shared_ptr<HopperThread> make_hopper_thread(const Thread*) {
    auto h = std::make_shared<HopperThread>();
    const Index3& b = exec->config.block;
    // What the compiler gives a thread when the launch bounds ask for one block per multiprocessor.
    h->registers = std::min(65536 / static_cast<int>(b.x * b.y * b.z) / 8 * 8, 256);
    return h;
}

Transactions& transactions_at(Block* b, const void* barrier, bool must_be_shown, const void* code) {
    const Thread* me = exec->current;
    auto it = b->hopper->barriers.find(offset_of(b, barrier));
    if (it == b->hopper->barriers.end()) fail("uninitialised", what_is(reinterpret_cast<uintptr_t>(barrier)) + " is no transaction barrier: barrier_init is missing", code);
    Transactions& x = it->second;
    if (!ordered(me, b->serial, x.maker, x.made)) {
        fail("race", "uses the transaction barrier at " + what_is(reinterpret_cast<uintptr_t>(barrier)) + ", which thread number " + std::to_string(x.maker) + " made with no barrier between", code);
    }
    if (must_be_shown && !x.shown) fail("missing-fence", "the transaction barrier at " + what_is(reinterpret_cast<uintptr_t>(barrier)) + " is used from outside its block's threads without barrier_init_fence()", code);
    return x;
}

uint32_t async_epoch(Thread* issuer) {
    HopperThread& h = *issuer->hopper;
    h.async_clock = std::min(h.async_clock + 1, (1u << CLOCK_BITS) - 1);
    return issuer->block->generation << CLOCK_BITS | h.async_clock;
}

void complete_bytes(Block* b, uint32_t barrier, Thread* issuer, int64_t bytes) {
    Transactions& x = b->hopper->barriers.at(barrier);
    x.bytes -= bytes;
    x.gathering.resize(exec->blocks.size() * static_cast<size_t>(exec->block_slots));
    uint32_t& slot = x.gathering[static_cast<size_t>(slot_of(issuer->block, issuer->block->threads + issuer->number))];
    slot = std::max(slot, (issuer->block->generation << CLOCK_BITS | issuer->hopper->async_clock) + 1);
    end_phase(x);
}

bool is_fenced(const Thread* me, const Thread* writer, uint32_t epoch) {
    const HopperThread &mine = *me->hopper, &its = *writer->hopper;
    if (writer->block == me->block && epoch >> CLOCK_BITS < mine.fence_generation) return true;
    const auto slot = static_cast<size_t>(slot_of(writer->block, writer->number));
    if (slot < mine.fence_known.size() && mine.fence_known[slot] > epoch) return true;
    auto fence = std::upper_bound(its.fences.begin(), its.fences.end(), epoch);
    return fence != its.fences.end() && (writer == me || ordered(me, writer->block->serial, writer->number, *fence));
}

std::string describe_wait(const Thread* t) {
    auto it = t->block->hopper->barriers.find(t->hopper->waits_on);
    if (it == t->block->hopper->barriers.end()) return t->waits_for;
    return std::string(t->waits_for) + " at shared memory + " + std::to_string(it->first) + " (" + text(it->second) + ")";
}

void leave(Thread* t) {
    leave_products(t);
    leave_bulk(t);
    leave_cluster(t);
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_barrier_init(void* barrier, int count) {
    Thread* me = exec->current;
    const auto at = reinterpret_cast<uintptr_t>(barrier);
    if (at % 8) fail("misaligned", "a transaction barrier is aligned to 8 bytes", HERE);
    if (count < 1 || count > MOST_ARRIVALS) fail("divergent-barrier", "a transaction barrier for " + std::to_string(count) + " arrivals: 1 to 1048575 are possible", HERE);
    check_access(at, 8, Access::Write, HERE);
    auto [cell, end] = cells_between(at, 8);
    for (; cell < end; cell++) cell->hold = Hold::Barrier;
    me->block->hopper->barriers[offset_of(me->block, barrier)] = Transactions{count, count, 0, 0, me->number, epoch_of(me), false, {}, {}, {}};
}

void emu_barrier_init_fence() {
    for (auto& [offset, x] : exec->current->block->hopper->barriers) x.shown |= x.maker == exec->current->number;
}

void emu_barrier_arrive(void* barrier, int rank, int expect) {
    Thread* me = exec->current;
    Block* b = me->block;
    if (rank >= static_cast<int>(exec->blocks.size())) fail("out-of-bounds", "block " + std::to_string(rank) + " of a cluster of " + std::to_string(exec->blocks.size()), HERE);
    const void* place = barrier;
    if (rank >= 0 && exec->blocks[rank] != b) {
        Block* peer = exec->blocks[rank];
        place = peer->shared + offset_of(b, barrier);
        b = peer;
        if (b->alive == 0) fail("use-after-free", "arrives at a barrier of block " + std::to_string(rank) + " of the cluster, which has left the kernel", HERE);
    }
    Transactions& x = transactions_at(b, place, b != me->block, HERE);
    if (x.pending == 0) fail("divergent-barrier", "one arrival more than the transaction barrier counts (" + text(x) + ")", HERE);
    if (expect < 0 || x.bytes + expect > MOST_BYTES) fail("divergent-barrier", "expects " + std::to_string(expect) + " bytes (" + text(x) + "): up to 1048575 are possible", HERE);
    publish(me, x.gathering);
    x.bytes += expect;
    x.pending--;
    end_phase(x);
}

int emu_barrier_try_wait(void* barrier, int parity) {
    Thread* me = exec->current;
    static thread_local int spins = 0;
    Transactions& x = transactions_at(me->block, barrier, false, HERE);
    if (!has_ended(x, parity)) deliver_to(me->block, offset_of(me->block, barrier));
    if (has_ended(x, parity)) {
        spins = 0;
        learn(me, x.known);
        return 1;
    }
    if (++spins > SPINS) fail("deadlock", "polls a transaction barrier for ever (" + text(x) + ", parity " + std::to_string(parity) + ")", HERE);
    make_ready(me);
    std::rotate(exec->ready.begin(), exec->ready.end() - 1, exec->ready.end());
    wait_here(State::Ready, "a transaction barrier", HERE);
    return 0;
}

void emu_barrier_wait(void* barrier, int parity) {
    Thread* me = exec->current;
    Transactions& x = transactions_at(me->block, barrier, false, HERE);
    if (has_ended(x, parity)) return learn(me, x.known);
    x.waiting.push_back(me);
    me->hopper->waits_on = offset_of(me->block, barrier);
    wait_here(State::Waits, parity ? "parity 1 of the transaction barrier" : "parity 0 of the transaction barrier", HERE);
}

void emu_fence_proxy_async() {
    Thread* me = exec->current;
    HopperThread& h = *me->hopper;
    h.fence_known.clear();
    h.fence_generation = me->block->generation;
    if (me->clock + 1 >= 1u << CLOCK_BITS) fail("internal", "more synchronisations of one thread between block barriers than the emulator can count", HERE);
    publish(me, h.fence_known);
    h.fences.push_back(epoch_of(me));
}
}
