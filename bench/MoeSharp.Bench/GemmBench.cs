using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using BenchmarkDotNet.Attributes;
using MoeSharp.Core;
using MoeSharp.Cpu;

namespace MoeSharp.Bench;

/// <summary>
/// The dense product of the CPU backend in its three uses (forward, input gradient, weight gradient) beside a loop of multiply-adds
/// that never leaves the registers and does equally many of them: the column Ratio is 1 at the peak of the machine, 1.25 at 80 % of it.
/// </summary>
public class GemmBench
{
    private const int Accumulators = 12;
    private float[] _sums = null!;

    [Params(512, 1024, 2048)]
    public int Size { get; set; }

    [Params(1, 2)]
    public int Threads { get; set; }

    private CpuBackend Backend { get; set; } = null!;

    private Tensor A { get; set; } = null!;

    private Tensor B { get; set; } = null!;

    private Tensor C { get; set; } = null!;

    [GlobalSetup]
    public void Setup()
    {
        Backend = new CpuBackend(Threads);
        float[] values = Enumerable.Range(0, Size * Size).Select(i => (float)Math.Sin(i)).ToArray();
        A = Backend.From<float>(values, Size, Size);
        B = Backend.From<float>(values, Size, Size);
        C = Backend.From<float>(new float[Size * Size], Size, Size);
        _sums = new float[Threads];
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        A.Dispose();
        B.Dispose();
        C.Dispose();
        Backend.Dispose();
    }

    [Benchmark(Baseline = true)]
    public void MultiplyAdds() => Backend.Parallel.For(Threads, this, static (bench, thread) => bench.Peak(thread));

    [Benchmark]
    public void Forward() => Backend.Gemm(A, B, false, true, false, C);

    [Benchmark]
    public void InputGradient() => Backend.Gemm(A, B, false, false, false, C);

    [Benchmark]
    public void WeightGradient() => Backend.Gemm(A, B, true, false, true, C);

    private void Peak(int thread)
    {
        long all = (long)Size * Size * Size / Threads;
        _sums[thread] = Vector512.IsHardwareAccelerated
            ? Vector512.Sum(Loop512(all / (16 * Accumulators)))
            : Vector256.Sum(Loop256(all / (8 * Accumulators)));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector512<float> Loop512(long count)
    {
        Vector512<float> x = Vector512.Create(1.0000001f), y = Vector512.Create(1e-9f);
        Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (; count > 0; count--)
        {
            a = Vector512.FusedMultiplyAdd(a, x, y);
            b = Vector512.FusedMultiplyAdd(b, x, y);
            c = Vector512.FusedMultiplyAdd(c, x, y);
            d = Vector512.FusedMultiplyAdd(d, x, y);
            e = Vector512.FusedMultiplyAdd(e, x, y);
            f = Vector512.FusedMultiplyAdd(f, x, y);
            g = Vector512.FusedMultiplyAdd(g, x, y);
            h = Vector512.FusedMultiplyAdd(h, x, y);
            i = Vector512.FusedMultiplyAdd(i, x, y);
            j = Vector512.FusedMultiplyAdd(j, x, y);
            k = Vector512.FusedMultiplyAdd(k, x, y);
            l = Vector512.FusedMultiplyAdd(l, x, y);
        }

        return a + b + c + d + e + f + g + h + i + j + k + l;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector256<float> Loop256(long count)
    {
        Vector256<float> x = Vector256.Create(1.0000001f), y = Vector256.Create(1e-9f);
        Vector256<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (; count > 0; count--)
        {
            a = Vector256.FusedMultiplyAdd(a, x, y);
            b = Vector256.FusedMultiplyAdd(b, x, y);
            c = Vector256.FusedMultiplyAdd(c, x, y);
            d = Vector256.FusedMultiplyAdd(d, x, y);
            e = Vector256.FusedMultiplyAdd(e, x, y);
            f = Vector256.FusedMultiplyAdd(f, x, y);
            g = Vector256.FusedMultiplyAdd(g, x, y);
            h = Vector256.FusedMultiplyAdd(h, x, y);
            i = Vector256.FusedMultiplyAdd(i, x, y);
            j = Vector256.FusedMultiplyAdd(j, x, y);
            k = Vector256.FusedMultiplyAdd(k, x, y);
            l = Vector256.FusedMultiplyAdd(l, x, y);
        }

        return a + b + c + d + e + f + g + h + i + j + k + l;
    }
}
