using System.Globalization;

namespace MoeSharp.Cli;

/// <summary>A linear axis with round tick values, mapped to a pixel range.</summary>
/// <remarks>Ticks step by 1, 2 or 5 times a power of ten, so that labels are short and the same in every run of equal range.</remarks>
internal sealed class ChartAxis
{
    private readonly double _pixelStart;
    private readonly double _pixelEnd;

    private ChartAxis(double low, double high, double step, double pixelStart, double pixelEnd)
    {
        (Low, High, Step, _pixelStart, _pixelEnd) = (low, high, step, pixelStart, pixelEnd);
    }

    /// <summary>Smallest value on the axis.</summary>
    public double Low { get; }

    /// <summary>Largest value on the axis, above <see cref="Low"/>.</summary>
    public double High { get; }

    /// <summary>Distance between ticks.</summary>
    public double Step { get; }

    /// <summary>An axis over the finite values; widened to whole ticks when <paramref name="toTicks"/>.</summary>
    /// <param name="values">Data; values that are not finite are ignored, none left gives 0..1.</param>
    /// <param name="pixelStart">Pixel of the low end.</param>
    /// <param name="pixelEnd">Pixel of the high end; below the start for an axis that grows upwards.</param>
    /// <param name="ticks">About how many ticks.</param>
    /// <param name="toTicks">Whether both ends snap outwards to ticks.</param>
    public static ChartAxis Over(IEnumerable<double> values, double pixelStart, double pixelEnd, int ticks = 6, bool toTicks = true)
    {
        (double low, double high) = (double.PositiveInfinity, double.NegativeInfinity);
        foreach (double value in values)
        {
            if (double.IsFinite(value))
            {
                (low, high) = (Math.Min(low, value), Math.Max(high, value));
            }
        }

        if (low > high)
        {
            (low, high) = (0, 1);
        }

        if (high - low <= 1e-12 * Math.Max(Math.Abs(low), Math.Abs(high)) || high == low)
        {
            double half = low == 0 ? 0.5 : Math.Abs(low) * 0.5;
            (low, high) = (low - half, high + half);
        }

        double step = RoundStep((high - low) / Math.Max(1, ticks - 1));
        return toTicks
            ? new(Math.Floor((low / step) + 1e-9) * step, Math.Ceiling((high / step) - 1e-9) * step, step, pixelStart, pixelEnd)
            : new(low, high, step, pixelStart, pixelEnd);
    }

    /// <summary>Pixel of a value.</summary>
    public double Pixel(double value) => _pixelStart + ((value - Low) / (High - Low) * (_pixelEnd - _pixelStart));

    /// <summary>Tick values from low to high.</summary>
    public IEnumerable<double> Ticks()
    {
        double first = Math.Ceiling((Low / Step) - 1e-9);
        double last = Math.Floor((High / Step) + 1e-9);
        for (double index = first; index <= last; index++)
        {
            yield return index * Step;
        }
    }

    /// <summary>Label of a tick: as many decimals as the step needs, thousands as k, tiny values in scientific form.</summary>
    public string Label(double tick)
    {
        double largest = Math.Max(Math.Abs(Low), Math.Abs(High));
        if (Math.Abs(tick) < Step * 1e-6)
        {
            return "0";
        }

        if (Step >= 100 && largest >= 2000)
        {
            return (tick / 1000).ToString("0.###", CultureInfo.InvariantCulture) + "k";
        }

        if (largest < 0.01)
        {
            return tick.ToString("0.#e0", CultureInfo.InvariantCulture);
        }

        int decimals = Math.Clamp((int)Math.Ceiling(-Math.Log10(Step) - 1e-9), 0, 6);
        return tick.ToString("F" + decimals.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }

    private static double RoundStep(double rough)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        double fraction = rough / power;
        return power * (fraction <= 1.0001 ? 1 : fraction <= 2.0001 ? 2 : fraction <= 5.0001 ? 5 : 10);
    }
}
