// Ids and weights to rows: a stable counting sort of the real slots. Null slots get no row.
//
// The problem: the row of a slot depends on all slots before it, and blocks must not talk to each other inside a launch. The choice: the
// gate already counted every expert in every chunk of 256 tokens, so each block adds the columns of that small table and knows
// where the rows of its chunk begin. Inside a chunk every warp owns a run of slots: it counts them, the counts are summed over warps,
// and then it places 32 slots at a time, the rank among equal experts being a population count over ballots. Exact integers, so the
// number of blocks and warps decides nothing but speed. Ids below 0 or from E on are null.
//
// Without counts a kernel makes them first, and few slots are one chunk of one block that needs none. With very many chunks the
// columns are summed once, by dispatch_prefix, not by each block.
#include "moe/router.cuh"

namespace {

// Lanes whose expert equals this lane's, among the lanes with `valid`; 0 for a lane without.
__device__ __forceinline__ unsigned equal_lanes(int expert, bool valid, int bits) {
    unsigned equal = __ballot_sync(ALL_LANES, valid);
    for (int bit = 0; bit < bits; bit++) {
        const unsigned set = __ballot_sync(ALL_LANES, (expert >> bit & 1) != 0);
        equal &= (expert >> bit & 1) != 0 ? set : ~set;
    }
    return valid ? equal : 0u;
}

// Exclusive sums of n counts in place, by one warp; all lanes get the total.
__device__ __forceinline__ int scan_warp(int* values, int n, int lane) {
    int carry = 0;
    for (int first = 0; first < n; first += 32) {
        const int i = first + lane, own = i < n ? values[i] : 0;
        int sum = own;
#pragma unroll
        for (int distance = 1; distance < 32; distance <<= 1) {
            const int other = __shfl_up_sync(ALL_LANES, sum, distance);
            sum += lane >= distance ? other : 0;
        }
        if (i < n) {
            values[i] = carry + sum - own;
        }
        carry += __shfl_sync(ALL_LANES, sum, 31);
    }
    return carry;
}

// Rows per expert, of all chunks and of those before this one, added to totals and before. Warps share columns and chunks out.
__device__ __forceinline__ void sum_chunks(
    const int* chunk_counts, int chunks, int chunk, int experts, int* totals, int* before, int lane, int warp, int warps) {
    const int tiles = (experts + 31) / 32, slices = max(1, warps / tiles);
    for (int item = warp; item < tiles * slices; item += warps) {
        const int e = item % tiles * 32 + lane;
        int total = 0, sum = 0;
        if (e < experts) {
#pragma unroll 8
            for (int other = item / tiles; other < chunks; other += slices) {
                const int count = __ldg(chunk_counts + static_cast<long long>(other) * experts + e);
                total += count;
                sum += other < chunk ? count : 0;
            }
            atomicAdd(&totals[e], total);
            atomicAdd(&before[e], sum);
        }
    }
}

}  // namespace

// offsets [E+1], row_token, row_weight [T*K, first R written], slot_row [T,K]. chunk_counts: [chunks,E] rows of every chunk and expert;
// or, with `prefixed`, [chunks+1,E] rows before every chunk, and all rows; or null for a single chunk. Blocks are 1 to 32 warps; shared
// memory: 2 E words, and E per warp.
extern "C" __global__ void __launch_bounds__(1024, 1) dispatch(
    const int* ids, const float* weights, const int* chunk_counts, int* offsets, int* row_token, float* row_weight, int* slot_row,
    int tokens, int topk, int experts, int chunk_tokens, int chunks, int prefixed) {
    DYNAMIC_SHARED(shared);
    int* totals = reinterpret_cast<int*>(shared);
    int* before = totals + experts;
    int* next = before + experts;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int bits = experts > 1 ? 32 - __clz(experts - 1) : 0;
    int* own = next + warp * experts;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        for (int i = threadIdx.x; i < (2 + warps) * experts; i += blockDim.x) {
            totals[i] = 0;
        }
        const long long start = static_cast<long long>(chunk) * chunk_tokens * topk;
        const long long rest = static_cast<long long>(tokens) * topk - start;
        const int slots = static_cast<int>(min(rest, static_cast<long long>(chunk_tokens) * topk));
        const int run = ((slots + warps - 1) / warps + 31) / 32 * 32;
        const int first = warp * run, end = min(slots, first + run);
        __syncthreads();
        for (int i = first + lane; i < end; i += 32) {
            const unsigned id = static_cast<unsigned>(ids[start + i]);
            if (id < static_cast<unsigned>(experts)) {
                atomicAdd(&own[id], 1);
            }
        }
        if (chunk_counts != nullptr && !prefixed) {
            sum_chunks(chunk_counts, chunks, chunk, experts, totals, before, lane, warp, warps);
        }
        __syncthreads();
        if (chunk_counts == nullptr || prefixed) {
            for (int e = threadIdx.x; e < experts; e += blockDim.x) {
                if (prefixed) {
                    totals[e] = chunk_counts[static_cast<long long>(chunks) * experts + e];
                    before[e] = chunk_counts[static_cast<long long>(chunk) * experts + e];
                } else {
                    int sum = 0;
                    for (int w = 0; w < warps; w++) {
                        sum += next[w * experts + e];
                    }
                    totals[e] = sum;
                }
            }
            __syncthreads();
        }
        if (warp == 0) {
            const int rows = scan_warp(totals, experts, lane);
            if (chunk == 0 && lane == 0) {
                offsets[experts] = rows;
            }
        }
        __syncthreads();
        for (int e = threadIdx.x; e < experts; e += blockDim.x) {
            int row = totals[e] + before[e];
            if (chunk == 0) {
                offsets[e] = totals[e];
            }
            for (int w = 0; w < warps; w++) {
                const int count = next[w * experts + e];
                next[w * experts + e] = row;
                row += count;
            }
        }
        __syncthreads();
        for (int i = first; i < end; i += 32) {
            const long long slot = start + i + lane;
            const int id = i + lane < end ? ids[slot] : -1;
            const bool real = static_cast<unsigned>(id) < static_cast<unsigned>(experts);
            const unsigned equal = equal_lanes(id, real, bits);
            const int rank = __popc(equal & ((1u << lane) - 1u));
            const int row = real ? own[id] + rank : -1;
            if (i + lane < end) {
                slot_row[slot] = row;
            }
            if (real) {
                row_token[row] = static_cast<int>(slot) / topk;
                row_weight[row] = weights[slot];
            }
            __syncwarp();
            if (real && rank == 0) {
                own[id] = row + __popc(equal);
            }
            __syncwarp();
        }
        __syncthreads();
    }
}

// counts [chunks,E]: real slots of every chunk of 256 tokens. Shared memory: E words.
extern "C" __global__ void __launch_bounds__(256, 1) dispatch_count(const int* ids, int* counts, int tokens, int topk, int experts) {
    DYNAMIC_SHARED(shared);
    int* sums = reinterpret_cast<int*>(shared);
    const int chunks = (tokens + CHUNK_TOKENS - 1) / CHUNK_TOKENS;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        for (int e = threadIdx.x; e < experts; e += blockDim.x) {
            sums[e] = 0;
        }
        __syncthreads();
        const long long start = static_cast<long long>(chunk) * CHUNK_TOKENS * topk;
        const long long end = min(start + static_cast<long long>(CHUNK_TOKENS) * topk, static_cast<long long>(tokens) * topk);
        for (long long slot = start + threadIdx.x; slot < end; slot += blockDim.x) {
            const unsigned id = static_cast<unsigned>(ids[slot]);
            if (id < static_cast<unsigned>(experts)) {
                atomicAdd(&sums[id], 1);
            }
        }
        __syncthreads();
        for (int e = threadIdx.x; e < experts; e += blockDim.x) {
            counts[static_cast<long long>(chunk) * experts + e] = sums[e];
        }
        __syncthreads();
    }
}

// before [chunks+1,E]: rows of every expert before each chunk, and at the end all of them. A block of 32 warps takes 32 experts; a warp
// takes a run of chunks. Shared memory: 1024 integers.
extern "C" __global__ void __launch_bounds__(1024, 1) dispatch_prefix(const int* counts, int* before, int chunks, int experts) {
    DYNAMIC_SHARED(shared);
    int* sums = reinterpret_cast<int*>(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int run = (chunks + 31) / 32, first = min(chunks, warp * run), end = min(chunks, first + run);
    for (int tile = blockIdx.x; tile < (experts + 31) / 32; tile += gridDim.x) {
        const int e = tile * 32 + lane;
        int sum = 0;
        for (int chunk = first; e < experts && chunk < end; chunk++) {
            sum += counts[static_cast<long long>(chunk) * experts + e];
        }
        sums[threadIdx.x] = sum;
        __syncthreads();
        int row = 0;
        for (int w = 0; w < warp; w++) {
            row += sums[32 * w + lane];
        }
        for (int chunk = first; e < experts && chunk < end; chunk++) {
            before[static_cast<long long>(chunk) * experts + e] = row;
            row += counts[static_cast<long long>(chunk) * experts + e];
        }
        if (e < experts && warp == 31) {
            before[static_cast<long long>(chunks) * experts + e] = row;
        }
        __syncthreads();
    }
}
