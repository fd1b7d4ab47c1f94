using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>Measures every op of a MoE layer by itself: one row per kernel, with its distance from the roofline.</summary>
/// <remarks>
/// The problem: "the layer takes 3 ms" says nothing about what to mend, and times of a shared or throttling machine mislead. The choice: each op
/// is timed alone on buffers of its own, from cold caches where the device allows it, and reported as the median with the distance between the
/// quartiles beside the work it has to do at least.
/// </remarks>
public sealed class LayerProfiler
{
    private const int Warmup = 3;
    private readonly Engine _engine;
    private readonly int _samples;

    /// <summary>Makes a profiler.</summary>
    /// <param name="engine">The backend to measure; borrowed.</param>
    /// <param name="samples">Timed runs per op, at least 1.</param>
    public LayerProfiler(Engine engine, int samples = 30)
    {
        ArgumentNullException.ThrowIfNull(engine);
        ArgumentOutOfRangeException.ThrowIfLessThan(samples, 1);
        _engine = engine;
        _samples = samples;
    }

    /// <summary>Measures one layer.</summary>
    /// <param name="shape">The layer.</param>
    /// <param name="stop">Stops between two ops.</param>
    /// <exception cref="OutOfMemoryException">The device is too small for the layer.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public ProfileReport Run(ProfileShape shape, CancellationToken stop = default)
    {
        Backend backend = _engine.Backend;
        (string device, DeviceRoofline roofline) = DeviceFacts.Of(backend);
        using var layer = new ProfiledLayer(backend, shape);
        using StageClock clock = DeviceFacts.Clock(backend);
        var rows = new List<ProfileRow>();
        foreach (ProfileStage stage in layer.Stages())
        {
            stop.ThrowIfCancellationRequested();
            Sample time = Sample.Of(clock.Measure(stage.Run, Warmup, _samples));
            rows.Add(new(stage.Name, time.Median, time.Spread, stage.Flops, stage.Bytes, roofline.Microseconds(stage.Flops, stage.Bytes), clock.Frequencies()));
        }

        return new ProfileReport(shape, device, backend.FloatType, layer.Rows, _samples, rows);
    }
}
