// o = softmax(scale q k^T, causal) v per head, without ever storing the scores.
//
// A block keeps a tile of query rows and walks over the keys they see, a tile at a time, the next one on its way while this one is
// used. A row keeps its largest score and its sum of exponentials so far; when a larger score appears, what was summed shrinks by the
// factor (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., FlashAttention, arXiv 2205.14135). Scores are in units of log2 e, so
// an exponential is one instruction.
//
// Few queries against many keys (decoding) are too few tiles to fill a device: the keys of a tile are then divided into splits, each
// with results of its own, and attention_join adds them in order. The number of splits follows from the sizes alone, so results do not
// depend on the device.
//
// A key that a row does not see counts as zero times its value: what is not a number in v reaches the rows of its tile, seen or not.
#include "common/reduce.cuh"
#include "dense/attention_tiles.cuh"

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

// Keys first, first + 1, ... that a row does not see score minus infinity. `row` is the first of the warp.
__device__ __forceinline__ void mask(float (&s)[PIECES][SCORES][4], const Attention& shape, int row, int first) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < PIECES; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int seen = shape.seen(row + 16 * m + 8 * half + lane / 4) - first - lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < SCORES; n++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    s[m][n][2 * half + i] = 8 * n + i < seen ? s[m][n][2 * half + i] : minus_infinity();
                }
            }
        }
    }
}

// Scores to probabilities, up to a factor per row; what the row has so far shrinks to the same factor.
__device__ __forceinline__ void exponentials(float (&s)[PIECES][SCORES][4], float (&o)[PIECES][RESULTS][4], float (&largest)[PIECES][2], float (&sum)[PIECES][2]) {
#pragma unroll
    for (int m = 0; m < PIECES; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = largest[m][half];
#pragma unroll
            for (int n = 0; n < SCORES; n++) {
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            }
            top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 1));
            top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 2));

            // A split may begin behind the last key that a row sees.
            const float base = top == minus_infinity() ? 0.0f : top;
            const float shrink = exp2_approx(largest[m][half] - base);
            largest[m][half] = top;
            float added = 0.0f;
#pragma unroll
            for (int n = 0; n < SCORES; n++) {
                s[m][n][2 * half] = exp2_approx(s[m][n][2 * half] - base);
                s[m][n][2 * half + 1] = exp2_approx(s[m][n][2 * half + 1] - base);
                added += s[m][n][2 * half] + s[m][n][2 * half + 1];
            }
            sum[m][half] = fmaf(sum[m][half], shrink, added);
#pragma unroll
            for (int j = 0; j < RESULTS; j++) {
                o[m][j][2 * half] *= shrink;
                o[m][j][2 * half + 1] *= shrink;
            }
        }
    }
}

// A split's results, as they are: o [lines, width], then largest and sum [lines] each.
__device__ __forceinline__ void store_split(
    float* to, long long lines, const float (&o)[PIECES][RESULTS][4], const float (&largest)[PIECES][2], const float (&sum)[PIECES][2], const HeadRows& rows,
    int first, int width) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < PIECES; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + 16 * m + 8 * half + lane / 4;
            if (row < rows.count) {
                const long long line = rows.at(row);
#pragma unroll
                for (int j = 0; j < RESULTS; j++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const int column = 8 * j + lane % 4 * 2 + i;
                        if (column < width) {
                            to[line * width + column] = o[m][j][2 * half + i];
                        }
                    }
                }
                if (lane % 4 == 0) {
                    to[lines * width + line] = largest[m][half];
                    to[lines * (width + 1) + line] = sum[m][half];
                }
            }
        }
    }
}

// q, o [batch * query_length, heads * width], k, v [batch * key_stride, key_heads * width], log_sum_exp [batch * query_length, heads].
// With splits > 1 neither o nor log_sum_exp is written, but partials [splits][lines * (width + 2)], lines = batch * query_length * heads;
// a split is split_keys keys, a multiple of STREAM. Shared memory: (OWN + 2 STREAM STAGES) rows of STRIDE elements.
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)
attention(
    const Float* q, const Float* k, const Float* v, Float* o, float* log_sum_exp, float* partials, int batch, int query_length, int key_length,
    int key_stride, int group, int key_heads, int width, float scale, int causal, int splits, int split_keys, int vectorized) {
    static_assert(GROUPS == 1, "a warp has whole rows");
    DYNAMIC_SHARED(shared);
    Float* own = reinterpret_cast<Float*>(shared);
    Float* stream = own + OWN * STRIDE;
    const Attention shape = {query_length, key_length, key_stride, group, key_heads, causal};
    const int lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * WARP_ROWS;
    const long long lines = static_cast<long long>(batch) * query_length * group * key_heads;
    const int tiles = (query_length * group + OWN - 1) / OWN;
    const long long items = static_cast<long long>(tiles) * batch * key_heads * splits;
    for (long long item = blockIdx.x; item < items; item += gridDim.x) {
        // The last tiles see most keys: they come first.
        const int split = static_cast<int>(item % splits), key_head = static_cast<int>(item / splits % key_heads);
        const int sequence = static_cast<int>(item / splits / key_heads % batch);
        const int first_row = (tiles - 1 - static_cast<int>(item / splits / key_heads / batch)) * OWN, row = first_row + warp_row;
        const HeadRows queries = shape.queries(sequence, key_head), keys = shape.keys(sequence, key_head);

        // Keys that the tile, the warp's last row and the warp's first row see.
        const int first_key = split * split_keys, last_key = min(shape.seen(min(first_row + OWN, queries.count) - 1), first_key + split_keys);
        const int warp_keys = row < queries.count ? shape.seen(min(row + WARP_ROWS, queries.count) - 1) : 0, common_keys = shape.seen(row);

        float results[PIECES][RESULTS][4], largest[PIECES][2], sum[PIECES][2];
        clear(results);
#pragma unroll
        for (int m = 0; m < PIECES; m++) {
            largest[m][0] = largest[m][1] = minus_infinity();
            sum[m][0] = sum[m][1] = 0.0f;
        }

        __syncthreads();
        load_tile<OWN>(own, q, queries, first_row, width, vectorized);
        for (int key = first_key - (STAGES - 1) * STREAM, stage = 0; key < last_key; key += STREAM, stage ^= STAGES - 1) {
            // With two stages the first round only loads, and each round loads the tile after its own.
            const int next = key + (STAGES - 1) * STREAM;
            Float* arriving = stream + stage * 2 * STREAM * STRIDE;
            if (next < last_key) {
                load_tile<STREAM>(arriving, k, keys, next, width, vectorized);
                load_tile<STREAM>(arriving + STREAM * STRIDE, v, keys, next, width, vectorized);
            }
            cp_async_commit();
            if (key < first_key) {
                continue;
            }
            cp_async_wait<STAGES - 1>();
            __syncthreads();
            if (key < warp_keys) {
                const Float* tile = stream + (STAGES == 2 ? stage ^ 1 : 0) * 2 * STREAM * STRIDE;
                float s[PIECES][SCORES][4];
                clear(s);
                multiply_transposed(s, own + warp_row * STRIDE, tile);
#pragma unroll
                for (int m = 0; m < PIECES; m++) {
#pragma unroll
                    for (int n = 0; n < SCORES; n++) {
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            s[m][n][i] *= scale;
                        }
                    }
                }
                if (key + STREAM > common_keys) {
                    mask(s, shape, row, key);
                }
                exponentials(s, results, largest, sum);
                multiply_add(results, s, tile + STREAM * STRIDE);
            }
            __syncthreads();
        }
        cp_async_wait<0>();
        __syncthreads();

        float inverse[PIECES][2];
#pragma unroll
        for (int m = 0; m < PIECES; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                sum[m][half] += __shfl_xor_sync(ALL_LANES, sum[m][half], 1);
                sum[m][half] += __shfl_xor_sync(ALL_LANES, sum[m][half], 2);
                inverse[m][half] = 1.0f / sum[m][half];
            }
        }
        if (splits > 1) {
            store_split(partials + split * lines * (width + 2), lines, results, largest, sum, queries, row, width);
            continue;
        }
        store_rows(o, own + warp_row * STRIDE, results, inverse, queries, row, 0, width, vectorized);
#pragma unroll
        for (int m = 0; m < PIECES; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int mine = row + 16 * m + 8 * half + lane / 4;
                if (lane % 4 == 0 && mine < queries.count) {
                    log_sum_exp[queries.at(mine)] = fmaf(largest[m][half], LN_2, logf(sum[m][half]));
                }
            }
        }
    }
}

// Adds the splits of each line, in order. A warp per line; partials as above, o [lines, width], log_sum_exp [lines].
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS)
attention_join(const float* partials, Float* o, float* log_sum_exp, long long lines, int width, int splits) {
    const int lane = threadIdx.x % 32, warps = ATTENTION_THREADS / 32;
    const long long stride = lines * (width + 2);
    for (long long line = static_cast<long long>(blockIdx.x) * warps + threadIdx.x / 32; line < lines; line += static_cast<long long>(gridDim.x) * warps) {
        const float* largest = partials + lines * width + line;
        const float* sums = largest + lines;
        float top = minus_infinity();
        for (int split = lane; split < splits; split += 32) {
            top = fmaxf(top, largest[split * stride]);
        }
        top = reduce_warp<Max>(top);
        float sum = 0.0f;
        for (int split = 0; split < splits; split++) {
            sum = fmaf(sums[split * stride], exp2_approx(largest[split * stride] - top), sum);
        }
        for (int column = lane; column < width; column += 32) {
            float result = 0.0f;
            for (int split = 0; split < splits; split++) {
                result = fmaf(partials[split * stride + line * width + column], exp2_approx(largest[split * stride] - top), result);
            }
            store(o + line * width + column, result / sum);
        }
        if (lane == 0) {
            log_sum_exp[line] = fmaf(top, LN_2, logf(sum));
        }
    }
}
