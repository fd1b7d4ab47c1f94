// C = op(A) op(B), or C += op(A) op(B), with op the identity or the transpose: one kernel per orientation.
//
// Blocks stride over the tiles of C. A tile is computed by one block in ascending k: the result does not depend on the grid.
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

template <bool TRANSPOSE_A>
struct Left;

template <>
struct Left<false> {
    using Tile = KMajor<BLOCK_M>;
    __device__ __forceinline__ static auto loader(const Float* a, int m0, int m, int k) {
        return LoadKMajor<Tile>(a, k, [=](int r) { return m0 + r < m ? a + static_cast<long long>(m0 + r) * k : nullptr; });
    }
};

template <>
struct Left<true> {
    using Tile = MnMajor<BLOCK_M>;
    __device__ __forceinline__ static auto loader(const Float* a, int m0, int m, int k) {
        return load_mn_major<Tile>(a, m0, m, k, [](int row) { return row; });
    }
};

template <bool TRANSPOSE_B>
struct Right;

template <>
struct Right<true> {
    using Tile = KMajor<BLOCK_N>;
    __device__ __forceinline__ static auto loader(const Float* b, int n0, int n, int k) {
        return LoadKMajor<Tile>(b, k, [=](int r) { return n0 + r < n ? b + static_cast<long long>(n0 + r) * k : nullptr; });
    }
};

template <>
struct Right<false> {
    using Tile = MnMajor<BLOCK_N>;
    __device__ __forceinline__ static auto loader(const Float* b, int n0, int n, int k) {
        return load_mn_major<Tile>(b, n0, n, k, [](int row) { return row; });
    }
};

template <bool TRANSPOSE_A, bool TRANSPOSE_B>
__device__ __forceinline__ void gemm(const Float* a, const Float* b, void* c, int m, int n, int k, int wide, int accumulate) {
    DYNAMIC_SHARED(shared);
    const Output output = {c, wide, accumulate, n};
    const int tiles_m = (m + BLOCK_M - 1) / BLOCK_M, tiles_n = (n + BLOCK_N - 1) / BLOCK_N;
    for (long long tile = blockIdx.x; tile < static_cast<long long>(tiles_m) * tiles_n; tile += gridDim.x) {
        const TilePlace place = place_of(tile, tiles_m, tiles_n);
        const int m0 = place.m * BLOCK_M, n0 = place.n * BLOCK_N;
        Product<typename Left<TRANSPOSE_A>::Tile, typename Right<TRANSPOSE_B>::Tile> product;
        product.run(shared, Left<TRANSPOSE_A>::loader(a, m0, m, k), Right<TRANSPOSE_B>::loader(b, n0, n, k), k, m - m0, n - n0);
        product.for_each_pair([&](int row, int column, float first, float second) {
            if (m0 + row < m) {
                output.put(m0 + row, n0 + column, first, second);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) gemm_nn(const Float* a, const Float* b, void* c, int m, int n, int k, int wide, int accumulate) {
    gemm<false, false>(a, b, c, m, n, k, wide, accumulate);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) gemm_nt(const Float* a, const Float* b, void* c, int m, int n, int k, int wide, int accumulate) {
    gemm<false, true>(a, b, c, m, n, k, wide, accumulate);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) gemm_tn(const Float* a, const Float* b, void* c, int m, int n, int k, int wide, int accumulate) {
    gemm<true, false>(a, b, c, m, n, k, wide, accumulate);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) gemm_tt(const Float* a, const Float* b, void* c, int m, int n, int k, int wide, int accumulate) {
    gemm<true, true>(a, b, c, m, n, k, wide, accumulate);
}
