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

    private void Peak(int thread) =>
        _sums[thread] = CpuRates.MultiplyAdds((long)((double)Size * Size * Size / Threads / CpuRates.MultiplyAddsPerLoop));
}
