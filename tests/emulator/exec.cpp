#include "exec.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "hopper.h"
#include "report.h"

namespace emu {

thread_local Exec* exec = nullptr;

namespace {

constexpr size_t GUARD = 4096;
constexpr unsigned MAX_CLUSTER = 16;
std::atomic<uint32_t> next_serial{1};

// Switches stacks: saves the callee-saved registers on the current one, and takes those of the other from its top.
extern "C" void emu_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
constexpr int SAVED = 6;
#else
#error "the emulator's stack switch is written for x86-64"
#endif

void fiber_main() {
    exec->kernel->thunk(exec->parameters);
    Thread* t = exec->current;
    if (!t->open.empty() || !t->groups.empty()) {
        fail("async-copy", "the thread leaves the kernel while copies that it started are still on their way: cp_async_wait is missing", nullptr);
    }
    if (t->hopper) leave(t);
    t->state = State::Done;
    t->block->alive--;
    void* nowhere;
    emu_switch(&nowhere, exec->scheduler_sp);
    std::abort();
}

void prepare(Thread* t) {
    void** top = reinterpret_cast<void**>(t->stack + STACK - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&fiber_main);
    for (int i = 0; i < SAVED; i++) *--top = nullptr;
    t->sp = top;
}

// What launches on this OS thread reuse: stacks, shared memory, cells.
struct Pool {
    std::vector<Block*> blocks;
    Exec state;

    Block* block(unsigned rank) {
        while (blocks.size() <= rank) {
            auto* b = new Block{};
            size_t cells = (SHARED_LIMIT / GRANULE + 1) * sizeof(Cell);
            b->shared = static_cast<uint8_t*>(mmap(nullptr, SHARED_LIMIT + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
            b->shared_cells = static_cast<Cell*>(mmap(nullptr, cells, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
            blocks.push_back(b);
        }
        return blocks[rank];
    }

    Thread* thread(Block* b, int number) {
        while (static_cast<int>(b->fibers.size()) <= number) {
            char* stack = static_cast<char*>(mmap(nullptr, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
            mprotect(stack, GUARD, PROT_NONE);
            auto* t = new Thread{};
            t->stack = stack + GUARD;
            t->block = b;
            b->fibers.push_back(t);
        }
        return b->fibers[number];
    }
};

thread_local Pool pool;

void set_up(Block* b, unsigned rank, Index3 index, uint32_t serial) {
    const LaunchConfig& c = exec->config;
    b->index = index;
    b->serial = serial;
    b->rank = rank;
    b->threads = b->alive = static_cast<int>(c.block.x * c.block.y * c.block.z);
    b->generation = 0;
    b->arrived = 0;
    b->shared_bytes = c.shared_bytes;
    std::memset(b->shared, 0xff, c.shared_bytes);
    std::memset(static_cast<void*>(b->shared_cells), 0, (c.shared_bytes / GRANULE + 1) * sizeof(Cell));
    for (Barrier& barrier : b->barriers) barrier = Barrier{};
    b->hopper = exec->kernel->hopper ? make_hopper_block() : nullptr;
    b->warps.assign((b->threads + 31) / 32, Warp{});
    for (int i = 0; i < b->threads; i++) {
        Thread* t = pool.thread(b, i);
        auto n = static_cast<unsigned>(i);
        t->index = {n % c.block.x, n / c.block.x % c.block.y, n / c.block.x / c.block.y};
        t->number = static_cast<uint16_t>(i);
        t->clock = 0;
        t->clocks_generation = ~0u;
        t->clocks.clear();
        t->hopper = exec->kernel->hopper ? make_hopper_thread(t) : nullptr;
        t->open.clear();
        t->groups.clear();
        prepare(t);
        make_ready(t);
    }
}

Thread* pick() {
    auto& ready = exec->ready;
    if (exec->policy > 0) std::swap(ready[exec->draw() % ready.size()], ready.back());
    Thread* t = ready.back();
    ready.pop_back();
    return t;
}

std::string what_for(const Thread* t) { return t->hopper && t->state == State::Waits ? describe_wait(t) : t->waits_for; }

// All threads of the cluster wait and none can go on.
void report_stuck() {
    const Thread* first = nullptr;
    std::string others;
    int waiting = 0, left = 0;
    for (Block* b : exec->blocks) {
        left += b->threads - b->alive;
        for (int i = 0; i < b->threads; i++) {
            const Thread* t = b->fibers[i];
            if (t->state == State::Done) continue;
            waiting++;
            if (!first) first = t;
            if (waiting > 1 && waiting <= 4) others += "; " + name_of(t) + " for " + what_for(t) + " at " + source_line(t->waits_at);
        }
    }
    const char* kind = first->state == State::Waits ? "deadlock" : left > 0 || first->state == State::WaitsForBlock ? "divergent-barrier" : "deadlock";
    file_report(kind, "kernel " + exec->kernel->name + ": " + std::to_string(waiting) + " threads wait for ever (" + std::to_string(left) + " have left the kernel): " +
                          name_of(first) + " for " + what_for(first) + " at " + source_line(first->waits_at) + others);
    exec->failed = true;
}

void run_cluster() {
    while (!exec->failed && (!exec->ready.empty() || (exec->kernel->hopper && deliver_something()))) {
        if (exec->ready.empty()) continue;
        Thread* t = pick();
        exec->current = t;
        emu_switch(&exec->scheduler_sp, t->sp);
    }
    if (!exec->failed && std::any_of(exec->blocks.begin(), exec->blocks.end(), [](Block* b) { return b->alive > 0; })) report_stuck();
    exec->ready.clear();
}

}  // namespace

void make_ready(Thread* t) {
    t->state = State::Ready;
    exec->ready.push_back(t);
}

void wait_here(State state, const char* what, const void* at) {
    Thread* t = exec->current;
    t->state = state;
    t->waits_for = what;
    t->waits_at = at;
    emu_switch(&t->sp, exec->scheduler_sp);
}

std::string name_of(const Thread* t) {
    const Index3 &b = t->block->index, &i = t->index;
    auto text = [](const Index3& v) { return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")"; };
    return "block " + text(b) + " thread " + text(i);
}

void fail(const char* kind, const std::string& what, const void* at) {
    std::string where = at ? " at " + source_line(at) : "";
    file_report(kind, "kernel " + exec->kernel->name + where + ", " + name_of(exec->current) + ": " + what);
    exec->failed = true;
    emu_switch(&exec->current->sp, exec->scheduler_sp);
    std::abort();
}

bool ordered(const Thread* me, uint32_t serial, uint16_t thread, uint32_t epoch) {
    const Block* b = me->block;
    unsigned rank = b->rank;
    if (serial == b->serial) {
        if (thread == me->number || epoch >> CLOCK_BITS < b->generation) return true;
    } else {
        rank = serial - exec->blocks[0]->serial;
        if (rank >= exec->blocks.size()) return false;
    }
    const auto slot = static_cast<size_t>(static_cast<int>(rank) * exec->block_slots + thread);
    return slot < me->clocks.size() && me->clocks[slot] > epoch;
}

namespace {

// Block barriers make a thread's clocks of its own block stale; of other blocks there is nothing else to go by.
bool is_current(const Thread* t) { return t->clocks_generation == t->block->generation || exec->blocks.size() > 1; }

void join(std::vector<uint32_t>& known, const std::vector<uint32_t>& more) {
    if (known.size() < more.size()) known.resize(more.size());
    for (size_t i = 0; i < more.size(); i++) known[i] = std::max(known[i], more[i]);
}

void tick(Thread* t) { t->clock = std::min(t->clock + 1, (1u << CLOCK_BITS) - 1); }

}  // namespace

void publish(Thread* t, std::vector<uint32_t>& known) {
    known.resize(exec->blocks.size() * static_cast<size_t>(exec->block_slots));
    if (is_current(t)) join(known, t->clocks);
    if (exec->blocks.size() > 1) {
        // What came before its last block barrier, the whole block knows; other blocks must be told.
        uint32_t* own = known.data() + slot_of(t->block, 0);
        for (int i = 0; i < exec->block_slots; i++) own[i] = std::max(own[i], t->block->generation << CLOCK_BITS);
    }
    uint32_t& mine = known[static_cast<size_t>(slot_of(t->block, t->number))];
    mine = std::max(mine, epoch_of(t) + 1);
    tick(t);
}

void learn(Thread* t, const std::vector<uint32_t>& known) {
    join(t->clocks, known);
    t->clocks_generation = t->block->generation;
}

void synchronise(const std::vector<Thread*>& threads, const std::vector<uint32_t>* known) {
    static thread_local std::vector<uint32_t> joined;
    joined.assign(exec->blocks.size() * static_cast<size_t>(exec->block_slots), 0);
    if (known) join(joined, *known);
    for (Thread* t : threads) publish(t, joined);
    for (Thread* t : threads) {
        t->clocks.assign(joined.begin(), joined.end());
        t->clocks_generation = t->block->generation;
    }
}

void synchronise_block(Block* b) {
    if (exec->blocks.size() > 1) synchronise(std::vector<Thread*>(b->fibers.begin(), b->fibers.begin() + b->threads));
    b->generation++;
    for (int i = 0; i < b->threads; i++) b->fibers[i]->clock = 0;
}

bool run_launch(const Kernel* kernel, void** parameters, const LaunchConfig& config, Memory* memory, uint64_t seed) {
    Exec& e = pool.state;
    exec = &e;
    e.kernel = kernel;
    e.parameters = parameters;
    e.config = config;
    e.memory = memory;
    e.first_serial = next_serial;
    const int threads = static_cast<int>(config.block.x * config.block.y * config.block.z);
    e.block_slots = kernel->hopper ? 2 * threads + (threads + 127) / 128 : threads;
    e.random = (seed * 0x9e3779b97f4a7c15ull + 0x1234567) | 1;
    e.failed = false;
    std::memset(e.recent, 0, sizeof e.recent);
    unsigned cluster = config.cluster.x * config.cluster.y * config.cluster.z;
    cluster = std::min(cluster, MAX_CLUSTER);
    uint64_t count = static_cast<uint64_t>(config.grid.x) * config.grid.y * config.grid.z / cluster;
    // Visits the clusters in an order that depends on the seed: start + i * step, step odd and prime to the count.
    uint64_t step = count > 2 && seed ? e.draw() % count | 1 : 1;
    while (std::__gcd(step, count) != 1) step++;
    uint64_t start = seed ? e.draw() % count : 0;
    for (uint64_t i = 0; i < count && !e.failed; i++) {
        uint64_t c = (start + i * step) % count;
        const uint32_t serial = next_serial.fetch_add(cluster);
        e.blocks.clear();
        e.ready.clear();
        e.policy = seed ? static_cast<int>(e.draw() % 3) : 0;
        unsigned across = config.grid.x / config.cluster.x, down = config.grid.y / config.cluster.y;
        Index3 at{static_cast<unsigned>(c % across) * config.cluster.x, static_cast<unsigned>(c / across % down) * config.cluster.y,
                  static_cast<unsigned>(c / across / down) * config.cluster.z};
        for (unsigned rank = 0; rank < cluster; rank++) {
            Block* b = pool.block(rank);
            e.blocks.push_back(b);
            set_up(b, rank, {at.x + rank % config.cluster.x, at.y + rank / config.cluster.x % config.cluster.y, at.z + rank / config.cluster.x / config.cluster.y}, serial + rank);
        }
        if (e.policy == 2) std::reverse(e.ready.begin(), e.ready.end());
        run_cluster();
    }
    if (e.failed && kernel->hopper) abandon_copies();
    exec = nullptr;
    return !e.failed;
}

}  // namespace emu
