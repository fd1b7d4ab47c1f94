// One tile of a matrix product: C[m, n] = sum over k of A(m, k) B(n, k), operands streamed through shared memory.
//
// The problem: dense products in four orientations, products whose rows are gathered by token, and weight gradients that sum over the
// rows of an expert are all the same loop, but differ in where a row comes from and along which dimension it runs. The choice: an
// operand tile is either K-major (rows of m or n, contiguous along k) or MN-major (rows of k, contiguous along m or n); a loader knows the
// address of a row, and everything else is shared. Four stages in flight with cp.async; rows are 16-byte chunks swizzled by exclusive-or, so
// that ldmatrix and the copies hit every bank once. What lies outside the operand is written as zero and never read from memory, so nobody
// has to pad, and garbage behind the rows in use cannot enter a sum.
//
// bfloat16 uses mma.sync; float32 uses multiply-adds in the same arrangement of rows and columns per thread, so that epilogues do not know
// the difference. The order of every sum is fixed: ascending k.
#pragma once
#include "common/dtype.cuh"
#include "common/ptx.cuh"

#ifndef VECTORIZED
#error "the kernel key must define VECTORIZED: 1 when every row starts at a multiple of 16 bytes, 0 otherwise"
#endif
#ifndef LARGE
#error "the kernel key must define LARGE: 1 for tiles of 128 x 128, 0 for 64 x 64"
#endif

constexpr int STAGES = 4;
constexpr int ROW_BYTES = 64;                                           // of a K-major tile
constexpr int BLOCK_K = ROW_BYTES / static_cast<int>(sizeof(Float));    // 32 bfloat16 or 16 float32
constexpr int BLOCK_M = LARGE ? 128 : 64, BLOCK_N = LARGE ? 128 : 64;
// A large tile of bfloat16 is four warps of 64 x 64: tensor cores outrun shared memory when a fragment is used less often than that. In
// float32 the sums would not leave room for operands in registers: eight warps of 64 x 32.
constexpr int WARPS_M = 2, WARPS_N = LARGE && !FLOAT_BF16 ? 4 : 2;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
// Blocks that fit a multiprocessor at once. ptxas aims at an occupancy of its own choice and spills for it when it is not told.
constexpr int RESIDENT = LARGE ? (FLOAT_BF16 ? 2 : 1) : (FLOAT_BF16 ? 4 : 3);
constexpr int WARP_M = BLOCK_M / WARPS_M, WARP_N = BLOCK_N / WARPS_N;
constexpr int TILES_M = WARP_M / 16, TILES_N = WARP_N / 8;              // mma tiles per warp

// Where the chunks of a tile lie in shared memory. SPAN is the number of rows of C (or columns) it covers.
template <int SPAN>
struct KMajor {
    static constexpr bool along_k = true;
    static constexpr int ROWS = SPAN, CHUNKS = ROW_BYTES / 16, BYTES = SPAN * ROW_BYTES;
    __device__ __forceinline__ static int offset(int row, int chunk) { return row * ROW_BYTES + ((chunk ^ (row >> 1 & 3)) << 4); }
};

template <int SPAN>
struct MnMajor {
    static constexpr bool along_k = false;
    static constexpr int ROWS = BLOCK_K, CHUNKS = SPAN / VECTOR, BYTES = BLOCK_K * SPAN * static_cast<int>(sizeof(Float));
    __device__ __forceinline__ static int offset(int row, int chunk) { return row * SPAN * static_cast<int>(sizeof(Float)) + ((chunk ^ (row & 7)) << 4); }
};

// Copies `count` (0..VECTOR) elements into a chunk and fills the rest with zeros. `valid` is any readable address.
__device__ __forceinline__ void copy_chunk(unsigned char* to, const Float* from, int count, const Float* valid) {
#if VECTORIZED
    cp_async_16(to, count > 0 ? from : valid, count * static_cast<int>(sizeof(Float)));
#else
    Float* out = reinterpret_cast<Float*>(to);
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (i < count) {
            out[i] = from[i];
        } else {
            store(out + i, 0.0f);
        }
    }
#endif
}

// Loads K-major tiles: `address(r)` is where row r of the tile begins, null for a row that is not there. `width` elements along k.
template <class Tile>
struct LoadKMajor {
    using Layout = Tile;
    static constexpr int STEP = THREADS / Tile::CHUNKS, PASSES = Tile::ROWS / STEP;
    const Float* rows[PASSES];
    const Float* valid;
    int width;

    template <class Address>
    __device__ __forceinline__ LoadKMajor(const Float* valid, int width, Address address) : valid(valid), width(width) {
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            rows[i] = address(static_cast<int>(threadIdx.x) / Tile::CHUNKS + i * STEP);
        }
    }

    __device__ __forceinline__ void load(unsigned char* to, int k0) const {
        const int chunk = threadIdx.x % Tile::CHUNKS, k = k0 + chunk * VECTOR;
        const int count = max(0, min(VECTOR, width - k));
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const int row = threadIdx.x / Tile::CHUNKS + i * STEP;
            copy_chunk(to + Tile::offset(row, chunk), rows[i] + k, rows[i] == nullptr ? 0 : count, valid);
        }
    }
};

// Loads MN-major tiles: `rows(k)` is the number of the operand's row at k, for 0 <= k < depth; a row has `width` elements, of which the
// tile covers those from column0 on. Blocks of k are loaded in ascending order, which lets the row numbers of the next block be on their
// way while this one is copied: gathered rows then cost one wait for memory and not two.
template <class Tile, class Rows>
struct LoadMnMajor {
    using Layout = Tile;
    static constexpr int STEP = THREADS / Tile::CHUNKS, PASSES = Tile::ROWS / STEP;
    const Float* base;
    int column, width, depth;
    Rows rows;
    int next[PASSES];

    __device__ __forceinline__ LoadMnMajor(const Float* base, int column0, int width, int depth, Rows rows)
        : base(base), column(column0 + static_cast<int>(threadIdx.x) % Tile::CHUNKS * VECTOR), width(width), depth(depth), rows(rows) {
        look_up(0);
    }

    __device__ __forceinline__ void load(unsigned char* to, int k0) {
        const int chunk = threadIdx.x % Tile::CHUNKS, inside = min(VECTOR, width - column);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const int row = threadIdx.x / Tile::CHUNKS + i * STEP, count = k0 + row < depth ? max(0, inside) : 0;
            copy_chunk(to + Tile::offset(row, chunk), base + static_cast<long long>(next[i]) * width + column, count, base);
        }
        look_up(k0 + BLOCK_K);
    }

private:
    __device__ __forceinline__ void look_up(int k0) {
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const int k = k0 + static_cast<int>(threadIdx.x) / Tile::CHUNKS + i * STEP;
            next[i] = k < depth ? rows(k) : 0;
        }
    }
};

template <class Tile, class Rows>
__device__ __forceinline__ LoadMnMajor<Tile, Rows> load_mn_major(const Float* base, int column0, int width, int depth, Rows rows) {
    return LoadMnMajor<Tile, Rows>(base, column0, width, depth, rows);
}

// The place of a tile in a grid of tiles.
struct TilePlace {
    int m, n;
};

// Tiles that are computed at the same time should read the same rows and columns. So they are numbered in bands of 16 tile rows, rows
// first within a band: neighbours form a patch about as wide as it is high, and an operand larger than the L2 cache is read once per band, or
// once per patch, instead of once per tile column.
__device__ __forceinline__ TilePlace place_of(long long number, int tiles_m, int tiles_n) {
    constexpr int Band = 16;
    const int band = static_cast<int>(number / (static_cast<long long>(Band) * tiles_n));
    const int inside = static_cast<int>(number - static_cast<long long>(band) * Band * tiles_n);
    const int rows = min(Band, tiles_m - band * Band);
    TilePlace place;
    place.m = band * Band + inside % rows;
    place.n = inside / rows;
    return place;
}

// The accumulators of a warp's part of the tile. Lane l = 4 g + q holds, for each 16 x 8 tile (i, j), rows g and g + 8 at columns
// 2q and 2q + 1: sums[i][j][2 h + c] is row 16 i + 8 h + g, column 8 j + 2 q + c of the warp's part.
template <class ATile, class BTile>
struct Product {
    static constexpr int STAGE = ATile::BYTES + BTile::BYTES;
    static constexpr int SHARED = STAGES * STAGE;
    float sums[TILES_M][TILES_N][4];

    // Computes the tile over k in [0, depth). Of its rows and columns the first `rows` and `columns` (1 or more) are wanted: a warp that has
    // none of them copies, but leaves the multiplying to the others. All threads of the block call it; the shared memory is free again
    // when it returns.
    template <class A, class B>
    __device__ __forceinline__ void run(unsigned char* shared, A a, B b, int depth, int rows, int columns) {
        const bool wanted = first_row() < rows && first_column() < columns;
#pragma unroll
        for (int i = 0; i < TILES_M; i++) {
#pragma unroll
            for (int j = 0; j < TILES_N; j++) {
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    sums[i][j][c] = 0.0f;
                }
            }
        }
        const int blocks = (depth + BLOCK_K - 1) / BLOCK_K;
#pragma unroll
        for (int s = 0; s < STAGES - 1; s++) {
            if (s < blocks) {
                a.load(shared + s * STAGE, s * BLOCK_K);
                b.load(shared + s * STAGE + ATile::BYTES, s * BLOCK_K);
            }
            cp_async_commit();
        }
        for (int block = 0; block < blocks; block++) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();  // the stage has arrived for everybody, and everybody has left the stage that is loaded next
            const int next = block + STAGES - 1;
            if (next < blocks) {
                unsigned char* to = shared + next % STAGES * STAGE;
                a.load(to, next * BLOCK_K);
                b.load(to + ATile::BYTES, next * BLOCK_K);
            }
            cp_async_commit();
            const unsigned char* stage = shared + block % STAGES * STAGE;
            if (wanted) {
                multiply(stage, stage + ATile::BYTES);
            }
        }
        cp_async_wait<0>();
        __syncthreads();
    }

    // Calls `use(row, column, first, second)` for every pair of neighbouring columns that this thread holds, in tile coordinates.
    template <class Use>
    __device__ __forceinline__ void for_each_pair(Use use) const {
#pragma unroll
        for (int i = 0; i < TILES_M; i++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
#pragma unroll
                for (int j = 0; j < TILES_N; j++) {
                    use(row_of(i, h), column_of(j), sums[i][j][2 * h], sums[i][j][2 * h + 1]);
                }
            }
        }
    }

    __device__ __forceinline__ static int row_of(int i, int h) { return first_row() + 16 * i + 8 * h + static_cast<int>(threadIdx.x) % 32 / 4; }

    __device__ __forceinline__ static int column_of(int j) { return first_column() + 8 * j + 2 * (static_cast<int>(threadIdx.x) % 4); }

private:
    // The corner of the warp's part.
    __device__ __forceinline__ static int first_row() { return static_cast<int>(threadIdx.x) / 32 % WARPS_M * WARP_M; }
    __device__ __forceinline__ static int first_column() { return static_cast<int>(threadIdx.x) / 32 / WARPS_M * WARP_N; }

#if FLOAT_BF16
    __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b) {
        const int m0 = first_row(), n0 = first_column(), lane = threadIdx.x % 32;
        const int matrix = lane / 8, line = lane % 8;  // ldmatrix: this lane gives the address of `line` of `matrix`
#pragma unroll
        for (int step = 0; step < BLOCK_K / 16; step++) {
            unsigned fa[TILES_M][4], fb[TILES_N][2];
#pragma unroll
            for (int i = 0; i < TILES_M; i++) {
                if (ATile::along_k) {
                    ldmatrix_x4(fa[i], a + ATile::offset(m0 + 16 * i + (matrix & 1) * 8 + line, 2 * step + (matrix >> 1)));
                } else {
                    ldmatrix_x4_trans(fa[i], a + ATile::offset(16 * step + (matrix >> 1) * 8 + line, (m0 + 16 * i) / 8 + (matrix & 1)));
                }
            }
#pragma unroll
            for (int j = 0; j < TILES_N; j += 2) {
                unsigned r[4];
                if (BTile::along_k) {
                    ldmatrix_x4(r, b + BTile::offset(n0 + 8 * j + (matrix >> 1) * 8 + line, 2 * step + (matrix & 1)));
                } else {
                    ldmatrix_x4_trans(r, b + BTile::offset(16 * step + (matrix & 1) * 8 + line, (n0 + 8 * j) / 8 + (matrix >> 1)));
                }
                fb[j][0] = r[0];
                fb[j][1] = r[1];
                fb[j + 1][0] = r[2];
                fb[j + 1][1] = r[3];
            }
#pragma unroll
            for (int i = 0; i < TILES_M; i++) {
#pragma unroll
                for (int j = 0; j < TILES_N; j++) {
                    mma_m16n8k16(sums[i][j], fa[i], fb[j]);
                }
            }
        }
    }
#else
    // Four elements of one row of C along k (K-major), or of four rows of k at one m or n.
    template <class Tile>
    __device__ __forceinline__ static void four(float (&x)[4], const unsigned char* tile, int mn, int chunk) {
        if (Tile::along_k) {
            const float4 v = *reinterpret_cast<const float4*>(tile + Tile::offset(mn, chunk));
            x[0] = v.x;
            x[1] = v.y;
            x[2] = v.z;
            x[3] = v.w;
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                x[i] = *reinterpret_cast<const float*>(tile + Tile::offset(4 * chunk + i, mn / 4) + mn % 4 * 4);
            }
        }
    }

    __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b) {
        for (int chunk = 0; chunk < BLOCK_K / 4; chunk++) {
            float fb[TILES_N][2][4];
#pragma unroll
            for (int j = 0; j < TILES_N; j++) {
                four<BTile>(fb[j][0], b, column_of(j), chunk);
                four<BTile>(fb[j][1], b, column_of(j) + 1, chunk);
            }
#pragma unroll
            for (int i = 0; i < TILES_M; i++) {
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    float fa[4];
                    four<ATile>(fa, a, row_of(i, h), chunk);
#pragma unroll
                    for (int k = 0; k < 4; k++) {
#pragma unroll
                        for (int j = 0; j < TILES_N; j++) {
                            sums[i][j][2 * h] = fmaf(fa[k], fb[j][0][k], sums[i][j][2 * h]);
                            sums[i][j][2 * h + 1] = fmaf(fa[k], fb[j][1][k], sums[i][j][2 * h + 1]);
                        }
                    }
                }
            }
        }
    }
#endif
};

// Stores two neighbouring columns of a row of `width` columns, as far as they are inside.
__device__ __forceinline__ void store_pair(Float* row, int column, int width, float first, float second) {
#if VECTORIZED
    if (column < width) {  // widths are even here
#if FLOAT_BF16
        *reinterpret_cast<unsigned*>(row + column) = pack_bf16x2(first, second);
#else
        *reinterpret_cast<float2*>(row + column) = make_float2(first, second);
#endif
    }
#else
    if (column < width) {
        store(row + column, first);
    }
    if (column + 1 < width) {
        store(row + column + 1, second);
    }
#endif
}

// Loads two neighbouring columns; zeros outside.
__device__ __forceinline__ float2 load_pair(const Float* row, int column, int width) {
#if VECTORIZED
    if (column >= width) {
        return make_float2(0.0f, 0.0f);
    }
#if FLOAT_BF16
    const unsigned raw = *reinterpret_cast<const unsigned*>(row + column);
    return make_float2(__uint_as_float(raw << 16), __uint_as_float(raw & 0xffff0000u));
#else
    return *reinterpret_cast<const float2*>(row + column);
#endif
#else
    return make_float2(column < width ? to_float(row[column]) : 0.0f, column + 1 < width ? to_float(row[column + 1]) : 0.0f);
#endif
}
