// Cross-entropy over a vocabulary, fused: logits are read once forward and once backward, and nothing of their size is kept between.
//
// Forward: each thread of a row's block keeps a running maximum m and sum s of exp(x - m) (Milakov and Gimelshein, arXiv 1805.02867);
// the pairs are joined in a fixed tree. Where all of a thread's logits are minus infinity, or it has none, m is minus infinity: the sum
// then refers to 0 instead, so that no infinity is subtracted from itself, while a NaN still gets into s.
// A target beyond the vocabulary is an error that a kernel cannot throw: its loss is NaN, hence the mean.
#include "common/ptx.cuh"
#include "common/reduce.cuh"
#include "dense/rows.cuh"

// What sums of exponentials refer to, given their maximum.
__device__ __forceinline__ float base_of(float largest) { return largest == Max::identity() ? 0.0f : largest; }

template <int N>
__device__ __forceinline__ float log_sum_exp(const Float* row, int width, float* shared) {
    float largest = Max::identity(), sum = 0.0f;
    for (int column = threadIdx.x * N; column < width; column += blockDim.x * N) {
        const Unit<N> x = load_unit<N>(row + column);
        float next = largest;
#pragma unroll
        for (int i = 0; i < N; i++) {
            next = fmaxf(next, x.v[i]);
        }
        const float base = base_of(next);
        sum *= expf(largest - base);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum += expf(x.v[i] - base);
        }
        largest = next;
    }
    const float base = base_of(reduce_block<Max>(largest, shared));
    return base + logf(reduce_block<Sum>(sum * expf(largest - base), shared));
}

// losses, log_sum_exp [rows] from logits [rows, width]; 33 floats of shared memory.
extern "C" __global__ void __launch_bounds__(512)
cross_entropy(const Float* logits, const int* targets, float* losses, float* log_sums, int rows, int width, int vectorized) {
    DYNAMIC_SHARED(shared);
    float* scratch = reinterpret_cast<float*>(shared);
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        const Float* from = logits + static_cast<long long>(row) * width;
        const float log_sum = vectorized ? log_sum_exp<VECTOR>(from, width, scratch) : log_sum_exp<1>(from, width, scratch);
        if (threadIdx.x == 0) {
            const int target = targets[row];
            const float beyond = __uint_as_float(0x7fc00000u);
            log_sums[row] = log_sum;
            losses[row] = target < 0 ? 0.0f : target < width ? log_sum - to_float(from[target]) : beyond;
        }
    }
}

// Targets that count, in all threads of the only block; fewer than 2^24, or the nearest float.
__device__ __forceinline__ float count_targets(const int* targets, int rows, unsigned* scratch) {
    unsigned count = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        count += targets[row] >= 0;
    }
    count = __reduce_add_sync(ALL_LANES, count);
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = count;
    }
    __syncthreads();
    const unsigned lane = threadIdx.x % 32;
    count = __reduce_add_sync(ALL_LANES, lane < blockDim.x / 32 ? scratch[lane] : 0u);
    __syncthreads();
    return static_cast<float>(count);
}

// mean = sum of losses / targets that count, 0 when none do. One block: a thread adds every 1024th loss, a tree joins the threads.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy_mean(const float* losses, const int* targets, float* mean, int rows) {
    DYNAMIC_SHARED(shared);
    const float count = count_targets(targets, rows, reinterpret_cast<unsigned*>(shared));
    float sum = 0.0f;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        sum += losses[row];
    }
    sum = reduce_block<Sum>(sum, reinterpret_cast<float*>(shared));
    if (threadIdx.x == 0) {
        *mean = count == 0.0f ? 0.0f : sum / count;
    }
}

// scale = d_mean / targets that count. One block.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy_scale(const int* targets, const float* d_mean, float* scale, int rows) {
    DYNAMIC_SHARED(shared);
    const float count = count_targets(targets, rows, reinterpret_cast<unsigned*>(shared));
    if (threadIdx.x == 0) {
        *scale = count == 0.0f ? 0.0f : *d_mean / count;
    }
}

template <int N>
__device__ __forceinline__ void gradient(
    const Float* logits, const int* targets, const float* log_sums, const float* scale, Float* d_logits, int rows, int width) {
    const float factor = *scale;
    for_units<N>(rows, width, [=](int row, int column) {
        const long long at = static_cast<long long>(row) * width + column;
        const int target = targets[row];
        if (target < 0) {
            store_unit<N>(d_logits + at, zero_unit<N>());
            return;
        }
        const float log_sum = log_sums[row];
        Unit<N> x = load_unit<N>(logits + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            x.v[i] = factor * (expf(x.v[i] - log_sum) - (column + i == target ? 1.0f : 0.0f));
        }
        store_unit<N>(d_logits + at, x);
    });
}

// d_logits[rows, width] = scale (softmax - onehot), 0 where the target does not count; may be logits.
extern "C" __global__ void __launch_bounds__(256)
cross_entropy_backward(
    const Float* logits, const int* targets, const float* log_sums, const float* scale, Float* d_logits, int rows, int width, int vectorized) {
    if (vectorized) {
        gradient<VECTOR>(logits, targets, log_sums, scale, d_logits, rows, width);
    } else {
        gradient<1>(logits, targets, log_sums, scale, d_logits, rows, width);
    }
}
