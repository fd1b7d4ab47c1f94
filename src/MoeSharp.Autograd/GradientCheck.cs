using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>The worst element of a gradient check; a NaN counts as the worst.</summary>
/// <param name="MaxRelativeError">Largest |analytic - numeric| / max(|analytic|, |numeric|, 1e-3) over all elements checked.</param>
/// <param name="TensorName">Tensor of the worst element.</param>
/// <param name="ElementIndex">Its index.</param>
/// <param name="Analytic">Gradient from backward.</param>
/// <param name="Numeric">Gradient from central differences.</param>
/// <param name="ElementsChecked">How many elements were compared.</param>
public sealed record GradientCheckResult(
    double MaxRelativeError, string TensorName, long ElementIndex, double Analytic, double Numeric, long ElementsChecked);

/// <summary>Compares the gradients of a scalar function with central differences.</summary>
/// <remarks>
/// <para>Meant for a Float64 backend. With step h the numeric value is off by about h^2 |f'''| / 6 + 2^-53 n |f| / h, n being the
/// roundings that matter; their sum is least near h = 1e-5 and then some 1e-10 for f of order 1. The floor 1e-3 in the denominator
/// makes the relative error of a small gradient an absolute one, so 1e-6 is a sound bound for correct code and far below the error of
/// any wrong formula.</para>
/// <para>A function with a discrete choice (top-k) has no derivative where the choice flips: use inputs whose margins exceed h.</para>
/// </remarks>
public static class GradientCheck
{
    private const double Floor = 1e-3;

    /// <summary>Checks the gradients of input tensors.</summary>
    /// <param name="backend">Computes; Float64 is meant.</param>
    /// <param name="inputs">Float tensors; changed while the check runs and restored.</param>
    /// <param name="scalarFunction">Builds a scalar from a tape and one leaf per input; equal inputs must give equal values.</param>
    /// <param name="step">Distance h of the central difference.</param>
    /// <param name="maxElementsPerTensor">Elements checked per tensor, spread evenly.</param>
    public static GradientCheckResult Run(
        Backend backend,
        IReadOnlyList<Tensor> inputs,
        Func<Tape, IReadOnlyList<Variable>, Variable> scalarFunction,
        double step = 1e-5,
        int maxElementsPerTensor = 64)
    {
        double[][] analytic;
        using (var recording = new Tape(backend))
        {
            Variable[] leaves = [.. inputs.Select(recording.Input)];
            recording.Backward(scalarFunction(recording, leaves));
            analytic = [.. leaves.Select(leaf => leaf.Gradient?.ToDoubles() ?? new double[leaf.Value.ElementCount])];
        }

        var targets = inputs.Select((tensor, index) => ($"input {index}", tensor)).ToArray();
        return Compare(
            backend, targets, analytic, tape => scalarFunction(tape, [.. inputs.Select(tape.Input)]), step, maxElementsPerTensor);
    }

    /// <summary>Checks the gradients of parameters. Their gradients are overwritten and left zero.</summary>
    /// <param name="backend">Computes; Float64 is meant.</param>
    /// <param name="parameters">Changed while the check runs and restored.</param>
    /// <param name="scalarFunction">Builds a scalar on a tape. It must give the same value for the same parameters.</param>
    /// <param name="step">Distance h of the central difference.</param>
    /// <param name="maxElementsPerTensor">Elements checked per tensor, spread evenly.</param>
    public static GradientCheckResult Run(
        Backend backend,
        IReadOnlyList<Parameter> parameters,
        Func<Tape, Variable> scalarFunction,
        double step = 1e-5,
        int maxElementsPerTensor = 64)
    {
        foreach (Parameter parameter in parameters)
        {
            parameter.ZeroGradient();
        }

        using (var recording = new Tape(backend))
        {
            recording.Backward(scalarFunction(recording));
        }

        double[][] analytic = [.. parameters.Select(parameter => parameter.Gradient.ToDoubles())];
        foreach (Parameter parameter in parameters)
        {
            parameter.ZeroGradient();
        }

        var targets = parameters.Select(parameter => (parameter.Name, parameter.Value)).ToArray();
        return Compare(backend, targets, analytic, scalarFunction, step, maxElementsPerTensor);
    }

    private static GradientCheckResult Compare(
        Backend backend, (string Name, Tensor Value)[] targets, double[][] analytic, Func<Tape, Variable> function, double step, int limit)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        Guard.That(step > 0, $"The step is > 0, got {step}.");
        using var tape = new Tape(backend, record: false);
        var worst = new GradientCheckResult(-1, string.Empty, -1, 0, 0, 0);
        long checkedElements = 0;
        for (int target = 0; target < targets.Length; target++)
        {
            (string name, Tensor value) = targets[target];
            double[] original = value.ToDoubles();
            double[] moved = [.. original];
            int count = Math.Min(limit, original.Length);
            for (int i = 0; i < count; i++)
            {
                int element = (int)((long)i * original.Length / count);
                double numeric = (At(original[element] + step) - At(original[element] - step)) / (2 * step);
                moved[element] = original[element];
                double exact = analytic[target][element];
                double error = Math.Abs(exact - numeric) / Math.Max(Floor, Math.Max(Math.Abs(exact), Math.Abs(numeric)));
                checkedElements++;
                if (!(error <= worst.MaxRelativeError) && !double.IsNaN(worst.MaxRelativeError))
                {
                    worst = new GradientCheckResult(error, name, element, exact, numeric, 0);
                }

                double At(double x)
                {
                    moved[element] = x;
                    value.FromDoubles(moved);
                    double result = function(tape).Value.ToDoubles()[0];
                    tape.Reset();
                    return result;
                }
            }

            value.FromDoubles(original);
        }

        return worst with { ElementsChecked = checkedElements };
    }
}
