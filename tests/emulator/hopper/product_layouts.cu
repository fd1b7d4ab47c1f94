// expects: silence
// launch: grid=1 block=128 shared=24576 n=0
// A 64 x 128 x 64 product from every way in which a tile can lie in shared memory; each thread checks the sums it holds.
#include "common/wgmma.cuh"

// Small integers: products and sums are exact.
__device__ int value_a(int row, int k) { return (row * 5 + k * 3 + row * k) % 7 - 3; }
__device__ int value_b(int column, int k) { return (column * 3 + k * 7 + column * k) % 5 - 2; }

// Fills a tile of `rows` by 64 whose spans are Span bytes (16: plain). RowsInner: rows are contiguous. Spans stand one after the other.
template <int Span, bool RowsInner>
__device__ int place(int row, int k, int rows) {
    const int inner = RowsInner ? row : k, outer = RowsInner ? k : row, outers = RowsInner ? 64 : rows;
    const int o = inner * 2 / Span * (outers * Span) + outer * Span + inner * 2 % Span;
    return Span == 16 ? o : o ^ (o >> 3 & (Span - 16));
}

template <int Span, bool RowsInner>
__device__ unsigned long long describe(const unsigned char* tile, int rows, int step) {
    const TileLayout layout = Span == 128 ? TILE_SWIZZLE_128 : Span == 64 ? TILE_SWIZZLE_64 : Span == 32 ? TILE_SWIZZLE_32 : TILE_PLAIN;
    const int k = 16 * step;
    if (!RowsInner) {
        // Plain: 8 k are one span, so leading goes from span to span.
        return tile_descriptor(tile + k * 2 / Span * (rows * Span) + k * 2 % Span, layout, rows * Span, 8 * Span);
    }
    return Span == 16 ? tile_descriptor(tile + k * Span, layout, 8 * Span, 64 * Span) : tile_descriptor(tile + k * Span, layout, 64 * Span, 8 * Span);
}

template <int SpanA, bool RowsInnerA, int SpanB, bool RowsInnerB>
__device__ void check(unsigned char* shared) {
    unsigned char *a = shared, *b = shared + 8192;
    const int t = threadIdx.x;
    for (int i = t; i < 64 * 64; i += 128) {
        *reinterpret_cast<unsigned short*>(a + place<SpanA, RowsInnerA>(i / 64, i % 64, 64)) = static_cast<unsigned short>(pack_bf16x2(value_a(i / 64, i % 64), 0.0f));
    }
    for (int i = t; i < 128 * 64; i += 128) {
        *reinterpret_cast<unsigned short*>(b + place<SpanB, RowsInnerB>(i / 64, i % 64, 128)) = static_cast<unsigned short>(pack_bf16x2(value_b(i / 64, i % 64), 0.0f));
    }
    fence_proxy_async();
    __syncthreads();
    float sums[64];
    wgmma_fence();
    for (int step = 0; step < 4; step++) {
        wgmma<128, RowsInnerA, RowsInnerB>(sums, describe<SpanA, RowsInnerA>(a, 64, step), describe<SpanB, RowsInnerB>(b, 128, step), step > 0);
    }
    wgmma_commit();
    wgmma_wait<0>(sums);
    for (int i = 0; i < 64; i++) {
        const int row = 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
        int sum = 0;
        for (int k = 0; k < 64; k++) {
            sum += value_a(row, k) * value_b(column, k);
        }
        if (sums[i] != static_cast<float>(sum)) {
            __trap();
        }
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(128) kernel(float* out, const float* in, int n) {
    DYNAMIC_SHARED(shared);
    check<128, false, 128, false>(shared);
    check<64, false, 32, false>(shared);
    check<32, false, 64, false>(shared);
    check<16, false, 16, false>(shared);
    check<128, true, 128, true>(shared);
    check<64, true, 32, true>(shared);
    check<16, true, 16, true>(shared);
    check<128, false, 128, true>(shared);
}
