using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Gradients by central difference quotients in double.</summary>
/// <remarks>
/// With step h = 1e-5 the quotient of a smooth function is off by h^2/6 of its third derivative (about 1e-10 here) and by
/// 2^-53 |f| / h (about 1e-11 |f|) of rounding. 1e-7 (1 + largest gradient) leaves room for larger derivatives; a wrong
/// formula is off by far more.
/// </remarks>
public static class Differences
{
    private const double Step = 1e-5;
    private const double Allowed = 1e-7;

    /// <summary>Runs an op on the oracle without a name or bounds.</summary>
    public static OpRun Run(Action<Backend, TensorSet> call, params OpTensor[] tensors) =>
        new OpCase(string.Empty, tensors, call, Tolerance.Exact).RunOnReference();

    /// <summary>Checks a gradient of f at x.</summary>
    public static void Check(string what, double[] x, Func<double[], double> f, double[] gradient)
    {
        Assert.Equal(x.Length, gradient.Length);
        double allowed = Allowed * (1 + gradient.Select(Math.Abs).DefaultIfEmpty(0).Max());
        for (int i = 0; i < x.Length; i++)
        {
            double[] above = [.. x], below = [.. x];
            above[i] += Step;
            below[i] -= Step;
            double quotient = (f(above) - f(below)) / (2 * Step);
            Assert.True(
                Math.Abs(quotient - gradient[i]) <= allowed,
                $"{what}: gradient {i} is {gradient[i]:R}, the difference quotient {quotient:R}, allowed {allowed:E1}.");
        }
    }

    /// <summary>sum of a_i b_i.</summary>
    public static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
