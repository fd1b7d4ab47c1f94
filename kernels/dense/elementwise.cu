// Add, axpy, scale and fill over flat arrays of Float or of float32 elements. Add, axpy and scale are one kernel, y = alpha a + b in one
// rounding: alpha = 1 adds, no b scales. Memory bound: 16 bytes per thread and step where every pointer is aligned, single elements
// otherwise and at the end. Element i depends on element i alone, so a destination may be a source.
#include "common/ptx.cuh"
#include "common/dtype.cuh"

// 16 bytes of elements of type T.
template <class T>
struct Pack {
    static constexpr int COUNT = 16 / static_cast<int>(sizeof(T));
    float v[COUNT];
};

__device__ __forceinline__ void read(Pack<float>& pack, const float* from) {
    const float4 x = *reinterpret_cast<const float4*>(from);
    pack.v[0] = x.x;
    pack.v[1] = x.y;
    pack.v[2] = x.z;
    pack.v[3] = x.w;
}

__device__ __forceinline__ void write(float* to, const Pack<float>& pack) {
    *reinterpret_cast<float4*>(to) = make_float4(pack.v[0], pack.v[1], pack.v[2], pack.v[3]);
}

#if FLOAT_BF16
__device__ __forceinline__ void read(Pack<bfloat16>& pack, const bfloat16* from) {
    const Vector x = load_vector(from);
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        pack.v[i] = x.v[i];
    }
}

__device__ __forceinline__ void write(bfloat16* to, const Pack<bfloat16>& pack) {
    Vector x;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        x.v[i] = pack.v[i];
    }
    store_vector(to, x);
}
#endif

// y[i] = alpha a[i] + b[i]; without b, alpha a[i].
template <class T>
__device__ __forceinline__ void sum(const T* a, float alpha, const T* b, T* y, long long count, int vectorized) {
    constexpr int N = Pack<T>::COUNT;
    const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x, threads = static_cast<long long>(gridDim.x) * blockDim.x;
    const long long packs = vectorized ? count / N : 0;
    for (long long pack = thread; pack < packs; pack += threads) {
        Pack<T> p;
        read(p, a + pack * N);
        if (b != nullptr) {
            Pack<T> q;
            read(q, b + pack * N);
#pragma unroll
            for (int i = 0; i < N; i++) {
                p.v[i] = fmaf(alpha, p.v[i], q.v[i]);
            }
        } else {
#pragma unroll
            for (int i = 0; i < N; i++) {
                p.v[i] = alpha * p.v[i];
            }
        }
        write(y + pack * N, p);
    }
    for (long long i = packs * N + thread; i < count; i += threads) {
        store(y + i, b != nullptr ? fmaf(alpha, to_float(a[i]), to_float(b[i])) : alpha * to_float(a[i]));
    }
}

template <class T>
__device__ __forceinline__ void set(T* y, float value, long long count, int vectorized) {
    constexpr int N = Pack<T>::COUNT;
    const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x, threads = static_cast<long long>(gridDim.x) * blockDim.x;
    const long long packs = vectorized ? count / N : 0;
    Pack<T> p;
#pragma unroll
    for (int i = 0; i < N; i++) {
        p.v[i] = value;
    }
    for (long long pack = thread; pack < packs; pack += threads) {
        write(y + pack * N, p);
    }
    for (long long i = packs * N + thread; i < count; i += threads) {
        store(y + i, value);
    }
}

extern "C" __global__ void __launch_bounds__(256) scaled_sum(const Float* a, const Float* b, Float* y, float alpha, long long count, int vectorized) {
    sum(a, alpha, b, y, count, vectorized);
}

extern "C" __global__ void __launch_bounds__(256) scaled_sum_wide(const float* a, const float* b, float* y, float alpha, long long count, int vectorized) {
    sum(a, alpha, b, y, count, vectorized);
}

extern "C" __global__ void __launch_bounds__(256) fill(Float* y, float value, long long count, int vectorized) { set(y, value, count, vectorized); }

extern "C" __global__ void __launch_bounds__(256) fill_wide(float* y, float value, long long count, int vectorized) { set(y, value, count, vectorized); }
