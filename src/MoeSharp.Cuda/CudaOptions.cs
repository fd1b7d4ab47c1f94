using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>How a <see cref="CudaBackend"/> is set up.</summary>
public sealed record CudaOptions
{
    /// <summary>Ordinal of the device; not used with <see cref="Context"/>.</summary>
    public int DeviceIndex { get; init; }

    /// <summary>Type of activations and weights: Float32 or BFloat16.</summary>
    public DType FloatType { get; init; } = DType.Float32;

    /// <summary>An application's CUcontext to work in; 0 for the device's primary context. It stays the application's.</summary>
    public nint Context { get; init; }

    /// <summary>An application's CUstream that everything is put on; 0 for a stream of the backend's own. It stays the application's.</summary>
    public nint Stream { get; init; }

    /// <summary>Workspace reserved at the start, in bytes; it grows when an op needs more, except while a graph is captured.</summary>
    public long WorkspaceBytes { get; init; }

    /// <summary>Most blocks of a launch along x; 0 for 16 per multiprocessor. Results do not depend on it.</summary>
    public int MaxBlocks { get; init; }

    /// <summary>Folder of kernels compiled beforehand; the variable MOESHARP_KERNELS when null.</summary>
    public string? KernelFolder { get; init; }

    /// <summary>Cache of kernels that are compiled now; the machine's default when null.</summary>
    public KernelCache? Cache { get; init; }

    internal CudaOptions Validate()
    {
        Guard.That(FloatType is DType.Float32 or DType.BFloat16, $"The CUDA backend computes in Float32 or BFloat16, not in {FloatType}.");
        Guard.That(DeviceIndex >= 0, $"The ordinal of a device is 0 or more, got {DeviceIndex}.");
        Guard.That(WorkspaceBytes >= 0, $"The workspace has 0 bytes or more, got {WorkspaceBytes}.");
        Guard.That(MaxBlocks >= 0, $"A launch has at most 1 block or more, or 0 for the default, got {MaxBlocks}.");
        return this;
    }
}
