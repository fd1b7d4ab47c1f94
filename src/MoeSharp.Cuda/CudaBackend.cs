using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>The ops on an NVIDIA GPU, one or two kernel launches each.</summary>
/// <remarks>
/// <para>The problem: an application has a context, a stream and buffers already, and captures its steps in graphs. The choice: the backend works
/// in any context and on any stream, takes raw device pointers (<see cref="Wrap"/>), and an op only launches kernels: it does not synchronise, does not
/// copy to the host and does not allocate, except that the workspace grows outside of a capture when <see cref="ReserveWorkspace"/> was not asked
/// for enough.</para>
/// <para>Asynchronous: results are there after <see cref="Synchronize"/> or a copy to the host. One thread at a time. Deterministic bit for bit, for any
/// <see cref="CudaOptions.MaxBlocks"/>.</para>
/// </remarks>
public sealed partial class CudaBackend : Backend
{
    private const int BlocksPerMultiprocessor = 16;
    private const int MinimumWorkspace = 1 << 20;
    private readonly CudaContext _context;
    private readonly CudaMemoryPool _pool;
    private readonly KernelModules _modules;
    private readonly string _architecture;
    private readonly int _maxBlocks;
    private readonly bool _ownsStream;
    private nint _workspace;
    private long _workspaceBytes;
    private bool _disposed;

    /// <summary>Makes a backend.</summary>
    /// <param name="options">Device, float type, existing handles; the defaults when null.</param>
    /// <param name="host">Where native libraries are looked for; this machine when null.</param>
    /// <exception cref="BackendUnavailableException">No driver, no device, or one that is too old; the message lists what was tried.</exception>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public CudaBackend(CudaOptions? options = null, ProbeHost? host = null)
    {
        options = (options ?? new CudaOptions()).Validate();
        string? folder = KernelFolder.Find(options.KernelFolder);
        Probe = NativeProbe.Run(host);
        RequireLibraries(Probe, folder);
        CudaLibraries.Use(Probe);
        FloatType = options.FloatType;
        _context = options.Context == 0 ? CudaContext.Primary(options.DeviceIndex) : CudaContext.Existing(options.Context);
        try
        {
            _architecture = Probe.Nvrtc is null ? KernelCompiler.NameOf((10 * Info.Major) + Info.Minor) : KernelCompiler.Architecture(Info.Major, Info.Minor);
            using CudaContext.Scope scope = _context.Enter();
            Stream = options.Stream == 0 ? NewStream() : options.Stream;
            _ownsStream = options.Stream == 0;
            _pool = new CudaMemoryPool(_context, Stream);
            _modules = new KernelModules(_context, options.Cache ?? new KernelCache(), folder, canCompile: Probe.Nvrtc is not null);
            _maxBlocks = options.MaxBlocks > 0 ? options.MaxBlocks : Info.Multiprocessors * BlocksPerMultiprocessor;
            ReserveWorkspace(options.WorkspaceBytes);
        }
        catch
        {
            Release();
            throw;
        }
    }

    /// <inheritdoc/>
    public override string Name => "cuda";

    /// <inheritdoc/>
    public override Device Device => new(DeviceKind.Cuda, Info.Ordinal);

    /// <inheritdoc/>
    public override DType FloatType { get; }

    /// <summary>The device.</summary>
    public CudaDeviceInfo Info => _context.Info;

    /// <summary>What kernels are compiled for.</summary>
    public string Architecture => _architecture;

    /// <summary>How driver and NVRTC were found.</summary>
    public NativeProbeResult Probe { get; }

    /// <summary>CUcontext.</summary>
    public nint Context => _context.Handle;

    /// <summary>CUstream that everything is put on.</summary>
    public nint Stream { get; }

    /// <summary>What the backend's memory pool holds.</summary>
    public CudaMemoryStatistics Memory => _pool.Statistics;

    /// <summary>Bytes of the workspace.</summary>
    public long WorkspaceBytes => _workspaceBytes;

    /// <summary>Sees device memory of the application as a tensor. Nothing is copied; the memory stays the application's and must outlive the tensor.</summary>
    /// <param name="devicePointer">CUdeviceptr, a multiple of the element size; of 16 for the fast paths.</param>
    /// <param name="shape">Dimensions.</param>
    /// <param name="type">Element type.</param>
    public Tensor Wrap(nint devicePointer, Shape shape, DType type)
    {
        long bytes = shape.ByteCount(type);
        Guard.That(devicePointer != 0 || bytes == 0, $"A tensor {type}{shape} needs memory; the device pointer is null.");
        Guard.That(devicePointer % type.Size() == 0, $"The device pointer 0x{devicePointer:x} is no multiple of the element size of {type}, {type.Size()} bytes.");
        return new Tensor(this, new Storage(devicePointer, bytes, _ => { }), shape, type);
    }

    /// <summary>Makes the workspace at least this large, so that ops allocate nothing. Sizes per op: <see cref="CudaWorkspace"/>.</summary>
    /// <exception cref="InvalidOperationException">A graph is being captured.</exception>
    public void ReserveWorkspace(long bytes)
    {
        if (bytes <= _workspaceBytes)
        {
            return;
        }

        if (_pool.IsCapturing)
        {
            throw new InvalidOperationException(
                $"The workspace has {_workspaceBytes:N0} bytes and an op needs {bytes:N0} while a graph is captured, when it cannot grow. Call ReserveWorkspace({bytes}) before the capture, or run the ops once.");
        }

        nint larger = _pool.Allocate(bytes);
        if (_workspace != 0)
        {
            _pool.Free(_workspace);
        }

        (_workspace, _workspaceBytes) = (larger, bytes);
    }

    /// <summary>Launches one kernel on one element and reads the result back: shows that driver, kernels and device work together.</summary>
    /// <exception cref="MoeSharpException">They do not; the message says where it failed.</exception>
    public void SelfTest()
    {
        const int Expected = 3;
        using Tensor one = EmptyWide(1);
        Fill(one, Expected);
        double found = one.ToDoubles()[0];
        if (found != Expected)
        {
            throw new BackendUnavailableException($"A kernel on {Info.Name} wrote {found} where {Expected} was asked for: the device or the driver computes wrongly.");
        }
    }

    /// <summary>Compiles and loads every kernel of this float type now instead of when it is first needed.</summary>
    /// <param name="progress">Receives done and total.</param>
    public void Precompile(IProgress<(int Done, int Total)>? progress = null)
    {
        string mine = $"{KernelCatalog.FloatConstant}={(FloatType == DType.BFloat16 ? 1 : 0)}";
        Precompile([.. KernelCatalog.All.Where(key => key.Constants.Split(' ').Contains(mine)).Select(key => key with { Architecture = _architecture })], progress);
    }

    /// <summary>Compiles and loads some kernels.</summary>
    internal void Precompile(IReadOnlyCollection<KernelKey> keys, IProgress<(int Done, int Total)>? progress = null) => _modules.Precompile(keys, progress);

    /// <summary>Captures what an action launches into a graph. The action runs no kernel; it must not copy to or from the host, or allocate.</summary>
    /// <remarks>Run the action once before: kernels are compiled and the workspace grows at first use, which a capture cannot hold.</remarks>
    public CudaGraph Capture(Action action)
    {
        ArgumentNullException.ThrowIfNull(action);
        using CudaContext.Scope scope = _context.Enter();
        const int ThreadLocal = 1;
        CudaException.Check(Driver.cuStreamBeginCapture(Stream, ThreadLocal), "cuStreamBeginCapture", "The default stream cannot be captured; give the backend a stream of its own.");
        nint graph;
        try
        {
            action();
        }
        catch
        {
            if (Driver.cuStreamEndCapture(Stream, out graph) == CudaError.Success && graph != 0)
            {
                _ = Driver.cuGraphDestroy(graph);
            }

            _pool.FreeKept();
            throw;
        }

        CudaException.Check(Driver.cuStreamEndCapture(Stream, out graph), "cuStreamEndCapture");
        int freed = _pool.FreeKept();
        if (freed > 0)
        {
            _ = Driver.cuGraphDestroy(graph);
            throw new InvalidOperationException($"{freed} tensor{(freed == 1 ? " was" : "s were")} disposed while a graph was captured; a replay would use freed memory. Make tensors before Capture, and dispose them after the graph.");
        }

        return new CudaGraph(_context, Stream, graph, Remember);
    }

    /// <summary>An event on the backend's context.</summary>
    public CudaEvent CreateEvent() => new(_context);

    /// <summary>Puts an event on the backend's stream.</summary>
    public void Record(CudaEvent mark)
    {
        ArgumentNullException.ThrowIfNull(mark);
        mark.Record(Stream);
    }

    /// <summary>Lets the backend's stream wait for an event of another stream.</summary>
    public void Wait(CudaEvent mark)
    {
        ArgumentNullException.ThrowIfNull(mark);
        using CudaContext.Scope scope = _context.Enter();
        CudaException.Check(Driver.cuStreamWaitEvent(Stream, mark.Handle, 0), "cuStreamWaitEvent");
    }

    /// <inheritdoc/>
    /// <exception cref="CudaException">A kernel failed since the last synchronisation; the message lists those that were launched.</exception>
    public override void Synchronize()
    {
        using CudaContext.Scope scope = _context.Enter();
        CheckDone(Driver.cuStreamSynchronize(Stream));
        _launched.Clear();
    }

    /// <inheritdoc/>
    protected override Storage Allocate(long byteCount)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (byteCount == 0)
        {
            return new Storage(0, 0, _ => { });
        }

        nint pointer = _pool.Allocate(byteCount);
        AllocationTracker.Allocated(byteCount);
        return new Storage(pointer, byteCount, Free);
    }

    /// <inheritdoc/>
    protected override unsafe void CopyToDevice(ReadOnlySpan<byte> source, Tensor destination, long byteOffset)
    {
        if (source.Length > 0)
        {
            RefuseInCapture("a copy to the device");
            using CudaContext.Scope scope = _context.Enter();
            fixed (byte* p = source)
            {
                // The span may be gone when this returns. Most drivers have staged pageable memory by then, but those of machines whose GPU
                // reads host memory itself need not have, so the copy is waited for.
                CheckDone(Driver.cuMemcpyHtoDAsync(destination.Pointer + (nint)byteOffset, p, (nuint)source.Length, Stream));
                CheckDone(Driver.cuStreamSynchronize(Stream));
            }

            _launched.Clear();
        }
    }

    /// <inheritdoc/>
    protected override unsafe void CopyToHost(Tensor source, long byteOffset, Span<byte> destination)
    {
        if (destination.Length > 0)
        {
            RefuseInCapture("a copy to the host");
            using CudaContext.Scope scope = _context.Enter();
            fixed (byte* p = destination)
            {
                CheckDone(Driver.cuMemcpyDtoHAsync(p, source.Pointer + (nint)byteOffset, (nuint)destination.Length, Stream));
                CheckDone(Driver.cuStreamSynchronize(Stream));
            }

            _launched.Clear();
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!_disposed)
        {
            _disposed = true;
            Release();
        }

        base.Dispose(disposing);
    }

    private static void RequireLibraries(NativeProbeResult probe, string? folder)
    {
        if (probe.Driver is null)
        {
            throw new BackendUnavailableException($"There is no CUDA driver on this machine. Tried:{probe.Tried(NativeLibraryKind.Driver)}");
        }

        if (probe.Nvrtc is null && folder is null)
        {
            throw new BackendUnavailableException(
                $"There is a CUDA driver, but no NVRTC to compile kernels with, and no folder of compiled kernels ({KernelFolder.Variable}). {KernelCompiler.WhereFrom}"
                + $" Tried:{probe.Tried(NativeLibraryKind.Driver)}{probe.Tried(NativeLibraryKind.Nvrtc)}");
        }
    }

    private static nint NewStream()
    {
        // Does not wait for the default stream, which belongs to the application.
        const uint NonBlocking = 1;
        CudaException.Check(Driver.cuStreamCreate(out nint stream, NonBlocking), "cuStreamCreate");
        return stream;
    }

    /// <summary>Frees everything that was made so far, also when the constructor fails half-way.</summary>
    private void Release()
    {
        using (CudaContext.Scope scope = _context.Enter())
        {
            _ = Driver.cuStreamSynchronize(Stream);
            if (_workspace != 0)
            {
                _pool.Free(_workspace);
            }

            _modules?.Dispose();
            _ = Driver.cuStreamSynchronize(Stream);
            _pool?.Dispose();
            if (_ownsStream)
            {
                _ = Driver.cuStreamDestroy(Stream);
            }
        }

        _context.Dispose();
    }

    // Memory that outlives the backend went back to the driver with the pool.
    private void Free(Storage storage)
    {
        AllocationTracker.Freed(storage.ByteCount);
        if (!_disposed)
        {
            _pool.Free(storage.Pointer);
        }
    }

    private void RefuseInCapture(string what)
    {
        if (_pool.IsCapturing)
        {
            throw new InvalidOperationException($"A graph is being captured, and it cannot hold {what}. Do that before or after Capture.");
        }
    }

    /// <summary>The workspace of one op; its content is undefined, and it belongs to the next op after that.</summary>
    private nint Scratch(long bytes)
    {
        if (bytes > _workspaceBytes)
        {
            ReserveWorkspace(Math.Max(bytes, MinimumWorkspace));
        }

        return _workspace;
    }
}
