using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>The threshold of a router over the first steps of training: a pure function of the step, so that resuming needs no state.</summary>
/// <remarks>
/// The problem: an untrained router is undecided, so the fewest experts whose probabilities reach a mass t are about t E of them, and the first
/// steps need the most memory and time of the whole run. The choice: begin with a small mass and raise it linearly; a router that takes one or
/// two experts learns to tell them apart, and by the time t is high its probabilities are no longer flat. The opposite, lowering t from 1,
/// would begin with every expert. <see cref="RouterSpec.TopK"/> bounds the experts of a token at any time.
/// </remarks>
public static class ThresholdAnnealing
{
    /// <summary>Linear from <paramref name="start"/> at step 1 to <paramref name="end"/> at step <paramref name="steps"/> + 1 and later.</summary>
    /// <param name="step">The update to make, counted from 1.</param>
    /// <param name="steps">Steps of the rise; 0 for none.</param>
    /// <param name="start">Mass of the first step, in (0, 1].</param>
    /// <param name="end">Mass after the rise.</param>
    public static double Linear(long step, long steps, double start, double end)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(step, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(steps);
        return step > steps ? end : start + ((end - start) * (step - 1) / steps);
    }
}
