using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Reference;

namespace MoeSharp.Conformance;

/// <summary>The backends that every machine has, made once for the whole run.</summary>
public sealed class BackendPool : IDisposable
{
    public BackendPool() => NarrowVectors.Check();

    /// <summary>The oracle.</summary>
    public Backend Reference { get; } = new ReferenceBackend();

    /// <summary>The CPU backend with as many threads as there are processors.</summary>
    public Backend Cpu { get; } = new CpuBackend();

    /// <summary>CUDA, on the emulator or a device; made when first used.</summary>
    public CudaPool Cuda { get; } = new();

    public void Dispose()
    {
        Cuda.Dispose();
        Reference.Dispose();
        Cpu.Dispose();
    }
}
