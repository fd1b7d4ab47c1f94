using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Attention.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void AttentionCore(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void AttentionBackwardCore(Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV) => throw new NotImplementedException();
}
