// expects: silence
// launch: grid=1 block=32 shared=49152 n=0
// Known tile descriptors, bit for bit.
#include "common/wgmma.cuh"

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    const unsigned long long base = shared_address(shared) >> 4;
    const auto expect = [&](unsigned long long descriptor, unsigned long long golden) {
        if (descriptor != golden + base) {
            __trap();
        }
    };
    expect(tile_descriptor(shared + 0x400, TILE_SWIZZLE_128, 0, 1024), 0x4000004000000040ull);
    expect(tile_descriptor(shared + 0x8000, TILE_SWIZZLE_128, 0, 1024), 0x4000004000000800ull);
    expect(tile_descriptor(shared + 0x8000 + 32, TILE_SWIZZLE_128, 0, 1024), 0x4000004000000802ull);
    expect(tile_descriptor(shared + 0x8000 + 96, TILE_SWIZZLE_128, 0, 1024), 0x4000004000000806ull);
    expect(tile_descriptor(shared + 0x8000 + 8192, TILE_SWIZZLE_128, 0, 1024), 0x4000004000000a00ull);
    expect(tile_descriptor(shared + 0x8000, TILE_SWIZZLE_128, 64 * 128, 1024), 0x4000004002000800ull);
    expect(tile_descriptor(shared + 0x8000 + 2048, TILE_SWIZZLE_128, 64 * 128, 1024), 0x4000004002000880ull);
    expect(tile_descriptor(shared + 0x8000, TILE_SWIZZLE_64, 0, 512), 0x8000002000000800ull);
    expect(tile_descriptor(shared + 0x8000, TILE_SWIZZLE_32, 0, 256), 0xc000001000000800ull);
    expect(tile_descriptor(shared + 0x8000, TILE_PLAIN, 128, 256), 0x0000001000080800ull);
}
