// dX[t] = sum over slots in order of dXRows[row], plus (sum of identity-null weights) * dOut[t] (see token_sum.cuh), and the gradient of
// the combine weights: dRowWeight of a real slot, <dOut[t], x[t]> of an identity null, 0 of the others.
#include "moe/token_sum.cuh"

// 16 bytes of a row per thread: rows are aligned and whole vectors. Threads 256.
extern "C" __global__ void __launch_bounds__(256, 3) combine_backward_vector(
    const Float* dx_rows, const Float* d_out, const int* ids, const float* weights, const int* slot_row, Float* dx, int tokens, int topk,
    int width, int lanes, int has_identity, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    sum_tokens<VECTOR>(dx_rows, d_out, ids, weights, slot_row, dx, tokens, topk, width, lanes, false, has_identity != 0, nulls);
}

// One number of a row per thread, for any width and alignment.
extern "C" __global__ void __launch_bounds__(256, 1) combine_backward_scalar(
    const Float* dx_rows, const Float* d_out, const int* ids, const float* weights, const int* slot_row, Float* dx, int tokens, int topk,
    int width, int lanes, int has_identity, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    sum_tokens<1>(dx_rows, d_out, ids, weights, slot_row, dx, tokens, topk, width, lanes, false, has_identity != 0, nulls);
}

// d_weights [T,K]; a warp per token. The inner product of a token is taken once, and only when one of its slots is an identity null.
extern "C" __global__ void __launch_bounds__(256, 4) combine_backward_weights(
    const float* d_row_weight, const Float* d_out, const Float* x, const int* ids, const int* slot_row, float* d_weights, int tokens,
    int topk, int width, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (long long t = static_cast<long long>(blockIdx.x) * warps + warp; t < tokens; t += static_cast<long long>(gridDim.x) * warps) {
        const long long slot = t * topk, at = t * width;
        bool own = false;
        for (int k = lane; k < topk; k += 32) {
            own = own || (slot_row[slot + k] < 0 && nulls.kind_of(ids[slot + k]) == NULL_IDENTITY);
        }
        float product = 0.0f;
        if (__any_sync(ALL_LANES, own)) {
            for (int c = lane; c < width; c += 32) {
                product = fmaf(to_float(d_out[at + c]), to_float(x[at + c]), product);
            }
            product = reduce_warp<Sum>(product);
        }
        for (int k = lane; k < topk; k += 32) {
            const int row = slot_row[slot + k];
            float gradient = 0.0f;
            if (row >= 0) {
                gradient = d_row_weight[row];
            } else if (nulls.kind_of(ids[slot + k]) == NULL_IDENTITY) {
                gradient = product;
            }
            d_weights[slot + k] = gradient;
        }
    }
}
