namespace MoeSharp.Conformance;

/// <summary>Error bounds of float32 arithmetic, so that no tolerance is a guess.</summary>
/// <remarks>
/// With unit roundoff u = 2^-24, a sum of n rounded products, added in any order, with or without fused multiply-add, differs from
/// the exact one by at most gamma(n) * (sum of |terms|), gamma(n) = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical
/// Algorithms, section 3.1). Every other operation adds its own few roundings to n. An elementary function (exp, log, sin, cos)
/// counts as <see cref="Function"/> roundings: 4 units in the last place, what vectorised implementations promise.
/// </remarks>
public static class Tolerance
{
    /// <summary>Unit roundoff of binary32.</summary>
    public const double U = 1.0 / (1 << 24);

    /// <summary>Roundings that one elementary function counts for: 4 ulp = 8 u.</summary>
    public const int Function = 8;

    /// <summary>Smallest normal binary32: results below it lose relative accuracy, or are flushed to 0.</summary>
    public const double Tiny = 1.17549435e-38;

    /// <summary>n u / (1 - n u).</summary>
    public static double Gamma(double n) => n * U / (1 - (n * U));

    /// <summary>gamma(roundings) * magnitude per element, plus what underflow may cost.</summary>
    public static double[] Sum(double[] magnitudes, double roundings) =>
        Array.ConvertAll(magnitudes, magnitude => (Gamma(roundings) * magnitude) + ((roundings + 1) * Tiny));

    /// <summary>A bound per element.</summary>
    public static double[] Each(int count, Func<int, double> bound)
    {
        var bounds = new double[count];
        for (int i = 0; i < count; i++)
        {
            bounds[i] = bound(i) + (4 * Tiny);
        }

        return bounds;
    }

    /// <summary>Every output equals the oracle's, up to the rounding of the result to float32.</summary>
    public static Dictionary<string, double[]> Exact(OpRun run) => [];
}
