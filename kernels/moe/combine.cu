// out[t] = sum over slots in order of weight * y[row], plus (sum of identity-null weights) * x[t]. See token_sum.cuh.
#include "moe/token_sum.cuh"

// 16 bytes of a row per thread: rows are aligned and whole vectors. Threads 256.
extern "C" __global__ void __launch_bounds__(256, 3) combine_vector(
    const Float* y, const Float* x, const int* ids, const float* weights, const int* slot_row, Float* output, int tokens, int topk,
    int width, int lanes, int has_identity, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    sum_tokens<VECTOR>(y, x, ids, weights, slot_row, output, tokens, topk, width, lanes, true, has_identity != 0, nulls);
}

// One number of a row per thread, for any width and alignment.
extern "C" __global__ void __launch_bounds__(256, 1) combine_scalar(
    const Float* y, const Float* x, const int* ids, const float* weights, const int* slot_row, Float* output, int tokens, int topk,
    int width, int lanes, int has_identity, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    sum_tokens<1>(y, x, ids, weights, slot_row, output, tokens, topk, width, lanes, true, has_identity != 0, nulls);
}
