using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Noisy top-k.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void NoisyLogitsCore(Tensor logits, Tensor spread, NoiseRange stream, Tensor noise, Tensor noisy)
    {
        var random = new CounterRandom(stream.Seed, stream.Stream);
        for (int i = 0; i < logits.ElementCount; i++)
        {
            Floats(noise)[i] = random.Normal(stream.First + (ulong)i);
            Floats(noisy)[i] = Floats(logits)[i] + (Floats(noise)[i] * Deviation(Floats(spread)[i]));
        }
    }

    /// <inheritdoc/>
    protected override void NoisyLogitsBackwardCore(Tensor spread, Tensor noise, Tensor dNoisy, Tensor dSpread)
    {
        for (int i = 0; i < spread.ElementCount; i++)
        {
            Floats(dSpread)[i] = Floats(dNoisy)[i] * Floats(noise)[i] * Sigmoid(Floats(spread)[i]);
        }
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor weights, RouterSpec spec, Tensor runnerUp, Tensor statistics, Tensor loss)
    {
        int experts = spec.Experts;
        Floats(statistics).Clear();
        for (int t = 0; t < logits.Shape[0]; t++)
        {
            Span<int> chosen = Ints(ids).Slice(t * spec.TopK, spec.TopK);
            Ints(runnerUp)[t] = RunnerUp(Matrix(noisy)[t], chosen);
            for (int k = 0; k < spec.TopK; k++)
            {
                Matrix(statistics)[0, chosen[k]] += Matrix(weights)[t, k];
            }

            for (int e = 0; e < experts; e++)
            {
                int bar = Bar(chosen, Ints(runnerUp)[t], e);
                Matrix(statistics)[1, e] += bar < 0
                    ? 1
                    : NormalCdf((Matrix(logits)[t, e] - Matrix(noisy)[t, bar]) / Deviation(Matrix(spread)[t, e]));
            }
        }

        Floats(loss)[0] = SquaredVariation(Matrix(statistics)[0], Matrix(statistics)[2]) + SquaredVariation(Matrix(statistics)[1], Matrix(statistics)[3]);
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceBackwardCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor runnerUp, Tensor statistics, Tensor dLoss, RouterSpec spec, Tensor dLogits,
        Tensor dSpread, Tensor dNoisy, Tensor dWeights)
    {
        double factor = Floats(dLoss)[0];
        Floats(dNoisy).Clear();
        for (int t = 0; t < logits.Shape[0]; t++)
        {
            Span<int> chosen = Ints(ids).Slice(t * spec.TopK, spec.TopK);
            for (int k = 0; k < spec.TopK; k++)
            {
                Matrix(dWeights)[t, k] = factor * Matrix(statistics)[2, chosen[k]];
            }

            for (int e = 0; e < spec.Experts; e++)
            {
                int bar = Bar(chosen, Ints(runnerUp)[t], e);
                double deviation = Deviation(Matrix(spread)[t, e]), z = bar < 0 ? 0 : (Matrix(logits)[t, e] - Matrix(noisy)[t, bar]) / deviation;
                double slope = bar < 0 ? 0 : factor * Matrix(statistics)[3, e] * Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI) / deviation;
                Matrix(dLogits)[t, e] = slope;
                Matrix(dSpread)[t, e] = -slope * z * Sigmoid(Matrix(spread)[t, e]);
                if (bar >= 0)
                {
                    Matrix(dNoisy)[t, bar] -= slope;
                }
            }
        }
    }

    private static double Deviation(double spread) => Math.Max(spread, 0) + Math.Log(1 + Math.Exp(-Math.Abs(spread))) + NoiseFloor;

    /// <summary>The best expert that was not chosen; -1 when all were.</summary>
    private static int RunnerUp(Span<double> noisy, Span<int> chosen)
    {
        int best = -1;
        for (int e = 0; e < noisy.Length; e++)
        {
            if (!chosen.Contains(e) && (best < 0 || noisy[e] > noisy[best] || (double.IsNaN(noisy[best]) && !double.IsNaN(noisy[e]))))
            {
                best = e;
            }
        }

        return best;
    }

    /// <summary>The expert whose noisy logit this one has to beat: the K-th of the others; -1 when there is none.</summary>
    private static int Bar(Span<int> chosen, int runnerUp, int expert) => chosen.Contains(expert) ? runnerUp : chosen[^1];

    /// <summary>Variance over squared mean of some numbers, and its gradient.</summary>
    private static double SquaredVariation(Span<double> x, Span<double> gradient)
    {
        int n = x.Length;
        double mean = 0, variance = 0;
        foreach (double value in x)
        {
            mean += value / n;
        }

        foreach (double value in x)
        {
            variance += (value - mean) * (value - mean) / n;
        }

        for (int i = 0; i < n; i++)
        {
            gradient[i] = mean == 0 ? 0 : 2 * (x[i] - mean - (variance / mean)) / (n * mean * mean);
        }

        return mean == 0 ? 0 : variance / (mean * mean);
    }

    /// <summary>Phi(z), by the series of erf with positive terms in the middle and the continued fraction of erfc outside.</summary>
    private static double NormalCdf(double z)
    {
        double x = Math.Abs(z) / Math.Sqrt(2), tail;
        if (x < 2.5)
        {
            double term = x, sum = x;
            for (int n = 1; n < 100; n++)
            {
                term *= 2 * x * x / ((2 * n) + 1);
                sum += term;
            }

            tail = 0.5 - (Math.Exp(-x * x) * sum / Math.Sqrt(Math.PI));
        }
        else
        {
            double fraction = x;
            for (int n = 100; n >= 1; n--)
            {
                fraction = x + (n / 2.0 / fraction);
            }

            tail = Math.Exp(-x * x) / (2 * Math.Sqrt(Math.PI) * fraction);
        }

        return z < 0 ? tail : 1 - tail;
    }
}
