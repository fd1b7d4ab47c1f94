using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Error bounds of float32 arithmetic, and of storing in bfloat16, so that no tolerance is a guess.</summary>
/// <remarks>
/// With unit roundoff u = 2^-24, a sum of n rounded products, added in any order, with or without fused multiply-add, differs from
/// the exact one by at most gamma(n) * (sum of |terms|), gamma(n) = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical
/// Algorithms, section 3.1). Every other operation adds its own few roundings to n. An elementary function (exp, log, sin, cos)
/// counts as <see cref="Function"/> roundings: 4 units in the last place, what vectorised implementations promise.
/// A backend that stores bfloat16 computes in binary32 all the same, from inputs that the oracle has too, and rounds each result
/// once: with e the oracle's result and b its bound, it must store something between the rounded e - b and the rounded e + b
/// (<see cref="Allows"/>). Where an intermediate is stored in bfloat16 as well, its bound says so with <see cref="U16"/>.
/// </remarks>
public static class Tolerance
{
    /// <summary>Unit roundoff of binary32.</summary>
    public const double U = 1.0 / (1 << 24);

    /// <summary>Unit roundoff of bfloat16.</summary>
    public const double U16 = 1.0 / (1 << 8);

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

    /// <summary>Rounds to the nearest bfloat16, ties to even, in one step: through binary32 it would be two.</summary>
    public static double ToBFloat16(double value)
    {
        if (!double.IsFinite(value) || Math.Abs(value) < Tiny)
        {
            return (float)(BFloat16)(float)value;
        }

        // Dropping the lower 45 bits of a binary64 significand leaves the 8 bits of a bfloat16's; the carry may move the exponent.
        const int Dropped = 52 - 7;
        long bits = BitConverter.DoubleToInt64Bits(value);
        bits += (1L << (Dropped - 1)) - 1 + ((bits >> Dropped) & 1);
        return (float)BitConverter.Int64BitsToDouble(bits & ~((1L << Dropped) - 1));
    }

    /// <summary>Whether a subject may return <paramref name="actual"/> where the oracle says <paramref name="expected"/>.</summary>
    /// <param name="expected">The oracle's value.</param>
    /// <param name="actual">The subject's value.</param>
    /// <param name="bound">Largest error of its arithmetic.</param>
    /// <param name="narrow">Whether the subject then rounds to bfloat16.</param>
    public static bool Allows(double expected, double actual, double bound, bool narrow)
    {
        if (expected.Equals(actual) || Math.Abs(expected - actual) <= bound)
        {
            return true;
        }

        // A result that is exact in binary32 up to its own rounding has bound 0; then binary32 is rounded once more.
        (double low, double high) = (expected - bound, expected + bound);
        return narrow
            && actual >= Math.Min(ToBFloat16(low), ToBFloat16((float)low))
            && actual <= Math.Max(ToBFloat16(high), ToBFloat16((float)high));
    }

    /// <summary>Every output equals the oracle's, up to the rounding of the result to float32.</summary>
    public static Dictionary<string, double[]> Exact(OpRun run) => [];
}
