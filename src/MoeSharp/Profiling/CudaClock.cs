using MoeSharp.Core;
using MoeSharp.Cuda;

namespace MoeSharp.Profiling;

/// <summary>Times with events on the backend's stream; before every run the second-level cache is overwritten.</summary>
internal sealed class CudaClock : StageClock
{
    private const int FlushFactor = 2;
    private readonly CudaBackend _backend;
    private readonly CudaEvent _start;
    private readonly CudaEvent _end;
    private readonly Tensor _flush;
    private bool _silent;

    public CudaClock(CudaBackend backend)
    {
        _backend = backend;
        _start = backend.CreateEvent();
        _end = backend.CreateEvent();
        _flush = backend.Empty(new Shape(Math.Max(FlushFactor * backend.Info.L2Bytes / sizeof(float), 1)), DType.Float32);
    }

    public override void Dispose()
    {
        _flush.Dispose();
        _start.Dispose();
        _end.Dispose();
    }

    /// <summary>Asks once in vain at most: where the tool is missing it stays missing.</summary>
    public override GpuClocks? Frequencies()
    {
        GpuClocks? clocks = _silent ? null : GpuClocks.Read(_backend.Info.PciBus);
        _silent = clocks is null;
        return clocks;
    }

    public override double Time(Action stage)
    {
        _backend.Fill(_flush, 0);
        _backend.Record(_start);
        stage();
        _backend.Record(_end);
        return CudaEvent.Milliseconds(_start, _end) * 1e3;
    }
}
