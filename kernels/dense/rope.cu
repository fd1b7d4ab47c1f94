// Rotary position embedding (Su et al., RoFormer, arXiv 2104.09864): pair i of every head turns by position * theta^(-2i/width).
//
// The difficulty: at position 10^6 the first pair's angle is 10^6 radians, which float32 knows to 0.06. The choice: count in turns, as
// 64-bit fractions. A frequency is rounded once to a multiple of 2^-64 turns; position times frequency, wrapped at 2^64, is then exactly
// the part of the turn that matters, for negative positions as well. The frequencies come from double precision once per call
// (rope_frequencies); what is left is integer arithmetic and two short polynomials per pair, shared by the heads of a token.
#include "common/ptx.cuh"
#include "dense/rows.cuh"

// Heads that share one computation of sine and cosine.
constexpr int HEADS_PER_ITEM = 4;

// frequencies[i] = theta^(-2i/width) / (2 pi) turns per position, in units of 2^-64. `octaves` is log2(theta) * 2 / width, the bits of a double.
extern "C" __global__ void __launch_bounds__(256) rope_frequencies(uint64_t* frequencies, long long octaves, int half) {
    for (int pair = blockIdx.x * blockDim.x + threadIdx.x; pair < half; pair += gridDim.x * blockDim.x) {
        // Whole turns per position do not matter; there are some only if theta is below 1.
        double turns = exp2(-pair * __longlong_as_double(octaves)) * 0.15915494309189533577;
        turns -= floor(turns);
        frequencies[pair] = static_cast<uint64_t>(turns * 18446744073709551616.0);
    }
}

// Sine and cosine of phase * 2^-64 turns: the nearest quarter turn, and polynomials for the rest, at most pi/4 either way
// (single-precision coefficients of Moshier's Cephes library; error below 2^-23).
__device__ __forceinline__ void sine_cosine(uint64_t phase, float& sine, float& cosine) {
    const unsigned quarter = static_cast<unsigned>((phase + (1ull << 61)) >> 62) & 3u;
    const int64_t rest = static_cast<int64_t>(phase - (static_cast<uint64_t>(quarter) << 62));
    const float x = static_cast<float>(rest) * 3.4061215800865545e-19f;   // 2 pi / 2^64
    const float square = x * x;
    float s = fmaf(-1.9515295891e-4f, square, 8.3321608736e-3f);
    s = fmaf(s, square, -1.6666654611e-1f);
    s = fmaf(s * square, x, x);
    float c = fmaf(2.443315711809948e-5f, square, -1.388731625493765e-3f);
    c = fmaf(c, square, 4.166664568298827e-2f);
    c = fmaf(c * square, square, fmaf(-0.5f, square, 1.0f));
    const float first = (quarter & 1u) ? c : s, second = (quarter & 1u) ? s : c;
    sine = (quarter & 2u) ? -first : first;
    cosine = ((quarter + 1u) & 2u) ? -second : second;
}

// One item turns pairs first..first + N - 1 of up to HEADS_PER_ITEM heads of a token. Reads come before writes, so y may be x.
template <int N>
__device__ __forceinline__ void rotate(
    const Float* x, const int* positions, const uint64_t* frequencies, Float* y, int tokens, int heads, int half, int interleaved, int inverse) {
    const int units = half / N, groups = (heads + HEADS_PER_ITEM - 1) / HEADS_PER_ITEM;
    const long long per_token = static_cast<long long>(groups) * units, items = tokens * per_token;
    for (long long item = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; item < items; item += static_cast<long long>(gridDim.x) * blockDim.x) {
        const int token = static_cast<int>(item / per_token), in_token = static_cast<int>(item - token * per_token);
        const int group = in_token / units, first = (in_token - group * units) * N;
        const uint64_t position = static_cast<uint64_t>(static_cast<int64_t>(positions[token]));
        float sine[N], cosine[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            sine_cosine(position * frequencies[first + i], sine[i], cosine[i]);
            sine[i] = inverse ? -sine[i] : sine[i];
        }
        const int last = min((group + 1) * HEADS_PER_ITEM, heads);
        for (int head = group * HEADS_PER_ITEM; head < last; head++) {
            const long long start = (static_cast<long long>(token) * heads + head) * 2 * half;
            const long long low = start + (interleaved ? 2 * first : first), high = low + (interleaved ? N : half);
            const Unit<N> p = load_unit<N>(x + low), q = load_unit<N>(x + high);
            Unit<N> u, v;
            if (interleaved && N > 1) {
                // The pairs are neighbours: the first half of them in p, the others in q.
#pragma unroll
                for (int i = 0; i < N; i += 2) {
                    u.v[i] = p.v[i] * cosine[i / 2] - p.v[i + 1] * sine[i / 2];
                    u.v[i + 1] = p.v[i] * sine[i / 2] + p.v[i + 1] * cosine[i / 2];
                    v.v[i] = q.v[i] * cosine[(N + i) / 2] - q.v[i + 1] * sine[(N + i) / 2];
                    v.v[i + 1] = q.v[i] * sine[(N + i) / 2] + q.v[i + 1] * cosine[(N + i) / 2];
                }
            } else {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    u.v[i] = p.v[i] * cosine[i] - q.v[i] * sine[i];
                    v.v[i] = p.v[i] * sine[i] + q.v[i] * cosine[i];
                }
            }
            store_unit<N>(y + low, u);
            store_unit<N>(y + high, v);
        }
    }
}

// y[tokens, heads * 2 half] = x, turned; pairs are (2i, 2i + 1) when interleaved, else (i, i + half). The vector path needs
// rows of `half` elements on 16 bytes.
extern "C" __global__ void __launch_bounds__(256, 2)
rope(const Float* x, const int* positions, const uint64_t* frequencies, Float* y, int tokens, int heads, int half, int interleaved, int inverse, int vectorized) {
    if (vectorized) {
        rotate<VECTOR>(x, positions, frequencies, y, tokens, heads, half, interleaved, inverse);
    } else {
        rotate<1>(x, positions, frequencies, y, tokens, heads, half, interleaved, inverse);
    }
}
