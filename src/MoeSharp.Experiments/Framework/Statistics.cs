namespace MoeSharp.Experiments;

/// <summary>Mean and sample standard deviation over seeds.</summary>
/// <param name="Mean">Arithmetic mean.</param>
/// <param name="Deviation">Root of the sum of squares over n - 1; NaN for one value.</param>
/// <param name="Count">Values n.</param>
internal readonly record struct Spread(double Mean, double Deviation, int Count)
{
    // 97.5 % points of Student's t distribution for 1..30 degrees of freedom.
    private static readonly double[] s_t =
    [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];

    /// <summary>Half the width of the 95 % confidence interval of the mean; infinite for one value. Above 30 degrees of freedom, that of 30.</summary>
    public double HalfInterval => Count < 2 ? double.PositiveInfinity : s_t[Math.Min(Count - 1, s_t.Length) - 1] * Deviation / Math.Sqrt(Count);

    /// <summary>Lower end of the interval.</summary>
    public double Low => Mean - HalfInterval;

    /// <summary>Upper end of the interval.</summary>
    public double High => Mean + HalfInterval;

    /// <summary>Of some values.</summary>
    public static Spread Of(IReadOnlyList<double> values)
    {
        if (values.Count == 0)
        {
            return new Spread(double.NaN, double.NaN, 0);
        }

        double mean = values.Average();
        double squares = values.Sum(value => (value - mean) * (value - mean));
        return new Spread(mean, values.Count < 2 ? double.NaN : Math.Sqrt(squares / (values.Count - 1)), values.Count);
    }
}
