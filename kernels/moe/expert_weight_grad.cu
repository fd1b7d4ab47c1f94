// Gradients of the expert weights: dW[e] += sum over the rows of expert e of left^T right.
//
// The sum runs over rows, so both operands are MN-major, and one of them is gathered by token. Rows behind the expert's last are zero on
// both sides: the neighbour's rows, and garbage behind the last row, cannot enter. One block computes a tile over all rows in ascending
// order, so the result does not depend on the grid; an expert without rows is left alone.
#include "moe/expert_tiles.cuh"

// `left` [., m] and `right` [., n]; the gathered one is indexed by token, the other by row. dW [E, m, n] is float32.
template <bool GATHER_LEFT>
__device__ __forceinline__ void weight_grad(const Float* left, const Float* right, const int* offsets, const int* row_token, float* d_w, int experts, int m, int n) {
    DYNAMIC_SHARED(shared);
    const int tiles_m = (m + BLOCK_M - 1) / BLOCK_M, tiles_n = (n + BLOCK_N - 1) / BLOCK_N;
    const long long tiles = static_cast<long long>(tiles_m) * tiles_n;  // of an expert
    for (long long t = blockIdx.x; t < experts * tiles; t += gridDim.x) {
        const int expert = static_cast<int>(t / tiles);
        const TilePlace place = place_of(t - expert * tiles, tiles_m, tiles_n);
        const int m0 = place.m * BLOCK_M, n0 = place.n * BLOCK_N;
        const int row0 = offsets[expert], rows = offsets[expert + 1] - row0;
        if (rows == 0) {
            continue;
        }
        auto gathered = [=](int k) { return row_token[row0 + k]; };
        auto direct = [=](int k) { return row0 + k; };
        auto choose = [](auto yes, auto no) { if constexpr (GATHER_LEFT) { return yes; } else { return no; } };
        Product<MnMajor<BLOCK_M>, MnMajor<BLOCK_N>> product;
        product.run(
            shared, load_mn_major<MnMajor<BLOCK_M>>(left, m0, m, rows, choose(gathered, direct)),
            load_mn_major<MnMajor<BLOCK_N>>(right, n0, n, rows, choose(direct, gathered)), rows, m - m0, n - n0);
        float* to = d_w + static_cast<long long>(expert) * m * n;
        product.for_each_pair([&](int row, int column, float first, float second) {
            if (m0 + row < m) {
                float* at = to + static_cast<long long>(m0 + row) * n + n0 + column;
                if (n0 + column < n) {
                    at[0] += first;
                }
                if (n0 + column + 1 < n) {
                    at[1] += second;
                }
            }
        });
    }
}

// dW2[e] [d, n] += sum over rows of dOut[token]^T weightedA[row].
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    expert_down_weight_grad(const Float* d_out, const Float* weighted_a, const int* offsets, const int* row_token, float* d_w2, int experts, int d, int n) {
    weight_grad<true>(d_out, weighted_a, offsets, row_token, d_w2, experts, d, n);
}

// dW1[e] [2n, d] += sum over rows of dZ[row]^T x[token].
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    expert_up_weight_grad(const Float* d_z, const Float* x, const int* offsets, const int* row_token, float* d_w1, int experts, int n2, int d) {
    weight_grad<false>(d_z, x, offsets, row_token, d_w1, experts, n2, d);
}
