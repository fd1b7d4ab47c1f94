using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>First-order error bounds of attention in float32.</summary>
/// <remarks>
/// A score is a dot product of HeadDim terms, so it is off by gamma(HeadDim + 2) * scale * sum |q k| =: e. exp turns that into a
/// relative error of p, beside the rounding of its argument (at most the spread of the scores) and the sum over the keys.
/// What is summed with p as factor inherits the largest relative error of the row.
/// A backend in bfloat16 rounds the probabilities before they are multiplied with v or dO, and dS before it is multiplied with k or q:
/// tensor cores take bfloat16. Nothing else is rounded in between.
/// </remarks>
public sealed class AttentionErrors(AttentionSpec spec, OpRun run)
{
    private readonly int _width = spec.Heads * spec.HeadDim;
    private readonly int _keyWidth = spec.KeyValueHeads * spec.HeadDim;

    // Relative error of a factor that goes through the tensor cores.
    private readonly double _factor = run.IsNarrow ? Tolerance.U16 : 0;

    /// <summary>Bounds of o and logSumExp.</summary>
    public Dictionary<string, double[]> Forward()
    {
        var o = new double[run["o"].Length];
        var logSumExp = new double[run["logSumExp"].Length];
        foreach ((int query, int head, int[] keys) in Rows())
        {
            double lse = run["logSumExp"][(query * spec.Heads) + head];
            double relative = RelativeError(query, head, keys, lse);
            logSumExp[(query * spec.Heads) + head] = relative + (2 * Tolerance.U * Math.Abs(lse)) + Tolerance.Tiny;
            foreach (int key in keys)
            {
                double p = Math.Exp(Score(query, head, key, absolute: false) - lse);
                for (int i = 0; i < spec.HeadDim; i++)
                {
                    o[Query(query, head, i)] += (((2 * relative) + _factor) * (1 + _factor) * p * Math.Abs(run["v"][Key(key, head, i)])) + Tolerance.Tiny;
                }
            }
        }

        return new() { ["o"] = o, ["logSumExp"] = logSumExp };
    }

    /// <summary>Bounds of dQ, dK and dV.</summary>
    public Dictionary<string, double[]> Backward()
    {
        var dQ = new double[run["dQ"].Length];
        double[] dK = new double[run["dK"].Length], dV = new double[run["dV"].Length];
        int sharing = spec.Heads / spec.KeyValueHeads;
        foreach ((int query, int head, int[] keys) in Rows())
        {
            double lse = run["logSumExp"][(query * spec.Heads) + head];
            double relative = RelativeError(query, head, keys, lse) + Tolerance.Gamma(spec.HeadDim + (sharing * spec.QueryLength));
            double own = AbsoluteDot("dO", Query(query, head, 0), "o", Query(query, head, 0));
            foreach (int key in keys)
            {
                // dS = p (<dO, v> - <dO, o>): every factor is off by at most the same relative error of its magnitudes.
                double p = Math.Exp(Score(query, head, key, absolute: false) - lse);
                double dScore = 2 * relative * p * (own + AbsoluteDot("dO", Query(query, head, 0), "v", Key(key, head, 0))) * spec.Scale;
                double exact = p * spec.Scale * Math.Abs(Dot("dO", Query(query, head, 0), "v", Key(key, head, 0)) - Dot("dO", Query(query, head, 0), "o", Query(query, head, 0)));
                dScore += _factor * (exact + dScore);
                for (int i = 0; i < spec.HeadDim; i++)
                {
                    dQ[Query(query, head, i)] += (dScore * Math.Abs(run["k"][Key(key, head, i)])) + Tolerance.Tiny;
                    dK[Key(key, head, i)] += (dScore * Math.Abs(run["q"][Query(query, head, i)])) + Tolerance.Tiny;
                    dV[Key(key, head, i)] += ((relative + (_factor * (1 + relative))) * p * Math.Abs(run["dO"][Query(query, head, i)])) + Tolerance.Tiny;
                }
            }
        }

        return new() { ["dQ"] = dQ, ["dK"] = dK, ["dV"] = dV };
    }

    /// <summary>Relative error of the probabilities of a row, and absolute error of its log-sum-exp.</summary>
    private double RelativeError(int query, int head, int[] keys, double lse)
    {
        double score = 0, spread = 0;
        foreach (int key in keys)
        {
            score = Math.Max(score, Score(query, head, key, absolute: true));
            spread = Math.Max(spread, Math.Abs(Score(query, head, key, absolute: false)) + Math.Abs(lse));
        }

        return (2 * Tolerance.Gamma(spec.HeadDim + 2) * score) + Tolerance.Gamma(keys.Length + (2 * spread) + (3 * Tolerance.Function));
    }

    private double Score(int query, int head, int key, bool absolute)
    {
        double sum = 0;
        for (int i = 0; i < spec.HeadDim; i++)
        {
            double term = run["q"][Query(query, head, i)] * run["k"][Key(key, head, i)];
            sum += absolute ? Math.Abs(term) : term;
        }

        return spec.Scale * sum;
    }

    private double Dot(string a, int firstA, string b, int firstB)
    {
        double sum = 0;
        for (int i = 0; i < spec.HeadDim; i++)
        {
            sum += run[a][firstA + i] * run[b][firstB + i];
        }

        return sum;
    }

    private double AbsoluteDot(string a, int firstA, string b, int firstB)
    {
        double sum = 0;
        for (int i = 0; i < spec.HeadDim; i++)
        {
            sum += Math.Abs(run[a][firstA + i] * run[b][firstB + i]);
        }

        return sum;
    }

    private int Query(int row, int head, int i) => (row * _width) + (head * spec.HeadDim) + i;

    private int Key(int row, int head, int i) => (row * _keyWidth) + (head * spec.KeyValueHeads / spec.Heads * spec.HeadDim) + i;

    private IEnumerable<(int Query, int Head, int[] Keys)> Rows() =>
        from b in Enumerable.Range(0, spec.Batch)
        from i in Enumerable.Range(0, spec.QueryLength)
        from head in Enumerable.Range(0, spec.Heads)
        let seen = spec.Causal ? spec.KeyLength - spec.QueryLength + i + 1 : spec.KeyLength
        select ((b * spec.QueryLength) + i, head, Enumerable.Range(b * spec.KeyStride, seen).ToArray());
}
