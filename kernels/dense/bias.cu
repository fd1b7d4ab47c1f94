// y = x + bias per row; and sums over rows, of which the gradient of the bias is one (see dense/columns.cuh).
#include "common/ptx.cuh"
#include "dense/columns.cuh"

constexpr int FINISH_WARPS = 32;

template <int N>
__device__ __forceinline__ void add(const Float* x, const Float* bias, Float* y, int rows, int width) {
    for_units<N>(rows, width, [=](int row, int column) {
        const long long at = static_cast<long long>(row) * width + column;
        Unit<N> sum = load_unit<N>(x + at);
        const Unit<N> b = load_unit<N>(bias + column);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum.v[i] += b.v[i];
        }
        store_unit<N>(y + at, sum);
    });
}

// y[rows, width] = x + bias; y may be x.
extern "C" __global__ void __launch_bounds__(256)
add_bias(const Float* x, const Float* bias, Float* y, int rows, int width, int vectorized) {
    if (vectorized) {
        add<VECTOR>(x, bias, y, rows, width);
    } else {
        add<1>(x, bias, y, rows, width);
    }
}

template <int N>
__device__ __forceinline__ void sum_chunk(const Float* x, float* partials, int first, int last, int width, float* shared) {
    sum_columns<N>(first, last, width, partials, shared, [=](int row, int column) {
        return load_unit<N>(x + static_cast<long long>(row) * width + column);
    });
}

// partials[chunk, width] = the sums of the chunk's rows.
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
column_partials(const Float* x, float* partials, int rows, int width, int rows_per_chunk, int vectorized) {
    DYNAMIC_SHARED(shared);
    const int chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const int first = chunk * rows_per_chunk, last = min(first + rows_per_chunk, rows);
        float* to = partials + static_cast<long long>(chunk) * width;
        if (vectorized) {
            sum_chunk<VECTOR>(x, to, first, last, width, reinterpret_cast<float*>(shared));
        } else {
            sum_chunk<1>(x, to, first, last, width, reinterpret_cast<float*>(shared));
        }
    }
}

// out[width] += the sum of the rows of partials[chunks, width]: warp w of a block adds chunks w, w + 32, ..., then the warps' sums are
// added in order. A block takes 32 columns.
extern "C" __global__ void __launch_bounds__(32 * FINISH_WARPS) column_finish(const float* partials, float* out, int chunks, int width) {
    DYNAMIC_SHARED(shared);
    float* sums = reinterpret_cast<float*>(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int base = blockIdx.x * 32; base < width; base += gridDim.x * 32) {
        const int column = base + lane;
        float sum = 0.0f;
        if (column < width) {
            for (int chunk = warp; chunk < chunks; chunk += FINISH_WARPS) {
                sum += partials[static_cast<long long>(chunk) * width + column];
            }
        }
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (warp == 0 && column < width) {
            for (int other = 1; other < FINISH_WARPS; other++) {
                sum += sums[other * 32 + lane];
            }
            out[column] += sum;
        }
        __syncthreads();
    }
}
