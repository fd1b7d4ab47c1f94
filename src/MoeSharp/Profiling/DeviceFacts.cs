using System.Globalization;
using System.Runtime.InteropServices;
using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Cuda;

namespace MoeSharp.Profiling;

/// <summary>What a measurement has to know about the device behind a backend.</summary>
internal static class DeviceFacts
{
    private const int Repeats = 5;
    private const long SmallestRegion = 32L << 10, LargestRegion = 256L << 20;

    private static string Processor => $"{RuntimeInformation.ProcessArchitecture} processor, {Environment.ProcessorCount} logical, {RuntimeInformation.FrameworkDescription}";

    /// <summary>The device in words, and its peaks.</summary>
    /// <remarks>
    /// Peaks of a GPU follow from its own attributes: multiprocessors, highest clock and operations per clock; memory clock and bus width. Those of a
    /// processor are measured now (<see cref="CpuRates"/>), which takes about a second: what it reaches depends on vector units, cooling and
    /// neighbours more than on anything it tells.
    /// </remarks>
    public static (string Name, DeviceRoofline Roofline) Of(Backend backend)
    {
        if (backend is CpuBackend cpu)
        {
            DeviceRoofline measured = Measure(cpu);
            return (string.Create(CultureInfo.InvariantCulture, $"{Processor}, {cpu.Threads} threads, measured {measured.TeraFlops * 1e3:F0} GFLOP/s and {measured.GigaBytes:F0} GB/s"), measured);
        }

        if (backend is not CudaBackend cuda)
        {
            return (Processor, DeviceRoofline.Unknown);
        }

        CudaDeviceInfo info = cuda.Info;
        int perClock = backend.FloatType == DType.BFloat16 ? info.TensorFlopsPerClock : info.FloatFlopsPerClock;
        double peak = (double)info.Multiprocessors * info.ClockKilohertz * 1e3 * perClock / 1e12;
        var roofline = new DeviceRoofline(peak > 0 ? peak : double.NaN, info.MemoryGigaBytesPerSecond > 0 ? info.MemoryGigaBytesPerSecond : double.NaN);
        string name = string.Create(
            CultureInfo.InvariantCulture,
            $"{info.Name}, {info.Multiprocessors} multiprocessors, {cuda.Architecture}, peak {roofline.TeraFlops:F0} TFLOP/s and {roofline.GigaBytes:F0} GB/s at {info.ClockKilohertz / 1000} MHz");
        return (name, roofline);
    }

    /// <summary>The clock that fits the backend.</summary>
    public static StageClock Clock(Backend backend) => backend is CudaBackend cuda ? new CudaClock(cuda) : new HostClock(backend);

    // Products of bfloat16 run at their own rate where the processor multiplies pairs; else they are widened, and the float32 rate is theirs.
    private static DeviceRoofline Measure(CpuBackend cpu)
    {
        using var rates = new CpuRates(cpu.Threads, LargestRegion);
        bool pairs = cpu.FloatType == DType.BFloat16 && cpu.Isa != CpuIsa.Simd;
        double flops = Median(pairs ? rates.Pairs : rates.MultiplyAdds);
        var regions = new List<MemoryRate>();
        for (long bytes = SmallestRegion; bytes <= LargestRegion; bytes *= 2)
        {
            regions.Add(new(bytes, Median(() => rates.Bandwidth(bytes))));
        }

        return new DeviceRoofline(flops / 1e3, regions[^1].GigaBytes) { Regions = regions };
    }

    private static double Median(Func<double> measure) => Enumerable.Range(0, Repeats).Select(_ => measure()).Order().ElementAt(Repeats / 2);
}
