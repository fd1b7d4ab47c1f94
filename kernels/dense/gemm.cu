// C = op(A) op(B), or C += op(A) op(B), with op the identity or the transpose: one kernel per orientation.
//
// Blocks stride over the tiles of C. A tile is computed by one block in ascending k: the result does not depend on the grid. Where C is small
// and k is long, as in the gradient of a weight, few blocks would have work, one after another: then k is divided into parts of `depth`
// (a function of the shape alone), every part has a C of its own in float32, and gemm_join adds them in order.
#include "common/tiles.cuh"

// What is done with a pair of neighbouring results.
struct Output {
    void* c;
    int wide, accumulate, n;

    __device__ __forceinline__ void put(long long row, int column, float first, float second) const {
        if (wide) {
            put_in(static_cast<float*>(c) + row * n, column, first, second);
        } else {
            Float* to = static_cast<Float*>(c) + row * n;
            if (accumulate) {
                const float2 before = load_pair(to, column, n);
                store_pair(to, column, n, before.x + first, before.y + second);
            } else {
                store_pair(to, column, n, first, second);
            }
        }
    }

    __device__ __forceinline__ void put_in(float* to, int column, float first, float second) const {
        if (column < n) {
            to[column] = accumulate ? to[column] + first : first;
        }
        if (column + 1 < n) {
            to[column + 1] = accumulate ? to[column + 1] + second : second;
        }
    }
};

// Loaders of a tile: a matrix with rows of `stride` elements, of which `depth` along k are used.
template <bool TRANSPOSE_A>
struct Left;

template <>
struct Left<false> {
    using Tile = KMajor<BLOCK_M>;
    __device__ __forceinline__ static auto loader(const Float* a, int m0, int m, int stride, int depth) {
        return LoadKMajor<Tile>(a, depth, [=](int r) { return m0 + r < m ? a + static_cast<long long>(m0 + r) * stride : nullptr; });
    }
};

template <>
struct Left<true> {
    using Tile = MnMajor<BLOCK_M>;
    __device__ __forceinline__ static auto loader(const Float* a, int m0, int m, int, int depth) {
        return load_mn_major<Tile>(a, m0, m, depth, [](int row) { return row; });
    }
};

template <bool TRANSPOSE_B>
struct Right;

template <>
struct Right<true> {
    using Tile = KMajor<BLOCK_N>;
    __device__ __forceinline__ static auto loader(const Float* b, int n0, int n, int stride, int depth) {
        return LoadKMajor<Tile>(b, depth, [=](int r) { return n0 + r < n ? b + static_cast<long long>(n0 + r) * stride : nullptr; });
    }
};

template <>
struct Right<false> {
    using Tile = MnMajor<BLOCK_N>;
    __device__ __forceinline__ static auto loader(const Float* b, int n0, int n, int, int depth) {
        return load_mn_major<Tile>(b, n0, n, depth, [](int row) { return row; });
    }
};

// With depth < k, c is [parts, m, n] in float32. depth is a multiple of 16 bytes of Float, or k.
template <bool TRANSPOSE_A, bool TRANSPOSE_B>
__device__ __forceinline__ void gemm(const Float* a, const Float* b, void* c, int m, int n, int k, int depth, int wide, int accumulate) {
    DYNAMIC_SHARED(shared);
    const Output output = {c, wide, accumulate, n};
    const int tiles_m = (m + BLOCK_M - 1) / BLOCK_M, tiles_n = (n + BLOCK_N - 1) / BLOCK_N, parts = k > depth ? (k + depth - 1) / depth : 1;
    const long long tiles = static_cast<long long>(tiles_m) * tiles_n;
    for (long long tile = blockIdx.x; tile < tiles * parts; tile += gridDim.x) {
        const int part = static_cast<int>(tile / tiles), k0 = part * depth, length = min(depth, k - k0);
        const TilePlace place = place_of(tile - part * tiles, tiles_m, tiles_n);
        const int m0 = place.m * BLOCK_M, n0 = place.n * BLOCK_N;
        const Float* left = a + (TRANSPOSE_A ? static_cast<long long>(k0) * m : k0);
        const Float* right = b + (TRANSPOSE_B ? k0 : static_cast<long long>(k0) * n);
        Product<typename Left<TRANSPOSE_A>::Tile, typename Right<TRANSPOSE_B>::Tile> product;
        product.run(shared, Left<TRANSPOSE_A>::loader(left, m0, m, k, length), Right<TRANSPOSE_B>::loader(right, n0, n, k, length), length, m - m0, n - n0);
        product.for_each_pair([&](int row, int column, float first, float second) {
            if (m0 + row < m) {
                output.put(static_cast<long long>(part) * m + m0 + row, n0 + column, first, second);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    gemm_nn(const Float* a, const Float* b, void* c, int m, int n, int k, int depth, int wide, int accumulate) {
    gemm<false, false>(a, b, c, m, n, k, depth, wide, accumulate);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    gemm_nt(const Float* a, const Float* b, void* c, int m, int n, int k, int depth, int wide, int accumulate) {
    gemm<false, true>(a, b, c, m, n, k, depth, wide, accumulate);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    gemm_tn(const Float* a, const Float* b, void* c, int m, int n, int k, int depth, int wide, int accumulate) {
    gemm<true, false>(a, b, c, m, n, k, depth, wide, accumulate);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    gemm_tt(const Float* a, const Float* b, void* c, int m, int n, int k, int depth, int wide, int accumulate) {
    gemm<true, true>(a, b, c, m, n, k, depth, wide, accumulate);
}

// c = sum of the parts in order, or c += that sum. `count` numbers in each of `parts`.
extern "C" __global__ void __launch_bounds__(256) gemm_join(const float* from, void* c, long long count, int parts, int wide, int accumulate) {
    for (long long i = blockIdx.x * 256LL + threadIdx.x; i < count; i += gridDim.x * 256LL) {
        float sum = 0.0f;
        for (int part = 0; part < parts; part++) {
            sum += from[part * count + i];
        }
        if (wide) {
            float* to = static_cast<float*>(c) + i;
            *to = accumulate ? *to + sum : sum;
        } else {
            Float* to = static_cast<Float*>(c) + i;
            store(to, accumulate ? to_float(*to) + sum : sum);
        }
    }
}
