// Tensor maps: what cuTensorMapEncodeTiled writes into the 128 bytes, and where a box of the tensor lies in shared and global memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emu {

struct TensorMapData {
    char magic[4];
    uint8_t rank, element_bytes, swizzle, unused;
    uint64_t address;
    uint64_t strides[4];         // of dimensions 1.., in bytes
    uint32_t last[5];            // index of each dimension: up to 2^32 elements
    uint16_t box[5];
};
static_assert(sizeof(TensorMapData) <= 128, "a tensor map has 128 bytes");
constexpr char TENSOR_MAP_MAGIC[4] = {'E', 'M', 'T', 'M'};

inline uint32_t swizzled(uint32_t offset, int swizzle) { return swizzle == 0 ? offset : offset ^ (offset >> 3 & ((1u << swizzle) - 1) << 4); }

inline size_t box_bytes(const TensorMapData& m) {
    size_t bytes = m.element_bytes;
    for (int i = 0; i < m.rank; i++) bytes *= m.box[i];
    return bytes;
}

// Calls f(offset in shared memory, bytes to skip, bytes inside the tensor, their address) for every 16 bytes of the box whose first
// element has the coordinates c; `at` is the box's own offset in shared memory.
template <class F> void for_each_chunk(const TensorMapData& m, const int* c, uint32_t at, F f) {
    const int64_t row = static_cast<int64_t>(m.box[0]) * m.element_bytes, length = (static_cast<int64_t>(m.last[0]) + 1) * m.element_bytes;
    uint32_t index[5] = {};
    for (;;) {
        bool inside = true;
        uint64_t address = m.address;
        for (int i = 1; i < m.rank; i++) {
            const int64_t coordinate = static_cast<int64_t>(c[i]) + index[i];
            inside &= coordinate >= 0 && coordinate <= static_cast<int64_t>(m.last[i]);
            address += static_cast<uint64_t>(coordinate) * m.strides[i - 1];   // modulo 2^64, as on the device
        }
        for (int64_t o = 0; o < row; o += 16, at += 16) {
            const int64_t from = static_cast<int64_t>(c[0]) * m.element_bytes + o;
            const int64_t low = from < 0 ? -from : 0, high = from + 16 > length ? length - from : 16;
            const bool some = inside && low < high;
            f(swizzled(at, m.swizzle), some ? static_cast<int>(low) : 0, some ? static_cast<int>(high - low) : 0, address + static_cast<uint64_t>(from + low));
        }
        int i = 1;
        while (i < m.rank && ++index[i] == m.box[i]) index[i++] = 0;
        if (i >= m.rank) return;
    }
}

}  // namespace emu
