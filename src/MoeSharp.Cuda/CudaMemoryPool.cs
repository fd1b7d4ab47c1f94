using MoeSharp.Core;
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

    public nint Allocate(long bytes)
    {
        using CudaContext.Scope scope = _context.Enter();
        CudaError error = Driver.cuMemAllocFromPoolAsync(out nint pointer, (nuint)bytes, _pool, _stream);
        if (error == CudaError.OutOfMemory)
        {
            _ = Driver.cuMemGetInfo(out nuint free, out nuint total);
            CudaMemoryStatistics now = Statistics;
#pragma warning disable CA2201 // The contract of Backend.Empty names this exception.
            throw new OutOfMemoryException(
                $"The GPU has no {bytes:N0} bytes left: {now.Used:N0} of {total:N0} are in use by this backend, {(long)free:N0} are free. Use fewer tokens per step, a smaller model, or bf16.");
#pragma warning restore CA2201
        }

        CudaException.Check(error, "cuMemAllocFromPoolAsync");
        return pointer;
    }

    public void Free(nint pointer)
    {
        using CudaContext.Scope scope = _context.Enter();

        // After a kernel failed the driver refuses everything; the memory ends with the context then.
        _ = Driver.cuMemFreeAsync(pointer, _stream);
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
