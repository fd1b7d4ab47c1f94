using System.Globalization;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>What a pool holds, in bytes.</summary>
/// <param name="Used">In use by tensors and the workspace.</param>
/// <param name="UsedHigh">The most that was in use at one time.</param>
/// <param name="Reserved">Held from the device.</param>
/// <param name="ReservedHigh">The most that was held.</param>
public readonly record struct CudaMemoryStatistics(long Used, long UsedHigh, long Reserved, long ReservedHigh);

/// <summary>The driver's stream-ordered allocator, with a pool of its own that keeps memory it was given.</summary>
internal sealed class CudaMemoryPool : IDisposable
{
    private readonly CudaContext _context;
    private readonly nint _stream;
    private readonly nint _pool;
    private readonly List<nint> _kept = [];

    public CudaMemoryPool(CudaContext context, nint stream)
    {
        (_context, _stream) = (context, stream);
        using CudaContext.Scope scope = context.Enter();
        var properties = new PoolProperties { AllocationType = 1, LocationType = 1, LocationId = context.Info.Ordinal };
        CudaException.Check(Driver.cuMemPoolCreate(out _pool, in properties), "cuMemPoolCreate");

        // Never give memory back at a synchronisation: the next step wants it again.
        ulong keep = ulong.MaxValue;
        CudaException.Check(Driver.cuMemPoolSetAttribute(_pool, PoolAttribute.ReleaseThreshold, ref keep), "cuMemPoolSetAttribute");
    }

    public CudaMemoryStatistics Statistics => new(Get(PoolAttribute.Used), Get(PoolAttribute.UsedHigh), Get(PoolAttribute.Reserved), Get(PoolAttribute.ReservedHigh));

    /// <summary>Whether the stream is recording a graph, in which allocations and copies to or from the host have no place.</summary>
    public bool IsCapturing
    {
        get
        {
            using CudaContext.Scope scope = _context.Enter();
            return Driver.cuStreamIsCapturing(_stream, out int status) == CudaError.Success && status != 0;
        }
    }

    /// <summary>Allocates, in the order of the stream; the content is unspecified.</summary>
    /// <exception cref="OutOfMemoryException">The device has not enough, even after unused memory of the pool went back to it.</exception>
    /// <exception cref="InvalidOperationException">A graph is being captured.</exception>
    public nint Allocate(long bytes)
    {
        using CudaContext.Scope scope = _context.Enter();
        if (IsCapturing)
        {
            throw new InvalidOperationException($"A graph is being captured, and it cannot hold an allocation, here of {bytes:N0} bytes. Make tensors before Capture and reuse them in it.");
        }

        FreeKept();
        CudaError error = Driver.cuMemAllocFromPoolAsync(out nint pointer, (nuint)bytes, _pool, _stream);
        if (error == CudaError.OutOfMemory)
        {
            // What was freed may still be on its way through the stream, or lie in the pool in pieces of the wrong size.
            _ = Driver.cuStreamSynchronize(_stream);
            _ = Driver.cuMemPoolTrimTo(_pool, 0);
            error = Driver.cuMemAllocFromPoolAsync(out pointer, (nuint)bytes, _pool, _stream);
        }

        if (error == CudaError.OutOfMemory)
        {
            _ = Driver.cuMemGetInfo(out nuint free, out nuint total);
            CudaMemoryStatistics now = Statistics;
            throw new InsufficientMemoryException(string.Create(
                CultureInfo.InvariantCulture,
                $"The GPU has no {bytes:N0} bytes left: of its {total:N0} bytes {free:N0} are free; this backend uses {now.Used:N0} and holds {now.Reserved:N0}. Use fewer tokens per step, a smaller model, or bf16."));
        }

        CudaException.Check(error, "cuMemAllocFromPoolAsync");
        return pointer;
    }

    /// <summary>Frees, in the order of the stream. While a graph is captured, which cannot hold that, the memory is kept for <see cref="FreeKept"/>.</summary>
    public void Free(nint pointer)
    {
        using CudaContext.Scope scope = _context.Enter();
        if (IsCapturing)
        {
            _kept.Add(pointer);
            return;
        }

        // After a kernel failed the driver refuses everything; the memory ends with the context then.
        _ = Driver.cuMemFreeAsync(pointer, _stream);
    }

    /// <summary>Frees what was given back while a graph was captured.</summary>
    /// <returns>How many allocations that were.</returns>
    public int FreeKept()
    {
        int count = _kept.Count;
        foreach (nint pointer in _kept)
        {
            _ = Driver.cuMemFreeAsync(pointer, _stream);
        }

        _kept.Clear();
        return count;
    }

    public void Dispose()
    {
        using CudaContext.Scope scope = _context.Enter();
        _ = Driver.cuMemPoolDestroy(_pool);
    }

    private long Get(PoolAttribute attribute)
    {
        using CudaContext.Scope scope = _context.Enter();
        CudaException.Check(Driver.cuMemPoolGetAttribute(_pool, attribute, out ulong value), "cuMemPoolGetAttribute");
        return (long)value;
    }
}
