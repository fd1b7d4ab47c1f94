using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Learning-rate schedules: pure functions of the step, so that resuming needs no state.</summary>
public static class LearningRate
{
    /// <summary>Linear from 0 to the peak, then half a cosine down to the floor (SGDR without restarts, arXiv 1608.03983).</summary>
    /// <param name="step">The update to make, counted from 1 as <see cref="AdamW.Step"/> after it.</param>
    /// <param name="warmup">Steps of the rise: step <paramref name="warmup"/> has the peak.</param>
    /// <param name="total">Step <paramref name="total"/> and later ones have the floor.</param>
    /// <param name="peak">Largest rate.</param>
    /// <param name="floor">Last rate.</param>
    public static double WarmupCosine(long step, long warmup, long total, double peak, double floor)
    {
        Guard.That(warmup >= 0 && total >= warmup, $"Warm-up is 0..{total} steps, got {warmup}.");
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        if (step < warmup)
        {
            return peak * step / warmup;
        }

        if (step >= total)
        {
            return floor;
        }

        double progress = (double)(step - warmup) / (total - warmup);
        return floor + ((peak - floor) * 0.5 * (1 + Math.Cos(Math.PI * progress)));
    }
}
