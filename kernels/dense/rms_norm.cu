// y = x / rms(x) * weight per row, and its gradient.
//
// Memory bound: a row is read twice, the second time from the cache. Narrow rows (heads, small models) get a warp each, wide rows a block.
// Backward gives each block a chunk of rows: first a warp per row for dX, then all threads down the columns for the partial sums of
// dWeight, while the chunk is still in the cache; column_finish (dense/bias.cu) adds the partials in order.
#include "common/ptx.cuh"
#include "common/reduce.cuh"
#include "dense/columns.cuh"

template <int N, bool BLOCK>
__device__ __forceinline__ void norm(const Float* x, const Float* weight, Float* y, float* inverse_rms, int rows, int width, float epsilon, float* shared) {
    const int lanes = BLOCK ? blockDim.x : 32, lane = threadIdx.x % lanes, teams = blockDim.x / lanes;
    for (long long row = static_cast<long long>(blockIdx.x) * teams + threadIdx.x / lanes; row < rows; row += static_cast<long long>(gridDim.x) * teams) {
        const Float* from = x + row * width;
        float squares = 0.0f;
        for (int column = lane * N; column < width; column += lanes * N) {
            const Unit<N> unit = load_unit<N>(from + column);
#pragma unroll
            for (int i = 0; i < N; i++) {
                squares = fmaf(unit.v[i], unit.v[i], squares);
            }
        }
        squares = BLOCK ? reduce_block<Sum>(squares, shared) : reduce_warp<Sum>(squares);

        // An empty row has mean square 0.
        const float inverse = 1.0f / sqrtf((width == 0 ? 0.0f : squares / width) + epsilon);
        if (lane == 0) {
            inverse_rms[row] = inverse;
        }
        for (int column = lane * N; column < width; column += lanes * N) {
            Unit<N> unit = load_unit<N>(from + column);
            const Unit<N> w = load_unit<N>(weight + column);
#pragma unroll
            for (int i = 0; i < N; i++) {
                unit.v[i] = unit.v[i] * inverse * w.v[i];
            }
            store_unit<N>(y + row * width + column, unit);
        }
    }
}

// x, y [rows, width], weight [width], inverse_rms [rows]. A warp per row.
extern "C" __global__ void __launch_bounds__(256)
rms_norm_narrow(const Float* x, const Float* weight, Float* y, float* inverse_rms, int rows, int width, float epsilon, int vectorized) {
    if (vectorized) {
        norm<VECTOR, false>(x, weight, y, inverse_rms, rows, width, epsilon, nullptr);
    } else {
        norm<1, false>(x, weight, y, inverse_rms, rows, width, epsilon, nullptr);
    }
}

// The same with a block per row; 33 floats of shared memory.
extern "C" __global__ void __launch_bounds__(256)
rms_norm_wide(const Float* x, const Float* weight, Float* y, float* inverse_rms, int rows, int width, float epsilon, int vectorized) {
    DYNAMIC_SHARED(shared);
    if (vectorized) {
        norm<VECTOR, true>(x, weight, y, inverse_rms, rows, width, epsilon, reinterpret_cast<float*>(shared));
    } else {
        norm<1, true>(x, weight, y, inverse_rms, rows, width, epsilon, reinterpret_cast<float*>(shared));
    }
}

// With y_i = x_i r w_i and dr/dx_j = -r^3 x_j / width: dX_j = r w_j dY_j - x_j r^3 / width * sum_i x_i w_i dY_i.
template <int N>
__device__ __forceinline__ void backward_chunk(
    const Float* x, const Float* weight, const float* inverse_rms, const Float* d_y, Float* d_x, float* partials, int first, int last, int width, float* shared) {
    const int lane = threadIdx.x % 32;
    for (int row = first + threadIdx.x / 32; row < last; row += blockDim.x / 32) {
        const long long start = static_cast<long long>(row) * width;
        float dot = 0.0f;
        for (int column = lane * N; column < width; column += 32 * N) {
            const Unit<N> a = load_unit<N>(x + start + column), w = load_unit<N>(weight + column), d = load_unit<N>(d_y + start + column);
#pragma unroll
            for (int i = 0; i < N; i++) {
                dot = fmaf(a.v[i] * w.v[i], d.v[i], dot);
            }
        }
        dot = reduce_warp<Sum>(dot);
        const float r = inverse_rms[row], shrink = r * r * r / width * dot;
        for (int column = lane * N; column < width; column += 32 * N) {
            const Unit<N> a = load_unit<N>(x + start + column), w = load_unit<N>(weight + column);
            Unit<N> d = load_unit<N>(d_y + start + column);
#pragma unroll
            for (int i = 0; i < N; i++) {
                d.v[i] = r * w.v[i] * d.v[i] - a.v[i] * shrink;
            }
            store_unit<N>(d_x + start + column, d);
        }
    }

    sum_columns<N>(first, last, width, partials, shared, [=](int row, int column) {
        const long long at = static_cast<long long>(row) * width + column;
        const float r = inverse_rms[row];
        const Unit<N> a = load_unit<N>(x + at);
        Unit<N> d = load_unit<N>(d_y + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            d.v[i] = d.v[i] * a.v[i] * r;
        }
        return d;
    });
}

// d_x [rows, width], and partials [chunks, width] of the weight's gradient.
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, 2)
rms_norm_backward(
    const Float* x, const Float* weight, const float* inverse_rms, const Float* d_y, Float* d_x, float* partials, int rows, int width,
    int rows_per_chunk, int vectorized) {
    DYNAMIC_SHARED(shared);
    float* sums = reinterpret_cast<float*>(shared);
    const int chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const int first = chunk * rows_per_chunk, last = min(first + rows_per_chunk, rows);
        float* to = partials + static_cast<long long>(chunk) * width;
        if (vectorized) {
            backward_chunk<VECTOR>(x, weight, inverse_rms, d_y, d_x, to, first, last, width, sums);
        } else {
            backward_chunk<1>(x, weight, inverse_rms, d_y, d_x, to, first, last, width, sums);
        }
    }
}
