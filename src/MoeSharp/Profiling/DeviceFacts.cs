using System.Runtime.InteropServices;
using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>What a measurement has to know about the device behind a backend.</summary>
internal static class DeviceFacts
{
    /// <summary>The device in words, and its peaks.</summary>
    public static (string Name, DeviceRoofline Roofline) Of(Backend backend) =>
        ($"{RuntimeInformation.ProcessArchitecture} processor, {Environment.ProcessorCount} logical, {RuntimeInformation.FrameworkDescription}", DeviceRoofline.Unknown);

    /// <summary>The clock that fits the backend.</summary>
    public static StageClock Clock(Backend backend) => new HostClock(backend);
}
