using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Grouped expert GEMMs, backward.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void ExpertDownBackwardCore(Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ExpertDownWeightGradCore(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ExpertUpBackwardCore(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ExpertUpWeightGradCore(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1) => throw new NotImplementedException();
}
