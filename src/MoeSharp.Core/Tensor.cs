using System.Runtime.InteropServices;

namespace MoeSharp.Core;

/// <summary>A shape, a dtype and a lease on <see cref="Storage"/>: data without arithmetic. Contiguous, row-major, larger than 2 GB.</summary>
/// <remarks>
/// Owned: whoever receives a tensor from a method that allocates disposes it, or lets a <see cref="TensorScope"/> do so.
/// Disposing twice is harmless; any use after that throws <see cref="ObjectDisposedException"/>.
/// A <see cref="View(Shape, long)"/> shares the storage and holds its own lease.
/// </remarks>
public sealed class Tensor : IDisposable
{
    private readonly Storage _storage;
    private readonly long _byteOffset;
    private int _disposed;

    /// <summary>Wraps a storage, taking over the caller's lease.</summary>
    /// <exception cref="ArgumentException">The storage is too small for the shape.</exception>
    public Tensor(Backend backend, Storage storage, Shape shape, DType type, long byteOffset = 0)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(storage);
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        if (checked(byteOffset + shape.ByteCount(type)) > storage.ByteCount)
        {
            throw new ArgumentException(
                $"A {type} tensor of shape {shape} at byte {byteOffset} needs {byteOffset + shape.ByteCount(type)} bytes, the storage has {storage.ByteCount}.");
        }

        Backend = backend;
        _storage = storage;
        _byteOffset = byteOffset;
        Shape = shape;
        DType = type;
        AllocationTracker.Opened(this);
        TensorScope.Current?.Add(this);
    }

    /// <summary>The backend whose memory this is.</summary>
    public Backend Backend { get; }

    /// <summary>Dimensions.</summary>
    public Shape Shape { get; }

    /// <summary>Element type.</summary>
    public DType DType { get; }

    /// <summary>Number of elements.</summary>
    public long ElementCount => Shape.ElementCount;

    /// <summary>Size in bytes.</summary>
    public long ByteCount => Shape.ByteCount(DType);

    /// <summary>Whether <see cref="Dispose"/> was called.</summary>
    public bool IsDisposed => Volatile.Read(ref _disposed) != 0;

    /// <summary>Address of the first element, in the backend's memory (host address on CPU, device pointer on CUDA).</summary>
    /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
    public nint Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            return _storage.Pointer + (nint)_byteOffset;
        }
    }

    /// <summary>Another shape over the same memory, starting <paramref name="elementOffset"/> elements in. Dispose it too.</summary>
    /// <exception cref="ArgumentException">The view reaches past the end of this tensor.</exception>
    public Tensor View(Shape shape, long elementOffset = 0)
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(elementOffset);
        if (checked(elementOffset + shape.ElementCount) > ElementCount)
        {
            throw new ArgumentException($"A view of shape {shape} at element {elementOffset} does not fit a tensor of shape {Shape}.");
        }

        _storage.Lease();
        return new Tensor(Backend, _storage, shape, DType, _byteOffset + (elementOffset * DType.Size()));
    }

    /// <summary>Copies elements from host memory. The span length must equal the element count.</summary>
    /// <exception cref="ArgumentException">Length or element type differ.</exception>
    public void CopyFrom<T>(ReadOnlySpan<T> source)
        where T : unmanaged
    {
        CheckHostSpan<T>(source.Length, 0, exact: true);
        Backend.CopyToDevice(MemoryMarshal.AsBytes(source), this, 0);
    }

    /// <summary>Copies all elements to host memory. The span length must equal the element count.</summary>
    /// <exception cref="ArgumentException">Length or element type differ.</exception>
    public void CopyTo<T>(Span<T> destination)
        where T : unmanaged
    {
        CheckHostSpan<T>(destination.Length, 0, exact: true);
        Backend.CopyToHost(this, 0, MemoryMarshal.AsBytes(destination));
    }

    /// <summary>Copies a part from host memory, starting at an element: for tensors larger than one span.</summary>
    public void CopyFrom<T>(ReadOnlySpan<T> source, long elementOffset)
        where T : unmanaged
    {
        CheckHostSpan<T>(source.Length, elementOffset, exact: false);
        Backend.CopyToDevice(MemoryMarshal.AsBytes(source), this, elementOffset * DType.Size());
    }

    /// <summary>Copies a part to host memory, starting at an element: for tensors larger than one span.</summary>
    public void CopyTo<T>(Span<T> destination, long elementOffset)
        where T : unmanaged
    {
        CheckHostSpan<T>(destination.Length, elementOffset, exact: false);
        Backend.CopyToHost(this, elementOffset * DType.Size(), MemoryMarshal.AsBytes(destination));
    }

    /// <summary>Copies all elements to a new array.</summary>
    public T[] ToArray<T>()
        where T : unmanaged
    {
        var result = new T[checked((int)ElementCount)];
        CopyTo<T>(result);
        return result;
    }

    /// <summary>The elements as doubles, whatever the float type: for tests, reports and metrics.</summary>
    public double[] ToDoubles() => DType switch
    {
        DType.Float64 => ToArray<double>(),
        DType.Float32 => Array.ConvertAll(ToArray<float>(), x => (double)x),
        DType.BFloat16 => Array.ConvertAll(ToArray<BFloat16>(), x => (double)(float)x),
        DType.Int32 => Array.ConvertAll(ToArray<int>(), x => (double)x),
        DType.Int64 => Array.ConvertAll(ToArray<long>(), x => (double)x),
        _ => Array.ConvertAll(ToArray<byte>(), x => (double)x),
    };

    /// <summary>Writes doubles, rounded to this tensor's float type.</summary>
    public void FromDoubles(ReadOnlySpan<double> values)
    {
        double[] source = values.ToArray();
        switch (DType)
        {
            case DType.Float64: CopyFrom<double>(source); break;
            case DType.Float32: CopyFrom<float>(Array.ConvertAll(source, x => (float)x)); break;
            case DType.BFloat16: CopyFrom<BFloat16>(Array.ConvertAll(source, x => (BFloat16)(float)x)); break;
            default: throw new InvalidOperationException($"FromDoubles writes float tensors, this one is {DType}.");
        }
    }

    /// <summary>Returns the lease. Safe to call twice.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            AllocationTracker.Closed(this);
            _storage.Return();
        }
    }

    /// <summary>Prints dtype and shape, never data.</summary>
    public override string ToString() => $"{DType}{Shape}{(IsDisposed ? " (disposed)" : string.Empty)}";

    private void CheckHostSpan<T>(int length, long offset, bool exact)
        where T : unmanaged
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        if (DTypes.Of<T>() != DType)
        {
            throw new ArgumentException($"The tensor holds {DType}, the span holds {typeof(T).Name}.");
        }

        if (offset < 0 || checked(offset + length) > ElementCount || (exact && length != ElementCount))
        {
            throw new ArgumentException($"A span of {length} elements at offset {offset} does not match a tensor of shape {Shape}.");
        }
    }
}
