using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The default backend: float32 or bfloat16 on the host processor with SIMD, bit-identical for any number of threads.</summary>
/// <remarks>
/// <para>The problem: one op after another, each split over threads, must give the same bits on 1 or 64 threads and must not spend its
/// time on starting threads. The choice: one pool of threads per backend (<see cref="CpuParallel"/>) that lives as long as it, and ops
/// that cut their <em>output</em> into chunks of fixed size; a reduction is never cut by the number of threads.</para>
/// <para>One caller at a time: ops of one backend from several threads are safe for the matrix products, which queue, but bring no
/// speed. Use one backend per thread of control.</para>
/// </remarks>
public sealed partial class CpuBackend : Backend
{
    private readonly WideOperands _wide;
    private int _disposed;

    /// <summary>Makes a backend and starts its threads.</summary>
    /// <param name="threads">Threads to compute on, the caller included; 0 means one per processor.</param>
    /// <param name="floatType">Float32, or BFloat16: activations and weights are stored in it, sums, statistics and master weights in Float32.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="threads"/> is negative or above 1024.</exception>
    /// <exception cref="ArgumentException"><paramref name="floatType"/> is another type.</exception>
    /// <exception cref="BackendUnavailableException">MOESHARP_CPU_ISA names an instruction set that is unknown or not here.</exception>
    public CpuBackend(int threads = 0, DType floatType = DType.Float32)
        : this(threads, floatType, CpuIsas.Choose(Environment.GetEnvironmentVariable(CpuIsas.Variable)))
    {
    }

    /// <summary>The same with a chosen instruction set, which this machine must have, or for which <paramref name="tiles"/> stands in; without <paramref name="lines"/> no machine code reads weights in place.</summary>
    internal CpuBackend(int threads, DType floatType, CpuIsa isa, TileProcessor? tiles = null, bool lines = true)
    {
        Guard.That(floatType is DType.Float32 or DType.BFloat16, $"The CPU computes in Float32 or BFloat16, not in {floatType}.");
        if (threads is < 0 or > 1024)
        {
            throw new ArgumentOutOfRangeException(
                nameof(threads), threads, $"A CPU backend takes 1..1024 threads, or 0 for one per processor, got {threads}.");
        }

        FloatType = floatType;
        Isa = isa;
        Threads = threads == 0 ? Environment.ProcessorCount : threads;
        Parallel = new CpuParallel(Threads);
        _gemm = new GroupedGemm(
            Parallel, floatType, Isa != CpuIsa.Simd, lines, Isa == CpuIsa.Amx && floatType == DType.BFloat16 ? new TileKernel(tiles ?? TileProcessor.Native!, Threads) : null);
        _wide = new WideOperands(Parallel);
    }

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override Device Device => Device.Cpu;

    /// <inheritdoc/>
    public override DType FloatType { get; }

    /// <summary>Number of threads that ops run on, the caller included.</summary>
    public int Threads { get; }

    /// <summary>What products of bfloat16 are made of here.</summary>
    public CpuIsa Isa { get; }

    /// <summary>Work memory of products.</summary>
    internal GemmWorkspace Workspace => _gemm.Workspace;

    /// <summary>The threads of this backend.</summary>
    internal CpuParallel Parallel { get; }

    /// <inheritdoc/>
    protected override Storage Allocate(long byteCount)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return CpuAllocator.Allocate(byteCount);
    }

    /// <inheritdoc/>
    protected override unsafe void CopyToDevice(ReadOnlySpan<byte> source, Tensor destination, long byteOffset) =>
        source.CopyTo(new Span<byte>((byte*)destination.Pointer + byteOffset, source.Length));

    /// <inheritdoc/>
    protected override unsafe void CopyToHost(Tensor source, long byteOffset, Span<byte> destination) =>
        new ReadOnlySpan<byte>((byte*)source.Pointer + byteOffset, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Parallel.Dispose();
            _gemm.Dispose();
        }

        base.Dispose(disposing);
    }
}
