// z = x[token of row] W1[expert]^T and a = swiglu(z), for the real rows of a plan.
//
// The gather is part of the load of A: no row of x is ever copied. The columns of a tile alternate between gate and up in groups of 8, so
// that one thread holds the gate and the up value of the same column and writes both z and a from its float32 sums. `a` is computed
// before z is rounded, in training and inference alike.
#include "moe/expert_tiles.cuh"

constexpr int PAIRS = BLOCK_N / 2;  // columns of a that a tile covers

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    expert_up(const Float* x, const Float* w1, const int* offsets, const int* row_token, Float* z, Float* a, int experts, int d, int n) {
    DYNAMIC_SHARED(shared);
    using Up = Product<KMajor<BLOCK_M>, KMajor<BLOCK_N>>;
    int* before = reinterpret_cast<int*>(shared + Up::SHARED);
    const int row_tiles = count_row_tiles(offsets, experts, before);
    const int column_tiles = (n + PAIRS - 1) / PAIRS;
    for (long long t = blockIdx.x; t < static_cast<long long>(row_tiles) * column_tiles; t += gridDim.x) {
        const ExpertTile tile = find_tile(offsets, experts, before, column_tiles, t);
        const int j0 = tile.column_tile * PAIRS;
        const Float* weights = w1 + static_cast<long long>(tile.expert) * 2 * n * d;
        const LoadKMajor<KMajor<BLOCK_M>> rows(x, d, [=](int r) { return r < tile.rows ? x + static_cast<long long>(row_token[tile.row0 + r]) * d : nullptr; });
        const LoadKMajor<KMajor<BLOCK_N>> columns(w1, d, [=](int c) {
            const int j = j0 + c / 16 * 8 + c % 8, half = c / 8 % 2;
            return j < n ? weights + static_cast<long long>(half * n + j) * d : nullptr;
        });
        Up product;
        product.run(shared, rows, columns, d, tile.rows, 2 * (n - j0));
#pragma unroll
        for (int i = 0; i < TILES_M; i++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int row = Up::row_of(i, h);
                if (row >= tile.rows) {
                    continue;
                }
                Float* to_z = z + static_cast<long long>(tile.row0 + row) * 2 * n;
                Float* to_a = a + static_cast<long long>(tile.row0 + row) * n;
#pragma unroll
                for (int j = 0; j < TILES_N; j += 2) {
                    const int c = Up::column_of(j), column = j0 + c / 16 * 8 + c % 8;
                    const float gate0 = product.sums[i][j][2 * h], gate1 = product.sums[i][j][2 * h + 1];
                    const float up0 = product.sums[i][j + 1][2 * h], up1 = product.sums[i][j + 1][2 * h + 1];
                    store_pair(to_z, column, n, gate0, gate1);
                    store_pair(to_z + n, column, n, up0, up1);
                    store_pair(to_a, column, n, gate0 * sigmoid(gate0) * up0, gate1 * sigmoid(gate1) * up1);
                }
            }
        }
    }
}
