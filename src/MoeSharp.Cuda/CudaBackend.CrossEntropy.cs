using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Cross-entropy.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void CrossEntropyCore(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void CrossEntropyBackwardCore(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits) => throw new NotImplementedException();
}
