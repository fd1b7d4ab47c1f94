using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Embedding, norm, rotary embedding.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void EmbeddingCore(Tensor table, Tensor ids, Tensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(Tensor dY, Tensor ids, Tensor dTable) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void RmsNormCore(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void RmsNormBackwardCore(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void RopeCore(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y) => throw new NotImplementedException();
}
