namespace MoeSharp.Models;

/// <summary>Running sums of an evaluation.</summary>
internal sealed class EvaluationTally(ModelConfig config)
{
    private readonly long[] _nullsByLayer = new long[config.MoeLayers];
    private readonly long[] _nullsByClass = new long[TokenClassifier.ClassCount];
    private readonly long[] _slotsByClass = new long[TokenClassifier.ClassCount];
    private readonly long[][] _realByClass = [.. Enumerable.Range(0, config.MoeLayers).Select(_ => new long[TokenClassifier.ClassCount])];
    private readonly long[][] _expertSlots = [.. Enumerable.Range(0, config.MoeLayers).Select(_ => new long[config.Experts * TokenClassifier.ClassCount])];
    private long _slots;
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

    /// <summary>Adds the choices [T, K] of one layer, K being the slots of its gate.</summary>
    public void AddRouting(int layer, int[] chosen, int topK, int[] sources, TokenClass[] classes)
    {
        for (int t = 0; t < sources.Length; t++)
        {
            if (sources[t] < 0)
            {
                continue;
            }

            int nulls = 0, kind = (int)classes[sources[t]];
            foreach (int id in chosen.AsSpan(t * topK, topK))
            {
                if (id < 0)
                {
                    nulls++;
                }
                else
                {
                    _expertSlots[layer][(id * TokenClassifier.ClassCount) + kind]++;
                }
            }

            _realByClass[layer][kind] += topK - nulls;
            _nullsByLayer[layer] += nulls;
            _nullsByClass[kind] += nulls;
            _slotsByClass[kind] += topK;
            _slots += topK;
        }
    }

    public EvaluationResult Result()
    {
        double nullShare = _nullsByLayer.Sum() / (double)_slots, slots = (double)_slots / config.MoeLayers, perToken = slots / _bytes;
        return new EvaluationResult(
            _nats / _bytes / Math.Log(2),
            _bytes,
            nullShare,
            [.. _nullsByClass.Select((nulls, kind) => (double)nulls / _slotsByClass[kind])],
            [.. _nullsByLayer.Select(nulls => nulls / slots)],
            perToken * (1 - nullShare))
        {
            // Every layer saw the same tokens.
            RealExpertsByClass =
            [
                .. _realByClass.Select(real => (IReadOnlyList<double>)[.. real.Select((sum, kind) => sum / ((double)_slotsByClass[kind] / (perToken * config.MoeLayers)))]),
            ],
            ExpertSlots = [.. _expertSlots.Select(counts => (IReadOnlyList<double>)[.. counts])],
        };
    }
}
