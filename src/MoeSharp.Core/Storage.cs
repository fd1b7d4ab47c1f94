namespace MoeSharp.Core;

/// <summary>
/// A block of backend memory with a lease count. Every <see cref="Tensor"/> that looks at it holds one lease;
/// the memory is given back when the last lease is returned, never earlier and never by a finalizer.
/// </summary>
public sealed class Storage
{
    private readonly Action<Storage> _free;
    private int _leases = 1;

    /// <summary>Wraps memory. The caller holds the first lease.</summary>
    /// <param name="pointer">Host or device address; <see cref="nint.Zero"/> only when <paramref name="byteCount"/> is 0.</param>
    /// <param name="byteCount">Size in bytes.</param>
    /// <param name="free">Called once, when the last lease returns.</param>
    public Storage(nint pointer, long byteCount, Action<Storage> free)
    {
        ArgumentNullException.ThrowIfNull(free);
        ArgumentOutOfRangeException.ThrowIfNegative(byteCount);
        Pointer = pointer;
        ByteCount = byteCount;
        _free = free;
    }

    /// <summary>Address of the first byte, in the memory of the backend that made it.</summary>
    public nint Pointer { get; }

    /// <summary>Size in bytes.</summary>
    public long ByteCount { get; }

    /// <summary>Takes one more lease.</summary>
    /// <exception cref="ObjectDisposedException">The memory was already given back.</exception>
    internal void Lease()
    {
        int seen;
        do
        {
            seen = Volatile.Read(ref _leases);
            ObjectDisposedException.ThrowIf(seen == 0, this);
        }
        while (Interlocked.CompareExchange(ref _leases, seen + 1, seen) != seen);
    }

    /// <summary>Returns one lease; frees at zero.</summary>
    internal void Return()
    {
        if (Interlocked.Decrement(ref _leases) == 0)
        {
            _free(this);
        }
    }
}
