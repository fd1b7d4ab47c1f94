using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>What the autograd tests share: a double-precision backend, seeded data and a random projection to a scalar.</summary>
public abstract class AutogradTest : IDisposable
{
    /// <summary>
    /// Bound on the relative error of a gradient check with h = 1e-5: sums of some 50 terms that add up to about 10 round to about
    /// 2^-53 * sqrt(50) * 10 / h = 1e-9 in the worst case, divided by the floor 1e-3 of the check.
    /// </summary>
    protected const double Tolerance = 1e-6;

    protected AutogradTest()
    {
        Backend = new ReferenceBackend();
        Init = new Initializer(Backend, seed: 7) { StandardDeviation = 0.5 };
    }

    protected Backend Backend { get; }

    /// <summary>Weights of order 1, so that no gradient hides below the floor of the check.</summary>
    protected Initializer Init { get; }

    public void Dispose()
    {

        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Standard normal values that depend on the name alone; the caller disposes.</summary>
    protected Tensor Random(string name, params ReadOnlySpan<long> shape) => Init.Normal(name, 1, shape);

    protected Tensor Ints(params int[] values) => Backend.From<int>(values, values.Length);

    /// <summary>0, 1, .. length - 1, batch times.</summary>
    protected Tensor Positions(int batch, int length) =>
        Ints([.. Enumerable.Range(0, batch * length).Select(i => i % length)]);

    protected Parameter RandomParameter(string name, params ReadOnlySpan<long> shape) => new(name, Random(name, shape));

    /// <summary>A scalar that sees every element with another weight: the gradient of x is a fixed random tensor.</summary>
    protected Variable Project(Tape tape, Variable x, Parameter weight) =>
        tape.Reshape(tape.Linear(tape.Reshape(x, 1, x.Value.ElementCount), weight), 1);

    protected Parameter ProjectionOf(params ReadOnlySpan<long> shape) =>
        RandomParameter($"projection {string.Join('x', shape.ToArray())}", 1, new Shape(shape).ElementCount);

    protected static void Passes(GradientCheckResult result, double tolerance = Tolerance)
    {
        Assert.True(result.ElementsChecked > 0);
        Assert.True(result.MaxRelativeError <= tolerance, result.ToString());
    }
}
