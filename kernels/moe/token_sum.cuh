// Gather and sum of one token: the rows of its slots in slot order, then its identity nulls together.
//
// Forward weighs rows, backward adds them as they are. No scatter, no atomics: every output number is written by one thread, whose
// sum runs over the slots in order; a null slot adds nothing, not even a zero, so rows nobody wrote are never read and a token of
// zero nulls gets exactly 0.
#pragma once

#include "moe/router.cuh"

// N neighbouring columns of a row, as float32.
template <int N>
struct Columns {
    float v[N];

    __device__ __forceinline__ static Columns zero() {
        Columns r;
#pragma unroll
        for (int i = 0; i < N; i++) {
            r.v[i] = 0.0f;
        }
        return r;
    }

    __device__ __forceinline__ static Columns load(const Float* from) {
        Columns r;
        if constexpr (N == 1) {
            r.v[0] = to_float(*from);
        } else {
            const Vector x = load_vector(from);
#pragma unroll
            for (int i = 0; i < N; i++) {
                r.v[i] = x.v[i];
            }
        }
        return r;
    }

    __device__ __forceinline__ void save(Float* to) const {
        if constexpr (N == 1) {
            store(to, v[0]);
        } else {
            Vector x;
#pragma unroll
            for (int i = 0; i < N; i++) {
                x.v[i] = v[i];
            }
            store_vector(to, x);
        }
    }

    // this += factor * x.
    __device__ __forceinline__ void add(float factor, const Columns& x) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            v[i] = fmaf(factor, x.v[i], v[i]);
        }
    }
};

// Which token and columns a thread works on: `lanes` (a power of two) neighbouring threads share a token, blockIdx.y is the tile of
// lanes * N columns, and blocks go over the tokens in strides.
template <int N>
struct TokenTile {
    int column, first, step;

    __device__ __forceinline__ explicit TokenTile(int lanes)
        : column((static_cast<int>(blockIdx.y) * lanes + static_cast<int>(threadIdx.x) % lanes) * N),
          first(static_cast<int>(threadIdx.x) / lanes),
          step(static_cast<int>(blockDim.x) / lanes) {}
};

// sum over slots of factor * rows[row] (factor 1 when not `weighted`), plus (sum of identity weights) * direct. `slot_row`, `ids` and
// `weights` begin at the token, `direct` at the token's columns, `rows` at the columns of row 0.
template <int N>
__device__ __forceinline__ Columns<N> sum_token(
    const Float* rows, const Float* direct, const int* slot_row, const int* ids, const float* weights, int topk, int width, bool weighted,
    bool has_identity, const NullGroups& nulls) {
    constexpr int Ahead = 4;
    Columns<N> sum = Columns<N>::zero();
    float identity = 0.0f;
    bool uses_identity = false;
    for (int first = 0; first < topk; first += Ahead) {
        Columns<N> row[Ahead];
        float factor[Ahead];
        bool real[Ahead];
#pragma unroll
        for (int i = 0; i < Ahead; i++) {
            const int k = first + i, r = k < topk ? slot_row[k] : -1;
            real[i] = r >= 0;
            factor[i] = 1.0f;
            row[i] = Columns<N>::zero();
            if (real[i]) {
                factor[i] = weighted ? weights[k] : 1.0f;
                row[i] = Columns<N>::load(rows + static_cast<long long>(r) * width);
            } else if (has_identity && k < topk && nulls.kind_of(ids[k]) == NULL_IDENTITY) {
                identity += weights[k];
                uses_identity = true;
            }
        }
#pragma unroll
        for (int i = 0; i < Ahead; i++) {
            if (real[i]) {
                sum.add(factor[i], row[i]);
            }
        }
    }
    if (uses_identity) {
        sum.add(identity, Columns<N>::load(direct));
    }
    return sum;
}

// output[t] for all tokens; see sum_token.
template <int N>
__device__ __forceinline__ void sum_tokens(
    const Float* rows, const Float* direct, const int* ids, const float* weights, const int* slot_row, Float* output, int tokens, int topk,
    int width, int lanes, bool weighted, bool has_identity, const NullGroups& nulls) {
    const TokenTile<N> tile(lanes);
    if (tile.column >= width) {
        return;
    }
    for (long long t = static_cast<long long>(blockIdx.x) * tile.step + tile.first; t < tokens; t += static_cast<long long>(gridDim.x) * tile.step) {
        const long long slot = t * topk, at = t * width + tile.column;
        sum_token<N>(rows + tile.column, direct + at, slot_row + slot, ids + slot, weights + slot, topk, width, weighted, has_identity, nulls)
            .save(output + at);
    }
}
