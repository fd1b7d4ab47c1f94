// expects: misaligned
// launch: grid=1 block=32 shared=0 n=1
// A vector of four floats starts at a multiple of 16 bytes.

extern "C" __global__ void kernel(float* out, const float* in, int n) {
    const float4 v = *reinterpret_cast<const float4*>(in + n + 4 * threadIdx.x);
    out[threadIdx.x] = v.x + v.y + v.z + v.w;
}
