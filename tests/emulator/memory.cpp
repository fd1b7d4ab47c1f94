#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace emu {
namespace {

constexpr size_t QUARANTINE = 512;
constexpr size_t PAGE = 4096;

size_t pages(size_t bytes) { return (bytes + PAGE) / PAGE * PAGE; }  // at least one byte behind the end

void* map(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

size_t cell_bytes(size_t bytes) { return pages((bytes / GRANULE + 1) * sizeof(Cell)); }

void unmap(Allocation* a) {
    munmap(a->base, pages(a->bytes));
    if (a->cells) munmap(a->cells, cell_bytes(a->bytes));
    delete a;
}

bool before(uintptr_t at, const Allocation* a) { return at < reinterpret_cast<uintptr_t>(a->base); }

}  // namespace

Memory::~Memory() {
    for (Allocation* a : live_) unmap(a);
    for (Allocation* a : freed_) unmap(a);
}

Allocation* Memory::allocate(size_t bytes) {
    if (capacity && used_ + bytes > capacity) return nullptr;
    auto* base = static_cast<uint8_t*>(map(pages(bytes)));
    auto* cells = base ? static_cast<Cell*>(map(cell_bytes(bytes))) : nullptr;
    if (!cells) {
        if (base) munmap(base, pages(bytes));
        return nullptr;
    }
    std::memset(base, 0xff, bytes);
    auto* a = new Allocation{base, bytes, next_++, cells, false};
    live_.insert(std::upper_bound(live_.begin(), live_.end(), reinterpret_cast<uintptr_t>(base), before), a);
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return a;
}

void Memory::release(Allocation* a) {
    live_.erase(std::find(live_.begin(), live_.end(), a));
    used_ -= a->bytes;
    a->freed = true;
    std::memset(a->base, 0xff, a->bytes);
    munmap(a->cells, cell_bytes(a->bytes));
    a->cells = nullptr;
    freed_.push_back(a);
    if (freed_.size() > QUARANTINE) {
        unmap(freed_.front());
        freed_.pop_front();
    }
}

Allocation* Memory::find(uintptr_t at) const {
    auto it = std::upper_bound(live_.begin(), live_.end(), at, before);
    return it != live_.begin() && (*--it)->holds(at) ? *it : nullptr;
}

Allocation* Memory::find_freed(uintptr_t at) const {
    for (auto it = freed_.rbegin(); it != freed_.rend(); ++it) {
        if ((*it)->holds(at)) return *it;
    }
    return nullptr;
}

Allocation* Memory::nearest(uintptr_t at) const {
    auto it = std::upper_bound(live_.begin(), live_.end(), at, before);
    Allocation* below = it != live_.begin() ? *(it - 1) : nullptr;
    Allocation* above = it != live_.end() ? *it : nullptr;
    if (!below || !above) return below ? below : above;
    return at - (reinterpret_cast<uintptr_t>(below->base) + below->bytes) <= reinterpret_cast<uintptr_t>(above->base) - at ? below : above;
}

void Memory::mark_written(uintptr_t at, size_t bytes) {
    Allocation* a = bytes ? find(at) : nullptr;
    if (!a) return;
    Cell* end = a->cell(at + bytes - 1) + 1;
    for (Cell* c = a->cell(at); c < end; c++) {
        *c = Cell{};
        c->block = HOST_BLOCK;
        c->written = true;
    }
}

}  // namespace emu
