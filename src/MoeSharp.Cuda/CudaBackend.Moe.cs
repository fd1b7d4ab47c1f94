using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Gate, dispatch, combine.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void GateCore(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void DispatchCore(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void CombineCore(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ConstantExpertsCore(Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output) => throw new NotImplementedException();
}
