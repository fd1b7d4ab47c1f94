// The experts of a MoE layer as plain loops: the place to read what the fused kernels compute, and a second opinion on what they return.
//
// No plan, no sorting, no tiles: a thread takes one number of the result, follows the ids of its token and sums in ascending order. It is
// slow, because weights are read again for every slot, and that is the point: nothing here can be wrong in the way a tile can be.
// Where the engine stores a number as Float, so does this file, and it sums in the same order; so in float32 the results have the same bits.
#include "moe/router.cuh"

// What is left of a number that is stored as Float.
__device__ __forceinline__ float as_stored(float x) {
    Float stored;
    store(&stored, x);
    return to_float(stored);
}

__device__ __forceinline__ float dot(const Float* a, const Float* b, int count) {
    float sum = 0.0f;
    for (int i = 0; i < count; i++) {
        sum = fmaf(to_float(a[i]), to_float(b[i]), sum);
    }
    return sum;
}

// a[slot] = swiglu(x[token] W1[expert]^T) for every slot that chose a real expert. x [T, d], w1 [E, 2n, d] with the gate's rows first,
// ids [T, K], a [T, K, n]; null slots are not written. Threads 256.
extern "C" __global__ void __launch_bounds__(256) moe_simple_hidden(
    const Float* x, const Float* w1, const int* ids, Float* a, long long slots, int topk, int experts, int d, int n) {
    for (long long i = blockIdx.x * 256LL + threadIdx.x; i < slots * n; i += gridDim.x * 256LL) {
        const long long slot = i / n;
        const int column = static_cast<int>(i % n), expert = ids[slot];
        if (expert < 0 || expert >= experts) {
            continue;
        }
        const Float* token = x + slot / topk * d;
        const Float* rows = w1 + static_cast<long long>(expert) * 2 * n * d;
        const float gate = dot(token, rows + static_cast<long long>(column) * d, d);
        const float up = dot(token, rows + static_cast<long long>(n + column) * d, d);
        store(a + i, gate * sigmoid(gate) * up);
    }
}

// out[token] = sum over its real slots of weight * (a[slot] W2[expert]^T), plus x[token] times the weight of its identity nulls.
// w2 [E, d, n], weights [T, K], out [T, d]. Threads 256.
extern "C" __global__ void __launch_bounds__(256) moe_simple_output(
    const Float* a, const Float* w2, const Float* x, const int* ids, const float* weights, Float* out, int tokens, int topk, int experts, int d,
    int n, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    const long long count = static_cast<long long>(tokens) * d;
    for (long long i = blockIdx.x * 256LL + threadIdx.x; i < count; i += gridDim.x * 256LL) {
        const long long token = i / d;
        const int column = static_cast<int>(i % d);
        float sum = 0.0f, identity = 0.0f;
        for (long long slot = token * topk; slot < (token + 1) * topk; slot++) {
            const int id = ids[slot];
            if (id >= 0 && id < experts) {
                const Float* row = w2 + (static_cast<long long>(id) * d + column) * n;
                sum = fmaf(weights[slot], as_stored(dot(a + slot * n, row, n)), sum);
            } else if (nulls.kind_of(id) == NULL_IDENTITY) {
                identity += weights[slot];
            }
        }
        store(out + i, identity == 0.0f ? sum : fmaf(identity, to_float(x[i]), sum));
    }
}
