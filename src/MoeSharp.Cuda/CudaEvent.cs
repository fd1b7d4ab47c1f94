using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>A point in a stream: what was put on it before can be waited for and timed.</summary>
public sealed class CudaEvent : IDisposable
{
    private readonly CudaContext _context;
    private readonly nint _handle;
    private bool _disposed;

    internal CudaEvent(CudaContext context)
    {
        _context = context;
        using CudaContext.Scope scope = context.Enter();
        CudaException.Check(Driver.cuEventCreate(out _handle, 0), "cuEventCreate");
    }

    /// <summary>CUevent, for calls of one's own.</summary>
    public nint Handle => _handle;

    /// <summary>Milliseconds between two events; waits for the second.</summary>
    public static float Milliseconds(CudaEvent start, CudaEvent end)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentNullException.ThrowIfNull(end);
        end.Synchronize();
        using CudaContext.Scope scope = end._context.Enter();
        CudaException.Check(Driver.cuEventElapsedTime(out float milliseconds, start._handle, end._handle), "cuEventElapsedTime");
        return milliseconds;
    }

    /// <summary>Waits until the work before the event is done.</summary>
    public void Synchronize()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        using CudaContext.Scope scope = _context.Enter();
        CudaException.Check(Driver.cuEventSynchronize(_handle), "cuEventSynchronize");
    }

    /// <summary>Frees the event.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            using CudaContext.Scope scope = _context.Enter();
            _ = Driver.cuEventDestroy(_handle);
        }
    }

    internal void Record(nint stream)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        using CudaContext.Scope scope = _context.Enter();
        CudaException.Check(Driver.cuEventRecord(_handle, stream), "cuEventRecord");
    }
}
