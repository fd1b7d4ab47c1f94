using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>The ops on an NVIDIA GPU.</summary>
public sealed partial class CudaBackend : Backend
{
    /// <inheritdoc/>
    public override string Name => "cuda";

    /// <inheritdoc/>
    public override Device Device => throw new NotImplementedException();

    /// <inheritdoc/>
    public override DType FloatType => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override Storage Allocate(long byteCount) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void CopyToDevice(ReadOnlySpan<byte> source, Tensor destination, long byteOffset) => throw new NotImplementedException();

    /// <inheritdoc/>
    protected override void CopyToHost(Tensor source, long byteOffset, Span<byte> destination) => throw new NotImplementedException();

    private void Launch(KernelKey kernel, string entry, LaunchShape shape, params ReadOnlySpan<KernelArgument> arguments) => throw new NotImplementedException();

    private KernelKey Key(string file, params ReadOnlySpan<(string Name, int Value)> constants) => throw new NotImplementedException();

    private long Blocks(long items) => throw new NotImplementedException();

    private nint Scratch(long bytes) => throw new NotImplementedException();

    private bool Vectorizable(int width, params ReadOnlySpan<Tensor> tensors) => throw new NotImplementedException();
}
