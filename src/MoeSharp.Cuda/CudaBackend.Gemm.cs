using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>GEMM.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void GemmCore(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k) => throw new NotImplementedException();
}
