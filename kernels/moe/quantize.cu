// Vector quantisation: the nearest code of every row, the loss of the codebook and the mix of row and code in one launch; the gradients;
// experts of codes, usage of codes and their revival.
//
// The problem: T N sums of d squared differences, of which one number per row is kept. The choice: a block takes 64 rows and 32 codes at a
// time through shared memory in slices of 32 columns, and a thread adds 4 x 2 sums, columns in ascending order, so that a code's distance
// depends on row and code alone and equal codes tie; the lower code wins, and a NaN or an infinity never. Then the block, which still has its
// rows in the cache, mixes each with its code. Differences are squared as they are: ||v||^2 - 2 x v would lose the digits that decide.
// For the cosine, vectors are divided by their lengths as they are loaded; inverse lengths come from a launch before.
//
// The gradient of the codebook is a sum over the rows of each code. Rows are sorted by code (the sort of dense/embedding.cu), a block takes a
// code and 32 columns, its 8 warps take the code's rows in turn, and their sums are added in order: no atomics, the same bits each time.
#include "common/ptx.cuh"
#include "common/reduce.cuh"
#include "dense/rows.cuh"

namespace {

constexpr int ROWS = 64;   // rows of a block
constexpr int CODES = 32;  // codes at a time
constexpr int SLICE = 32;  // columns at a time
constexpr int WARPS = 8;

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

// The nearest code so far.
struct Best {
    float distance;
    int code;

    __device__ __forceinline__ void meet(float other, int other_code) {
        if (other < distance || (other == distance && other_code < code)) {
            distance = other;
            code = other_code;
        }
    }
};

// Of a slice of vectors times their inverse lengths: to[column * (N + 1) + vector], zeros beyond the end.
template <int N>
__device__ __forceinline__ void load_slice(const Float* vectors, const float* inverses, long long first, long long count, int column, int width, float* to) {
    for (int i = threadIdx.x; i < N * SLICE; i += 32 * WARPS) {
        const int vector = i / SLICE, c = i % SLICE;
        float x = 0.0f;
        if (first + vector < count && column + c < width) {
            x = to_float(vectors[(first + vector) * width + column + c]);
            x = inverses == nullptr ? x : x * inverses[first + vector];
        }
        to[c * (N + 1) + vector] = x;
    }
}

// y = carry x + mix (stretch v - x) of one row, by a warp.
template <int N>
__device__ __forceinline__ void mix_row(const Float* x, const Float* v, Float* y, int width, float carry, float mix, float stretch) {
    for (int column = static_cast<int>(threadIdx.x % 32) * N; column < width; column += 32 * N) {
        Unit<N> row = load_unit<N>(x + column);
        const Unit<N> code = load_unit<N>(v + column);
#pragma unroll
        for (int i = 0; i < N; i++) {
            row.v[i] = carry * row.v[i] + mix * (stretch * code.v[i] - row.v[i]);
        }
        store_unit<N>(y + column, row);
    }
}

// A code outside the book is an error that a kernel cannot throw: it counts as the nearest one.
__device__ __forceinline__ int code_of(int code, int codes) { return min(max(code, 0), codes - 1); }

// First position of the order, by code, whose code is at least this one.
__device__ __forceinline__ int first_of(const int* codes, const int* order, int tokens, int count, int code) {
    int low = 0, high = tokens;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (code_of(codes[order[middle]], count) < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

}  // namespace

// inverses[rows] = 1 / length, 0 for a vector of zeros. A warp per row.
extern "C" __global__ void __launch_bounds__(256) quantize_inverses(const Float* x, float* inverses, int rows, int width) {
    for (long long row = static_cast<long long>(blockIdx.x) * WARPS + threadIdx.x / 32; row < rows; row += static_cast<long long>(gridDim.x) * WARPS) {
        float squares = 0.0f;
        for (int column = threadIdx.x % 32; column < width; column += 32) {
            const float value = to_float(x[row * width + column]);
            squares = fmaf(value, value, squares);
        }
        squares = reduce_warp<Sum>(squares);
        if (threadIdx.x % 32 == 0) {
            inverses[row] = squares == 0.0f ? 0.0f : 1.0f / sqrtf(squares);
        }
    }
}

// chosen, distances [tokens], y [tokens, width]. row_inverses, code_inverses: null for the Euclidean distance. Shared memory: two slices and
// 64 codes.
extern "C" __global__ void __launch_bounds__(256, 2) quantize(
    const Float* x, const Float* codebook, const float* row_inverses, const float* code_inverses, int* chosen, float* distances, Float* y,
    int tokens, int codes, int width, float carry, float mix, int vectorized) {
    DYNAMIC_SHARED(shared);
    float* rows = reinterpret_cast<float*>(shared);
    float* vectors = rows + SLICE * (ROWS + 1);
    int* nearest = reinterpret_cast<int*>(vectors + SLICE * (CODES + 1));
    const int code_lane = threadIdx.x % 16, row_lane = threadIdx.x / 16;
    for (long long first = static_cast<long long>(blockIdx.x) * ROWS; first < tokens; first += static_cast<long long>(gridDim.x) * ROWS) {
        Best best[4];
        float lowest[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            best[i] = {infinity(), 0};
            lowest[i] = 0.0f;
        }
        for (int book = 0; book < codes; book += CODES) {
            float sums[4][2] = {};
            for (int column = 0; column < width; column += SLICE) {
                __syncthreads();
                load_slice<ROWS>(x, row_inverses, first, tokens, column, width, rows);
                load_slice<CODES>(codebook, code_inverses, book, codes, column, width, vectors);
                __syncthreads();
                const int columns = min(SLICE, width - column);
                for (int c = 0; c < columns; c++) {
#pragma unroll
                    for (int j = 0; j < 2; j++) {
                        const float v = vectors[c * (CODES + 1) + code_lane + 16 * j];
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            const float difference = rows[c * (ROWS + 1) + row_lane + 16 * i] - v;
                            sums[i][j] = fmaf(difference, difference, sums[i][j]);
                        }
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                lowest[i] = book == 0 ? sums[i][0] : lowest[i];
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const int code = book + code_lane + 16 * j;
                    best[i].meet(code < codes ? sums[i][j] : infinity(), code < codes ? code : 0);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int distance = 8; distance > 0; distance >>= 1) {
                const float other = __shfl_xor_sync(ALL_LANES, best[i].distance, distance);
                const int other_code = __shfl_xor_sync(ALL_LANES, best[i].code, distance);
                best[i].meet(other, other_code);
            }
            const long long row = first + row_lane + 16 * i;
            if (code_lane == 0 && row < tokens) {
                // Lane 0 has the distance of code 0: what a row gets that no code is a finite distance from.
                chosen[row] = best[i].code;
                distances[row] = best[i].distance == infinity() ? lowest[i] : best[i].distance;
                nearest[row_lane + 16 * i] = best[i].code;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x / 32; i < ROWS && first + i < tokens; i += WARPS) {
            const long long row = first + i;
            float stretch = 1.0f;
            if (row_inverses != nullptr) {
                const float inverse = row_inverses[row];
                stretch = inverse == 0.0f ? 0.0f : code_inverses[nearest[i]] / inverse;
            }
            const Float* from = x + row * width;
            const Float* code = codebook + static_cast<long long>(nearest[i]) * width;
            if (vectorized) {
                mix_row<VECTOR>(from, code, y + row * width, width, carry, mix, stretch);
            } else {
                mix_row<1>(from, code, y + row * width, width, carry, mix, stretch);
            }
        }
        __syncthreads();
    }
}

// loss = factor * sum of distances. One block: a thread adds every 1024th, a tree joins the threads.
extern "C" __global__ void __launch_bounds__(1024) quantize_loss(const float* distances, float* loss, int tokens, float factor) {
    DYNAMIC_SHARED(shared);
    float sum = 0.0f;
    for (int row = threadIdx.x; row < tokens; row += blockDim.x) {
        sum += distances[row];
    }
    sum = reduce_block<Sum>(sum, reinterpret_cast<float*>(shared));
    if (threadIdx.x == 0) {
        *loss = factor * sum;
    }
}

// dx [tokens, width]; shares [tokens, 2]: what of the code and of the row goes into the code's gradient. `slope` is 2 / (tokens width). A warp
// per row. Cosine: dx = carry dy + g commitment (cos / |x|^2 x - 1 / (|x| |v|) v), dv += g (cos / |v|^2 v - 1 / (|x| |v|) x).
extern "C" __global__ void __launch_bounds__(256) quantize_backward(
    const Float* x, const Float* codebook, const int* chosen, const float* d_loss, const Float* d_y, Float* d_x, float* shares, int tokens,
    int codes, int width, float slope, float carry, float commitment, int cosine) {
    const int lane = threadIdx.x % 32;
    const float pull = slope * *d_loss * commitment;
    for (long long row = static_cast<long long>(blockIdx.x) * WARPS + threadIdx.x / 32; row < tokens; row += static_cast<long long>(gridDim.x) * WARPS) {
        const Float* own = x + row * width;
        const Float* code = codebook + static_cast<long long>(code_of(chosen[row], codes)) * width;
        float of_row = 1.0f, of_code = 1.0f, code_share = 1.0f;
        if (cosine) {
            float squares = 0.0f, code_squares = 0.0f, dot = 0.0f;
            for (int column = lane; column < width; column += 32) {
                const float a = to_float(own[column]), b = to_float(code[column]);
                squares = fmaf(a, a, squares);
                code_squares = fmaf(b, b, code_squares);
                dot = fmaf(a, b, dot);
            }
            squares = reduce_warp<Sum>(squares);
            code_squares = reduce_warp<Sum>(code_squares);
            dot = reduce_warp<Sum>(dot);
            const float inverse = squares == 0.0f ? 0.0f : 1.0f / sqrtf(squares);
            const float code_inverse = code_squares == 0.0f ? 0.0f : 1.0f / sqrtf(code_squares);
            const float cosine_of = dot * inverse * code_inverse;
            of_row = cosine_of * inverse * inverse;
            of_code = inverse * code_inverse;
            code_share = cosine_of * code_inverse * code_inverse;
        }
        if (lane == 0) {
            shares[2 * row] = code_share;
            shares[2 * row + 1] = of_code;
        }
        for (int column = lane; column < width; column += 32) {
            const float apart = of_row * to_float(own[column]) - of_code * to_float(code[column]);
            store(&d_x[row * width + column], fmaf(pull, apart, carry * to_float(d_y[row * width + column])));
        }
    }
}

// d_codebook [codes, width] += g * sum over the rows of a code. 256 floats of shared memory.
extern "C" __global__ void __launch_bounds__(256) quantize_codebook(
    const Float* x, const Float* codebook, const int* chosen, const int* order, const float* shares, const float* d_loss, float* d_codebook,
    int tokens, int codes, int width, float slope) {
    DYNAMIC_SHARED(shared);
    float* sums = reinterpret_cast<float*>(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, tiles = (width + 31) / 32;
    const long long items = static_cast<long long>(codes) * tiles;
    for (long long item = blockIdx.x; item < items; item += gridDim.x) {
        const int code = static_cast<int>(item / tiles), column = static_cast<int>(item - static_cast<long long>(code) * tiles) * 32 + lane;
        const int begin = first_of(chosen, order, tokens, codes, code), end = first_of(chosen, order, tokens, codes, code + 1);
        const long long at = static_cast<long long>(code) * width + column;
        float sum = 0.0f;
        if (column < width) {
            const float v = to_float(codebook[at]);
            for (int i = begin + warp; i < end; i += WARPS) {
                const long long row = order[i];
                sum += shares[2 * row] * v - shares[2 * row + 1] * to_float(x[row * width + column]);
            }
        }
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (warp == 0 && column < width && begin < end) {
            for (int other = 1; other < WARPS; other++) {
                sum += sums[other * 32 + lane];
            }
            d_codebook[at] = fmaf(slope * *d_loss, sum, d_codebook[at]);
        }
        __syncthreads();
    }
}

// ids[tokens] = map[chosen].
extern "C" __global__ void __launch_bounds__(256) assign_codes(const int* chosen, const int* map, int* ids, int tokens, int codes) {
    for (long long t = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; t < tokens; t += static_cast<long long>(gridDim.x) * blockDim.x) {
        ids[t] = map[code_of(chosen[t], codes)];
    }
}

// counts[experts] = sums over the chunks of chunk_counts [chunks, experts]. A thread per expert.
extern "C" __global__ void __launch_bounds__(256) assign_counts(const int* chunk_counts, int* counts, int chunks, int experts) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < experts; e += gridDim.x * blockDim.x) {
        int sum = 0;
        for (int chunk = 0; chunk < chunks; chunk++) {
            sum += chunk_counts[static_cast<long long>(chunk) * experts + e];
        }
        counts[e] = sum;
    }
}

// usage[code] = decay usage + (1 - decay) count / tokens. A block per code; 8 words of shared memory.
extern "C" __global__ void __launch_bounds__(256) code_usage(const int* chosen, float* usage, int tokens, int codes, float decay, float rest) {
    DYNAMIC_SHARED(shared);
    unsigned* counts = reinterpret_cast<unsigned*>(shared);
    for (int code = blockIdx.x; code < codes; code += gridDim.x) {
        unsigned count = 0;
        for (int row = threadIdx.x; row < tokens; row += blockDim.x) {
            count += chosen[row] == code;
        }
        count = __reduce_add_sync(ALL_LANES, count);
        if (threadIdx.x % 32 == 0) {
            counts[threadIdx.x / 32] = count;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int warp = 1; warp < WARPS; warp++) {
                count += counts[warp];
            }
            usage[code] = decay * usage[code] + rest * (static_cast<float>(count) / static_cast<float>(tokens));
        }
        __syncthreads();
    }
}

// master = (1 - a) master + a anchor, a = exp(-factor usage - reserve); codebook is its rounding. A share of 0 keeps the bits.
extern "C" __global__ void __launch_bounds__(256) revive_codes(
    const Float* anchors, const float* usage, float* master, Float* codebook, int width, long long elements, float factor, float reserve) {
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += static_cast<long long>(gridDim.x) * blockDim.x) {
        const float share = expf(-factor * usage[i / width] - reserve);
        float value = master[i];
        if (share != 0.0f) {
            value = (1.0f - share) * value + share * to_float(anchors[i]);
            master[i] = value;
        }
        store(&codebook[i], value);
    }
}
