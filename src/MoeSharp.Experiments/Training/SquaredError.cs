using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>Mean squared error of rows against targets, for training.</summary>
/// <remarks>
/// The problem: the engine's losses are those of language models. The choice: the gradient of the mean squared error at y is g = 2 (y - t) / N, and
/// that of the linear form &lt;g, y&gt; with g held fixed is the same g; so the host computes the error and g, and the tape walks back from
/// the product of y with g as a weight that is never updated.
/// </remarks>
internal sealed class SquaredError : IDisposable
{
    private readonly Parameter _gradient;
    private readonly float[] _output;

    /// <summary>Makes the loss for batches of one size.</summary>
    public SquaredError(Backend backend, int tokens, int width)
    {
        using (TensorScope.Suspend())
        {
            _gradient = new Parameter("squared_error.gradient", backend.Empty(1, (long)tokens * width), decay: false);
        }

        _output = new float[tokens * width];
    }

    /// <summary>The error, and a scalar on the tape with its gradient (its value means nothing).</summary>
    public Variable Forward(Tape tape, Variable output, ReadOnlySpan<float> target, out double error)
    {
        output.Value.CopyTo<float>(_output);
        error = Of(_output, target);
        float scale = 2f / _output.Length;
        for (int i = 0; i < _output.Length; i++)
        {
            _output[i] = scale * (_output[i] - target[i]);
        }

        _gradient.Value.CopyFrom<float>(_output);
        Variable row = tape.Reshape(output, 1, _output.Length);
        return tape.Reshape(tape.Linear(row, _gradient), 1);
    }

    /// <summary>Mean of squared differences.</summary>
    public static double Of(ReadOnlySpan<float> output, ReadOnlySpan<float> target)
    {
        double sum = 0;
        for (int i = 0; i < output.Length; i++)
        {
            double difference = output[i] - target[i];
            sum += difference * difference;
        }

        return sum / output.Length;
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose() => _gradient.Dispose();
}
