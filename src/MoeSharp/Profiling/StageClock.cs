using System.Diagnostics;
using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>Times one stage on its device.</summary>
internal abstract class StageClock : IDisposable
{
    /// <summary>Runs a stage a few times, then measures it: microseconds per run.</summary>
    public double[] Measure(Action stage, int warmup, int samples)
    {
        for (int i = 0; i < warmup; i++)
        {
            stage();
        }

        var times = new double[samples];
        for (int i = 0; i < samples; i++)
        {
            times[i] = Time(stage);
        }

        return times;
    }

    public abstract void Dispose();

    /// <summary>The device's clocks now; null where nobody tells.</summary>
    public virtual GpuClocks? Frequencies() => null;

    /// <summary>Microseconds of one run, starting with cold caches where the device allows it.</summary>
    public abstract double Time(Action stage);
}

/// <summary>The host's own clock, for a backend that computes before it returns.</summary>
internal sealed class HostClock(Backend backend) : StageClock
{
    public override void Dispose()
    {
    }

    public override double Time(Action stage)
    {
        long start = Stopwatch.GetTimestamp();
        stage();
        backend.Synchronize();
        return Stopwatch.GetElapsedTime(start).TotalMicroseconds;
    }
}
