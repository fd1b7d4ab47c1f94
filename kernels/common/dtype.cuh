// Storage types. Activations and weights are Float: float32, or bfloat16 when the key says FLOAT_BF16=1; everything is computed in
// float32, and what is summed or kept for statistics is stored in float32.
#pragma once

using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;

static_assert(sizeof(uint64_t) == 8 && sizeof(uint16_t) == 2, "the integer names mean what they say");

#ifndef FLOAT_BF16
#error "the kernel key must define FLOAT_BF16 as 0 or 1"
#endif

// The upper half of a float32.
struct bfloat16 {
    uint16_t bits;
};

#if FLOAT_BF16
using Float = bfloat16;
#else
using Float = float;
#endif

// Elements of a 16-byte vector.
constexpr int VECTOR = 16 / static_cast<int>(sizeof(Float));

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bfloat16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

// Round to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ bfloat16 to_bfloat16(float x) {
    uint32_t bits = __float_as_uint(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    bfloat16 y;
    y.bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
    return y;
}

__device__ __forceinline__ void store(float* to, float x) { *to = x; }
__device__ __forceinline__ void store(bfloat16* to, float x) { *to = to_bfloat16(x); }

// 16 bytes of Float from a 16-byte aligned address, as float32.
struct Vector {
    float v[VECTOR];
};

__device__ __forceinline__ Vector load_vector(const Float* from) {
    Vector r;
#if FLOAT_BF16
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        r.v[2 * i] = __uint_as_float(words[i] << 16);
        r.v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
#else
    const float4 raw = *reinterpret_cast<const float4*>(from);
    r.v[0] = raw.x;
    r.v[1] = raw.y;
    r.v[2] = raw.z;
    r.v[3] = raw.w;
#endif
    return r;
}

__device__ __forceinline__ void store_vector(Float* to, const Vector& x) {
#if FLOAT_BF16
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        words[i] = to_bfloat16(x.v[2 * i]).bits | (static_cast<uint32_t>(to_bfloat16(x.v[2 * i + 1]).bits) << 16);
    }
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
#else
    *reinterpret_cast<float4*>(to) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
#endif
}
