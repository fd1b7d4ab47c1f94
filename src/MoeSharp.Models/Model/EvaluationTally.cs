namespace MoeSharp.Models;

/// <summary>Running sums of an evaluation.</summary>
internal sealed class EvaluationTally(ModelConfig config)
{
    private readonly long[] _nullsByLayer = new long[config.MoeLayers];
    private readonly long[] _nullsByClass = new long[TokenClassifier.ClassCount];
    private readonly long[] _slotsByClass = new long[TokenClassifier.ClassCount];
    private double _nats;
    private long _bytes;

    /// <summary>Adds the losses of one pass; positions with source -1 do not count.</summary>
    public void AddLosses(double[] losses, int[] sources)
    {
        for (int i = 0; i < losses.Length; i++)
        {
            if (sources[i] >= 0)
            {
                _nats += losses[i];
                _bytes++;
            }
        }
    }

    /// <summary>Adds the choices [T, K] of one layer.</summary>
    public void AddRouting(int layer, int[] chosen, int[] sources, TokenClass[] classes)
    {
        int topK = config.TopK;
        for (int t = 0; t < sources.Length; t++)
        {
            if (sources[t] < 0)
            {
                continue;
            }

            int nulls = 0;
            foreach (int id in chosen.AsSpan(t * topK, topK))
            {
                nulls += id < 0 ? 1 : 0;
            }

            int kind = (int)classes[sources[t]];
            _nullsByLayer[layer] += nulls;
            _nullsByClass[kind] += nulls;
            _slotsByClass[kind] += topK;
        }
    }

    public EvaluationResult Result()
    {
        double slots = (double)_bytes * config.TopK;
        double nullShare = _nullsByLayer.Sum() / (slots * config.MoeLayers);
        return new EvaluationResult(
            _nats / _bytes / Math.Log(2),
            _bytes,
            nullShare,
            [.. _nullsByClass.Select((nulls, kind) => (double)nulls / _slotsByClass[kind])],
            [.. _nullsByLayer.Select(nulls => nulls / slots)],
            config.TopK * (1 - nullShare));
    }
}
