// Constant null slots: output[t] += weight * (m0 x[t] + m1 constants[j]), (m0, m1) = softmax(mix[t, 2j..2j+1]), and the gradients.
//
// The problem: the gradient of a constant is a sum over all tokens that chose it, few of them and anywhere. The choice: a warp per token
// makes what belongs to the token and leaves, per slot, the number of the constant and the factor of dOut; then a block per chunk of
// tokens, constant and tile of columns adds its tokens in ascending order, and the chunks are added in order. With g = dOut, w the
// weight: dX += w m0 g, dConstant += w m1 g, dWeight += m0 g.x + m1 g.c, dMix0 = -dMix1 = w m0 m1 (g.x - g.c).
#include "moe/token_sum.cuh"

namespace {

// Softmax over two logits; each share by its own sigmoid, so a small one keeps its digits.
struct Mix {
    float keep, replace;

    __device__ __forceinline__ explicit Mix(const Float* logits) {
        const float first = to_float(logits[0]), second = to_float(logits[1]);
        keep = sigmoid(first - second);
        replace = sigmoid(second - first);
    }
};

template <int N>
__device__ __forceinline__ void add_constants(
    const Float* x, const Float* mix, const Float* constants, const int* ids, const float* weights, Float* output, int tokens, int topk,
    int width, int constant_slots, int lanes, const NullGroups& nulls) {
    const TokenTile<N> tile(lanes);
    if (tile.column >= width) {
        return;
    }
    for (long long t = static_cast<long long>(blockIdx.x) * tile.step + tile.first; t < tokens; t += static_cast<long long>(gridDim.x) * tile.step) {
        const long long at = t * width + tile.column;
        Columns<N> sum = Columns<N>::zero();
        float kept = 0.0f;
        bool any = false;
        for (int k = 0; k < topk; k++) {
            const int constant = nulls.constant_of(ids[t * topk + k]);
            if (constant >= 0) {
                const Mix share(mix + (t * constant_slots + constant) * 2);
                const float weight = weights[t * topk + k];
                kept = fmaf(weight, share.keep, kept);
                sum.add(weight * share.replace, Columns<N>::load(constants + static_cast<long long>(constant) * width + tile.column));
                any = true;
            }
        }
        if (any) {
            sum.add(kept, Columns<N>::load(x + at));
            sum.add(1.0f, Columns<N>::load(output + at));
            sum.save(output + at);
        }
    }
}

}  // namespace

// 16 bytes of a row per thread: rows are aligned and whole vectors. Threads 256.
extern "C" __global__ void __launch_bounds__(256, 3) constant_experts_vector(
    const Float* x, const Float* mix, const Float* constants, const int* ids, const float* weights, Float* output, int tokens, int topk,
    int width, int constant_slots, int lanes, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    add_constants<VECTOR>(x, mix, constants, ids, weights, output, tokens, topk, width, constant_slots, lanes, nulls);
}

// One number of a row per thread, for any width and alignment.
extern "C" __global__ void __launch_bounds__(256, 1) constant_experts_scalar(
    const Float* x, const Float* mix, const Float* constants, const int* ids, const float* weights, Float* output, int tokens, int topk,
    int width, int constant_slots, int lanes, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    add_constants<1>(x, mix, constants, ids, weights, output, tokens, topk, width, constant_slots, lanes, nulls);
}

// dx [T,d] and d_weights [T,K] accumulated, d_mix [T,2C] written; picks, factors [T,K]: constant of a slot or -1, and w m1. A warp per
// token. Shared memory: 2 K words per warp.
extern "C" __global__ void __launch_bounds__(256, 1) constant_experts_backward(
    const Float* x, const Float* mix, const Float* constants, const int* ids, const float* weights, const Float* d_out, Float* dx,
    Float* d_mix, float* d_weights, int* picks, float* factors, int tokens, int topk, int width, int constant_slots, NULL_GROUP_PARAMETERS) {
    DYNAMIC_SHARED(shared);
    const NullGroups nulls = NULL_GROUPS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int* own = reinterpret_cast<int*>(shared) + warp * 2 * topk;
    float* slopes = reinterpret_cast<float*>(own + topk);
    for (long long t = static_cast<long long>(blockIdx.x) * warps + warp; t < tokens; t += static_cast<long long>(gridDim.x) * warps) {
        const Float* gradient = d_out + t * width;
        bool any = false;
        for (int k = lane; k < topk; k += 32) {
            own[k] = nulls.constant_of(ids[t * topk + k]);
            any = any || own[k] >= 0;
        }
        __syncwarp();
        if (__any_sync(ALL_LANES, any)) {
            float with_x = 0.0f, kept = 0.0f;
            for (int c = lane; c < width; c += 32) {
                with_x = fmaf(to_float(gradient[c]), to_float(x[t * width + c]), with_x);
            }
            with_x = reduce_warp<Sum>(with_x);
            for (int k = 0; k < topk; k++) {
                const int constant = own[k];
                if (constant < 0) {
                    continue;
                }
                const Float* vector = constants + static_cast<long long>(constant) * width;
                float with_constant = 0.0f;
                for (int c = lane; c < width; c += 32) {
                    with_constant = fmaf(to_float(gradient[c]), to_float(vector[c]), with_constant);
                }
                with_constant = reduce_warp<Sum>(with_constant);
                const Mix share(mix + (t * constant_slots + constant) * 2);
                const float weight = weights[t * topk + k];
                kept = fmaf(weight, share.keep, kept);
                if (lane == 0) {
                    slopes[k] = weight * share.keep * share.replace * (with_x - with_constant);
                    d_weights[t * topk + k] += share.keep * with_x + share.replace * with_constant;
                    factors[t * topk + k] = weight * share.replace;
                }
            }
            for (int c = lane; c < width; c += 32) {
                store(&dx[t * width + c], fmaf(kept, to_float(gradient[c]), to_float(dx[t * width + c])));
            }
        }
        __syncwarp();
        for (int k = lane; k < topk; k += 32) {
            picks[t * topk + k] = own[k];
        }
        // Every slope of a constant, in slot order: ids that come from elsewhere may name one twice.
        for (int constant = lane; constant < constant_slots; constant += 32) {
            float slope = 0.0f;
            for (int k = 0; k < topk; k++) {
                slope += own[k] == constant ? slopes[k] : 0.0f;
            }
            store(&d_mix[(t * constant_slots + constant) * 2], slope);
            store(&d_mix[(t * constant_slots + constant) * 2 + 1], -slope);
        }
        __syncwarp();
    }
}

// partials [chunks, C, d]: sum over the tokens of a chunk, ascending, of factor * d_out. A thread is a column; blockIdx.y is the tile of
// columns, blockIdx.z the constant.
extern "C" __global__ void __launch_bounds__(256, 1) constant_experts_chunks(
    const Float* d_out, const int* picks, const float* factors, float* partials, int tokens, int topk, int width, int constant_slots) {
    const int c = blockIdx.y * blockDim.x + threadIdx.x, constant = blockIdx.z;
    const int chunks = (tokens + CHUNK_TOKENS - 1) / CHUNK_TOKENS;
    if (c >= width) {
        return;
    }
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const int end = min(tokens, (chunk + 1) * CHUNK_TOKENS);
        float sum = 0.0f;
        for (long long t = static_cast<long long>(chunk) * CHUNK_TOKENS; t < end; t++) {
            for (int k = 0; k < topk; k++) {
                if (__ldg(picks + t * topk + k) == constant) {
                    sum = fmaf(factors[t * topk + k], to_float(d_out[t * width + c]), sum);
                }
            }
        }
        partials[(static_cast<long long>(chunk) * constant_slots + constant) * width + c] = sum;
    }
}

// d_constants [C*d] += chunks in order.
extern "C" __global__ void __launch_bounds__(256, 1) constant_experts_finish(
    const float* partials, float* d_constants, int chunks, long long elements) {
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += static_cast<long long>(gridDim.x) * blockDim.x) {
        float sum = 0.0f;
        for (int chunk = 0; chunk < chunks; chunk++) {
            sum += partials[chunk * elements + i];
        }
        d_constants[i] += sum;
    }
}
