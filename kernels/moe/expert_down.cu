// y = a W2[expert]^T for the real rows of a plan.
#include "moe/expert_tiles.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) expert_down(const Float* a, const Float* w2, const int* offsets, Float* y, int experts, int d, int n) {
    DYNAMIC_SHARED(shared);
    using Down = Product<KMajor<BLOCK_M>, KMajor<BLOCK_N>>;
    int* before = reinterpret_cast<int*>(shared + Down::SHARED);
    const int row_tiles = count_row_tiles(offsets, experts, before);
    const int column_tiles = (d + BLOCK_N - 1) / BLOCK_N;
    for (long long t = blockIdx.x; t < static_cast<long long>(row_tiles) * column_tiles; t += gridDim.x) {
        const ExpertTile tile = find_tile(offsets, experts, before, column_tiles, t);
        const int n0 = tile.column_tile * BLOCK_N;
        const Float* weights = w2 + static_cast<long long>(tile.expert) * d * n;
        const LoadKMajor<KMajor<BLOCK_M>> rows(a, n, [=](int r) { return r < tile.rows ? a + static_cast<long long>(tile.row0 + r) * n : nullptr; });
        const LoadKMajor<KMajor<BLOCK_N>> columns(w2, n, [=](int c) { return n0 + c < d ? weights + static_cast<long long>(n0 + c) * n : nullptr; });
        Down product;
        product.run(shared, rows, columns, n, tile.rows, d - n0);
        product.for_each_pair([&](int row, int column, float first, float second) {
            if (row < tile.rows) {
                store_pair(y + static_cast<long long>(tile.row0 + row) * d, n0 + column, d, first, second);
            }
        });
    }
}
