// Clusters: their barrier and the shared memory of their other blocks. Register shares of warpgroups, and arrivals at named barriers.
#include <algorithm>

#include "hopper.h"
#include "hopper_api.h"

#define HERE __builtin_return_address(0)

namespace emu {
namespace {

HopperBlock& cluster() { return *exec->blocks[0]->hopper; }

int in_kernel() {
    int alive = 0;
    for (const Block* b : exec->blocks) alive += b->alive;
    return alive;
}

void end_cluster_phase() {
    HopperBlock& c = cluster();
    c.cluster_arrived = 0;
    c.cluster_phase++;
    c.cluster_known = c.cluster_gathering;
    for (Thread* t : c.cluster_waiting) {
        learn(t, c.cluster_known);
        make_ready(t);
    }
    c.cluster_waiting.clear();
}

}  // namespace

std::shared_ptr<HopperBlock> make_hopper_block() { return std::make_shared<HopperBlock>(); }

// Threads that have left count as arrived.
void leave_cluster(const Thread*) {
    if (cluster().cluster_arrived > 0 && cluster().cluster_arrived == in_kernel() - 1) end_cluster_phase();
}

}  // namespace emu

using namespace emu;

extern "C" {

int emu_cluster_rank() { return static_cast<int>(exec->current->block->rank); }
int emu_cluster_blocks() { return static_cast<int>(exec->blocks.size()); }

void emu_cluster_arrive() {
    Thread* me = exec->current;
    HopperThread& h = *me->hopper;
    if (h.at_cluster) fail("divergent-barrier", "arrives a second time at the cluster barrier without cluster_wait", HERE);
    h.at_cluster = true;
    h.cluster_phase = cluster().cluster_phase;
    publish(me, cluster().cluster_gathering);
    if (++cluster().cluster_arrived == in_kernel()) end_cluster_phase();
}

void emu_cluster_wait() {
    Thread* me = exec->current;
    HopperThread& h = *me->hopper;
    if (!h.at_cluster) fail("divergent-barrier", "waits at the cluster barrier without cluster_arrive", HERE);
    h.at_cluster = false;
    if (cluster().cluster_phase != h.cluster_phase) return learn(me, cluster().cluster_known);
    cluster().cluster_waiting.push_back(me);
    wait_here(State::Waits, "the cluster barrier", HERE);
}

void* emu_peer_shared(const void* shared, int rank) {
    const Block* b = exec->current->block;
    if (rank < 0 || rank >= static_cast<int>(exec->blocks.size())) fail("out-of-bounds", "block " + std::to_string(rank) + " of a cluster of " + std::to_string(exec->blocks.size()), HERE);
    return exec->blocks[static_cast<size_t>(rank)]->shared + (static_cast<const uint8_t*>(shared) - b->shared);
}

void emu_registers(int count, int take) {
    Thread* me = exec->current;
    HopperThread& h = *me->hopper;
    HopperBlock& b = *me->block->hopper;
    if (take ? count < h.registers : count > h.registers) {
        fail("divergent-collective", std::string(take ? "takes" : "releases") + " registers up to " + std::to_string(count) + " per thread, but has " + std::to_string(h.registers) +
                                         " (65536 / threads of the block, rounded down to 8, at the start)", HERE);
    }
    if (!take) {
        b.free_registers += h.registers - count;
        for (Thread* t : b.want_registers) make_ready(t);
        b.want_registers.clear();
    }
    while (take && b.free_registers < count - h.registers) {
        b.want_registers.push_back(me);
        wait_here(State::Waits, "registers that other warpgroups must release", HERE);
    }
    if (take) b.free_registers -= count - h.registers;
    h.registers = count;
}
}
