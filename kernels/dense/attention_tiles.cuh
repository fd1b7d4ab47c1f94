// What the attention kernels are made of: loading a tile of head rows into shared memory, and the two products of a warp.
//
// The problem: forward and backward are chains of small matrix products whose results must stay in registers between the products, in
// bfloat16 on the tensor cores and in float32 on the ordinary ones. The choice: both types keep results in the layout of the tensor
// cores' accumulators (see mma_m16n8k16: lane 4 g + q of a warp holds rows g and g + 8 at columns 2q and 2q + 1 of each 16x8 tile), so
// masks, softmax, gradients and stores are written once; and of two products alone:
//
//   multiply_transposed   c += a b^T   both from shared memory: scores, and their gradients
//   multiply_add          c += p b     p from the registers of the first: what is summed with the probabilities as weights
//
// The gradient of keys and values works on transposed scores (a warp owns keys instead of queries), so it is made of the same two.
//
// Shared rows are STRIDE elements apart: HEAD and 16 bytes more, an odd number of 16-byte units, so that 8 rows begin in 8 different
// sets of banks. Columns beyond the width of a head and rows beyond the last are zeros, so products need no bounds.
//
// The query heads that share a key head are rows of one tile: row r is query r / group of query head r % group. So a tile of keys is
// read once for all of them, in decoding too, where a sequence has a single query.
#pragma once

#include "common/dtype.cuh"
#include "common/ptx.cuh"

// Given by the key. HEAD: padded width of a head. OWN: rows of the tile that a block keeps. STREAM: rows of the tiles that it walks
// over. STAGES: 2 loads a tile while the one before is used. GROUPS: into how many groups of columns the results of a row are divided
// between warps, for heads whose results do not fit into the registers of one.
static_assert(HEAD % 16 == 0 && STREAM % 16 == 0 && (STAGES == 1 || STAGES == 2), "tiles are made of whole 16x16 pieces");

constexpr int ATTENTION_THREADS = 128;
constexpr int VECTORS = HEAD / VECTOR;
constexpr int STRIDE = HEAD + VECTOR;
constexpr int ROW_WARPS = ATTENTION_THREADS / 32 / GROUPS;

// 16-row pieces of a warp, 8-column pieces of the scores and of the results of a warp.
constexpr int PIECES = OWN / 16 / ROW_WARPS;
constexpr int SCORES = STREAM / 8;
constexpr int RESULTS = HEAD / 8 / GROUPS;
constexpr int WARP_ROWS = 16 * PIECES;
static_assert(OWN == WARP_ROWS * ROW_WARPS && RESULTS % 2 == 0 && 2 * STREAM <= ATTENTION_THREADS, "warps share the rows evenly, and a thread loads a number");

constexpr float LOG2_E = 1.44269504088896341f;
constexpr float LN_2 = 0.69314718055994531f;

// The rows of one key head of one sequence in a tensor [sequences * length, heads * width], or those of the query heads that share it.
struct HeadRows {
    long long first;  // in rows of one head
    int count;
    int group;        // query heads per key head; 1 for keys
    int heads;        // of a row of the tensor

    __device__ __forceinline__ long long at(int row) const { return first + static_cast<long long>(row / group) * heads + row % group; }
};

// A (tile, key head, sequence) of the grid, and what the causal mask leaves of it.
struct Attention {
    int query_length, key_length, key_stride, group, key_heads, causal;

    __device__ __forceinline__ HeadRows queries(int sequence, int key_head) const {
        const int heads = key_heads * group;
        return HeadRows{static_cast<long long>(sequence) * query_length * heads + key_head * group, query_length * group, group, heads};
    }

    __device__ __forceinline__ HeadRows keys(int sequence, int key_head) const {
        return HeadRows{static_cast<long long>(sequence) * key_stride * key_heads + key_head, key_length, 1, key_heads};
    }

    // Keys that a query row sees: those before this one. Queries are the last positions of the sequence.
    __device__ __forceinline__ int seen(int row) const {
        return causal ? min(key_length - query_length + row / group + 1, key_length) : key_length;
    }

    // First query row that sees a key.
    __device__ __forceinline__ int first_row(int key) const { return causal ? max(key - (key_length - query_length), 0) * group : 0; }
};

__device__ __forceinline__ uint32_t raw_bits(float x) { return __float_as_uint(x); }
__device__ __forceinline__ uint32_t raw_bits(bfloat16 x) { return x.bits; }

// Begins to load rows [first, first + ROWS) of a head; complete after cp_async_wait and a barrier. All threads.
template <int ROWS>
__device__ __forceinline__ void load_tile(Float* to, const Float* from, const HeadRows& rows, int first, int width, int vectorized) {
    for (int i = threadIdx.x; i < ROWS * VECTORS; i += ATTENTION_THREADS) {
        const int row = first + i / VECTORS, column = i % VECTORS * VECTOR;
        const bool inside = row < rows.count && column < width;
        const Float* source = inside ? from + rows.at(row) * width + column : from;
        Float* target = to + i / VECTORS * STRIDE + column;
        if (vectorized) {
            cp_async_16(target, source, inside ? 16 : 0);
        } else {
            uint32_t words[4] = {};
#pragma unroll
            for (int e = 0; e < VECTOR; e++) {
                const uint32_t bits = inside && column + e < width ? raw_bits(source[e]) : 0u;
                words[e * static_cast<int>(sizeof(Float)) / 4] |= bits << (e * static_cast<int>(sizeof(Float)) % 4 * 8);
            }
            *reinterpret_cast<uint4*>(target) = make_uint4(words[0], words[1], words[2], words[3]);
        }
    }
}

template <int M, int N>
__device__ __forceinline__ void clear(float (&c)[M][N][4]) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                c[m][n][i] = 0.0f;
            }
        }
    }
}

// c += a b^T. a: 16 M rows, b: 8 N rows, both HEAD wide, in shared memory. A whole warp.
template <int M, int N>
__device__ __forceinline__ void multiply_transposed(float (&c)[M][N][4], const Float* a, const Float* b) {
    const int lane = threadIdx.x % 32;
#if FLOAT_BF16
    a += lane % 16 * STRIDE + lane / 16 * 8;
    b += (lane / 16 * 8 + lane % 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < HEAD; k += 16) {
        uint32_t left[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            ldmatrix_x4(left[m], a + 16 * m * STRIDE + k);
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            uint32_t right[4];
            ldmatrix_x4(right, b + 8 * n * STRIDE + k);
            const uint32_t even[2] = {right[0], right[1]}, odd[2] = {right[2], right[3]};
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_m16n8k16(c[m][n], left[m], even);
                mma_m16n8k16(c[m][n + 1], left[m], odd);
            }
        }
    }
#else
    a += lane / 4 * STRIDE;
    b += lane % 4 * 2 * STRIDE;
#pragma unroll 2
    for (int k = 0; k < HEAD; k += VECTOR) {
        Vector left[M][2];
#pragma unroll
        for (int m = 0; m < M; m++) {
            left[m][0] = load_vector(a + 16 * m * STRIDE + k);
            left[m][1] = load_vector(a + (16 * m + 8) * STRIDE + k);
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            const Vector even = load_vector(b + 8 * n * STRIDE + k), odd = load_vector(b + (8 * n + 1) * STRIDE + k);
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int e = 0; e < VECTOR; e++) {
                    c[m][n][0] = fmaf(left[m][0].v[e], even.v[e], c[m][n][0]);
                    c[m][n][1] = fmaf(left[m][0].v[e], odd.v[e], c[m][n][1]);
                    c[m][n][2] = fmaf(left[m][1].v[e], even.v[e], c[m][n][2]);
                    c[m][n][3] = fmaf(left[m][1].v[e], odd.v[e], c[m][n][3]);
                }
            }
        }
    }
#endif
}

// c += p b. p: 16 M x 8 N in registers, rounded to Float; b: 8 N rows in shared memory, from the first of 8 C columns on. A whole warp.
template <int M, int N, int C>
__device__ __forceinline__ void multiply_add(float (&c)[M][C][4], const float (&p)[M][N][4], const Float* b) {
    const int lane = threadIdx.x % 32;
#if FLOAT_BF16
    b += lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        // The accumulators of two 16x8 pieces are, rounded, the left operand of the next product.
        uint32_t left[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            left[m][0] = pack_bf16x2(p[m][n][0], p[m][n][1]);
            left[m][1] = pack_bf16x2(p[m][n][2], p[m][n][3]);
            left[m][2] = pack_bf16x2(p[m][n + 1][0], p[m][n + 1][1]);
            left[m][3] = pack_bf16x2(p[m][n + 1][2], p[m][n + 1][3]);
        }
#pragma unroll
        for (int j = 0; j < C; j += 2) {
            uint32_t right[4];
            ldmatrix_x4_trans(right, b + 8 * n * STRIDE + 8 * j);
            const uint32_t even[2] = {right[0], right[1]}, odd[2] = {right[2], right[3]};
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_m16n8k16(c[m][j], left[m], even);
                mma_m16n8k16(c[m][j + 1], left[m], odd);
            }
        }
    }
#else
    b += lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll 1
        for (int source = 0; source < 4; source++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float top[M], bottom[M];
#pragma unroll
                for (int m = 0; m < M; m++) {
                    top[m] = __shfl_sync(0xffffffffu, p[m][n][e], lane / 4 * 4 + source);
                    bottom[m] = __shfl_sync(0xffffffffu, p[m][n][2 + e], lane / 4 * 4 + source);
                }
                const float* row = b + (8 * n + 2 * source + e) * STRIDE;
#pragma unroll
                for (int j = 0; j < C; j++) {
                    const float2 right = *reinterpret_cast<const float2*>(row + 8 * j);
#pragma unroll
                    for (int m = 0; m < M; m++) {
                        c[m][j][0] = fmaf(top[m], right.x, c[m][j][0]);
                        c[m][j][1] = fmaf(top[m], right.y, c[m][j][1]);
                        c[m][j][2] = fmaf(bottom[m], right.x, c[m][j][2]);
                        c[m][j][3] = fmaf(bottom[m], right.y, c[m][j][3]);
                    }
                }
            }
        }
    }
#endif
}

__device__ __forceinline__ void store_pair(Float* to, float a, float b) {
#if FLOAT_BF16
    *reinterpret_cast<uint32_t*>(to) = pack_bf16x2(a, b);
#else
    *reinterpret_cast<float2*>(to) = make_float2(a, b);
#endif
}

// Writes a warp's results, times a factor per row, to head rows [first, first + WARP_ROWS), columns [8 group C, 8 (group + 1) C), by way
// of shared memory: `through` is the warp's rows of a tile that nobody reads any more. A whole warp.
template <int M, int C>
__device__ __forceinline__ void store_rows(
    Float* to, Float* through, const float (&c)[M][C][4], const float (&factor)[M][2], const HeadRows& rows, int first, int group, int width, int vectorized) {
    const int lane = threadIdx.x % 32;
    through += 8 * group * C;
#pragma unroll
    for (int m = 0; m < M; m++) {
        Float* piece = through + (16 * m + lane / 4) * STRIDE + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < C; j++) {
            store_pair(piece + 8 * j, c[m][j][0] * factor[m][0], c[m][j][1] * factor[m][0]);
            store_pair(piece + 8 * STRIDE + 8 * j, c[m][j][2] * factor[m][1], c[m][j][3] * factor[m][1]);
        }
    }
    __syncwarp();
    const int left = min(8 * C, width - 8 * group * C);
    if (vectorized) {
        constexpr int UNITS = 8 * C / VECTOR;
        for (int i = lane; i < 16 * M * UNITS; i += 32) {
            const int row = i / UNITS, column = i % UNITS * VECTOR;
            if (first + row < rows.count && column < left) {
                *reinterpret_cast<uint4*>(to + rows.at(first + row) * width + 8 * group * C + column) =
                    *reinterpret_cast<const uint4*>(through + row * STRIDE + column);
            }
        }
    } else {
        for (int i = lane; i < 16 * M * 8 * C; i += 32) {
            const int row = i / (8 * C), column = i % (8 * C);
            if (first + row < rows.count && column < left) {
                to[rows.at(first + row) * width + 8 * group * C + column] = through[row * STRIDE + column];
            }
        }
    }
}
