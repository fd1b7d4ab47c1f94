using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Element-wise ops and biases.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void AddCore(Tensor a, Tensor b, Tensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void AxpyCore(double alpha, Tensor x, Tensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void ScaleCore(Tensor x, double alpha, Tensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void FillCore(Tensor y, double value) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void AddBiasCore(Tensor x, Tensor bias, Tensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void AddBiasBackwardCore(Tensor dY, Tensor dBias) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void SwiGluCore(Tensor z, Tensor a) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void SwiGluBackwardCore(Tensor z, Tensor dA, Tensor dZ) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void SigmoidGateCore(Tensor x, Tensor gate, Tensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void SigmoidGateBackwardCore(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate) => throw new NotImplementedException();
}
