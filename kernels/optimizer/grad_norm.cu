// L2 norm over many gradients, and the factor that clips it.
//
// Squares are summed in double, so none can overflow and none is lost. Each gradient is cut into chunks of a fixed size, one double per
// chunk, all gradients behind each other in one array of partials: a launch per gradient, since a list of pointers would have to be copied
// to the device. One block then adds the partials. Chunks and trees are fixed, so the norm does not depend on the grid.
#include "common/ptx.cuh"
#include "common/reduce.cuh"

constexpr int CHUNK = 16384;    // elements; known to the host

// The sum over all threads of the block, in thread 0; `scratch` is 32 doubles.
__device__ __forceinline__ double sum_block(double x, double* scratch) {
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) {
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    }
    if (lane == 0) {
        scratch[threadIdx.x / 32] = x;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        x = lane < warps ? scratch[lane] : 0.0;
#pragma unroll
        for (int distance = 16; distance > 0; distance >>= 1) {
            x += __shfl_xor_sync(ALL_LANES, x, distance);
        }
    }
    __syncthreads();
    return x;
}

__device__ __forceinline__ double add_square(double sum, float x) { return fma(static_cast<double>(x), static_cast<double>(x), sum); }

// partials[chunk] = the sum of squares of the chunk. Vectorized: the gradient lies on 16 bytes.
extern "C" __global__ void __launch_bounds__(256) grad_norm_partials(const float* gradient, double* partials, long long count, int vectorized) {
    DYNAMIC_SHARED(shared);
    const long long chunks = (count + CHUNK - 1) / CHUNK;
    for (long long chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const float* from = gradient + chunk * CHUNK;
        const int length = static_cast<int>(min(static_cast<long long>(CHUNK), count - chunk * CHUNK)), vectors = vectorized ? length / 4 : 0;
        double even = 0.0, odd = 0.0;
        for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
            const float4 x = *reinterpret_cast<const float4*>(from + 4 * i);
            even = add_square(add_square(even, x.x), x.z);
            odd = add_square(add_square(odd, x.y), x.w);
        }
        for (int i = 4 * vectors + threadIdx.x; i < length; i += blockDim.x) {
            even = add_square(even, from[i]);
        }
        const double sum = sum_block(even + odd, reinterpret_cast<double*>(shared));
        if (threadIdx.x == 0) {
            partials[chunk] = sum;
        }
    }
}

// norm = the root of the sum of the partials. One block.
extern "C" __global__ void __launch_bounds__(1024) grad_norm_finish(const double* partials, float* norm, long long count) {
    DYNAMIC_SHARED(shared);
    double sum = 0.0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) {
        sum += partials[i];
    }
    sum = sum_block(sum, reinterpret_cast<double*>(shared));
    if (threadIdx.x == 0) {
        *norm = static_cast<float>(sqrt(sum));
    }
}

// factor = min(1, max_norm / (norm + 1e-6)), 1 when max_norm is 0. A norm that is not a number stays visible.
extern "C" __global__ void __launch_bounds__(32) clip_factor(const float* norm, float* factor, float max_norm) {
    if (threadIdx.x == 0) {
        const float ratio = max_norm / (*norm + 1e-6f);
        *factor = max_norm == 0.0f || ratio > 1.0f ? 1.0f : ratio;
    }
}
