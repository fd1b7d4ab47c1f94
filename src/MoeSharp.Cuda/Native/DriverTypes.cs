using System.Runtime.InteropServices;

namespace MoeSharp.Cuda.Native;

/// <summary>CUdevice_attribute, as far as it is used.</summary>
internal enum DeviceAttribute
{
    ClockRateKilohertz = 13,
    Multiprocessors = 16,
    MemoryClockKilohertz = 36,
    MemoryBusBits = 37,
    L2Bytes = 38,
    ComputeMajor = 75,
    ComputeMinor = 76,
    SharedBytesPerBlockOptIn = 97,
    MemoryPools = 115,
}

/// <summary>CUmemPool_attribute.</summary>
internal enum PoolAttribute
{
    ReleaseThreshold = 4,
    Reserved = 5,
    ReservedHigh = 6,
    Used = 7,
    UsedHigh = 8,
}

/// <summary>CUfunction_attribute.</summary>
internal enum FunctionAttribute
{
    MaxThreads = 0,
    LocalBytes = 3,
    Registers = 4,
    MaxDynamicSharedBytes = 8,
}

/// <summary>CUmemPoolProps: 88 bytes.</summary>
[StructLayout(LayoutKind.Sequential, Size = 88)]
internal struct PoolProperties
{
    /// <summary>CU_MEM_ALLOCATION_TYPE_PINNED = 1.</summary>
    public int AllocationType;

    /// <summary>CU_MEM_HANDLE_TYPE_NONE = 0.</summary>
    public int HandleTypes;

    /// <summary>CU_MEM_LOCATION_TYPE_DEVICE = 1.</summary>
    public int LocationType;

    /// <summary>Device ordinal.</summary>
    public int LocationId;
}

/// <summary>CUlaunchConfig: 56 bytes.</summary>
[StructLayout(LayoutKind.Sequential, Size = 56)]
internal struct LaunchConfiguration
{
    public uint GridX, GridY, GridZ, BlockX, BlockY, BlockZ, SharedBytes;
    public nint Stream;
    public nint Attributes;
    public uint AttributeCount;
}
