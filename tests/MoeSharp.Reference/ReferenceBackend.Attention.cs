using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Attention: every query row of every head by itself.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void AttentionCore(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp)
    {
        foreach (QueryRow row in QueryRows(spec))
        {
            double[] scores = Scores(q, k, spec, row);
            double logSum = LogSumExp(scores);
            Matrix(logSumExp)[row.Query, row.Head] = logSum;
            Span<double> output = Head(o, row.Query, row.Head, spec);
            output.Clear();
            for (int j = 0; j < row.Keys; j++)
            {
                AddScaled(Math.Exp(scores[j] - logSum), Head(v, row.FirstKey + j, row.KeyHead, spec), output);
            }
        }
    }

    /// <inheritdoc/>
    protected override void AttentionBackwardCore(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV)
    {
        Floats(dQ).Clear();
        Floats(dK).Clear();
        Floats(dV).Clear();
        foreach (QueryRow row in QueryRows(spec))
        {
            double[] scores = Scores(q, k, spec, row);
            Span<double> dOut = Head(dO, row.Query, row.Head, spec), query = Head(q, row.Query, row.Head, spec);

            // dS_j = p_j (<dO, v_j> - sum_i p_i <dO, v_i>), and the sum is <dO, o>.
            double mean = Dot(dOut, Head(o, row.Query, row.Head, spec));
            for (int j = 0; j < row.Keys; j++)
            {
                int key = row.FirstKey + j;
                double p = Math.Exp(scores[j] - Matrix(logSumExp)[row.Query, row.Head]);
                double dScore = p * (Dot(dOut, Head(v, key, row.KeyHead, spec)) - mean);
                AddScaled(p, dOut, Head(dV, key, row.KeyHead, spec));
                AddScaled(spec.Scale * dScore, Head(k, key, row.KeyHead, spec), Head(dQ, row.Query, row.Head, spec));
                AddScaled(spec.Scale * dScore, query, Head(dK, key, row.KeyHead, spec));
            }
        }
    }

    /// <summary>score_j = scale * &lt;q, k_j&gt; for the keys that the query sees.</summary>
    private static double[] Scores(Tensor q, Tensor k, AttentionSpec spec, QueryRow row)
    {
        var scores = new double[row.Keys];
        for (int j = 0; j < row.Keys; j++)
        {
            scores[j] = spec.Scale * Dot(Head(q, row.Query, row.Head, spec), Head(k, row.FirstKey + j, row.KeyHead, spec));
        }

        return scores;
    }

    private static Span<double> Head(Tensor tensor, int row, int head, AttentionSpec spec) =>
        Matrix(tensor)[row].Slice(head * spec.HeadDim, spec.HeadDim);

    private static IEnumerable<QueryRow> QueryRows(AttentionSpec spec)
    {
        for (int b = 0; b < spec.Batch; b++)
        {
            for (int i = 0; i < spec.QueryLength; i++)
            {
                for (int h = 0; h < spec.Heads; h++)
                {
                    int position = spec.KeyLength - spec.QueryLength + i;
                    int keys = spec.Causal ? position + 1 : spec.KeyLength;
                    yield return new(
                        (b * spec.QueryLength) + i, h, h * spec.KeyValueHeads / spec.Heads, b * spec.KeyStride, keys);
                }
            }
        }
    }

    /// <summary>One query row of one head: its row in q, its heads, the first key row of its sequence and how many keys it sees.</summary>
    private readonly record struct QueryRow(int Query, int Head, int KeyHead, int FirstKey, int Keys);
}
