// SwiGLU of a dense layer (Shazeer, arXiv 2002.05202), and the sigmoid gate of a shared expert, forward and backward. Memory bound: every
// element is read once. sigmoid(g) = 1 / (1 + exp(-g)) needs no cases: exp overflows to infinity where the sigmoid is 0 anyway.
#include "common/ptx.cuh"
#include "common/reduce.cuh"
#include "dense/rows.cuh"

__device__ __forceinline__ float sigmoid(float g) { return 1.0f / (1.0f + expf(-g)); }

template <int N>
__device__ __forceinline__ void forward(const Float* z, Float* a, int rows, int width) {
    for_units<N>(rows, width, [=](int row, int column) {
        const long long at = static_cast<long long>(row) * width;
        Unit<N> g = load_unit<N>(z + 2 * at + column);
        const Unit<N> u = load_unit<N>(z + 2 * at + width + column);
#pragma unroll
        for (int i = 0; i < N; i++) {
            g.v[i] = g.v[i] * sigmoid(g.v[i]) * u.v[i];
        }
        store_unit<N>(a + at + column, g);
    });
}

// a[rows, width] = silu(gate) * up; z[rows, 2 width] holds gate columns, then up columns.
extern "C" __global__ void __launch_bounds__(256) swiglu(const Float* z, Float* a, int rows, int width, int vectorized) {
    if (vectorized) {
        forward<VECTOR>(z, a, rows, width);
    } else {
        forward<1>(z, a, rows, width);
    }
}

// With s = sigmoid(g): dG = dA u s (1 + g (1 - s)), dU = dA g s.
template <int N>
__device__ __forceinline__ void backward(const Float* z, const Float* d_a, Float* d_z, int rows, int width) {
    for_units<N>(rows, width, [=](int row, int column) {
        const long long at = static_cast<long long>(row) * width;
        Unit<N> g = load_unit<N>(z + 2 * at + column), u = load_unit<N>(z + 2 * at + width + column);
        const Unit<N> d = load_unit<N>(d_a + at + column);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float gate = g.v[i], s = sigmoid(gate);
            g.v[i] = d.v[i] * u.v[i] * s * (1.0f + gate * (1.0f - s));
            u.v[i] = d.v[i] * gate * s;
        }
        store_unit<N>(d_z + 2 * at + column, g);
        store_unit<N>(d_z + 2 * at + width + column, u);
    });
}

// d_z[rows, 2 width] from z and d_a[rows, width].
extern "C" __global__ void __launch_bounds__(256)
swiglu_backward(const Float* z, const Float* d_a, Float* d_z, int rows, int width, int vectorized) {
    if (vectorized) {
        backward<VECTOR>(z, d_a, d_z, rows, width);
    } else {
        backward<1>(z, d_a, d_z, rows, width);
    }
}

template <int N>
__device__ __forceinline__ void gate_forward(const Float* x, const Float* gate, Float* y, int rows, int width) {
    for_units<N>(rows, width, [=](int row, int column) {
        const long long at = static_cast<long long>(row) * width + column;
        const float s = sigmoid(to_float(gate[row]));
        Unit<N> unit = load_unit<N>(x + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            unit.v[i] *= s;
        }
        store_unit<N>(y + at, unit);
    });
}

// y[row] = sigmoid(gate[row]) * x[row].
extern "C" __global__ void __launch_bounds__(256)
sigmoid_gate(const Float* x, const Float* gate, Float* y, int rows, int width, int vectorized) {
    if (vectorized) {
        gate_forward<VECTOR>(x, gate, y, rows, width);
    } else {
        gate_forward<1>(x, gate, y, rows, width);
    }
}

// dX = s dY and dGate = s (1 - s) <dY, x>: a warp per row.
template <int N>
__device__ __forceinline__ void gate_backward(const Float* x, const Float* gate, const Float* d_y, Float* d_x, Float* d_gate, int rows, int width) {
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (long long row = static_cast<long long>(blockIdx.x) * warps + threadIdx.x / 32; row < rows; row += static_cast<long long>(gridDim.x) * warps) {
        const float s = sigmoid(to_float(gate[row]));
        float dot = 0.0f;
        for (int column = lane * N; column < width; column += 32 * N) {
            const Unit<N> a = load_unit<N>(x + row * width + column);
            Unit<N> d = load_unit<N>(d_y + row * width + column);
#pragma unroll
            for (int i = 0; i < N; i++) {
                dot = fmaf(a.v[i], d.v[i], dot);
                d.v[i] *= s;
            }
            store_unit<N>(d_x + row * width + column, d);
        }
        dot = reduce_warp<Sum>(dot);
        if (lane == 0) {
            store(d_gate + row, s * (1.0f - s) * dot);
        }
    }
}

// d_x[rows, width] and d_gate[rows].
extern "C" __global__ void __launch_bounds__(256)
sigmoid_gate_backward(const Float* x, const Float* gate, const Float* d_y, Float* d_x, Float* d_gate, int rows, int width, int vectorized) {
    if (vectorized) {
        gate_backward<VECTOR>(x, gate, d_y, d_x, d_gate, rows, width);
    } else {
        gate_backward<1>(x, gate, d_y, d_x, d_gate, rows, width);
    }
}
