// Optional capacity: every expert keeps its C best (token, slot) pairs, the others become empty slots of weight 0.
//
// The problem: the best of T K pairs by rank, then weight, then token, and the same ones in every run. A sort per expert would need room
// for all pairs of the most loaded one. The choice: a block per expert that only counts. Whole ranks are kept while they fit; in the first
// rank that does not, the weight of the last pair kept is found bit by bit, from counts of keys that are as large or larger; of equal
// weights the earlier tokens are kept, placed by a scan in token order. All counts are integers, so nothing depends on timing.
#include "moe/router.cuh"

namespace {

// Sum over the 8 warps of a block of a number per thread; all threads get it. Ends with a barrier.
__device__ __forceinline__ int sum_block(int x, int* scratch) {
    const int sum = static_cast<int>(__reduce_add_sync(ALL_LANES, static_cast<unsigned>(x)));
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    int total = 0;
#pragma unroll
    for (int warp = 0; warp < 8; warp++) {
        total += scratch[warp];
    }
    __syncthreads();
    return total;
}

// One rank of one expert.
struct Pairs {
    const int* ids;
    const float* weights;
    int tokens, topk, rank, expert;

    __device__ __forceinline__ long long slot(int token) const { return static_cast<long long>(token) * topk + rank; }

    // Pairs whose key is at least this one; every key is at least KEY_NAN.
    __device__ __forceinline__ int count(unsigned least, int* scratch) const {
        int own = 0;
        for (int t = threadIdx.x; t < tokens; t += 256) {
            own += ids[slot(t)] == expert && key_of(weights[slot(t)]) >= least ? 1 : 0;
        }
        return sum_block(own, scratch);
    }

    // Empties all pairs but the first `left` by weight and token.
    __device__ __forceinline__ void drop(int left, int empty, int* kept_ids, float* kept_weights, int* scratch) const {
        unsigned last = 0xffffffffu;
        int ties = 0;
        if (left > 0) {
            last = 0;
            for (int bit = 31; bit >= 0; bit--) {
                const unsigned next = last | 1u << bit;
                last = count(next, scratch) >= left ? next : last;
            }
            ties = left - count(last + 1, scratch);
        }
        const unsigned before = (1u << threadIdx.x % 32) - 1;
        const int warp = threadIdx.x / 32;
        for (int first = 0; first < tokens; first += 256) {
            const int t = first + static_cast<int>(threadIdx.x);
            const bool own = t < tokens && ids[slot(t)] == expert;
            const unsigned key = own ? key_of(weights[slot(t)]) : KEY_MASKED, equal = __ballot_sync(ALL_LANES, own && key == last);
            if (threadIdx.x % 32 == 0) {
                scratch[warp] = __popc(equal);
            }
            __syncthreads();
            int earlier = __popc(equal & before), all = 0;
#pragma unroll
            for (int w = 0; w < 8; w++) {
                earlier += w < warp ? scratch[w] : 0;
                all += scratch[w];
            }
            if (own && (key < last || (key == last && earlier >= ties))) {
                kept_ids[slot(t)] = empty;
                kept_weights[slot(t)] = 0.0f;
            }
            ties -= all;
            __syncthreads();
        }
    }
};

}  // namespace

// kept_ids, kept_weights [n] = ids, weights.
extern "C" __global__ void __launch_bounds__(256) capacity_copy(
    const int* ids, const float* weights, int* kept_ids, float* kept_weights, long long n) {
    for (long long i = static_cast<long long>(blockIdx.x) * 256 + threadIdx.x; i < n; i += static_cast<long long>(gridDim.x) * 256) {
        kept_ids[i] = ids[i];
        kept_weights[i] = weights[i];
    }
}

// ids, weights [T,K]; kept_ids, kept_weights hold copies of them. 256 threads; shared memory: 8 words. No pair has the largest key of all,
// a NaN has its own, so with no room left every pair is below `last`.
extern "C" __global__ void __launch_bounds__(256) capacity(
    const int* ids, const float* weights, int* kept_ids, float* kept_weights, int tokens, int topk, int experts, int limit, int empty) {
    DYNAMIC_SHARED(shared);
    int* scratch = reinterpret_cast<int*>(shared);
    for (int expert = blockIdx.x; expert < experts; expert += gridDim.x) {
        int left = limit;
        for (int rank = 0; rank < topk; rank++) {
            const Pairs pairs = {ids, weights, tokens, topk, rank, expert};
            const int count = pairs.count(KEY_NAN, scratch);
            if (count <= left) {
                left -= count;
            } else {
                pairs.drop(left, empty, kept_ids, kept_weights, scratch);
                left = 0;
            }
        }
    }
}
