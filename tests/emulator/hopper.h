// What threads and blocks remember for the instructions of compute capability 9.0: transaction barriers (transactions.cpp), tensor and bulk
// copies (bulk.cpp), warpgroup products (wgmma.cpp), clusters and register shares (cluster.cpp).
//
// The problem: all of it is asynchronous, and most mistakes compute the right thing on most days. The choice: whatever may be late is as late
// as can be. A copy into shared memory arrives when somebody waits for its barrier and nobody else can run; a product is computed when its
// sums are waited for; and until then the bytes are held, so that an access which no wait orders is reported, not merely likely to be wrong.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "exec.h"

namespace emu {

// 16 bytes of a copy: `bytes` of them move, `skip` bytes into the destination or source chunk; the rest lies outside the tensor.
struct Piece {
    uint8_t* shared;             // the whole chunk
    uint8_t* global;             // the bytes that move
    uint8_t skip, bytes;
};

struct BulkGroup {
    std::vector<Piece> pieces;
    bool read;                   // shared memory has been read
};

// The sums of a product, on the stack of the fiber.
struct Sums {
    uintptr_t at;
    size_t bytes;
    int pending;
};

struct Issued {
    uint32_t product;            // counted per warpgroup
    float* sums;
};

struct HopperThread {
    std::vector<uint32_t> fences;        // epochs of its proxy fences, ascending
    std::vector<uint32_t> fence_known;   // what it knew at the last one
    uint32_t fence_generation = 0;
    uint32_t async_clock = 0;            // of its asynchronous side
    BulkGroup open{};
    std::deque<BulkGroup> groups;        // committed, oldest first
    bool may_multiply = false;           // wgmma_fence() since its sums were touched
    std::vector<Sums> sums;
    std::vector<Issued> issued;
    std::deque<std::vector<Issued>> products;
    uint32_t next_product = 0;
    int registers = 0;
    bool at_cluster = false;             // arrived, and has not waited
    uint32_t cluster_phase = 0;
    uint32_t waits_on = ~0u;             // offset of a transaction barrier
};

struct Transactions {
    int count, pending;
    int64_t bytes;                       // expected minus delivered
    uint32_t phase;
    uint16_t maker;
    uint32_t made;                       // epoch
    bool shown;                          // barrier_init_fence() since
    std::vector<uint32_t> gathering, known;
    std::vector<Thread*> waiting;
};

struct Product {
    int n, rows_inner_a, rows_inner_b, accumulate;
    uint64_t a, b;
    int joined, retired;
    const void* at;
    std::vector<float> result;               // [64][n], without what the sums held before
    std::vector<uintptr_t> chunks;           // 16 bytes each, held until the first wait
    uint32_t read;                           // epoch of the first wait
    std::vector<Thread*> waiting;
};

struct Warpgroup {
    std::deque<Product> products;
    uint32_t first = 0;                  // number of products.front()
};

struct HopperBlock {
    std::map<uint32_t, Transactions> barriers;   // by offset in shared memory
    std::deque<Warpgroup> warpgroups;          // references stay while others are added
    int free_registers = 0;
    std::vector<Thread*> want_registers;
    // Of the whole cluster; those of its first block count.
    int cluster_arrived = 0;
    uint32_t cluster_phase = 0;
    std::vector<uint32_t> cluster_gathering, cluster_known;
    std::vector<Thread*> cluster_waiting;
};

std::shared_ptr<HopperBlock> make_hopper_block();
std::shared_ptr<HopperThread> make_hopper_thread(const Thread* t);

// Whether a plain write of `writer` at `epoch`, which is ordered before `me`, has been fenced for the asynchronous proxy.
bool is_fenced(const Thread* me, const Thread* writer, uint32_t epoch);

// An access of the running thread to its own stack: not to sums of products under way.
void check_sums(Thread* me, uintptr_t at, size_t bytes, bool is_read, const void* code);

// When nobody can run: lets one copy arrive that somebody waits for. False: there is none.
bool deliver_something();
// Lets one copy arrive at this barrier, if there is any.
bool deliver_to(Block* block, uint32_t barrier);
// The asynchronous side of `issuer` has delivered `bytes` to the barrier.
void complete_bytes(Block* block, uint32_t barrier, Thread* issuer, int64_t bytes);
// The barrier at this place, or a report: it was made, the running thread knows it, and (of other proxies or blocks) it was shown.
Transactions& transactions_at(Block* block, const void* barrier, bool must_be_shown, const void* code);
// The epoch of the next act of a thread's asynchronous side.
uint32_t async_epoch(Thread* issuer);

std::string describe_wait(const Thread* t);
// A thread leaves the kernel: nothing may be under way for it, and clusters wait for it no longer.
void leave(Thread* t);
void leave_products(const Thread* t);
void leave_bulk(Thread* t);
void leave_cluster(const Thread* t);
// After a failed launch: forgets copies under way.
void abandon_copies();

}  // namespace emu
