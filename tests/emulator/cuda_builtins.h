// What NVRTC knows without an include, for g++: qualifiers, built-in variables, vector types, intrinsics. Included before every kernel.
#pragma once
#include "device_api.h"

#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)
#define __grid_constant__
#define __shared__ EMULATOR_shared_memory_is_declared_with_DYNAMIC_SHARED
#define __constant__ static const

#define threadIdx emu_thread_index()
#define blockIdx emu_block_index()
#define blockDim emu_block_dim()
#define gridDim emu_grid_dim()
constexpr int warpSize = 32;

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

// A vector is read and written as a whole, from an address that is a multiple of its size.
#define EMU_VECTOR2(name, type)                                                                  \
    struct alignas(2 * sizeof(type)) name {                                                      \
        type x, y;                                                                               \
    };                                                                                           \
    inline name make_##name(type x, type y) { return name{x, y}; }
#define EMU_VECTOR4(name, type)                                                                  \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name {                         \
        type x, y, z, w;                                                                         \
        name() = default;                                                                        \
        name(type x, type y, type z, type w) : x(x), y(y), z(z), w(w) {}                         \
        name(const name& o) : x(o.x), y(o.y), z(o.z), w(o.w) { emu_check_vector(&o, alignof(name)); } \
        name& operator=(const name& o) {                                                         \
            emu_check_vector(this, alignof(name));                                               \
            emu_check_vector(&o, alignof(name));                                                 \
            x = o.x, y = o.y, z = o.z, w = o.w;                                                  \
            return *this;                                                                        \
        }                                                                                        \
    };                                                                                           \
    inline name make_##name(type x, type y, type z, type w) { return name(x, y, z, w); }
EMU_VECTOR2(float2, float)
EMU_VECTOR2(int2, int)
EMU_VECTOR2(uint2, unsigned)
EMU_VECTOR4(float4, float)
EMU_VECTOR4(int4, int)
EMU_VECTOR4(uint4, unsigned)
EMU_VECTOR2(double2, double)

extern "C" {
float expf(float) noexcept; float exp2f(float) noexcept; float logf(float) noexcept; float log2f(float) noexcept; float log1pf(float) noexcept; float erfcf(float) noexcept; float expm1f(float) noexcept;
float sqrtf(float) noexcept; float fabsf(float) noexcept; float fmaxf(float, float) noexcept; float fminf(float, float) noexcept; float fmaf(float, float, float) noexcept;
float sinf(float) noexcept; float cosf(float) noexcept; float powf(float, float) noexcept; float floorf(float) noexcept; float ceilf(float) noexcept; float rintf(float) noexcept; float truncf(float) noexcept; float tanhf(float) noexcept; float ldexpf(float, int) noexcept;
double exp(double) noexcept; double exp2(double) noexcept; double log(double) noexcept; double sqrt(double) noexcept; double fabs(double) noexcept; double fma(double, double, double) noexcept; double sin(double) noexcept; double cos(double) noexcept;
inline double cospi(double x) noexcept { return cos(3.14159265358979323846 * x); }
double pow(double, double) noexcept; double floor(double) noexcept; double rint(double) noexcept; double fmax(double, double) noexcept; double fmin(double, double) noexcept;
}
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline __attribute__((optimize("fp-contract=off"))) float __fmul_rn(float a, float b) { return a * b; }
inline __attribute__((optimize("fp-contract=off"))) float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return __fadd_rn(a, -b); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(rintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

#define EMU_MIN_MAX(type)                                  \
    inline type min(type a, type b) { return b < a ? b : a; } \
    inline type max(type a, type b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline int abs(int x) { return x < 0 ? -x : x; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= (x >> i & 1u) << (31 - i);
    return y;
}
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64); }
template <class T> inline T __ldg(const T* p) { return *p; }

inline void __syncthreads() { emu_sync_block(); }
inline int __syncthreads_and(int p) { return emu_sync_block_count(0, p); }
inline int __syncthreads_or(int p) { return emu_sync_block_count(1, p); }
inline int __syncthreads_count(int p) { return emu_sync_block_count(2, p); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { emu_collective(EMU_SYNC_WARP, mask, 0, nullptr, 0, nullptr, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { emu_trap(); }
inline unsigned __activemask() { return emu_active_mask(); }

inline int emu_lane() { return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32); }
template <class T> inline T emu_shuffle(unsigned mask, T value, int source) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    constexpr int words = sizeof(T) / 4;
    unsigned in[3], out[2];
    __builtin_memcpy(in, &value, sizeof value);
    in[words] = static_cast<unsigned>(source);
    emu_collective(EMU_SHUFFLE, mask, words, in, words + 1, out, words);
    T result;
    __builtin_memcpy(&result, out, sizeof result);
    return result;
}
template <class T> inline T __shfl_sync(unsigned mask, T v, int source, int width = 32) { int l = emu_lane(); return emu_shuffle(mask, v, (l & ~(width - 1)) | (source & (width - 1))); }
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) { int l = emu_lane(), s = l ^ bits; return emu_shuffle(mask, v, (s & ~(width - 1)) > (l & ~(width - 1)) ? l : s); }
template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) { int l = emu_lane(), s = l - static_cast<int>(by); return emu_shuffle(mask, v, s < (l & ~(width - 1)) ? l : s); }
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) { int l = emu_lane(), s = l + static_cast<int>(by); return emu_shuffle(mask, v, s > (l | (width - 1)) ? l : s); }
inline unsigned emu_vote(int kind, unsigned mask, unsigned value) {
    unsigned out;
    emu_collective(kind, mask, 0, &value, 1, &out, 1);
    return out;
}
inline unsigned __ballot_sync(unsigned mask, int p) { return emu_vote(EMU_BALLOT, mask, p != 0); }
inline int __any_sync(unsigned mask, int p) { return static_cast<int>(emu_vote(EMU_ANY, mask, p != 0)); }
inline int __all_sync(unsigned mask, int p) { return static_cast<int>(emu_vote(EMU_ALL, mask, p != 0)); }
inline unsigned __reduce_add_sync(unsigned mask, unsigned v) { return emu_vote(EMU_REDUCE_ADD, mask, v); }
inline unsigned __reduce_min_sync(unsigned mask, unsigned v) { return emu_vote(EMU_REDUCE_MIN, mask, v); }
inline unsigned __reduce_max_sync(unsigned mask, unsigned v) { return emu_vote(EMU_REDUCE_MAX, mask, v); }
inline unsigned __reduce_and_sync(unsigned mask, unsigned v) { return emu_vote(EMU_REDUCE_AND, mask, v); }
inline unsigned __reduce_or_sync(unsigned mask, unsigned v) { return emu_vote(EMU_REDUCE_OR, mask, v); }
inline unsigned __match_any_sync(unsigned mask, unsigned v) { return emu_vote(EMU_MATCH_ANY, mask, v); }

inline int atomicAdd(int* at, int v) { return static_cast<int>(emu_atomic(EMU_ATOMIC_ADD, reinterpret_cast<unsigned*>(at), static_cast<unsigned>(v), 1)); }
inline unsigned atomicAdd(unsigned* at, unsigned v) { return emu_atomic(EMU_ATOMIC_ADD, at, v, 0); }
inline int atomicMax(int* at, int v) { return static_cast<int>(emu_atomic(EMU_ATOMIC_MAX, reinterpret_cast<unsigned*>(at), static_cast<unsigned>(v), 1)); }
inline unsigned atomicMax(unsigned* at, unsigned v) { return emu_atomic(EMU_ATOMIC_MAX, at, v, 0); }
inline int atomicMin(int* at, int v) { return static_cast<int>(emu_atomic(EMU_ATOMIC_MIN, reinterpret_cast<unsigned*>(at), static_cast<unsigned>(v), 1)); }
inline unsigned atomicMin(unsigned* at, unsigned v) { return emu_atomic(EMU_ATOMIC_MIN, at, v, 0); }
inline int atomicExch(int* at, int v) { return static_cast<int>(emu_atomic(EMU_ATOMIC_EXCHANGE, reinterpret_cast<unsigned*>(at), static_cast<unsigned>(v), 1)); }
inline unsigned atomicExch(unsigned* at, unsigned v) { return emu_atomic(EMU_ATOMIC_EXCHANGE, at, v, 0); }
inline unsigned atomicOr(unsigned* at, unsigned v) { return emu_atomic(EMU_ATOMIC_OR, at, v, 0); }
inline unsigned atomicAnd(unsigned* at, unsigned v) { return emu_atomic(EMU_ATOMIC_AND, at, v, 0); }
inline unsigned atomicCAS(unsigned* at, unsigned compare, unsigned v) { return emu_atomic_cas(at, compare, v); }
inline int atomicCAS(int* at, int compare, int v) { return static_cast<int>(emu_atomic_cas(reinterpret_cast<unsigned*>(at), static_cast<unsigned>(compare), static_cast<unsigned>(v))); }

// Copies the compiler makes of its own accord must be seen as well.
extern "C" void* emu_memcpy(void*, const void*, unsigned long);
extern "C" void* emu_memset(void*, int, unsigned long);
#define memcpy emu_memcpy
#define memset emu_memset

// How the driver calls a kernel: EMU_KERNEL(name) is appended to the text for every kernel in it.
template <class F> struct EmuCall;
template <class... A> struct EmuCall<void(A...)> {
    template <unsigned long... I> struct Order {};
    template <unsigned long N, unsigned long... I> struct Make : Make<N - 1, N - 1, I...> {};
    template <unsigned long... I> struct Make<0, I...> { using type = Order<I...>; };
    template <class T> struct Plain { using type = T; };
    template <class T> struct Plain<const T> { using type = T; };
    template <unsigned long... I> __attribute__((no_sanitize("thread"))) static void with(void (*f)(A...), void** p, Order<I...>) { f(*reinterpret_cast<typename Plain<A>::type*>(p[I])...); }
    __attribute__((no_sanitize("thread"))) static void call(void (*f)(A...), void** p) { with(f, p, typename Make<sizeof...(A)>::type{}); }
    static constexpr unsigned count = sizeof...(A);
    struct Sizes { unsigned v[sizeof...(A) + 1]; };
    static constexpr Sizes sizes{{count, sizeof(A)...}};
};
#define EMU_KERNEL(name)                                                                                             \
    extern "C" __attribute__((no_sanitize("thread"))) void emu_thunk_##name(void** p) { EmuCall<decltype(name)>::call(&name, p); } \
    extern "C" const EmuCall<decltype(name)>::Sizes emu_sizes_##name = EmuCall<decltype(name)>::sizes;
