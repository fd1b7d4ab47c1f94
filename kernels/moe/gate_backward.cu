// Gradients of combine weights, balance loss and z-loss, to the router logits.
//
// The problem: three gradients meet in every logit, and several slots of a token may read one column. The choice: a warp per token. The
// choice of slots and the loads are constants, so with G_c the gradient of the probability of one copy of column c, times the copies
// that have it, softmax gives p_c (G_c - copies_c sum p G), one formula for raw weights and balance loss; the z-loss adds
// 2 lse copies_c p_c / T. Normalised softmax weights are a softmax over the chosen slots that take part, so their gradient touches those
// columns alone: a zero null gets exactly zero, and so does a token with one slot left, because g - 1 g is. What the slots of a
// token add to their columns is added in rank order by one lane.
#include "moe/router.cuh"

namespace {

struct Router {
    NullGroups nulls;
    int experts, columns, topk, score, renormalize, shared_logit;
    float epsilon, scale;

    __device__ __forceinline__ float copies(int column) const {
        return static_cast<float>(nulls.copies_of(column, experts, shared_logit));
    }
};

// A warp's part of shared memory.
struct Work {
    float* scores;      // [C] probabilities, or sigmoids
    float* added;       // [C] what the chosen slots add: to G, or behind the softmax to the gradient of the logit
    float* values;      // [K] scores of chosen slots, 0 for those that take no part
    float* gradients;   // [K] gradients of unscaled weights
    int* columns;       // [K] -1 for a slot without gradient

    __device__ __forceinline__ Work(float* start, const Router& r)
        : scores(start),
          added(start + r.columns),
          values(start + 2 * r.columns),
          gradients(values + r.topk),
          columns(reinterpret_cast<int*>(gradients + r.topk)) {}
};

// Load that the balance loss takes for every column, times what does not depend on the column: the gradient of the probability of one
// copy, copies together. The same for all tokens. Ends with a barrier.
__device__ __forceinline__ void balance_gradients(
    const Router& r, const int* loads, float d_balance, int tokens, int average, int* sums, float* balance) {
    if (threadIdx.x < 2) {
        sums[threadIdx.x] = 0;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < r.columns; c += blockDim.x) {
        atomicAdd(&sums[c < r.experts ? 0 : 1], loads[c]);
    }
    __syncthreads();
    const int null_slots = r.nulls.slots();
    const float per_slot = static_cast<float>(
        (r.experts + null_slots) * static_cast<double>(d_balance) / tokens / fmax(1.0, static_cast<double>(sums[0]) + sums[1]));
    const float mean = null_slots > 0 ? static_cast<float>(sums[1]) / static_cast<float>(null_slots) : 0.0f;
    for (int c = threadIdx.x; c < r.columns; c += blockDim.x) {
        balance[c] = per_slot * (c >= r.experts && average ? r.copies(c) * mean : static_cast<float>(loads[c]));
    }
    __syncthreads();
}

// Columns, gradients and scores of the chosen slots, and what they add to their columns.
__device__ __forceinline__ void chosen_gradients(
    const Router& r, const Work& work, const Float* logits, const int* ids, const float* d_weights, int lane) {
    const bool normalised = r.renormalize != RENORMALIZE_NONE, is_softmax = r.score == SCORE_SOFTMAX;
    float largest = Max::identity();
    for (int k = lane; k < r.topk; k += 32) {
        const int id = ids[k], kind = r.nulls.kind_of(id), column = r.nulls.column_of(id, r.experts, r.shared_logit);
        const bool counts = column >= 0 && (normalised ? takes_part(kind, r.renormalize) : kind != NULL_ZERO);
        work.columns[k] = counts ? column : -1;
        work.gradients[k] = kind == NULL_ZERO ? 0.0f : r.scale * d_weights[k];
        if (counts) {
            const float value = is_softmax ? to_float(logits[column]) : work.scores[column];
            work.values[k] = value;
            largest = fmaxf(largest, value);
        } else {
            work.values[k] = 0.0f;
        }
    }
    if (normalised && is_softmax) {
        largest = reduce_warp<Max>(largest);
        for (int k = lane; k < r.topk; k += 32) {
            work.values[k] = work.columns[k] >= 0 ? expf(work.values[k] - largest) : 0.0f;
        }
    }
    __syncwarp();
    if (normalised) {
        // w_i = v_i / D: softmax slots get v_i / D (g_i - mean g), sigmoid scores (g_i - mean g) / D, mean over v / D.
        float divisor = is_softmax ? 0.0f : r.epsilon;
        for (int k = 0; k < r.topk; k++) {
            divisor += work.values[k];
        }
        float mean = 0.0f;
        for (int k = 0; k < r.topk; k++) {
            mean += work.columns[k] >= 0 ? work.values[k] / divisor * work.gradients[k] : 0.0f;
        }
        __syncwarp();
        for (int k = lane; k < r.topk; k += 32) {
            const float share = is_softmax ? work.values[k] / divisor : 1.0f / divisor;
            work.gradients[k] = work.columns[k] >= 0 ? share * (work.gradients[k] - mean) : 0.0f;
        }
        __syncwarp();
    }
    if (lane == 0) {
        for (int k = 0; k < r.topk; k++) {
            if (work.columns[k] >= 0) {
                work.added[work.columns[k]] += work.gradients[k];
            }
        }
    }
    __syncwarp();
}

// Softmax scores: d_logits = p (G - copies mean) + z-loss, and behind it what normalised weights add.
__device__ __forceinline__ void softmax_row(const Router& r, const Work& work, const float* balance, float z_slope, Float* d_logits, int lane) {
    const bool raw = r.renormalize == RENORMALIZE_NONE;
    float mean = 0.0f;
    for (int c = lane; c < r.columns; c += 32) {
        mean += work.scores[c] * (balance[c] + (raw ? work.added[c] : 0.0f));
    }
    mean = reduce_warp<Sum>(mean);
    for (int c = lane; c < r.columns; c += 32) {
        const float added = work.added[c], gradient = balance[c] + (raw ? added : 0.0f);
        const float through = work.scores[c] * (gradient + r.copies(c) * (z_slope - mean));
        store(&d_logits[c], raw ? through : through + added);
    }
}

// ReLU scores: balance loss and weights where the logit is positive. Sigmoid scores s: the balance loss through s / sum of s, the weights, times s (1 - s) as a product of two sigmoids, exact where s is
// close to 1; and the z-loss through the softmax.
__device__ __forceinline__ void score_row(
    const Router& r, const Work& work, const float* balance, const Float* logits, float largest, float inverse_exponentials, float z_slope,
    Float* d_logits, int lane) {
    float total = 0.0f, mean = 0.0f;
    for (int c = lane; c < r.columns; c += 32) {
        total += r.copies(c) * work.scores[c];
        mean += work.scores[c] * balance[c];
    }
    total = reduce_warp<Sum>(total);
    const bool is_relu = r.score == SCORE_RELU;
    const float inverse = is_relu ? 1.0f : total == 0.0f ? 0.0f : 1.0f / total;
    mean = is_relu ? 0.0f : reduce_warp<Sum>(mean) * inverse;
    for (int c = lane; c < r.columns; c += 32) {
        const float logit = to_float(logits[c]), copies = r.copies(c);
        const float gradient = (balance[c] - copies * mean) * inverse + work.added[c];
        const float slope = is_relu ? work.scores[c] > 0.0f ? 1.0f : 0.0f : work.scores[c] * sigmoid(-logit), p = expf(logit - largest) * inverse_exponentials;
        store(&d_logits[c], gradient * slope + z_slope * copies * p);
    }
}

}  // namespace

// logits, d_logits [T,C]; ids, d_weights [T,K]; loads [C]; d_balance_loss, d_z_loss [1]; T >= 1. Blocks of 1 to 8 warps; shared
// memory: 2 + C words, and per warp 2 C + 3 K words.
extern "C" __global__ void __launch_bounds__(256, 3) gate_backward(
    const Float* logits, const int* ids, const float* d_weights, const int* loads, const float* d_balance_loss, const float* d_z_loss,
    Float* d_logits, int tokens, int experts, int columns, int topk, int score, int renormalize, float epsilon, float scale, int average,
    int shared_logit, NULL_GROUP_PARAMETERS) {
    DYNAMIC_SHARED(shared);
    const Router r = {NULL_GROUPS, experts, columns, topk, score, renormalize, shared_logit, epsilon, scale};
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    float* balance = reinterpret_cast<float*>(shared) + 2;
    const Work work(balance + columns + warp * (2 * columns + 3 * topk), r);
    balance_gradients(r, loads, *d_balance_loss, tokens, average, reinterpret_cast<int*>(shared), balance);
    const float z_factor = 2.0f * *d_z_loss / static_cast<float>(tokens);
    for (long long t = static_cast<long long>(blockIdx.x) * warps + warp; t < tokens; t += static_cast<long long>(gridDim.x) * warps) {
        const Float* row = logits + t * columns;
        float largest = Max::identity(), exponentials = 0.0f;
        for (int c = lane; c < columns; c += 32) {
            const float logit = to_float(row[c]);
            work.scores[c] = logit;
            work.added[c] = 0.0f;
            largest = fmaxf(largest, logit);
        }
        largest = reduce_warp<Max>(largest);
        for (int c = lane; c < columns; c += 32) {
            const float logit = work.scores[c], exponential = expf(logit - largest);
            exponentials += r.copies(c) * exponential;
            work.scores[c] = score == SCORE_SOFTMAX ? exponential : score == SCORE_RELU ? relu(logit) : sigmoid(logit);
        }
        exponentials = reduce_warp<Sum>(exponentials);
        const float inverse = 1.0f / exponentials, z_slope = z_factor * (largest + logf(exponentials));
        for (int c = lane; score == SCORE_SOFTMAX && c < columns; c += 32) {
            work.scores[c] *= inverse;
        }
        __syncwarp();
        chosen_gradients(r, work, row, ids + t * topk, d_weights + t * topk, lane);
        if (score == SCORE_SOFTMAX) {
            softmax_row(r, work, balance, z_slope, d_logits + t * columns, lane);
        } else {
            score_row(r, work, balance, row, largest, inverse, z_slope, d_logits + t * columns, lane);
        }
        __syncwarp();
    }
}
