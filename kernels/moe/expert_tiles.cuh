// The tiles of a product whose rows are sorted by expert, when only the device knows how many rows each expert has.
//
// A tile belongs to one expert, so its rows are a part of that expert's. Every block computes the number of tiles before each expert from
// the offsets (a scan over E+1 numbers in shared memory), and then finds the expert of a tile by bisection: no list of tiles, no host
// round trip, and an expert without rows costs nothing.
#pragma once
#include "common/reduce.cuh"
#include "common/tiles.cuh"

struct ExpertTile {
    int expert;
    int row0, rows;   // rows of the plan that the tile covers: row0 .. row0 + rows
    int column_tile;  // which of the tiles beside each other
};

// `before[e]` becomes the number of row tiles of the experts before e, for e in 0..E; E + 1 integers of shared memory. Returns the
// number of all row tiles. All threads of the block call it.
__device__ __forceinline__ int count_row_tiles(const int* offsets, int experts, int* before) {
    if (threadIdx.x < 32) {
        const int lane = threadIdx.x;
        int sum = 0;
        for (int first = 0; first < experts; first += 32) {
            const int e = first + lane;
            const int own = e < experts ? (offsets[e + 1] - offsets[e] + BLOCK_M - 1) / BLOCK_M : 0;
            int inclusive = own;
#pragma unroll
            for (int distance = 1; distance < 32; distance <<= 1) {
                const int other = __shfl_up_sync(ALL_LANES, inclusive, distance);
                inclusive += lane >= distance ? other : 0;
            }
            if (e < experts) {
                before[e] = sum + inclusive - own;
            }
            sum += __shfl_sync(ALL_LANES, inclusive, 31);
        }
        if (lane == 0) {
            before[experts] = sum;
        }
    }
    __syncthreads();
    return before[experts];
}

// The tile with a number below that count times `column_tiles`. Expert by expert, so that its weights stay in the L2 cache, see place_of.
__device__ __forceinline__ ExpertTile find_tile(const int* offsets, int experts, const int* before, int column_tiles, long long number) {
    const int row_tile = static_cast<int>(number / column_tiles);
    int low = 0, high = experts;  // before[low] <= row_tile < before[high]
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (before[middle] <= row_tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const TilePlace place = place_of(number - static_cast<long long>(before[low]) * column_tiles, before[low + 1] - before[low], column_tiles);
    const int row0 = offsets[low] + place.m * BLOCK_M;
    ExpertTile result;
    result.expert = low;
    result.row0 = row0;
    result.rows = min(BLOCK_M, offsets[low + 1] - row0);
    result.column_tile = place.n;
    return result;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
