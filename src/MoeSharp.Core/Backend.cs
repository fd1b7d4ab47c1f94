namespace MoeSharp.Core;

/// <summary>The op contract: memory, and every operation of the engine, split by family into the files <c>Backend.*.cs</c>.</summary>
/// <remarks>
/// <para>The problem: three implementations (double reference, CPU, CUDA) must mean exactly the same. The choice: a public method checks
/// dtypes, shapes and aliasing once and calls a protected <c>…Core</c> method that a backend implements. Parameters come as
/// sources, arguments, destinations.</para>
/// <para>Rules of every op: float tensors have <see cref="FloatType"/>, those documented as wide <see cref="WideType"/>; destinations are fully written unless the op says that it
/// accumulates; destinations do not overlap sources unless the op says that they may; sizes of zero are legal; results are
/// deterministic bit for bit on one backend and do not depend on the number of threads. Sums accumulate in float32 or wider.</para>
/// </remarks>
public abstract partial class Backend : IDisposable
{
    /// <summary>Short name: reference, cpu, cuda.</summary>
    public abstract string Name { get; }

    /// <summary>The device this backend computes on.</summary>
    public abstract Device Device { get; }

    /// <summary>Dtype of activations, weights and gradients.</summary>
    public abstract DType FloatType { get; }

    /// <summary>
    /// Dtype of what sums and statistics are kept in: combine weights, norms, log-sum-exps, losses, gradients of weights, optimizer moments
    /// and master weights. The same as <see cref="FloatType"/>, except on a backend that computes in bfloat16: float32.
    /// </summary>
    public virtual DType WideType => FloatType == DType.BFloat16 ? DType.Float32 : FloatType;

    /// <summary>Allocates a tensor with unspecified content. The caller disposes it.</summary>
    /// <exception cref="OutOfMemoryException">The memory is not there.</exception>
    public Tensor Empty(Shape shape, DType type) => new(this, Allocate(shape.ByteCount(type)), shape, type);

    /// <summary>Allocates a float tensor with unspecified content.</summary>
    public Tensor Empty(params ReadOnlySpan<long> shape) => Empty(new Shape(shape), FloatType);

    /// <summary>Allocates a tensor of <see cref="WideType"/> with unspecified content.</summary>
    public Tensor EmptyWide(params ReadOnlySpan<long> shape) => Empty(new Shape(shape), WideType);

    /// <summary>Allocates a tensor and copies host data into it.</summary>
    public Tensor From<T>(ReadOnlySpan<T> data, params ReadOnlySpan<long> shape)
        where T : unmanaged
    {
        Tensor tensor = Empty(new Shape(shape), DTypes.Of<T>());
        tensor.CopyFrom(data);
        return tensor;
    }

    /// <summary>Allocates a float tensor of <see cref="FloatType"/> from doubles.</summary>
    public Tensor FromDoubles(ReadOnlySpan<double> data, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Empty(new Shape(shape), FloatType);
        tensor.FromDoubles(data);
        return tensor;
    }

    /// <summary>Allocates a tensor of <see cref="WideType"/> from doubles.</summary>
    public Tensor WideFromDoubles(ReadOnlySpan<double> data, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Empty(new Shape(shape), WideType);
        tensor.FromDoubles(data);
        return tensor;
    }

    /// <summary>Waits until all work submitted so far is done. Nothing to do on the CPU.</summary>
    public virtual void Synchronize()
    {
    }

    /// <summary>Frees what the backend owns. Tensors must be disposed before.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Allocates memory, aligned to 64 bytes or more, and reports it to <see cref="AllocationTracker"/>.</summary>
    protected abstract Storage Allocate(long byteCount);

    /// <summary>Copies bytes from host memory into a tensor.</summary>
    protected internal abstract void CopyToDevice(ReadOnlySpan<byte> source, Tensor destination, long byteOffset);

    /// <summary>Copies bytes from a tensor to host memory.</summary>
    protected internal abstract void CopyToHost(Tensor source, long byteOffset, Span<byte> destination);

    /// <summary>Frees what the backend owns.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }

    private static int Size(Tensor tensor, int dimension, int rank)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        Guard.That(tensor.Shape.Rank == rank, $"Expected a tensor of rank {rank}, got {tensor}.");
        return checked((int)tensor.Shape[dimension]);
    }

    private static void Distinct(Tensor destination, params ReadOnlySpan<Tensor> sources)
    {
        foreach (Tensor source in sources)
        {
            bool overlap = destination.ElementCount > 0 && source.ElementCount > 0
                && destination.Pointer < source.Pointer + (nint)source.ByteCount
                && source.Pointer < destination.Pointer + (nint)destination.ByteCount;
            Guard.That(!overlap, $"The destination {destination} overlaps the source {source}.");
        }
    }

    private void Is(Tensor tensor, params ReadOnlySpan<long> shape) => Guard.Is(tensor, FloatType, shape);

    private void Wide(Tensor tensor, params ReadOnlySpan<long> shape) => Guard.Is(tensor, WideType, shape);

    private void Rows(Tensor tensor, long rows, long width) => Guard.Is(tensor, FloatType, [rows, width]);

    private void SameFloats(Tensor a, Tensor b) => Guard.That(
        (a.DType == FloatType || a.DType == WideType) && b.DType == a.DType && a.ElementCount == b.ElementCount && !a.IsDisposed && !b.IsDisposed,
        $"Expected two live {FloatsText} tensors of one dtype and equal size, got {a} and {b}.");

    private string FloatsText => WideType == FloatType ? $"{FloatType}" : $"{FloatType} or {WideType}";
}
