using System.Globalization;
using System.Runtime.InteropServices;
using MoeSharp.Core;
using MoeSharp.Cuda;

namespace MoeSharp.Profiling;

/// <summary>What a measurement has to know about the device behind a backend.</summary>
internal static class DeviceFacts
{
    /// <summary>The device in words, and its peaks.</summary>
    /// <remarks>
    /// Peaks of a GPU follow from its own attributes: multiprocessors, highest clock and operations per clock; memory clock and bus width. A processor
    /// has none here: what it reaches depends on vector units and cooling more than on anything it tells.
    /// </remarks>
    public static (string Name, DeviceRoofline Roofline) Of(Backend backend)
    {
        if (backend is not CudaBackend cuda)
        {
            return ($"{RuntimeInformation.ProcessArchitecture} processor, {Environment.ProcessorCount} logical, {RuntimeInformation.FrameworkDescription}", DeviceRoofline.Unknown);
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
}
