using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Noisy top-k. Tokens are independent; sums are per chunk of <see cref="TokenChunk"/> tokens, the chunks added in order, all in double. The numbers
/// of a router are few beside those of its experts, so elements are computed one by one, in double.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void NoisyLogitsCore(Tensor logits, Tensor spread, NoiseRange stream, Tensor noise, Tensor noisy)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(logits), B = wide.Read(spread), C = Operands.Floats(noise), D = wide.Write(noisy), Rows = (int)logits.Shape[0],
            Width = (int)logits.Shape[1], Step = TokenChunk,
        };
        Parallel.For(work.Chunks, (Work: work, Stream: stream), static (state, chunk) =>
        {
            Operands w = state.Work;
            var random = new CounterRandom(state.Stream.Seed, state.Stream.Stream);
            for (nint i = (nint)chunk * w.Step * w.Width; i < (nint)w.End(chunk) * w.Width; i++)
            {
                w.C[i] = (float)random.Normal(state.Stream.First + (ulong)i);
                w.D[i] = (float)(w.A[i] + (w.C[i] * Deviation(w.B[i])));
            }
        });
    }

    /// <inheritdoc/>
    protected override void NoisyLogitsBackwardCore(Tensor spread, Tensor noise, Tensor dNoisy, Tensor dSpread)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(spread), B = Operands.Floats(noise), C = wide.Read(dNoisy), D = wide.Write(dSpread), Rows = (int)spread.Shape[0],
            Width = (int)spread.Shape[1], Step = TokenChunk,
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (nint i = (nint)chunk * w.Step * w.Width; i < (nint)w.End(chunk) * w.Width; i++)
            {
                w.D[i] = (float)((double)w.C[i] * w.B[i] / (1 + Math.Exp(-w.A[i])));
            }
        });
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor weights, RouterSpec spec, Tensor runnerUp, Tensor statistics, Tensor loss)
    {
        using WideOperands wide = _wide;
        int experts = spec.Experts;
        var work = new Operands
        {
            A = wide.Read(logits), B = wide.Read(spread), C = wide.Read(noisy), D = Operands.Floats(weights), E = (float*)runnerUp.Pointer, Ids = Operands.Ints(ids),
            Rows = (int)logits.Shape[0], Width = experts, Step = TokenChunk,
        };

        // Per chunk, in doubles: importance, then load.
        work.Partials = Scratch.Shared(0, work.Chunks * 4L * experts);
        Parallel.For(work.Chunks, (Work: work, spec.TopK), static (state, chunk) =>
        {
            Operands w = state.Work;
            var sums = new Span<double>(w.Partials + (chunk * 4L * w.Width), 2 * w.Width);
            sums.Clear();
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                var chosen = new ReadOnlySpan<int>(w.Ids + ((nint)t * state.TopK), state.TopK);
                nint row = (nint)t * w.Width;
                int next = RunnerUp(new ReadOnlySpan<float>(w.C + row, w.Width), chosen);
                ((int*)w.E)[t] = next;
                for (int k = 0; k < chosen.Length; k++)
                {
                    sums[chosen[k]] += w.D[((nint)t * state.TopK) + k];
                }

                for (int e = 0; e < w.Width; e++)
                {
                    int bar = chosen.Contains(e) ? next : chosen[^1];
                    sums[w.Width + e] += bar < 0 ? 1 : NormalCdf(((double)w.A[row + e] - w.C[row + bar]) / Deviation(w.B[row + e]));
                }
            }
        });
        float* results = Operands.Floats(statistics);
        var totals = new Span<double>(Scratch.Shared(1, 4L * experts), 2 * experts);
        totals.Clear();
        for (int chunk = 0; chunk < work.Chunks; chunk++)
        {
            double* sums = (double*)(work.Partials + (chunk * 4L * experts));
            for (int i = 0; i < totals.Length; i++)
            {
                totals[i] += sums[i];
            }
        }

        for (int i = 0; i < totals.Length; i++)
        {
            results[i] = (float)totals[i];
        }

        *Operands.Floats(loss) = (float)(SquaredVariation(totals[..experts], results + (2 * experts))
            + SquaredVariation(totals[experts..], results + (3 * experts)));
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceBackwardCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor runnerUp, Tensor statistics, Tensor dLoss, RouterSpec spec, Tensor dLogits,
        Tensor dSpread, Tensor dNoisy, Tensor dWeights)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(logits), B = wide.Read(spread), C = wide.Read(noisy), D = wide.Write(dLogits), E = wide.Write(dSpread), F = wide.Write(dNoisy),
            Ids = Operands.Ints(ids), Partials = Operands.Floats(statistics), Scalar = *Operands.Floats(dLoss), Rows = (int)logits.Shape[0],
            Width = spec.Experts, Step = TokenChunk,
        };
        Parallel.For(work.Chunks, (Work: work, spec.TopK, Next: (nint)Operands.Ints(runnerUp), Weights: (nint)Operands.Floats(dWeights)), static (state, chunk) =>
        {
            Operands w = state.Work;
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                nint slot = (nint)t * state.TopK, row = (nint)t * w.Width;
                var chosen = new ReadOnlySpan<int>(w.Ids + slot, state.TopK);
                for (int k = 0; k < chosen.Length; k++)
                {
                    ((float*)state.Weights)[slot + k] = w.Scalar * w.Partials[(2 * w.Width) + chosen[k]];
                }

                NoisyBalanceRow(w, row, chosen, ((int*)state.Next)[t]);
            }
        });
    }

    /// <summary>The gradients of one token. What ranks K and K + 1 get is summed over the experts in order.</summary>
    private static void NoisyBalanceRow(Operands w, nint row, ReadOnlySpan<int> chosen, int next)
    {
        double lastSum = 0, nextSum = 0;
        for (int e = 0; e < w.Width; e++)
        {
            bool isChosen = chosen.Contains(e);
            int bar = isChosen ? next : chosen[^1];
            double slope = 0, z = 0;
            if (bar >= 0)
            {
                double deviation = Deviation(w.B[row + e]);
                z = ((double)w.A[row + e] - w.C[row + bar]) / deviation;
                slope = (double)w.Scalar * w.Partials[(3 * w.Width) + e] * Math.Exp(-z * z / 2) / (Math.Sqrt(2 * Math.PI) * deviation);
            }

            w.D[row + e] = (float)slope;
            w.E[row + e] = (float)(-slope * z / (1 + Math.Exp(-w.B[row + e])));
            w.F[row + e] = 0f;
            nextSum += isChosen ? slope : 0;
            lastSum += isChosen ? 0 : slope;
        }

        w.F[row + chosen[^1]] = (float)-lastSum;
        if (next >= 0)
        {
            w.F[row + next] = (float)-nextSum;
        }
    }

    /// <summary>Spread of the noise: softplus plus a floor.</summary>
    private static double Deviation(double spread) => Math.Max(spread, 0) + Math.Log(1 + Math.Exp(-Math.Abs(spread))) + NoiseFloor;

    /// <summary>The best expert that was not chosen, the lower one of equals, NaN last; -1 when all were chosen.</summary>
    private static int RunnerUp(ReadOnlySpan<float> noisy, ReadOnlySpan<int> chosen)
    {
        int best = -1;
        for (int e = 0; e < noisy.Length; e++)
        {
            if ((best < 0 || noisy[e] > noisy[best] || (float.IsNaN(noisy[best]) && !float.IsNaN(noisy[e]))) && !chosen.Contains(e))
            {
                best = e;
            }
        }

        return best;
    }

    /// <summary>Variance over squared mean, and its gradient; 0 where the mean is.</summary>
    private static double SquaredVariation(ReadOnlySpan<double> x, float* gradient)
    {
        double sum = 0, squares = 0;
        foreach (double value in x)
        {
            sum += value;
        }

        double mean = sum / x.Length;
        foreach (double value in x)
        {
            squares += (value - mean) * (value - mean);
        }

        double variance = squares / x.Length;
        for (int i = 0; i < x.Length; i++)
        {
            gradient[i] = mean == 0 ? 0f : (float)(2 * (x[i] - mean - (variance / mean)) / (x.Length * mean * mean));
        }

        return mean == 0 ? 0 : variance / (mean * mean);
    }

    /// <summary>Phi(z) = erfc(-z / sqrt 2) / 2, erfc by the rational Chebyshev fit of Numerical Recipes (section 6.2), off by at most 1.2e-7 of itself.</summary>
    private static double NormalCdf(double z)
    {
        double x = Math.Abs(z) * Math.Sqrt(0.5), t = 1 / (1 + (0.5 * x));
        double p = 0.17087277;
        foreach (double coefficient in (ReadOnlySpan<double>)[-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223])
        {
            p = (p * t) + coefficient;
        }

        double tail = 0.5 * t * Math.Exp((-x * x) + p);
        return z < 0 ? tail : 1 - tail;
    }
}
