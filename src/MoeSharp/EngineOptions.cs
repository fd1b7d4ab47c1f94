using MoeSharp.Core;

namespace MoeSharp;

/// <summary>How an <see cref="Engine"/> chooses and sets up its backend.</summary>
public sealed record EngineOptions
{
    /// <summary><c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>. <c>auto</c> takes CUDA where it works, else the CPU; a named device is used or refused, never replaced.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Type of activations and weights: Float32, or BFloat16, where sums, statistics and master weights stay in Float32.</summary>
    public DType FloatType { get; init; } = DType.Float32;

    /// <summary>Threads of the CPU backend; 0 means one per processor. Results do not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Receives one line when there is a CUDA driver but <c>auto</c> has to do without, and warnings such as a kernel cache that cannot be written.</summary>
    public Action<string>? Log { get; init; }
}
