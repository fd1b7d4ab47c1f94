// Back through the experts, to activations: expert_down_backward goes from the gradient of the layer's output to that of z, and
// expert_up_backward from there to rows of dX.
//
// With dA' = dOut[token] W2[expert] in the accumulators, z read beside it and w the row's weight: the gradient of the weight is
// <dA', a>, so y is never needed, and dZ = swiglu'(z, w dA') and w a (for the gradient of W2) are written in the same pass.
#include "moe/expert_tiles.cuh"

// `parts` [column tiles][stride]: the part of <dA', a> that a column tile contributes; expert_weight_dot adds the parts in order.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    expert_down_backward(const Float* d_out, const Float* z, const Float* w2, const int* offsets, const int* row_token, const float* row_weight, Float* d_z, Float* weighted_a,
                         float* parts, long long stride, int experts, int d, int n) {
    DYNAMIC_SHARED(shared);
    using Down = Product<KMajor<BLOCK_M>, MnMajor<BLOCK_N>>;
    int* before = reinterpret_cast<int*>(shared + Down::SHARED);
    float* dots = reinterpret_cast<float*>(shared);  // [WARPS_N][BLOCK_M], between two tiles
    const int row_tiles = count_row_tiles(offsets, experts, before);
    const int column_tiles = (n + BLOCK_N - 1) / BLOCK_N;
    for (long long t = blockIdx.x; t < static_cast<long long>(row_tiles) * column_tiles; t += gridDim.x) {
        const ExpertTile tile = find_tile(offsets, experts, before, column_tiles, t);
        const int n0 = tile.column_tile * BLOCK_N;
        const Float* weights = w2 + static_cast<long long>(tile.expert) * d * n;
        const LoadKMajor<KMajor<BLOCK_M>> rows(d_out, d, [=](int r) { return r < tile.rows ? d_out + static_cast<long long>(row_token[tile.row0 + r]) * d : nullptr; });
        Down product;
        product.run(shared, rows, load_mn_major<MnMajor<BLOCK_N>>(weights, n0, n, d, [](int k) { return k; }), d, tile.rows, n - n0);
#pragma unroll
        for (int i = 0; i < TILES_M; i++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int row = Down::row_of(i, h);
                float dot = 0.0f;
                if (row < tile.rows) {
                    const long long at = tile.row0 + row;
                    const float weight = row_weight[at];
                    const Float* gates = z + at * 2 * n;
                    Float* to_z = d_z + at * 2 * n;
#pragma unroll
                    for (int j = 0; j < TILES_N; j++) {
                        const int column = n0 + Down::column_of(j);
                        const float2 g = load_pair(gates, column, n), u = load_pair(gates + n, column, n);
                        const float s0 = sigmoid(g.x), s1 = sigmoid(g.y), h0 = g.x * s0, h1 = g.y * s1;
                        const float a0 = h0 * u.x, a1 = h1 * u.y;
                        const float d0 = product.sums[i][j][2 * h], d1 = product.sums[i][j][2 * h + 1];
                        dot = fmaf(d1, a1, fmaf(d0, a0, dot));
                        const float e0 = weight * d0, e1 = weight * d1;
                        store_pair(to_z, column, n, e0 * u.x * s0 * (1.0f + g.x * (1.0f - s0)), e1 * u.y * s1 * (1.0f + g.y * (1.0f - s1)));
                        store_pair(to_z + n, column, n, e0 * h0, e1 * h1);
                        store_pair(weighted_a + at * n, column, n, weight * a0, weight * a1);
                    }
                }
                // The four lanes of a row, then the warps beside each other, in order.
                dot += __shfl_xor_sync(ALL_LANES, dot, 1);
                dot += __shfl_xor_sync(ALL_LANES, dot, 2);
                if (threadIdx.x % 4 == 0) {
                    dots[static_cast<int>(threadIdx.x) / 32 / WARPS_M * BLOCK_M + row] = dot;
                }
            }
        }
        __syncthreads();
        for (int row = threadIdx.x; row < tile.rows; row += THREADS) {
            float sum = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS_N; w++) {
                sum += dots[w * BLOCK_M + row];
            }
            parts[tile.column_tile * stride + tile.row0 + row] = sum;
        }
        __syncthreads();
    }
}

// d_row_weight[row] = sum of its parts in order, for the real rows.
extern "C" __global__ void __launch_bounds__(256) expert_weight_dot(const float* parts, const int* offsets, float* d_row_weight, long long stride, int column_tiles, int experts) {
    const long long rows = offsets[experts];
    for (long long row = blockIdx.x * 256LL + threadIdx.x; row < rows; row += gridDim.x * 256LL) {
        float sum = 0.0f;
        for (int t = 0; t < column_tiles; t++) {
            sum += parts[t * stride + row];
        }
        d_row_weight[row] = sum;
    }
}

// d_x_rows = dZ W1[expert] for the real rows.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) expert_up_backward(const Float* d_z, const Float* w1, const int* offsets, Float* d_x_rows, int experts, int d, int n2) {
    DYNAMIC_SHARED(shared);
    using Up = Product<KMajor<BLOCK_M>, MnMajor<BLOCK_N>>;
    int* before = reinterpret_cast<int*>(shared + Up::SHARED);
    const int row_tiles = count_row_tiles(offsets, experts, before);
    const int column_tiles = (d + BLOCK_N - 1) / BLOCK_N;
    for (long long t = blockIdx.x; t < static_cast<long long>(row_tiles) * column_tiles; t += gridDim.x) {
        const ExpertTile tile = find_tile(offsets, experts, before, column_tiles, t);
        const int n0 = tile.column_tile * BLOCK_N;
        const Float* weights = w1 + static_cast<long long>(tile.expert) * n2 * d;
        const LoadKMajor<KMajor<BLOCK_M>> rows(d_z, n2, [=](int r) { return r < tile.rows ? d_z + static_cast<long long>(tile.row0 + r) * n2 : nullptr; });
        Up product;
        product.run(shared, rows, load_mn_major<MnMajor<BLOCK_N>>(weights, n0, d, n2, [](int k) { return k; }), n2, tile.rows, d - n0);
        product.for_each_pair([&](int row, int column, float first, float second) {
            if (row < tile.rows) {
                store_pair(d_x_rows + static_cast<long long>(tile.row0 + row) * d, n0 + column, d, first, second);
            }
        });
    }
}
