using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Chooses a token from logits: temperature, nucleus (top-p, Holtzman et al., arXiv 1904.09751), a counter-based random number.</summary>
/// <remarks>Deterministic: one uniform number per choice, equal probabilities in order of token ids.</remarks>
public static class Sampler
{
    /// <summary>Chooses one token.</summary>
    /// <param name="logits">One score per token.</param>
    /// <param name="temperature">Divides the logits; 0 takes the largest logit, the lower id on a tie.</param>
    /// <param name="topP">Keeps the smallest set of most probable tokens whose probability reaches this, in (0, 1].</param>
    /// <param name="uniform">A number in [0, 1).</param>
    /// <exception cref="ArgumentException">No logits, a logit is NaN, or a parameter is out of range.</exception>
    public static int Choose(ReadOnlySpan<double> logits, double temperature, double topP, double uniform)
    {
        Guard.That(!logits.IsEmpty, "There are no logits to choose from.");
        Guard.That(double.IsFinite(temperature) && temperature >= 0, $"The temperature is a number >= 0, got {temperature}.");
        Guard.That(topP is > 0 and <= 1, $"top-p is in (0, 1], got {topP}.");
        Guard.That(uniform is >= 0 and < 1, $"The random number is in [0, 1), got {uniform}.");
        int best = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            Guard.That(!double.IsNaN(logits[i]), $"The logit of token {i} is NaN.");
            best = logits[i] > logits[best] ? i : best;
        }

        return temperature == 0 ? best : Draw(logits, logits[best], temperature, topP, uniform);
    }

    private static int Draw(ReadOnlySpan<double> logits, double largest, double temperature, double topP, double uniform)
    {
        // Descending probability; the comparer settles ties, because Array.Sort is not stable.
        var weights = new double[logits.Length];
        var order = new int[logits.Length];
        double total = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            order[i] = i;
            weights[i] = Math.Exp((logits[i] - largest) / temperature);
            total += weights[i];
        }

        Array.Sort(order, (a, b) => weights[a] != weights[b] ? weights[b].CompareTo(weights[a]) : a.CompareTo(b));
        double kept = 0;
        int count = 0;
        while (count < order.Length && (count == 0 || kept < topP * total))
        {
            kept += weights[order[count++]];
        }

        double target = uniform * kept;
        for (int i = 0; i < count - 1; i++)
        {
            target -= weights[order[i]];
            if (target < 0)
            {
                return order[i];
            }
        }

        return order[count - 1];
    }
}
