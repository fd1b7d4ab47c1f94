using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The CPU backend in bfloat16 on modelled tiles, made when first used.</summary>
public sealed class TilePool : IDisposable
{
    private readonly Lazy<CpuBackend> _backend;

    public TilePool() => _backend = new(() => Backend(2));

    /// <summary>The model.</summary>
    internal InterpretedTiles Processor { get; } = new();

    /// <summary>The backend, its work memory full of NaN: what a product reads and has not written shows in its result.</summary>
    public Backend Poisoned()
    {
        // What surrounds the tiles packs and finishes vectors of this width, as on every processor that has tiles.
        Assert.SkipUnless(KernelTable.Lanes == 16, "no 512-bit vectors");
        _backend.Value.Workspace.Poison();
        return _backend.Value;
    }

    /// <summary>A backend of its own, on the same model.</summary>
    public Backend Make(int threads)
    {
        Assert.SkipUnless(KernelTable.Lanes == 16, "no 512-bit vectors");
        CpuBackend backend = Backend(threads);
        backend.Workspace.Poison();
        return backend;
    }

    public void Dispose()
    {
        if (_backend.IsValueCreated)
        {
            _backend.Value.Dispose();
        }

        Processor.Dispose();
    }

    private CpuBackend Backend(int threads) => new(threads, DType.BFloat16, CpuIsa.Amx, Processor);
}
