// Router logits to ids, combine weights and routing statistics.
//
// The problem: scores, biases, group limits, top-k with ties and copies of a shared null logit, three ways to normalise and the sums
// of two losses, for rows that are short but many. The difficulty: top-k is a chain of K choices, the sums must not depend on
// timing, and a lane must not index registers by data. The choice: a warp per token; a token's scores and integer keys stand in the
// warp's part of shared memory, each lane owns the columns of its residue mod 32 and keeps its best key at hand, so a rank costs two warp
// reductions and a rescan by one lane. Copies of a shared null logit are a factor on its exponential and one run in the choice. A
// block takes a chunk of 256 tokens, adds its statistics up in a fixed order and leaves them to gate_finish, which adds the chunks.
#include "moe/router.cuh"

namespace {

// What does not change from token to token.
struct Router {
    NullGroups nulls;
    int experts, columns, topk, empty, score, renormalize, bias_kind, groups, groups_kept, group_score, shared_logit;
    float epsilon, scale, threshold;

    __device__ __forceinline__ int copies(int column) const { return nulls.copies_of(column, experts, shared_logit); }
};

// A warp's part of shared memory.
struct Work {
    float* scores;         // [C] probabilities, or sigmoids
    unsigned* keys;        // [C]
    float* sums;           // [C] probabilities summed over this warp's tokens of the chunk
    int* columns;          // [K] chosen, in rank order
    int* ids;              // [K]
    int* kinds;            // [K] of nulls, -1 for real experts
    float* values;         // [K]
    unsigned* group_keys;  // [groups]

    __device__ __forceinline__ Work(float* start, const Router& r)
        : scores(start),
          keys(reinterpret_cast<unsigned*>(start + r.columns)),
          sums(start + 2 * r.columns),
          columns(reinterpret_cast<int*>(start + 3 * r.columns)),
          ids(columns + r.topk),
          kinds(ids + r.topk),
          values(start + 3 * r.columns + 3 * r.topk),
          group_keys(reinterpret_cast<unsigned*>(values + r.topk)) {}
};

// Scores and keys of a token; its probabilities are added to the sums. A lane touches its own columns only. Without a score bias the
// key is the logit (plus its bias): softmax and sigmoid order as their logits do, and logits cannot underflow or saturate into ties.
// Returns logsumexp over all slots.
__device__ __forceinline__ float score_token(const Router& r, const Work& work, const Float* logits, const float* bias, int lane) {
    const bool is_softmax = r.score == SCORE_SOFTMAX, is_relu = r.score == SCORE_RELU, biased_score = r.bias_kind == BIAS_SCORE;
    float largest = Max::identity();
    for (int c = lane; c < r.columns; c += 32) {
        const float logit = to_float(logits[c]);
        work.scores[c] = logit;
        work.keys[c] = key_of(r.bias_kind == BIAS_LOGIT ? logit + bias[c] : logit);
        largest = fmaxf(largest, logit);
    }
    largest = reduce_warp<Max>(largest);
    float exponentials = 0.0f, sigmoids = 0.0f;
    for (int c = lane; c < r.columns; c += 32) {
        const float logit = work.scores[c], exponential = expf(logit - largest), copies = static_cast<float>(r.copies(c));
        const float score = is_softmax ? exponential : is_relu ? relu(logit) : sigmoid(logit);
        exponentials += copies * exponential;
        sigmoids += copies * score;
        work.scores[c] = score;
    }
    exponentials = reduce_warp<Sum>(exponentials);
    const float total = is_softmax ? exponentials : reduce_warp<Sum>(sigmoids);
    const float inverse = is_relu ? 1.0f : total == 0.0f ? 0.0f : 1.0f / total;
    for (int c = lane; c < r.columns; c += 32) {
        const float probability = work.scores[c] * inverse, score = is_softmax ? probability : work.scores[c];
        work.scores[c] = score;
        work.sums[c] += probability;
        if (biased_score) {
            work.keys[c] = key_of(score + bias[c]);
        }
    }
    return largest + logf(exponentials);
}

// The key by which a group of experts is ranked. Without a bias on the score the keys hold logits, and sigmoids are what is added.
__device__ __forceinline__ unsigned group_key(const Router& r, const unsigned* keys, int size) {
    unsigned first = keys[0], second = KEY_MASKED;
    for (int i = 1; i < size; i++) {
        const unsigned key = keys[i];
        second = max(second, min(first, key));
        first = max(first, key);
    }
    if (r.group_score == GROUP_MAX || size == 1) {
        return first;
    }
    const bool holds_logits = r.score == SCORE_SIGMOID && r.bias_kind != BIAS_SCORE;
    const float a = value_of(first), b = value_of(second);
    return key_of(holds_logits ? sigmoid(a) + sigmoid(b) : a + b);
}

// Masks the experts outside the groups that the token may choose from; equal groups: the lower one stays.
__device__ __forceinline__ void mask_groups(const Router& r, const Work& work, int lane) {
    const int size = r.experts / r.groups;
    __syncwarp();
    for (int g = lane; g < r.groups; g += 32) {
        work.group_keys[g] = group_key(r, work.keys + g * size, size);
    }
    __syncwarp();
    for (int g = lane; g < r.groups; g += 32) {
        const unsigned own = work.group_keys[g];
        int better = 0;
        for (int other = 0; other < r.groups; other++) {
            const unsigned key = work.group_keys[other];
            better += key > own || (key == own && other < g) ? 1 : 0;
        }
        for (int i = 0; better >= r.groups_kept && i < size; i++) {
            work.keys[g * size + i] = KEY_MASKED;
        }
    }
    __syncwarp();
}

// A lane's two largest keys with their columns, the lower column first among equals. Most lanes win one rank or none, so the second
// saves most rescans.
struct Best {
    unsigned key, second_key;
    int column, second_column;  // second_column -1: not known

    __device__ __forceinline__ Best(const unsigned* keys, int columns, int lane)
        : key(KEY_MASKED), second_key(KEY_MASKED), column(lane), second_column(lane) {
        for (int c = lane; c < columns; c += 32) {
            const unsigned other = keys[c];
            const bool first = other > key, second = other > second_key;
            second_column = first ? column : second ? c : second_column;
            second_key = first ? key : second ? other : second_key;
            column = first ? c : column;
            key = first ? other : key;
        }
    }

    // Goes on after the best column was chosen.
    __device__ __forceinline__ void next(unsigned* keys, int columns, int lane) {
        keys[column] = KEY_MASKED;
        if (second_column < 0) {
            *this = Best(keys, columns, lane);
        } else {
            key = second_key;
            column = second_column;
            second_column = -1;
        }
    }
};

// The K slots of largest key in rank order; equal keys: the lower slot. All copies of a shared null logit compare equal and what
// stands before them in the order is taken already, so they win one rank after another.
__device__ __forceinline__ void choose(const Router& r, const Work& work, int lane) {
    Best best(work.keys, r.columns, lane);
    for (int rank = 0; rank < r.topk;) {
        const unsigned key = __reduce_max_sync(ALL_LANES, best.key);
        const int column = static_cast<int>(__reduce_min_sync(ALL_LANES, best.key == key ? static_cast<unsigned>(best.column) : 0xffffffffu));
        if (column % 32 == lane) {
            best.next(work.keys, r.columns, lane);
        }
        int run = 1, id = column, kind = -1;
        if (column >= r.experts) {
            run = min(r.topk - rank, r.copies(column));
            id = -1 - r.nulls.first_of(column, r.experts, r.shared_logit);
            kind = r.nulls.kind_of(id);
        }
        for (int i = lane; i < run; i += 32) {
            work.columns[rank + i] = column;
            work.ids[rank + i] = id - i;
            work.kinds[rank + i] = kind;
        }
        rank += run;
    }
    __syncwarp();
}

// Slots that a token fills: all K, or the ranks before which the probabilities, added in rank order, are below the threshold. A NaN is
// below nothing, so it ends them. Of ReLU scores the positive ones, perhaps none.
__device__ __forceinline__ int filled_slots(const Router& r, const Work& work) {
    const bool is_relu = r.score == SCORE_RELU;
    int filled = is_relu || r.threshold < 1.0f ? 0 : r.topk;
    float mass = 0.0f;
    for (; filled < r.topk; filled++) {
        const float score = work.scores[work.columns[filled]];
        if (is_relu ? score == 0.0f : filled > 0 && !(mass < r.threshold)) {
            break;
        }
        mass += score;
    }
    return filled;
}

// Ids, combine weights and counts of a token; the slots behind the filled ones are empty. Normalised softmax weights come from the chosen
// logits alone and every sum runs in rank order over the slots that take part, so a token with null slots gets the bits of a router
// without them.
__device__ __forceinline__ void write_token(
    const Router& r, const Work& work, const Float* logits, int* ids, float* weights, int* counts, int filled, int lane) {
    const bool exponential = r.score == SCORE_SOFTMAX && r.renormalize != RENORMALIZE_NONE;
    float largest = Max::identity();
    for (int k = lane; k < filled; k += 32) {
        const int column = work.columns[k];
        const bool included = takes_part(work.kinds[k], r.renormalize);
        const float value = exponential ? to_float(logits[column]) : work.scores[column];
        ids[k] = work.ids[k];
        atomicAdd(&counts[column], 1);
        work.values[k] = included ? value : exponential ? Max::identity() : 0.0f;
        largest = included ? fmaxf(largest, value) : largest;
    }
    if (exponential) {
        largest = reduce_warp<Max>(largest);
        for (int k = lane; k < filled; k += 32) {
            work.values[k] = takes_part(work.kinds[k], r.renormalize) ? expf(work.values[k] - largest) : 0.0f;
        }
    }
    __syncwarp();
    float divisor = 1.0f;
    if (r.renormalize != RENORMALIZE_NONE) {
        divisor = 0.0f;
        for (int k = 0; k < filled; k++) {
            divisor += work.values[k];
        }
        divisor += exponential ? 0.0f : r.epsilon;
    }
    for (int k = lane; k < filled; k += 32) {
        weights[k] = work.kinds[k] == NULL_ZERO ? 0.0f : r.scale * (work.values[k] / divisor);
    }
    for (int k = filled + lane; k < r.topk; k += 32) {
        ids[k] = r.empty;
        weights[k] = 0.0f;
    }
    __syncwarp();
}

}  // namespace

// ids, weights [T,K]; chunk_counts [chunks,E]; partials [chunks, 1 + C]: sum of squared logsumexps, then of probabilities;
// null_counts [chunks, C - E]; top_counts [chunks, C] or null: slots of rank 1. A threshold of 1 fills all slots. Blocks are 1 to 32
// warps; shared memory: 32 + C words, C more for top counts, and per warp 3 C + 4 K + groups words.
extern "C" __global__ void __launch_bounds__(1024, 1) gate(
    const Float* logits, const float* bias, int* ids, float* weights, int* chunk_counts, float* partials, int* null_counts,
    int* top_counts, int tokens, int experts, int columns, int topk, int empty, int score, int renormalize, float epsilon,
    float scale, int bias_kind, int groups, int groups_kept, int group_score, float threshold, int shared_logit, NULL_GROUP_PARAMETERS) {
    DYNAMIC_SHARED(shared);
    const Router r = {NULL_GROUPS, experts, columns, topk, empty, score, renormalize, bias_kind, groups, groups_kept, group_score,
                      shared_logit, epsilon, scale, threshold};
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    float* squares = reinterpret_cast<float*>(shared);
    int* counts = reinterpret_cast<int*>(squares + 32);
    const int stride = 3 * columns + 4 * topk + groups;
    const int counted = top_counts != nullptr ? 2 * columns : columns;
    float* first_sums = squares + 32 + counted + 2 * columns;
    const Work work(squares + 32 + counted + warp * stride, r);
    const int chunks = (tokens + CHUNK_TOKENS - 1) / CHUNK_TOKENS;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        for (int c = threadIdx.x; c < counted; c += blockDim.x) {
            counts[c] = 0;
        }
        for (int c = lane; c < columns; c += 32) {
            work.sums[c] = 0.0f;
        }
        __syncthreads();
        float square = 0.0f;
        const int end = min(tokens, (chunk + 1) * CHUNK_TOKENS);
        for (int t = chunk * CHUNK_TOKENS + warp; t < end; t += warps) {
            const Float* row = logits + static_cast<long long>(t) * columns;
            const long long first = static_cast<long long>(t) * topk;
            const float log_sum_exp = score_token(r, work, row, bias, lane);
            square += log_sum_exp * log_sum_exp;
            if (groups_kept < groups) {
                mask_groups(r, work, lane);
            }
            choose(r, work, lane);
            const int filled = filled_slots(r, work);
            if (top_counts != nullptr && filled > 0 && lane == 0) {
                atomicAdd(&counts[columns + work.columns[0]], 1);
            }
            write_token(r, work, row, ids + first, weights + first, counts, filled, lane);
        }
        if (lane == 0) {
            squares[warp] = square;
        }
        __syncthreads();
        float* partial = partials + static_cast<long long>(chunk) * (1 + columns);
        for (int c = threadIdx.x; c < columns; c += blockDim.x) {
            float sum = 0.0f;
            for (int w = 0; w < warps; w++) {
                sum += first_sums[w * stride + c];
            }
            partial[1 + c] = sum;
            if (top_counts != nullptr) {
                top_counts[static_cast<long long>(chunk) * columns + c] = counts[columns + c];
            }
            if (c < experts) {
                chunk_counts[static_cast<long long>(chunk) * experts + c] = counts[c];
            } else {
                null_counts[static_cast<long long>(chunk) * (columns - experts) + c - experts] = counts[c];
            }
        }
        if (threadIdx.x == 0) {
            float sum = 0.0f;
            for (int w = 0; w < warps; w++) {
                sum += squares[w];
            }
            partial[0] = sum;
        }
        __syncthreads();
    }
}

// Chunks to totals, in double: counts [C], top_counts [C] or null, probability_sums [C], balance_loss [1], z_loss [1]. The load of a slot is
// its top count where there are any, else its count. One block of 32 warps: a warp adds every 32nd chunk for 32 columns at a time,
// then warp 0 adds the warps. Shared memory: 1024 doubles and 2048 integers.
extern "C" __global__ void __launch_bounds__(1024, 1) gate_finish(
    const float* partials, const int* null_counts, const int* chunk_counts, const int* top_chunks, int* counts, int* top_counts,
    float* probability_sums, float* balance_loss, float* z_loss, int tokens, int experts, int columns, int average, int shared_logit,
    NULL_GROUP_PARAMETERS) {
    DYNAMIC_SHARED(shared);
    const NullGroups nulls = NULL_GROUPS;
    double* warp_sums = reinterpret_cast<double*>(shared);
    int* warp_counts = reinterpret_cast<int*>(warp_sums + 1024);
    int* warp_tops = warp_counts + 1024;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int chunks = (tokens + CHUNK_TOKENS - 1) / CHUNK_TOKENS;
    BalanceSum balance;
    for (int first = 0; first < columns; first += 32) {
        const int c = first + lane;
        double sum = 0.0;
        int count = 0, top = 0;
        for (int chunk = warp; c < columns && chunk < chunks; chunk += 32) {
            sum += partials[static_cast<long long>(chunk) * (1 + columns) + 1 + c];
            count += c < experts ? chunk_counts[static_cast<long long>(chunk) * experts + c]
                                 : null_counts[static_cast<long long>(chunk) * (columns - experts) + c - experts];
            top += top_chunks != nullptr ? top_chunks[static_cast<long long>(chunk) * columns + c] : 0;
        }
        warp_sums[threadIdx.x] = sum;
        warp_counts[threadIdx.x] = count;
        warp_tops[threadIdx.x] = top;
        __syncthreads();
        if (warp == 0 && c < columns) {
            for (int w = 1; w < 32; w++) {
                sum += warp_sums[32 * w + lane];
                count += warp_counts[32 * w + lane];
                top += warp_tops[32 * w + lane];
            }
            counts[c] = count;
            const float probability_sum = static_cast<float>(sum);
            probability_sums[c] = probability_sum;
            int load = count;
            if (top_chunks != nullptr) {
                top_counts[c] = top;
                load = top;
            }
            balance.add(nulls, c, load, probability_sum, experts, average, shared_logit);
        }
        __syncthreads();
    }
    if (warp == 0) {
        double squares = 0.0;
        for (int chunk = lane; chunk < chunks; chunk += 32) {
            squares += partials[static_cast<long long>(chunk) * (1 + columns)];
        }
        squares = sum_warp(squares);
        const float loss = balance.loss(nulls, experts, tokens);
        if (lane == 0) {
            *balance_loss = loss;
            *z_loss = static_cast<float>(squares / (tokens > 0 ? tokens : 1.0));
        }
    }
}
