namespace MoeSharp.Profiling;

/// <summary>The measurement of one stage.</summary>
/// <param name="Stage">Name of the op.</param>
/// <param name="Microseconds">Median time.</param>
/// <param name="Spread">Distance between the quartiles in microseconds.</param>
/// <param name="Flops">Floating-point operations of one run.</param>
/// <param name="Bytes">Least bytes of one run.</param>
/// <param name="Ceiling">Time in microseconds that the roofline allows; NaN where the device's peak is not known.</param>
/// <param name="Clocks">The GPU's clocks right after the runs; null on a processor, and where they cannot be read.</param>
public sealed record ProfileRow(string Stage, double Microseconds, double Spread, double Flops, double Bytes, double Ceiling, GpuClocks? Clocks = null)
{
    /// <summary>Achieved TFLOP/s.</summary>
    public double TeraFlops => Flops / Microseconds / 1e6;

    /// <summary>Achieved GB/s, counting every operand once.</summary>
    public double GigaBytes => Bytes / Microseconds / 1e3;

    /// <summary>Share of the roofline reached, 0..1; NaN where the device's peak is not known.</summary>
    public double OfRoofline => Ceiling / Microseconds;
}
