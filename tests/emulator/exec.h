// Runs a launch: every CUDA thread is a fiber on the stack of its own, blocks run one after the other (the blocks of a cluster
// together), and a thread runs until it has to wait for others.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "memory.h"
#include "module.h"

namespace emu {

struct Index3 {
    unsigned x, y, z;
};

struct LaunchConfig {
    Index3 grid{1, 1, 1}, block{1, 1, 1}, cluster{1, 1, 1};
    unsigned shared_bytes = 0;
};

constexpr int MAX_THREADS = 1024;
constexpr size_t STACK = 128 * 1024;  // of a fiber
constexpr int LANE_WORDS = 16;
constexpr int NAMED_BARRIERS = 16;
constexpr size_t SHARED_LIMIT = 232448;

enum class State : uint8_t { Ready, WaitsForWarp, WaitsForBlock, WaitsForBarrier, Waits, Done };

struct AsyncCopy {
    uint8_t* to;
    const uint8_t* from;
    uint8_t bytes, total;
};

struct Block;
struct HopperThread;
struct HopperBlock;

struct Thread {
    void* sp;
    char* stack;
    Block* block;
    Index3 index;
    uint16_t number;             // within the block
    State state;
    uint8_t barrier;             // which named barrier it waits for
    uint32_t clock;              // synchronisations since the last block barrier
    uint32_t clocks_generation;  // in which `clocks` was last brought up to date
    std::vector<uint32_t> clocks;  // per slot: epochs below this one are before what the thread does next
    const void* waits_at;        // code address of the wait
    const char* waits_for;
    uint32_t in[LANE_WORDS], out[LANE_WORDS];
    std::vector<AsyncCopy> open;                   // copies since the last commit
    std::vector<std::vector<AsyncCopy>> groups;    // committed, oldest first
    std::shared_ptr<HopperThread> hopper;          // only in kernels for compute capability 9.0
};

// The lanes of one warp that have met so far for one collective operation.
struct Meeting {
    uint32_t mask, arrived;
    int kind, argument;
    const void* at;
};

struct Warp {
    Meeting meetings[8];
    int count;
};

struct Barrier {
    int expected, arrived;
    std::vector<uint32_t> known;   // to those who arrived without waiting
};

struct Block {
    Index3 index;
    uint32_t serial;             // unique in the process: what cells remember
    unsigned rank;               // in its cluster
    int threads, alive;
    uint32_t generation;         // block barriers passed
    int arrived;                 // at the block barrier
    const void* arrived_at;
    uint8_t* shared;
    Cell* shared_cells;
    size_t shared_bytes;
    Barrier barriers[NAMED_BARRIERS];
    std::vector<Warp> warps;
    std::vector<Thread*> fibers;
    std::shared_ptr<HopperBlock> hopper;
};

// One launch in progress on this OS thread.
struct Exec {
    const Kernel* kernel = nullptr;
    void** parameters = nullptr;
    LaunchConfig config;
    Memory* memory = nullptr;
    uint32_t first_serial = 0;   // of this launch: cells of older blocks are ordered before it
    int block_slots = 0;         // clocks per block: its threads; of compute capability 9.0 also the asynchronous side of each, and its warpgroups' products
    uint64_t random = 1;
    int policy = 0;
    std::vector<Thread*> ready;
    std::vector<Block*> blocks;  // of the running cluster
    Thread* current = nullptr;
    void* scheduler_sp = nullptr;
    bool failed = false;
    Allocation* recent[4] = {};
    unsigned next_recent = 0;

    uint64_t draw() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random;
    }
};

extern thread_local Exec* exec;

// Runs a launch to its end. False: a check failed, and the report says what.
bool run_launch(const Kernel* kernel, void** parameters, const LaunchConfig& config, Memory* memory, uint64_t seed);

// The running thread gives up the processor until somebody makes it ready.
void wait_here(State state, const char* what, const void* at);
void make_ready(Thread* thread);

// Files a report about the running thread and leaves the launch; does not return.
[[noreturn]] void fail(const char* kind, const std::string& what, const void* at);
std::string name_of(const Thread* thread);

// Everything that these threads of one block did is before what any of them does next, and so is what is `known` besides.
void synchronise(const std::vector<Thread*>& threads, const std::vector<uint32_t>* known = nullptr);
void synchronise_block(Block* block);

// One half of a synchronisation each: adds what the thread knows and did to `known`; makes what is known be before its next step.
void publish(Thread* thread, std::vector<uint32_t>& known);
void learn(Thread* thread, const std::vector<uint32_t>& known);

// Whether what thread number `thread` of block `serial` did at `epoch` is ordered before the next step of `me`. Numbers from the block's
// count of threads on are the asynchronous sides of its threads, then the products of its warpgroups.
bool ordered(const Thread* me, uint32_t serial, uint16_t thread, uint32_t epoch);
inline int slot_of(const Block* block, int number) { return static_cast<int>(block->rank) * exec->block_slots + number; }
inline uint32_t epoch_of(const Thread* t) { return (t->block->generation << CLOCK_BITS) | t->clock; }

// Checks an access of the running thread and remembers it. Does not return when it is wrong. Async: of the asynchronous proxy, on behalf of
// the thread; a read leaves no mark (the caller holds the cells until it is done), a write is that of the thread's asynchronous side.
enum class Access { Read, Write, Atomic };
void check_access(uintptr_t at, size_t bytes, Access access, const void* code);
void check_async(uintptr_t at, size_t bytes, Access access, const void* code);

// The cells of bytes that check_async has let pass.
std::pair<Cell*, Cell*> cells_between(uintptr_t at, size_t bytes);

// "shared memory + 16 of 1024 bytes", "allocation 3 (64 bytes) + 8".
std::string what_is(uintptr_t at);

void begin_copy(Thread* t, void* to, const void* from, int bytes, int total, const void* code);
void commit_copies(Thread* t);
void finish_copies(Thread* t, size_t keep);

}  // namespace emu
