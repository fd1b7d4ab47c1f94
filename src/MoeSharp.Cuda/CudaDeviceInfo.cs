using System.Runtime.InteropServices;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>Facts about a device.</summary>
/// <param name="Ordinal">Its number.</param>
/// <param name="Name">Its name.</param>
/// <param name="Major">Compute capability, major.</param>
/// <param name="Minor">Compute capability, minor.</param>
/// <param name="Multiprocessors">Streaming multiprocessors.</param>
/// <param name="SharedBytesPerBlock">Most dynamic shared memory of a block.</param>
/// <param name="L2Bytes">Second-level cache.</param>
/// <param name="MemoryBytes">Device memory.</param>
/// <param name="ClockKilohertz">Highest clock of the multiprocessors.</param>
/// <param name="MemoryGigaBytesPerSecond">Theoretical bandwidth, 0 where the driver does not say.</param>
/// <param name="HasMemoryPools">Whether stream-ordered pools work.</param>
/// <param name="PciBus">Its place, <c>0000:01:00.0</c>: what the driver's tools call it whatever order a process sees devices in.</param>
public sealed record CudaDeviceInfo(
    int Ordinal,
    string Name,
    int Major,
    int Minor,
    int Multiprocessors,
    int SharedBytesPerBlock,
    long L2Bytes,
    long MemoryBytes,
    int ClockKilohertz,
    double MemoryGigaBytesPerSecond,
    bool HasMemoryPools,
    string PciBus)
{
    /// <summary>Dense bf16 tensor operations per clock and multiprocessor, by compute capability; 0 for those not known here.</summary>
    public int TensorFlopsPerClock => (Major, Minor) switch
    {
        (8, 0) => 2048,
        (8, 6) or (8, 9) => 512,
        (9, 0) => 4096,
        _ => 0,
    };

    /// <summary>Float32 operations per clock and multiprocessor.</summary>
    public int FloatFlopsPerClock => (Major, Minor) == (8, 0) ? 128 : 256;

    internal static unsafe CudaDeviceInfo Of(int device)
    {
        byte* name = stackalloc byte[256];
        CudaException.Check(Driver.cuDeviceGetName(name, 256, device), "cuDeviceGetName");
        byte* bus = stackalloc byte[32];
        CudaException.Check(Driver.cuDeviceGetPCIBusId(bus, 32, device), "cuDeviceGetPCIBusId");
        CudaException.Check(Driver.cuDeviceTotalMem(out nuint memory, device), "cuDeviceTotalMem");

        // Two transfers per clock of a double-data-rate memory.
        double bandwidth = 2.0 * Get(DeviceAttribute.MemoryClockKilohertz) * 1e3 * Get(DeviceAttribute.MemoryBusBits) / 8 / 1e9;
        return new CudaDeviceInfo(
            device,
            Marshal.PtrToStringUTF8((nint)name)!,
            Get(DeviceAttribute.ComputeMajor),
            Get(DeviceAttribute.ComputeMinor),
            Get(DeviceAttribute.Multiprocessors),
            Get(DeviceAttribute.SharedBytesPerBlockOptIn),
            Get(DeviceAttribute.L2Bytes),
            (long)memory,
            Get(DeviceAttribute.ClockRateKilohertz),
            bandwidth,
            Get(DeviceAttribute.MemoryPools) != 0,
            Marshal.PtrToStringUTF8((nint)bus)!);

        int Get(DeviceAttribute attribute)
        {
            CudaException.Check(Driver.cuDeviceGetAttribute(out int value, attribute, device), "cuDeviceGetAttribute");
            return value;
        }
    }
}
