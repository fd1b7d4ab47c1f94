namespace MoeSharp.Profiling;

/// <summary>What a device can do at most: the two lines of the roofline.</summary>
/// <param name="TeraFlops">Peak TFLOP/s of dense products in the float type.</param>
/// <param name="GigaBytes">Peak GB/s of device memory.</param>
public readonly record struct DeviceRoofline(double TeraFlops, double GigaBytes)
{
    /// <summary>A device whose peaks are not known: shares become NaN.</summary>
    public static DeviceRoofline Unknown => new(double.NaN, double.NaN);

    /// <summary>Least time in microseconds for this much work.</summary>
    public double Microseconds(double flops, double bytes) => Math.Max(flops / TeraFlops / 1e6, bytes / GigaBytes / 1e3);
}
