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

    /// <summary>The same in bfloat16.</summary>
    public Backend Cpu16 { get; } = new CpuBackend(floatType: DType.BFloat16);

    /// <summary>The same, without the processor's instructions for bfloat16.</summary>
    public Backend Cpu16Simd { get; } = new CpuBackend(0, DType.BFloat16, CpuIsa.Simd);

    /// <summary>In float32 without machine code, as where the system forbids it.</summary>
    public Backend CpuPortable { get; } = new CpuBackend(0, DType.Float32, CpuIsa.Simd, lines: false);

    /// <summary>The same in bfloat16.</summary>
    public Backend Cpu16Portable { get; } = new CpuBackend(0, DType.BFloat16, CpuIsa.Simd, lines: false);

    /// <summary>In bfloat16 and tile registers that are a model.</summary>
    public TilePool Tiles { get; } = new();

    /// <summary>CUDA, on the emulator or a device; made when first used.</summary>
    public CudaPool Cuda { get; } = new();

    public void Dispose()
    {
        Cuda.Dispose();
        Tiles.Dispose();
        Reference.Dispose();
        Cpu.Dispose();
        Cpu16.Dispose();
        Cpu16Simd.Dispose();
        CpuPortable.Dispose();
        Cpu16Portable.Dispose();
    }
}
