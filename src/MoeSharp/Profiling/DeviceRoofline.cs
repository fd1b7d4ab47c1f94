namespace MoeSharp.Profiling;

/// <summary>Speed of reading a region of memory again and again.</summary>
/// <param name="Bytes">Size of the region.</param>
/// <param name="GigaBytes">GB/s.</param>
public readonly record struct MemoryRate(double Bytes, double GigaBytes);

/// <summary>What a device can do at most: the two lines of the roofline.</summary>
/// <param name="TeraFlops">Peak TFLOP/s of dense products in the float type.</param>
/// <param name="GigaBytes">Peak GB/s of device memory.</param>
public readonly record struct DeviceRoofline(double TeraFlops, double GigaBytes)
{
    /// <summary>A device whose peaks are not known: shares become NaN.</summary>
    public static DeviceRoofline Unknown => new(double.NaN, double.NaN);

    /// <summary>Faster reading of regions that fit a cache, ascending in size; null where an op finds its operands in memory.</summary>
    public IReadOnlyList<MemoryRate>? Regions { get; init; }

    /// <summary>Least time in microseconds for this much work; the bytes count as read from the smallest region that holds them all.</summary>
    public double Microseconds(double flops, double bytes) => Math.Max(flops / TeraFlops / 1e6, bytes / Rate(bytes) / 1e3);

    private double Rate(double bytes)
    {
        foreach (MemoryRate region in Regions ?? [])
        {
            if (region.Bytes >= bytes)
            {
                return region.GigaBytes;
            }
        }

        return GigaBytes;
    }
}
