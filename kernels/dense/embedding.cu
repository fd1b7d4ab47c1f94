// Rows of a table by token id, and the gradient of the table.
//
// The problem of the gradient: a table row gets the sum over all tokens of its id, a few rows of a text corpus get most of the tokens, and
// the result must be the same bits each time, so no atomics. The choice: sort the token indices by id with a stable counting sort of 8
// bits at a time (only indices move, V never enters but through the number of passes), cut the sorted order into runs of 32 tokens, and
// let a warp sum each run. A segment of equal ids that began in this run is added to the table here; a segment that began in an earlier
// run goes to `heads`, one row per run, and the run where it began adds those rows in order, in a second launch. So each element of the table
// has one writer, a frequent id is summed by many warps, and tokens count in ascending order within a run. Rows without tokens are not touched.
// Cost: O(T log2(V) / 8) for the sort, O(T d) for the sums; independent of V otherwise.
#include "common/ptx.cuh"
#include "common/reduce.cuh"
#include "dense/rows.cuh"

constexpr int SORT_THREADS = 256;       // as many as there are digits
constexpr int SORT_WARPS = SORT_THREADS / 32;
constexpr int SORT_CHUNK = 1024;        // tokens that one block sorts
constexpr int SORT_ROUNDS = SORT_CHUNK / SORT_THREADS;
constexpr int RUN = 32;                 // sorted tokens that one warp sums, a lane for each

// An id outside the table is an error that a kernel cannot throw: it counts as the nearest row.
__device__ __forceinline__ int row_of(int id, int vocabulary) { return min(max(id, 0), vocabulary - 1); }

template <int N>
__device__ __forceinline__ void gather(const Float* table, const int* ids, Float* y, int tokens, int vocabulary, int width) {
    for_units<N>(tokens, width, [=](int token, int column) {
        const long long row = row_of(ids[token], vocabulary);
        store_unit<N>(y + static_cast<long long>(token) * width + column, load_unit<N>(table + row * width + column));
    });
}

// y[tokens, width] = table[ids]; table is [vocabulary, width].
extern "C" __global__ void __launch_bounds__(256)
embedding(const Float* table, const int* ids, Float* y, int tokens, int vocabulary, int width, int vectorized) {
    if (vectorized) {
        gather<VECTOR>(table, ids, y, tokens, vocabulary, width);
    } else {
        gather<1>(table, ids, y, tokens, vocabulary, width);
    }
}

// The token at a position of the order so far; without an order, the position itself.
__device__ __forceinline__ int token_at(const int* order, int position) { return order == nullptr ? position : order[position]; }

// The digit at `shift` of the id at a position; -1 past the end.
__device__ __forceinline__ int digit_at(const int* ids, const int* order, int position, int tokens, int vocabulary, int shift) {
    return position < tokens ? (row_of(ids[token_at(order, position)], vocabulary) >> shift) & 255 : -1;
}

// First position of a warp's round: a warp owns SORT_ROUNDS * 32 neighbouring positions of the chunk.
__device__ __forceinline__ int position_of(int chunk, int round) {
    return chunk * SORT_CHUNK + ((threadIdx.x / 32) * SORT_ROUNDS + round) * 32 + threadIdx.x % 32;
}

// counts[warp][digit] over the warp's positions, the warp alone at work on its row: the first lane of equal digits adds for them all.
__device__ __forceinline__ void count_digits(
    int (*counts)[256], const int* ids, const int* order, int chunk, int tokens, int vocabulary, int shift) {
    int* own = counts[threadIdx.x / 32];
    const int lane = threadIdx.x % 32;
    for (int digit = lane; digit < 256; digit += 32) {
        own[digit] = 0;
    }
    __syncwarp();
    for (int round = 0; round < SORT_ROUNDS; round++) {
        const int digit = digit_at(ids, order, position_of(chunk, round), tokens, vocabulary, shift);
        const unsigned equal = __match_any_sync(ALL_LANES, static_cast<unsigned>(digit));
        if (digit >= 0 && lane == __ffs(equal) - 1) {
            own[digit] += __popc(equal);
        }
        __syncwarp();
    }
}

// counts[digit, chunk]: tokens of the chunk whose id has this digit.
extern "C" __global__ void __launch_bounds__(SORT_THREADS)
embedding_sort_count(const int* ids, const int* order, int* counts, int tokens, int vocabulary, int shift) {
    DYNAMIC_SHARED(shared);
    int(*warp_counts)[256] = reinterpret_cast<int(*)[256]>(shared);
    const int chunks = (tokens + SORT_CHUNK - 1) / SORT_CHUNK;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        count_digits(warp_counts, ids, order, chunk, tokens, vocabulary, shift);
        __syncthreads();
        int sum = 0;
        for (int warp = 0; warp < SORT_WARPS; warp++) {
            sum += warp_counts[warp][threadIdx.x];
        }
        counts[threadIdx.x * chunks + chunk] = sum;
        __syncthreads();
    }
}

// Exclusive prefix sums of counts[count], in place. One block.
extern "C" __global__ void __launch_bounds__(1024) embedding_sort_scan(int* counts, int count) {
    DYNAMIC_SHARED(shared);
    int* warp_sums = reinterpret_cast<int*>(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int before = 0;
    for (int base = 0; base < count; base += blockDim.x) {
        const int at = base + threadIdx.x, own = at < count ? counts[at] : 0;
        int sum = own;
        for (int distance = 1; distance < 32; distance *= 2) {
            const int other = __shfl_up_sync(ALL_LANES, sum, distance);
            sum += lane >= distance ? other : 0;
        }
        if (lane == 31) {
            warp_sums[warp] = sum;
        }
        __syncthreads();
        const unsigned mine = lane < static_cast<int>(blockDim.x / 32) ? static_cast<unsigned>(warp_sums[lane]) : 0u;
        const int earlier = static_cast<int>(__reduce_add_sync(ALL_LANES, lane < warp ? mine : 0u));
        const int all = static_cast<int>(__reduce_add_sync(ALL_LANES, mine));
        if (at < count) {
            counts[at] = before + earlier + sum - own;
        }
        before += all;
        __syncthreads();
    }
}

// sorted[offsets[digit, chunk] + rank] = token, rank counting the chunk's tokens of this digit in order: a stable sort by one digit.
extern "C" __global__ void __launch_bounds__(SORT_THREADS)
embedding_sort_scatter(const int* ids, const int* order, const int* offsets, int* sorted, int tokens, int vocabulary, int shift) {
    DYNAMIC_SHARED(shared);
    int(*next)[256] = reinterpret_cast<int(*)[256]>(shared);
    const int chunks = (tokens + SORT_CHUNK - 1) / SORT_CHUNK, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        count_digits(next, ids, order, chunk, tokens, vocabulary, shift);
        __syncthreads();
        int running = offsets[threadIdx.x * chunks + chunk];
        for (int other = 0; other < SORT_WARPS; other++) {
            const int count = next[other][threadIdx.x];
            next[other][threadIdx.x] = running;
            running += count;
        }
        __syncthreads();
        for (int round = 0; round < SORT_ROUNDS; round++) {
            const int position = position_of(chunk, round), digit = digit_at(ids, order, position, tokens, vocabulary, shift);
            const unsigned equal = __match_any_sync(ALL_LANES, static_cast<unsigned>(digit));
            if (digit >= 0) {
                sorted[next[warp][digit] + __popc(equal & ((1u << lane) - 1u))] = token_at(order, position);
            }
            __syncwarp();
            if (digit >= 0 && lane == __ffs(equal) - 1) {
                next[warp][digit] += __popc(equal);
            }
            __syncwarp();
        }
        __syncthreads();
    }
}

template <int N>
__device__ __forceinline__ void add_to(float* to, const Unit<N>& sum) {
    Unit<N> total = load_wide<N>(to);
#pragma unroll
    for (int i = 0; i < N; i++) {
        total.v[i] += sum.v[i];
    }
    store_wide<N>(to, total);
}

// What the tokens of a segment add up to: into the table by the run where the segment begins, else beside it.
template <int N>
__device__ __forceinline__ void write_segment(float* d_table, float* heads, int row, int run, bool head, int width, int column, const Unit<N>& sum) {
    if (head) {
        store_wide<N>(heads + static_cast<long long>(run) * width + column, sum);
    } else {
        add_to<N>(d_table + static_cast<long long>(row) * width + column, sum);
    }
}

// A warp takes a run and a tile of columns. Each lane knows one token of the run, so the rows of d_y are loaded several at a time.
template <int N>
__device__ __forceinline__ void sum_runs(
    const Float* d_y, const int* ids, const int* order, float* d_table, float* heads, int tokens, int vocabulary, int width) {
    constexpr int AHEAD = 4;
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32, units = width / N;
    const int runs = (tokens + RUN - 1) / RUN, tiles = (units + UNITS_PER_TILE - 1) / UNITS_PER_TILE;
    const long long items = static_cast<long long>(runs) * tiles, stride = static_cast<long long>(gridDim.x) * warps;
    for (long long item = static_cast<long long>(blockIdx.x) * warps + threadIdx.x / 32; item < items; item += stride) {
        const int run = static_cast<int>(item / tiles), tile = static_cast<int>(item - static_cast<long long>(run) * tiles);
        const int first = run * RUN, count = min(RUN, tokens - first);
        const int own_token = order[min(first + lane, tokens - 1)], own_row = row_of(ids[own_token], vocabulary);
        const int first_row = __shfl_sync(ALL_LANES, own_row, 0);
        const bool continues = first > 0 && row_of(ids[order[first - 1]], vocabulary) == first_row;
        for (int base = tile * UNITS_PER_TILE; base < min((tile + 1) * UNITS_PER_TILE, units); base += 32) {
            const int column = (base + lane) * N;
            const bool active = column < width;
            int row = first_row;
            bool head = continues;
            Unit<N> sum = zero_unit<N>();
            for (int begin = 0; begin < count; begin += AHEAD) {
                Unit<N> x[AHEAD];
                int rows[AHEAD];
#pragma unroll
                for (int i = 0; i < AHEAD; i++) {
                    const int from = min(begin + i, count - 1), token = __shfl_sync(ALL_LANES, own_token, from);
                    rows[i] = __shfl_sync(ALL_LANES, own_row, from);
                    x[i] = active ? load_unit<N>(d_y + static_cast<long long>(token) * width + column) : zero_unit<N>();
                }
#pragma unroll
                for (int i = 0; i < AHEAD; i++) {
                    if (begin + i < count) {
                        if (rows[i] != row) {
                            if (active) {
                                write_segment<N>(d_table, heads, row, run, head, width, column, sum);
                            }
                            head = false;
                            row = rows[i];
                            sum = zero_unit<N>();
                        }
#pragma unroll
                        for (int j = 0; j < N; j++) {
                            sum.v[j] += x[i].v[j];
                        }
                    }
                }
            }
            if (active) {
                write_segment<N>(d_table, heads, row, run, head, width, column, sum);
            }
        }
    }
}

// d_table[vocabulary, width] += the segments that begin in each run; heads[runs, width] = the rest of those that began before.
extern "C" __global__ void __launch_bounds__(256, 2)
embedding_backward(
    const Float* d_y, const int* ids, const int* order, float* d_table, float* heads, int tokens, int vocabulary, int width, int vectorized) {
    if (vectorized) {
        sum_runs<VECTOR>(d_y, ids, order, d_table, heads, tokens, vocabulary, width);
    } else {
        sum_runs<1>(d_y, ids, order, d_table, heads, tokens, vocabulary, width);
    }
}

template <int N>
__device__ __forceinline__ void join_runs(const int* ids, const int* order, float* d_table, const float* heads, int tokens, int vocabulary, int width) {
    for_units<N>((tokens + RUN - 1) / RUN, width, [=](int run, int column) {
        // Does the last segment of this run begin in it, and go on after it?
        const int first = run * RUN, end = first + RUN;
        if (end >= tokens) {
            return;
        }
        const int row = row_of(ids[order[end - 1]], vocabulary);
        const bool begins = first == 0 || row_of(ids[order[first - 1]], vocabulary) != row;
        if (!begins || row_of(ids[order[end]], vocabulary) != row) {
            return;
        }
        Unit<N> sum = zero_unit<N>();
        for (int position = end; position < tokens && row_of(ids[order[position]], vocabulary) == row; position += RUN) {
            const Unit<N> x = load_wide<N>(heads + static_cast<long long>(position / RUN) * width + column);
#pragma unroll
            for (int i = 0; i < N; i++) {
                sum.v[i] += x.v[i];
            }
        }
        add_to<N>(d_table + static_cast<long long>(row) * width + column, sum);
    });
}

// d_table += the heads of the runs that continue a segment, by the run where it begins.
extern "C" __global__ void __launch_bounds__(256, 2)
embedding_backward_finish(const int* ids, const int* order, float* d_table, const float* heads, int tokens, int vocabulary, int width, int vectorized) {
    if (vectorized) {
        join_runs<VECTOR>(ids, order, d_table, heads, tokens, vocabulary, width);
    } else {
        join_runs<1>(ids, order, d_table, heads, tokens, vocabulary, width);
    }
}
