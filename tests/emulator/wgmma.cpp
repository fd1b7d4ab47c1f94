// Warpgroup products. A product takes part in the tiles as they are when the last of the 128 threads has asked for it, holds their bytes until
// a thread has waited for it, and gives each thread its sums in that thread's own wait.
#include <algorithm>
#include <cstring>

#include "hopper.h"
#include "hopper_api.h"
#include "tensor_map.h"

#define HERE __builtin_return_address(0)

namespace emu {
namespace {

constexpr int GROUP = 128, K = 16, M = 64, MOST_N = 256;

float bf16(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return x;
}

Warpgroup& group_of(const Thread* t) {
    auto& groups = t->block->hopper->warpgroups;
    groups.resize(std::max(groups.size(), static_cast<size_t>(t->number / GROUP + 1)));
    return groups[static_cast<size_t>(t->number / GROUP)];
}

// A tile descriptor: where the 16 bytes that hold elements (row, k) .. lie in shared memory. Row-inner tiles: of 8 rows at one k.
struct Tile {
    uint32_t start, leading, stride, span;
    int swizzle;

    explicit Tile(uint64_t d) : start(d & 0x3fff), leading(d >> 16 & 0x3fff), stride(d >> 32 & 0x3fff) {
        start <<= 4, leading <<= 4, stride <<= 4;
        const int layout = static_cast<int>(d >> 62);
        swizzle = layout == 0 ? 0 : 4 - layout;
        span = swizzle ? 16u << swizzle : 16;
    }

    uint32_t chunk(int row, int k, bool rows_inner) const {
        const int inner = rows_inner ? row : k, outer = rows_inner ? k : row;
        const auto in = static_cast<uint32_t>(inner), out = static_cast<uint32_t>(outer);
        uint32_t at = start + out % 8 * span;
        if (swizzle == 0) at += rows_inner ? in / 8 * stride + out / 8 * leading : in / 8 * leading + out / 8 * stride;
        else at += rows_inner ? in * 2 / span * leading + in * 2 % span + out / 8 * stride : in * 2 + out / 8 * stride;
        return swizzled(at, swizzle);
    }
};

// Reads a tile of `rows` by 16 into values[k][row] and notes its chunks.
void read_tile(const Block* b, Product& p, uint64_t descriptor, int rows, bool rows_inner, float* values) {
    const Tile tile(descriptor);
    if (descriptor >> 49 & 7) fail("misaligned", "a tile descriptor with a base offset, which the emulator does not know: align the tile to 1024 bytes", p.at);
    for (int outer = 0; outer < (rows_inner ? K : rows); outer++) {
        for (int inner = 0; inner < (rows_inner ? rows : K); inner += 8) {
            const int row = rows_inner ? inner : outer, k = rows_inner ? outer : inner;
            const uint32_t at = tile.chunk(row, k, rows_inner);
            if (at + 16 > b->shared_bytes) fail("out-of-bounds", "a product reads shared memory + " + std::to_string(at) + " of " + std::to_string(b->shared_bytes) + " bytes", p.at);
            const auto address = reinterpret_cast<uintptr_t>(b->shared) + at;
            uint16_t bits[8];
            std::memcpy(bits, b->shared + at, sizeof bits);
            for (int i = 0; i < 8; i++) values[(rows_inner ? k : k + i) * rows + (rows_inner ? row + i : row)] = bf16(bits[i]);
            p.chunks.push_back(address);
        }
    }
}

// All four warps have asked: each must know what the tiles hold, and the tiles are taken as they are.
void start(Product& p, Thread* last) {
    Block* b = last->block;
    float left[K * M], right[K * MOST_N];
    read_tile(b, p, p.a, M, p.rows_inner_a, left);
    read_tile(b, p, p.b, p.n, p.rows_inner_b, right);
    p.result.assign(static_cast<size_t>(M) * static_cast<size_t>(p.n), 0.0f);
    for (int row = 0; row < M; row++) {
        float* sums = p.result.data() + row * p.n;
        for (int k = 0; k < K; k++) {
            const float a = left[k * M + row];
            for (int column = 0; column < p.n; column++) sums[column] += a * right[k * p.n + column];
        }
    }
    for (int warp = 0; warp < 4; warp++) {
        exec->current = b->fibers[static_cast<size_t>(last->number / GROUP * GROUP + 32 * warp)];
        for (uintptr_t chunk : p.chunks) check_async(chunk, 16, Access::Read, p.at);
    }
    exec->current = last;
    for (uintptr_t chunk : p.chunks) {
        auto [cell, end] = cells_between(chunk, 16);
        for (; cell < end; cell++) {
            if (cell->readers == 255) fail("internal", "more than 255 products of the same bytes under way, which the emulator cannot count", p.at);
            cell->readers++;
        }
    }
    for (Thread* t : p.waiting) make_ready(t);
    p.waiting.clear();
}

void add(const Product& p, int thread, float* sums) {
    const int row = 16 * (thread / 32) + thread % 32 / 4, column = 2 * (thread % 4);
    for (int i = 0; i < p.n / 2; i++) {
        const float more = p.result[static_cast<size_t>((row + 8 * (i >> 1 & 1)) * p.n + column + 8 * (i >> 2) + (i & 1))];
        sums[i] = p.accumulate ? sums[i] + more : more;
    }
}

void retire(Thread* me, const Issued& issued) {
    Warpgroup& group = group_of(me);
    const auto index = static_cast<size_t>(issued.product - group.first);
    if (group.products[index].joined < GROUP) {
        group.products[index].waiting.push_back(me);
        wait_here(State::Waits, "all four warps to ask for the same product", group.products[index].at);
    }
    Product& p = group.products[issued.product - group.first];
    // The tiles have been read, which those know who have waited, and whom they tell.
    const auto reader = static_cast<uint16_t>(2 * me->block->threads + me->number / GROUP);
    if (p.retired++ == 0) {
        p.read = me->block->generation << CLOCK_BITS | (issued.product & ((1u << CLOCK_BITS) - 1));
        for (uintptr_t chunk : p.chunks) {
            auto [cell, end] = cells_between(chunk, 16);
            for (; cell < end; cell++) {
                cell->readers--;
                cell->reads[0] = cell->reads[1];
                cell->reads[1] = Read{me->block->serial, p.read, reader, true};
            }
        }
    }
    std::vector<uint32_t> known(static_cast<size_t>(slot_of(me->block, reader)) + 1);
    known.back() = p.read + 1;
    learn(me, known);
    add(p, me->number % GROUP, issued.sums);
    for (Sums& s : me->hopper->sums) {
        if (s.at == reinterpret_cast<uintptr_t>(issued.sums)) s.pending--;
    }
    while (!group.products.empty() && group.products.front().retired == GROUP) {
        group.products.pop_front();
        group.first++;
    }
}

}  // namespace

void check_sums(Thread* me, uintptr_t at, size_t bytes, bool is_read, const void* code) {
    for (const Sums& s : me->hopper->sums) {
        if (at >= s.at + s.bytes || at + bytes <= s.at) continue;
        if (s.pending > 0) fail("async-copy", std::string(is_read ? "reads" : "writes") + " sums of a product that has not been waited for: wgmma_wait is missing", code);
        if (!is_read) me->hopper->may_multiply = false;
    }
}

void leave_products(const Thread* t) {
    if (!t->hopper->issued.empty() || !t->hopper->products.empty()) {
        fail("async-copy", "the thread leaves the kernel while its products are under way: wgmma_commit or wgmma_wait is missing", nullptr);
    }
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_wgmma_fence() { exec->current->hopper->may_multiply = true; }

void emu_wgmma(float* sums, int n, unsigned long long a, unsigned long long b, int accumulate, int rows_inner_a, int rows_inner_b) {
    Thread* me = exec->current;
    HopperThread& h = *me->hopper;
    const int first = me->number / GROUP * GROUP;
    if (first + GROUP > me->block->threads) fail("divergent-collective", "a product needs 128 threads from a multiple of 128 on; the block ends before", HERE);
    if (!h.may_multiply) fail("missing-fence", "a product without wgmma_fence() since the sums were last touched", HERE);
    Warpgroup& group = group_of(me);
    const auto index = static_cast<size_t>(h.next_product - group.first);
    if (index == group.products.size()) group.products.push_back(Product{n, rows_inner_a, rows_inner_b, accumulate != 0, a, b, 0, 0, HERE, {}, {}, 0, {}});
    Product& p = group.products[index];
    if (p.n != n || p.a != a || p.b != b || p.accumulate != (accumulate != 0) || p.rows_inner_a != rows_inner_a || p.rows_inner_b != rows_inner_b) {
        fail("divergent-collective", "threads of one warpgroup ask for different products", HERE);
    }
    const auto at = reinterpret_cast<uintptr_t>(sums);
    auto known = std::find_if(h.sums.begin(), h.sums.end(), [=](const Sums& s) { return s.at == at; });
    if (known == h.sums.end()) known = h.sums.insert(h.sums.end(), Sums{at, 0, 0});
    known->bytes = static_cast<size_t>(n) / 2 * sizeof(float);
    known->pending++;
    h.issued.push_back({h.next_product++, sums});
    if (++p.joined == GROUP) start(p, me);
}

void emu_wgmma_commit() {
    HopperThread& h = *exec->current->hopper;
    h.products.push_back(std::move(h.issued));
    h.issued.clear();
}

void emu_wgmma_wait(int pending) {
    Thread* me = exec->current;
    HopperThread& h = *me->hopper;
    while (h.products.size() > static_cast<size_t>(pending)) {
        const std::vector<Issued> oldest = std::move(h.products.front());
        h.products.pop_front();
        for (const Issued& issued : oldest) retire(me, issued);
    }
}
}
