using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>The dense matrix product: one group of <see cref="GroupedGemm"/>.</content>
public sealed unsafe partial class CpuBackend
{
    private readonly GroupedGemm _gemm;

    /// <inheritdoc/>
    protected override void GemmCore(
        Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k)
    {
        var left = new GemmOperand { Data = (void*)a.Pointer, Stride = transposeA ? m : k, DepthMajor = transposeA, Reading = Stored(a) };
        var right = new GemmOperand { Data = (void*)b.Pointer, Stride = transposeB ? k : n, DepthMajor = !transposeB, Reading = Stored(b) };
        using Lock.Scope scope = _gemm.Enter();
        _gemm.Begin(1, n, 0, n, c.DType, accumulate, default);
        _gemm.Group(left, right, (void*)c.Pointer, m, k, 0);
        _gemm.Run();
    }

    private static GemmReading Stored(Tensor tensor) => tensor.DType == DType.BFloat16 ? GemmReading.Widened : GemmReading.Float32;
}
