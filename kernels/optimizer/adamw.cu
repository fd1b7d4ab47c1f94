// One AdamW update (Loshchilov and Hutter, arXiv 1711.05101), fused: one pass over gradient, moments and master weights, all float32, and
// the parameter, which is the master rounded to Float. Where Float is float32 the parameter may be the master itself. Memory bound; the
// bias corrections 1 / (1 - beta^t) come from the host, which has them in double.
#include "common/ptx.cuh"
#include "common/dtype.cuh"

struct Step {
    float keep1, take1, keep2, take2, correct1, correct2, epsilon, decay, rate, clip;
};

__device__ __forceinline__ void update(const Step& step, float gradient, float& master, float& first, float& second) {
    const float g = step.clip * gradient;
    first = fmaf(step.keep1, first, step.take1 * g);
    second = fmaf(step.keep2, second, step.take2 * g * g);
    const float move = first * step.correct1 / (sqrtf(second * step.correct2) + step.epsilon);
    master = fmaf(-step.rate, fmaf(step.decay, master, move), master);
}

// Four elements of the parameter at once, which starts on 16 bytes.
__device__ __forceinline__ void store_four(float* to, const float4& x) { *reinterpret_cast<float4*>(to) = x; }
__device__ __forceinline__ void store_four(bfloat16* to, const float4& x) {
    *reinterpret_cast<uint2*>(to) = make_uint2(pack_bf16x2(x.x, x.y), pack_bf16x2(x.z, x.w));
}

// gradient, master, first, second, parameter [count]; factor [1]. keep = beta, take = 1 - beta.
extern "C" __global__ void __launch_bounds__(256)
adamw(
    const float* gradient, const float* factor, float* master, float* first, float* second, Float* parameter, long long count, float keep1,
    float take1, float keep2, float take2, float correct1, float correct2, float epsilon, float decay, float rate, int vectorized) {
    const Step step{keep1, take1, keep2, take2, correct1, correct2, epsilon, decay, rate, *factor};
    const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x, threads = static_cast<long long>(gridDim.x) * blockDim.x;
    const long long vectors = vectorized ? count / 4 : 0;
    for (long long i = thread; i < vectors; i += threads) {
        const float4 g = *reinterpret_cast<const float4*>(gradient + 4 * i);
        float4 p = *reinterpret_cast<const float4*>(master + 4 * i);
        float4 m = *reinterpret_cast<const float4*>(first + 4 * i), v = *reinterpret_cast<const float4*>(second + 4 * i);
        update(step, g.x, p.x, m.x, v.x);
        update(step, g.y, p.y, m.y, v.y);
        update(step, g.z, p.z, m.z, v.z);
        update(step, g.w, p.w, m.w, v.w);
        *reinterpret_cast<float4*>(master + 4 * i) = p;
        *reinterpret_cast<float4*>(first + 4 * i) = m;
        *reinterpret_cast<float4*>(second + 4 * i) = v;
        store_four(parameter + 4 * i, p);
    }
    for (long long i = 4 * vectors + thread; i < count; i += threads) {
        float p = master[i], m = first[i], v = second[i];
        update(step, gradient[i], p, m, v);
        master[i] = p;
        first[i] = m;
        second[i] = v;
        store(parameter + i, p);
    }
}
