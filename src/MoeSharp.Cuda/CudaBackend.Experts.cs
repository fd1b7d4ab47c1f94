using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Grouped expert GEMMs.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void ExpertUpCore(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ExpertDownCore(Tensor a, Tensor w2, RoutingPlan plan, Tensor y) => throw new NotImplementedException();
}
