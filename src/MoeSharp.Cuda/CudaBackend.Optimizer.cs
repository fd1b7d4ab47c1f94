using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Optimizer ops.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void AdamWCore(Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter) => throw new NotImplementedException();
}
