// Memory that knows about every byte who wrote it, who read it, and whether anybody ever wrote it at all.
//
// The problem: a kernel that reads a tail nobody wrote, or misses a barrier, usually computes the right thing on the machine of its
// author. The choice: every allocation (and the shared memory of every block) has a shadow cell per two bytes that remembers the last
// write and the last two reads as (block, thread, epoch); each access is compared with it before it happens.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace emu {

constexpr size_t GRANULE = 2;                  // bytes per shadow cell: a bfloat16 of one thread beside that of another is no race
constexpr uint32_t CLOCK_BITS = 14;            // an epoch is (block barriers passed) << CLOCK_BITS | (smaller synchronisations since)
constexpr uint32_t HOST_BLOCK = 0;             // block serial of copies and fills: ordered before every launch

struct Read {
    uint32_t block, epoch;
    uint16_t thread;
    bool used;
};

// What else a cell is besides plain memory.
enum class Hold : uint8_t { None, InFlight, Barrier };

struct Cell {
    uint32_t block, epoch;  // of the last write
    uint16_t thread;
    bool written, atomic;
    bool async;             // the last write was one of the asynchronous proxy
    Hold hold;
    uint8_t readers;        // asynchronous operations that have yet to read it
    Read reads[2];
};

struct Allocation {
    uint8_t* base;
    size_t bytes;
    uint64_t id;            // counts up: what reports call it
    Cell* cells;
    bool freed;

    bool holds(uintptr_t at) const { return at >= reinterpret_cast<uintptr_t>(base) && at < reinterpret_cast<uintptr_t>(base) + bytes; }
    Cell* cell(uintptr_t at) const { return cells + (at - reinterpret_cast<uintptr_t>(base)) / GRANULE; }
};

// The device memory of one context.
class Memory {
public:
    ~Memory();
    Allocation* allocate(size_t bytes);        // poisoned, nothing written; null when the emulated device is full
    void release(Allocation* allocation);      // poisons, and remembers the address for a while to name uses after the free
    Allocation* find(uintptr_t at) const;      // the live allocation around an address
    Allocation* find_freed(uintptr_t at) const;
    Allocation* nearest(uintptr_t at) const;   // for messages about accesses beside an allocation
    void mark_written(uintptr_t at, size_t bytes);
    size_t used() const { return used_; }
    size_t peak() const { return peak_; }
    void reset_peak() { peak_ = used_; }
    size_t capacity = 0;

private:
    std::vector<Allocation*> live_;            // sorted by address
    std::deque<Allocation*> freed_;
    uint64_t next_ = 1;
    size_t used_ = 0, peak_ = 0;
};

}  // namespace emu
