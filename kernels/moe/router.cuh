// What the routing kernels know of a RouterSpec: null slots, kinds, columns.
//
// The problem: an id below zero says which null slot was chosen, and its kind, its logit column and its number among the constants
// follow from the spec. A table in device memory would need a copy from the host, which a captured graph must not contain. The choice:
// the null groups travel as kernel arguments, eight words that the constant cache hands to every thread.
#pragma once

#include "common/dtype.cuh"
#include "common/ptx.cuh"
#include "common/reduce.cuh"

// The values of the enums of RouterSpec.
constexpr int SCORE_SOFTMAX = 0, SCORE_SIGMOID = 1, SCORE_RELU = 2;
constexpr int NULL_ZERO = 0, NULL_IDENTITY = 1, NULL_CONSTANT = 2;
constexpr int RENORMALIZE_NONE = 0, RENORMALIZE_CHOSEN = 1, RENORMALIZE_EXCEPT_ZERO = 2;
constexpr int BIAS_NONE = 0, BIAS_SCORE = 1, BIAS_LOGIT = 2;
constexpr int GROUP_MAX = 0, GROUP_TOP_TWO_SUM = 1;

// Tokens whose counts and statistics are summed together: RoutingPlan.ChunkTokens.
constexpr int CHUNK_TOKENS = 256;

#define NULL_GROUP_PARAMETERS int null0, int null1, int null2, int null3, int null4, int null5, int null6, int null7
#define NULL_GROUPS {null0, null1, null2, null3, null4, null5, null6, null7}

// Runs of null slots in slot order: copies * 4 + kind each, 0 behind the last. Members and not an array, so that nothing can index them.
struct NullGroups {
    int group0, group1, group2, group3, group4, group5, group6, group7;

    // visit(number, first slot, end, kind) for every group.
    template <class Visit>
    __device__ __forceinline__ void each(Visit visit) const {
        int first = 0;
        auto next = [&](int number, int group) {
            const int end = first + (group >> 2);
            visit(number, first, end, group & 3);
            first = end;
        };
        next(0, group0);
        next(1, group1);
        next(2, group2);
        next(3, group3);
        next(4, group4);
        next(5, group5);
        next(6, group6);
        next(7, group7);
    }

    // Null slots altogether.
    __device__ __forceinline__ int slots() const {
        int slots = 0;
        each([&](int, int, int end, int) { slots = end; });
        return slots;
    }

    // Kind of the slot with an id; -1 for a real expert and for an id that no slot has.
    __device__ __forceinline__ int kind_of(int id) const {
        const int slot = -1 - id;
        int result = -1;
        each([&](int, int first, int end, int kind) { result = slot >= first && slot < end ? kind : result; });
        return result;
    }

    // Number among the constant null slots of the slot with an id; -1 when it is none of them.
    __device__ __forceinline__ int constant_of(int id) const {
        const int slot = -1 - id;
        int constants = 0, result = -1;
        each([&](int, int first, int end, int kind) {
            const bool constant = kind == NULL_CONSTANT;
            result = constant && slot >= first && slot < end ? constants + slot - first : result;
            constants += constant ? end - first : 0;
        });
        return result;
    }

    // Logit column of the slot with an id; -1 for an id that no slot has. With a shared null logit a group is one column.
    __device__ __forceinline__ int column_of(int id, int experts, int shared_logit) const {
        const int slot = -1 - id;
        int column = -1;
        each([&](int group, int first, int end, int) {
            column = slot >= first && slot < end ? experts + (shared_logit ? group : slot) : column;
        });
        return id < 0 ? column : id < experts ? id : -1;
    }

    // First null slot of a null column.
    __device__ __forceinline__ int first_of(int column, int experts, int shared_logit) const {
        int result = column - experts;
        if (shared_logit) {
            each([&](int group, int first, int, int) { result = group == column - experts ? first : result; });
        }
        return result;
    }

    // Slots that read a column.
    __device__ __forceinline__ int copies_of(int column, int experts, int shared_logit) const {
        int copies = 1;
        if (shared_logit && column >= experts) {
            each([&](int group, int first, int end, int) { copies = group == column - experts ? end - first : copies; });
        }
        return copies;
    }
};

__device__ __forceinline__ double sum_warp(double x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) {
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    }
    return x;
}

// The balance loss, slots * sum over slots of load / all loads * mean probability, added up by a warp in double: every lane adds the columns of
// its residue mod 32, in ascending order.
struct BalanceSum {
    double loads = 0.0, all_loads = 0.0, null_probability = 0.0, null_load = 0.0;

    __device__ __forceinline__ void add(
        const NullGroups& nulls, int column, int load, float probability_sum, int experts, int average, int shared_logit) {
        all_loads += load;
        if (column >= experts) {
            null_load += load;
        }
        if (column >= experts && average) {
            null_probability += nulls.copies_of(column, experts, shared_logit) * static_cast<double>(probability_sum);
        } else {
            loads += load * static_cast<double>(probability_sum);
        }
    }

    // All lanes call this; all get the result. Null slots of equal load: each has its share of all null loads.
    __device__ __forceinline__ float loss(const NullGroups& nulls, int experts, int tokens) const {
        const double own = sum_warp(loads), null_sum = sum_warp(null_probability), null_loads = sum_warp(null_load), all = sum_warp(all_loads);
        const int null_slots = nulls.slots();
        const double balance = own + (null_slots > 0 ? null_sum * null_loads / null_slots : 0.0);
        return tokens > 0 ? static_cast<float>((experts + null_slots) * (balance / fmax(1.0, all)) / tokens) : 0.0f;
    }
};

// Whether a chosen slot takes part in the sum that weights are divided by.
__device__ __forceinline__ bool takes_part(int kind, int renormalize) {
    return renormalize != RENORMALIZE_EXCEPT_ZERO || kind != NULL_ZERO;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// max(0, x); 0 for NaN.
__device__ __forceinline__ float relu(float x) { return x > 0.0f ? x : 0.0f; }

// Unsigned keys in the order of the floats: -0 equals 0; NaN is below every number and above MASKED, the key of a slot that may not be
// chosen. So a choice by keys gives distinct valid slots whatever the logits hold.
constexpr unsigned KEY_MASKED = 0, KEY_NAN = 1;

__device__ __forceinline__ unsigned key_of(float x) {
    unsigned bits = __float_as_uint(x + 0.0f);
    unsigned ordered = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
    return x == x ? ordered : KEY_NAN;
}

// The float of a key; NaN for KEY_NAN.
__device__ __forceinline__ float value_of(unsigned key) {
    return __uint_as_float(key == KEY_NAN ? 0x7fc00000u : key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}
