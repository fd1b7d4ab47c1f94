// Noisy top-k: noise on router logits, and the losses over weights and over the probability of being chosen again.
//
// The problem: random numbers that no launch shape changes, a normal distribution function per token and expert, and sums over tokens
// that do not depend on timing. The choice: noise is counter-based, element i a function of seed, stream and i. A warp takes a token; a
// lane owns the experts of its residue mod 32, so it adds to its own columns of the warp's sums in token order; a block takes a chunk
// of 256 tokens and adds its warps in order, noisy_balance_finish adds the chunks in order, in double.
#include "moe/router.cuh"

namespace {

constexpr float NOISE_FLOOR = 0.01f;
constexpr double TWO_TO_MINUS_53 = 1.1102230246251565e-16;

// 64 random bits: Philox-4x32-10, as CounterRandom.
__device__ __forceinline__ uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter) {
    uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
    uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<uint32_t>(p1);
        c3 = static_cast<uint32_t>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0 | static_cast<uint64_t>(c1) << 32;
}

__device__ __forceinline__ double uniform(uint64_t seed, uint64_t stream, uint64_t counter) {
    return static_cast<double>(random_bits(seed, stream, counter) >> 11) * TWO_TO_MINUS_53;
}

// Standard normal (Box-Muller), in double as on the host.
__device__ __forceinline__ float normal(uint64_t seed, uint64_t stream, uint64_t counter) {
    const double u = 1.0 - uniform(seed, stream, 2 * counter), v = uniform(seed, stream, 2 * counter + 1);
    return static_cast<float>(sqrt(-2.0 * log(u)) * cospi(2.0 * v));
}

// Spread of the noise: softplus plus a floor.
__device__ __forceinline__ float deviation(float spread) { return fmaxf(spread, 0.0f) + log1pf(expf(-fabsf(spread))) + NOISE_FLOOR; }

__device__ __forceinline__ float normal_cdf(float z) { return 0.5f * erfcf(-0.70710678f * z); }

__device__ __forceinline__ bool contains(const int* ids, int topk, int expert) {
    bool found = false;
    for (int k = 0; k < topk; k++) {
        found = found || ids[k] == expert;
    }
    return found;
}

// The best expert that was not chosen, the lower one of equals, NaN last; -1 when all were chosen. All lanes get it.
__device__ __forceinline__ int runner_up_of(const Float* noisy, const int* ids, int experts, int topk, int lane) {
    unsigned best = KEY_MASKED;
    int column = experts;
    for (int e = lane; e < experts; e += 32) {
        const unsigned key = contains(ids, topk, e) ? KEY_MASKED : key_of(to_float(noisy[e]));
        column = key > best ? e : column;
        best = max(best, key);
    }
    const unsigned all = __reduce_max_sync(ALL_LANES, best);
    const unsigned first = __reduce_min_sync(ALL_LANES, best == all ? static_cast<unsigned>(column) : 0xffffffffu);
    return all == KEY_MASKED ? -1 : static_cast<int>(first);
}

__device__ __forceinline__ double add_lanes(double x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) {
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    }
    return x;
}

}  // namespace

// noise [n], noisy [n].
extern "C" __global__ void __launch_bounds__(256) noisy_logits(
    const Float* logits, const Float* spread, uint64_t seed, uint64_t stream, uint64_t first, float* noise, Float* noisy, long long n) {
    for (long long i = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x; i < n; i += static_cast<long long>(gridDim.x) * 256) {
        const float x = normal(seed, stream, first + static_cast<uint64_t>(i));
        noise[i] = x;
        store(noisy + i, fmaf(x, deviation(to_float(spread[i])), to_float(logits[i])));
    }
}

extern "C" __global__ void __launch_bounds__(256) noisy_logits_backward(
    const Float* spread, const float* noise, const Float* d_noisy, Float* d_spread, long long n) {
    for (long long i = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x; i < n; i += static_cast<long long>(gridDim.x) * 256) {
        store(d_spread + i, to_float(d_noisy[i]) * noise[i] * sigmoid(to_float(spread[i])));
    }
}

// runner_up [T]; partials [chunks, 2 E]: importance, then load. Blocks of 1 to 8 warps; shared memory: 2 E words per warp.
extern "C" __global__ void __launch_bounds__(256) noisy_balance(
    const Float* logits, const Float* spread, const Float* noisy, const int* ids, const float* weights, int* runner_up, float* partials,
    int tokens, int experts, int topk) {
    DYNAMIC_SHARED(shared);
    float* all_sums = reinterpret_cast<float*>(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    float* sums = all_sums + 2 * experts * warp;
    const int chunks = (tokens + CHUNK_TOKENS - 1) / CHUNK_TOKENS;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        for (int e = lane; e < experts; e += 32) {
            sums[e] = 0.0f;
            sums[experts + e] = 0.0f;
        }
        const int end = min(tokens, (chunk + 1) * CHUNK_TOKENS);
        for (int t = chunk * CHUNK_TOKENS + warp; t < end; t += warps) {
            const long long row = static_cast<long long>(t) * experts, slot = static_cast<long long>(t) * topk;
            const int next = runner_up_of(noisy + row, ids + slot, experts, topk, lane), last = ids[slot + topk - 1];
            if (lane == 0) {
                runner_up[t] = next;
            }
            for (int k = 0; k < topk; k++) {
                const int e = ids[slot + k];
                if (e % 32 == lane) {
                    sums[e] += weights[slot + k];
                }
            }
            for (int e = lane; e < experts; e += 32) {
                const int bar = contains(ids + slot, topk, e) ? next : last;
                float load = 1.0f;
                if (bar >= 0) {
                    load = normal_cdf((to_float(logits[row + e]) - to_float(noisy[row + bar])) / deviation(to_float(spread[row + e])));
                }
                sums[experts + e] += load;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < 2 * experts; i += blockDim.x) {
            float sum = 0.0f;
            for (int w = 0; w < warps; w++) {
                sum += all_sums[2 * experts * w + i];
            }
            partials[static_cast<long long>(chunk) * 2 * experts + i] = sum;
        }
        __syncthreads();
    }
}

namespace {

// Sum over the block in a fixed order; all threads get it. Scratch: a double per warp of 8.
__device__ __forceinline__ double add_block(double x, double* scratch) {
    x = add_lanes(x);
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = x;
    }
    __syncthreads();
    double sum = 0.0;
#pragma unroll
    for (int w = 0; w < 8; w++) {
        sum += scratch[w];
    }
    __syncthreads();
    return sum;
}

// Sums of all chunks of a column.
__device__ __forceinline__ double column_sum(const float* partials, int column, int columns, int chunks) {
    double sum = 0.0;
    for (int chunk = 0; chunk < chunks; chunk++) {
        sum += partials[static_cast<long long>(chunk) * columns + column];
    }
    return sum;
}

}  // namespace

// statistics [4, E]: importance, load, gradients of the loss with respect to them; loss [1]. One block of 256 threads; shared memory: 8 doubles.
extern "C" __global__ void __launch_bounds__(256) noisy_balance_finish(
    const float* partials, float* statistics, float* loss, int chunks, int experts) {
    DYNAMIC_SHARED(shared);
    double* scratch = reinterpret_cast<double*>(shared);
    double total = 0.0;
    for (int half = 0; half < 2; half++) {
        double own = 0.0;
        for (int e = threadIdx.x; e < experts; e += 256) {
            own += column_sum(partials, half * experts + e, 2 * experts, chunks);
        }
        const double mean = add_block(own, scratch) / experts;
        double squares = 0.0;
        for (int e = threadIdx.x; e < experts; e += 256) {
            const double x = column_sum(partials, half * experts + e, 2 * experts, chunks);
            statistics[half * experts + e] = static_cast<float>(x);
            squares += (x - mean) * (x - mean);
        }
        const double variance = add_block(squares, scratch) / experts;
        for (int e = threadIdx.x; e < experts; e += 256) {
            const double x = column_sum(partials, half * experts + e, 2 * experts, chunks);
            statistics[(2 + half) * experts + e] =
                mean == 0.0 ? 0.0f : static_cast<float>(2.0 * (x - mean - variance / mean) / (experts * mean * mean));
        }
        total += mean == 0.0 ? 0.0 : variance / (mean * mean);
    }
    if (threadIdx.x == 0) {
        *loss = static_cast<float>(total);
    }
}

// d_logits, d_spread, d_noisy [T,E], d_weights [T,K]. 256 threads, a warp per token.
extern "C" __global__ void __launch_bounds__(256) noisy_balance_backward(
    const Float* logits, const Float* spread, const Float* noisy, const int* ids, const int* runner_up, const float* statistics,
    const float* d_loss, Float* d_logits, Float* d_spread, Float* d_noisy, float* d_weights, int tokens, int experts, int topk) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float factor = *d_loss;
    for (int t = blockIdx.x * 8 + warp; t < tokens; t += gridDim.x * 8) {
        const long long row = static_cast<long long>(t) * experts, slot = static_cast<long long>(t) * topk;
        const int next = runner_up[t], last = ids[slot + topk - 1];
        for (int k = lane; k < topk; k += 32) {
            d_weights[slot + k] = factor * statistics[2 * experts + ids[slot + k]];
        }
        float next_sum = 0.0f, last_sum = 0.0f;
        for (int e = lane; e < experts; e += 32) {
            const bool chosen = contains(ids + slot, topk, e);
            const int bar = chosen ? next : last;
            const float own = to_float(spread[row + e]);
            float slope = 0.0f, z = 0.0f;
            if (bar >= 0) {
                const float s = deviation(own);
                z = (to_float(logits[row + e]) - to_float(noisy[row + bar])) / s;
                slope = factor * statistics[3 * experts + e] * expf(-0.5f * z * z) * 0.39894228f / s;
            }
            store(d_logits + row + e, slope);
            store(d_spread + row + e, -slope * z * sigmoid(own));
            next_sum += chosen ? slope : 0.0f;
            last_sum += chosen ? 0.0f : slope;
        }
        next_sum = reduce_warp<Sum>(next_sum);
        last_sum = reduce_warp<Sum>(last_sum);
        for (int e = lane; e < experts; e += 32) {
            store(d_noisy + row + e, e == last ? -last_sum : e == next ? -next_sum : 0.0f);
        }
    }
}
