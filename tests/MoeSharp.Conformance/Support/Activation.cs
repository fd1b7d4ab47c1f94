namespace MoeSharp.Conformance;

/// <summary>What the cases with SwiGLU share: gate and up values with extremes, and the error of the activation and of its derivative.</summary>
public static class Activation
{
    /// <summary>[t, 2n] gate and up values; the first gates are 0, -0, and large enough that exp overflows in binary32.</summary>
    public static double[] GateUp(string name, int t, int n)
    {
        double[] z = Draw.Normals(name + "z", 2L * t * n, 3);
        double[] extremes = [0, -0.0, 100, -100, 88.5, -88.5, 20, -20];
        for (int i = 0; i < Math.Min(extremes.Length, n) && t > 0; i++)
        {
            z[i] = extremes[i];
        }

        return z;
    }

    public static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    /// <summary>
    /// silu(g) u has one exp, one sum, one quotient and two products. Where exp(-g) leaves the range of binary32,
    /// a backend may return 0 for what is at most |g| 2^-126.
    /// </summary>
    public static double SwiGluError(ReadOnlySpan<double> z, int row, int i, int n)
    {
        (double g, double u) = (z[(row * 2 * n) + i], z[(row * 2 * n) + n + i]);
        return Math.Abs(u) * Math.Abs(g) * ((Tolerance.Gamma(Tolerance.Function + 4) * Sigmoid(g)) + Tolerance.Tiny);
    }

    /// <summary>
    /// Error of dA u s (1 + g (1 - s)) for the gate half and of dA g s for the up half, where dA already carries
    /// <paramref name="before"/> roundings; 1 - s has the absolute error of s.
    /// </summary>
    public static double SwiGluGradientError(ReadOnlySpan<double> z, int row, int column, int n, double dA, int before = 0)
    {
        bool gateHalf = column < n;
        (double g, double u) = (Math.Abs(z[(row * 2 * n) + (column % n)]), Math.Abs(z[(row * 2 * n) + n + (column % n)]));
        double relative = (Tolerance.Gamma((2 * Tolerance.Function) + 8 + before) * Sigmoid(z[(row * 2 * n) + (column % n)])) + Tolerance.Tiny;
        return dA * relative * (gateHalf ? u * (1 + g) : g);
    }
}
