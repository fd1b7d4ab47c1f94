// Driver API: tensor maps. Refuses what the driver refuses, so that a wrong map fails before there is a device.
#include "tensor_map.h"

#include <cstring>

#include "driver.h"

using namespace emu;

namespace {

constexpr int ELEMENT_BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
constexpr int SPANS[] = {0, 32, 64, 128};

}  // namespace

EMU_API CUresult cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* address, const uint64_t* dims, const uint64_t* strides, const uint32_t* box,
                                        const uint32_t* element_strides, int interleave, int swizzle, int promotion, int fill) {
    const auto base = reinterpret_cast<uint64_t>(address);
    if (!map || reinterpret_cast<uintptr_t>(map) % 64 || type < 0 || type > 12 || rank < 1 || rank > 5 || base % 16 || !dims || !box || !element_strides || (rank > 1 && !strides)) return CUDA_ERROR_INVALID_VALUE;
    if (swizzle < 0 || swizzle > 3 || promotion < 0 || promotion > 3 || fill < 0 || fill > 1 || interleave < 0 || interleave > 2) return CUDA_ERROR_INVALID_VALUE;
    if (interleave != 0 || fill != 0) return CUDA_ERROR_NOT_SUPPORTED;   // kernels here use neither
    TensorMapData m{};
    std::memcpy(m.magic, TENSOR_MAP_MAGIC, sizeof m.magic);
    m.rank = static_cast<uint8_t>(rank);
    m.element_bytes = static_cast<uint8_t>(ELEMENT_BYTES[type]);
    m.swizzle = static_cast<uint8_t>(swizzle);
    m.address = base;
    for (unsigned i = 0; i < rank; i++) {
        if (dims[i] == 0 || dims[i] > 1ull << 32 || box[i] == 0 || box[i] > 256) return CUDA_ERROR_INVALID_VALUE;
        if (element_strides[i] != 1) return CUDA_ERROR_NOT_SUPPORTED;
        if (i > 0 && (strides[i - 1] % 16 || strides[i - 1] >= 1ull << 40)) return CUDA_ERROR_INVALID_VALUE;
        m.last[i] = static_cast<uint32_t>(dims[i] - 1);
        m.box[i] = static_cast<uint16_t>(box[i]);
        if (i > 0) m.strides[i - 1] = strides[i - 1];
    }
    const int row = m.box[0] * m.element_bytes;
    if (row % 16 || (swizzle && row > SPANS[swizzle])) return CUDA_ERROR_INVALID_VALUE;
    std::memset(map, 0, 128);
    std::memcpy(map, &m, sizeof m);
    return CUDA_SUCCESS;
}
