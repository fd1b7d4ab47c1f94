using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Backward of gate and combine.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void GateBackwardCore(Tensor logits, Tensor ids, Tensor dWeights, Tensor counts, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void CombineBackwardCore(Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ConstantExpertsBackwardCore(Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights) => throw new NotImplementedException();
}
