namespace MoeSharp.Profiling;

/// <summary>What repeated measurements say: the middle, and how far apart the quartiles lie.</summary>
internal readonly record struct Sample(double Median, double Spread)
{
    /// <summary>Of at least one value, in any order.</summary>
    public static Sample Of(double[] values)
    {
        double[] sorted = [.. values.Order()];
        return new(Quantile(sorted, 0.5), Quantile(sorted, 0.75) - Quantile(sorted, 0.25));
    }

    private static double Quantile(double[] sorted, double share)
    {
        double at = share * (sorted.Length - 1);
        int low = (int)at;
        return sorted[low] + ((at - low) * (sorted[Math.Min(low + 1, sorted.Length - 1)] - sorted[low]));
    }
}
