// Gradients of attention, deterministic and without atomics: keys and queries each gather what is theirs.
//
// With p = exp(scale q k^T - log_sum_exp) and delta = <do, o> per query row:
//   dv = p^T do    ds = p (do v^T - delta)    dq = scale ds k    dk = scale ds^T q
// dk and dv sum over queries, dq over keys. One pass would have to add one of them across blocks, in an order that timing decides. The
// choice: two passes that both recompute the scores, seven products instead of five, and every sum has one owner that adds in order.
// attention_keys works on transposed scores, its rows are keys; attention_queries is the same with the roles exchanged.
#include "common/reduce.cuh"
#include "dense/attention_tiles.cuh"

// delta = <do, o>. A warp per line; o, do [lines, width], delta [lines].
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS)
attention_delta(const Float* o, const Float* d_o, float* delta, long long lines, int width, int vectorized) {
    const int lane = threadIdx.x % 32, warps = ATTENTION_THREADS / 32;
    for (long long line = static_cast<long long>(blockIdx.x) * warps + threadIdx.x / 32; line < lines; line += static_cast<long long>(gridDim.x) * warps) {
        const Float *a = o + line * width, *b = d_o + line * width;
        float sum = 0.0f;
        if (vectorized) {
            for (int column = lane * VECTOR; column < width; column += 32 * VECTOR) {
                const Vector x = load_vector(a + column), y = load_vector(b + column);
#pragma unroll
                for (int e = 0; e < VECTOR; e++) {
                    sum = fmaf(x.v[e], y.v[e], sum);
                }
            }
        } else {
            for (int column = lane; column < width; column += 32) {
                sum = fmaf(to_float(a[column]), to_float(b[column]), sum);
            }
        }
        sum = reduce_warp<Sum>(sum);
        if (lane == 0) {
            delta[line] = sum;
        }
    }
}

// Results to Float, the same factor for every row.
__device__ __forceinline__ void store_gradient(
    Float* to, Float* through, const float (&c)[PIECES][RESULTS][4], float factor, const HeadRows& rows, int first, int group, int width, int vectorized) {
    float factors[PIECES][2];
#pragma unroll
    for (int m = 0; m < PIECES; m++) {
        factors[m][0] = factors[m][1] = factor;
    }
    store_rows(to, through, c, factors, rows, first, group, width, vectorized);
}

// Both kernels: q, do, d_q [batch * query_length, heads * width], k, v, d_k, d_v [batch * key_length, key_heads * width], log_sum_exp and
// delta [batch * query_length, heads]. Shared memory: (2 OWN + 2 STREAM STAGES) rows of STRIDE elements, then, for attention_keys,
// 2 STREAM STAGES floats. score_scale is scale * log2 e.
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)
attention_keys(
    const Float* q, const Float* k, const Float* v, const Float* d_o, const float* log_sum_exp, const float* delta, Float* d_k, Float* d_v, int batch,
    int query_length, int key_length, int group, int key_heads, int width, float scale, float score_scale, int causal, int vectorized) {
    DYNAMIC_SHARED(shared);
    Float* own_k = reinterpret_cast<Float*>(shared);
    Float* own_v = own_k + OWN * STRIDE;
    Float* stream = own_v + OWN * STRIDE;
    float* statistics = reinterpret_cast<float*>(stream + 2 * STREAM * STAGES * STRIDE);
    const Attention shape = {query_length, key_length, key_length, group, key_heads, causal};
    const int lane = threadIdx.x % 32, columns = threadIdx.x / 32 / ROW_WARPS, warp_row = threadIdx.x / 32 % ROW_WARPS * WARP_ROWS;
    const int tiles = (key_length + OWN - 1) / OWN;
    const long long items = static_cast<long long>(tiles) * batch * key_heads;
    for (long long item = blockIdx.x; item < items; item += gridDim.x) {
        // The first keys are seen by most queries: they come first.
        const int key_head = static_cast<int>(item % key_heads), sequence = static_cast<int>(item / key_heads % batch);
        const int first_key = static_cast<int>(item / key_heads / batch) * OWN, key = first_key + warp_row;
        const HeadRows queries = shape.queries(sequence, key_head), keys = shape.keys(sequence, key_head);
        const int first_row = shape.first_row(first_key);

        float sum_k[PIECES][RESULTS][4], sum_v[PIECES][RESULTS][4];
        clear(sum_k);
        clear(sum_v);
        __syncthreads();
        load_tile<OWN>(own_k, k, keys, first_key, width, vectorized);
        load_tile<OWN>(own_v, v, keys, first_key, width, vectorized);
        for (int row = first_row - (STAGES - 1) * STREAM, stage = 0; row < queries.count; row += STREAM, stage ^= STAGES - 1) {
            // With two stages the first round only loads, and each round loads the tile after its own.
            const int next = row + (STAGES - 1) * STREAM;
            if (next < queries.count) {
                Float* arriving = stream + stage * 2 * STREAM * STRIDE;
                load_tile<STREAM>(arriving, q, queries, next, width, vectorized);
                load_tile<STREAM>(arriving + STREAM * STRIDE, d_o, queries, next, width, vectorized);
                if (threadIdx.x < 2 * STREAM) {
                    // Rows behind the last are zeros everywhere: what they add is zero.
                    const int mine = next + threadIdx.x % STREAM, bytes = mine < queries.count ? 4 : 0;
                    const float* source = threadIdx.x < STREAM ? log_sum_exp : delta;
                    cp_async_4(statistics + stage * 2 * STREAM + threadIdx.x, bytes ? source + queries.at(mine) : source, bytes);
                }
            }
            cp_async_commit();
            if (row < first_row) {
                continue;
            }
            cp_async_wait<STAGES - 1>();
            __syncthreads();
            const int seen = shape.seen(min(row + STREAM, queries.count) - 1);
            if (key < seen) {
                const int current = STAGES == 2 ? stage ^ 1 : 0;
                const Float* tile = stream + current * 2 * STREAM * STRIDE;
                const float* own_statistics = statistics + current * 2 * STREAM + lane % 4 * 2;
                float p[PIECES][SCORES][4];
                clear(p);
                multiply_transposed(p, own_k + warp_row * STRIDE, tile);
                const bool masked = key + WARP_ROWS > shape.seen(row);
#pragma unroll
                for (int n = 0; n < SCORES; n++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const float offset = own_statistics[8 * n + i] * LOG2_E;
                        const int visible = masked ? shape.seen(row + 8 * n + lane % 4 * 2 + i) - key - lane / 4 : WARP_ROWS;
#pragma unroll
                        for (int m = 0; m < PIECES; m++) {
#pragma unroll
                            for (int half = 0; half < 2; half++) {
                                const float e = exp2_approx(p[m][n][2 * half + i] * score_scale - offset);
                                p[m][n][2 * half + i] = 16 * m + 8 * half < visible ? e : 0.0f;
                            }
                        }
                    }
                }
                multiply_add(sum_v, p, tile + STREAM * STRIDE + 8 * columns * RESULTS);

                float ds[PIECES][SCORES][4];
                clear(ds);
                multiply_transposed(ds, own_v + warp_row * STRIDE, tile + STREAM * STRIDE);
#pragma unroll
                for (int n = 0; n < SCORES; n++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const float mean = own_statistics[STREAM + 8 * n + i];
#pragma unroll
                        for (int m = 0; m < PIECES; m++) {
                            ds[m][n][i] = p[m][n][i] * (ds[m][n][i] - mean);
                            ds[m][n][2 + i] = p[m][n][2 + i] * (ds[m][n][2 + i] - mean);
                        }
                    }
                }
                multiply_add(sum_k, ds, tile + 8 * columns * RESULTS);
            }
            __syncthreads();
        }
        cp_async_wait<0>();
        __syncthreads();
        store_gradient(d_k, own_k + warp_row * STRIDE, sum_k, scale, keys, key, columns, width, vectorized);
        store_gradient(d_v, own_v + warp_row * STRIDE, sum_v, 1.0f, keys, key, columns, width, vectorized);
    }
}

extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)
attention_queries(
    const Float* q, const Float* k, const Float* v, const Float* d_o, const float* log_sum_exp, const float* delta, Float* d_q, int batch,
    int query_length, int key_length, int group, int key_heads, int width, float scale, float score_scale, int causal, int vectorized) {
    DYNAMIC_SHARED(shared);
    Float* own_q = reinterpret_cast<Float*>(shared);
    Float* own_d_o = own_q + OWN * STRIDE;
    Float* stream = own_d_o + OWN * STRIDE;
    const Attention shape = {query_length, key_length, key_length, group, key_heads, causal};
    const int lane = threadIdx.x % 32, columns = threadIdx.x / 32 / ROW_WARPS, warp_row = threadIdx.x / 32 % ROW_WARPS * WARP_ROWS;
    const int tiles = (query_length * group + OWN - 1) / OWN;
    const long long items = static_cast<long long>(tiles) * batch * key_heads;
    for (long long item = blockIdx.x; item < items; item += gridDim.x) {
        const int key_head = static_cast<int>(item % key_heads), sequence = static_cast<int>(item / key_heads % batch);
        const int first_row = (tiles - 1 - static_cast<int>(item / key_heads / batch)) * OWN, row = first_row + warp_row;
        const HeadRows queries = shape.queries(sequence, key_head), keys = shape.keys(sequence, key_head);
        const int last_key = shape.seen(min(first_row + OWN, queries.count) - 1);
        const int warp_keys = row < queries.count ? shape.seen(min(row + WARP_ROWS, queries.count) - 1) : 0, common_keys = shape.seen(row);

        float sum[PIECES][RESULTS][4], offset[PIECES][2], mean[PIECES][2];
        clear(sum);
        __syncthreads();
        load_tile<OWN>(own_q, q, queries, first_row, width, vectorized);
        load_tile<OWN>(own_d_o, d_o, queries, first_row, width, vectorized);
#pragma unroll
        for (int m = 0; m < PIECES; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int mine = row + 16 * m + 8 * half + lane / 4;
                const bool inside = mine < queries.count;
                offset[m][half] = inside ? log_sum_exp[queries.at(mine)] * LOG2_E : 0.0f;
                mean[m][half] = inside ? delta[queries.at(mine)] : 0.0f;
            }
        }
        for (int key = -(STAGES - 1) * STREAM, stage = 0; key < last_key; key += STREAM, stage ^= STAGES - 1) {
            const int next = key + (STAGES - 1) * STREAM;
            if (next < last_key) {
                Float* arriving = stream + stage * 2 * STREAM * STRIDE;
                load_tile<STREAM>(arriving, k, keys, next, width, vectorized);
                load_tile<STREAM>(arriving + STREAM * STRIDE, v, keys, next, width, vectorized);
            }
            cp_async_commit();
            if (key < 0) {
                continue;
            }
            cp_async_wait<STAGES - 1>();
            __syncthreads();
            if (key < warp_keys) {
                const Float* tile = stream + (STAGES == 2 ? stage ^ 1 : 0) * 2 * STREAM * STRIDE;
                float p[PIECES][SCORES][4], ds[PIECES][SCORES][4];
                clear(p);
                multiply_transposed(p, own_q + warp_row * STRIDE, tile);
                clear(ds);
                multiply_transposed(ds, own_d_o + warp_row * STRIDE, tile + STREAM * STRIDE);
                const bool masked = key + STREAM > common_keys;
#pragma unroll
                for (int m = 0; m < PIECES; m++) {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const int visible = masked ? shape.seen(row + 16 * m + 8 * half + lane / 4) - key - lane % 4 * 2 : STREAM;
#pragma unroll
                        for (int n = 0; n < SCORES; n++) {
#pragma unroll
                            for (int i = 0; i < 2; i++) {
                                const float e = exp2_approx(p[m][n][2 * half + i] * score_scale - offset[m][half]);
                                ds[m][n][2 * half + i] = 8 * n + i < visible ? e * (ds[m][n][2 * half + i] - mean[m][half]) : 0.0f;
                            }
                        }
                    }
                }
                multiply_add(sum, ds, tile + 8 * columns * RESULTS);
            }
            __syncthreads();
        }
        cp_async_wait<0>();
        __syncthreads();
        store_gradient(d_q, own_q + warp_row * STRIDE, sum, scale, queries, row, columns, width, vectorized);
    }
}
