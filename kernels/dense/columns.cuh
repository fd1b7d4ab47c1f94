// Sums down the columns of a tall matrix: the gradients of a bias and of a norm's weight.
//
// The difficulty: rows are many, columns may be few, and the sum may not depend on the grid. So the rows are cut into chunks whose size
// depends on the number of rows alone; a block sums a chunk into one row of partials, and a second launch adds the partials in order
// (column_finish in dense/bias.cu). Where a row has fewer units than the block has threads, groups of threads take rows in turn, and
// their sums are added in the order of the groups.
#pragma once

#include "dense/rows.cuh"

// Threads of a block that calls sum_columns, and the floats of shared memory it needs.
constexpr int COLUMN_THREADS = 256;
constexpr int COLUMN_SHARED = COLUMN_THREADS * VECTOR;

// partials[column] = the sum of term(row, column) over rows first..last-1. All threads of the block call this.
template <int N, class Term>
__device__ __forceinline__ void sum_columns(int first, int last, int width, float* partials, float* shared, Term term) {
    const int units = width / N;
    int lanes = COLUMN_THREADS;
    while (lanes / 2 >= units && lanes > 1) {
        lanes /= 2;
    }
    const int groups = COLUMN_THREADS / lanes, group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
    for (int base = 0; base < units; base += lanes) {
        const int column = (base + lane) * N;
        Unit<N> sum = zero_unit<N>();
        if (column < width) {
            for (int row = first + group; row < last; row += groups) {
                const Unit<N> x = term(row, column);
#pragma unroll
                for (int i = 0; i < N; i++) {
                    sum.v[i] += x.v[i];
                }
            }
        }
        if (groups > 1) {
            __syncthreads();
#pragma unroll
            for (int i = 0; i < N; i++) {
                shared[i * COLUMN_THREADS + threadIdx.x] = sum.v[i];
            }
            __syncthreads();
            for (int other = 1; group == 0 && other < groups; other++) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    sum.v[i] += shared[i * COLUMN_THREADS + other * lanes + lane];
                }
            }
        }
        if (group == 0 && column < width) {
            store_wide<N>(partials + column, sum);
        }
    }
}
