using MoeSharp.Autograd;

namespace MoeSharp.Models;

/// <summary>Sums of loss and routing counts between two log lines. Its content is part of a checkpoint, so that a resumed run logs the same numbers.</summary>
internal sealed class RoutingMeter
{
    private readonly int _experts;
    private readonly int[] _buffer;
    private readonly long _tokens;
    private readonly double _slots;

    public RoutingMeter(TrainOptions options)
    {
        ModelConfig config = options.Model;
        _tokens = (long)options.BatchSize * config.ContextLength;
        _slots = (double)_tokens * (config.IsDense ? 0 : config.Router.SlotsPerToken);
        _experts = config.Experts;
        int columns = config.IsDense ? 0 : config.Router.Columns;
        _buffer = new int[columns];
        Counts = [.. Enumerable.Range(0, config.MoeLayers).Select(_ => new long[columns])];
    }

    /// <summary>Slots per logit column, per layer; the first are the real experts.</summary>
    public long[][] Counts { get; }

    /// <summary>Sum of mean losses in nats, one per micro-batch.</summary>
    public double Nats { get; set; }

    /// <summary>Micro-batches in <see cref="Nats"/>.</summary>
    public long MicroBatches { get; set; }

    /// <summary>Mean loss in bits per byte; NaN before the first micro-batch.</summary>
    public double BitsPerByte => Nats / MicroBatches / Math.Log(2);

    /// <summary>Adds a micro-batch.</summary>
    public void Add(double nats, IReadOnlyList<MoeOutput> layers)
    {
        Nats += nats;
        MicroBatches++;
        for (int layer = 0; layer < layers.Count; layer++)
        {
            ReadCounts(layers[layer]);
            for (int column = 0; column < _buffer.Length; column++)
            {
                Counts[layer][column] += _buffer[column];
            }
        }
    }

    /// <summary>Adds the routing counts of another meter.</summary>
    public void Add(RoutingMeter other)
    {
        Nats += other.Nats;
        MicroBatches += other.MicroBatches;
        for (int layer = 0; layer < Counts.Length; layer++)
        {
            for (int column = 0; column < Counts[layer].Length; column++)
            {
                Counts[layer][column] += other.Counts[layer][column];
            }
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        Nats = 0;
        MicroBatches = 0;
        foreach (long[] layer in Counts)
        {
            Array.Clear(layer);
        }
    }

    /// <summary>Share of a layer's slots that cost nothing, null or left empty; 0 before the first micro-batch.</summary>
    public double NullShare(int layer) => MicroBatches == 0 ? 0 : 1 - (Counts[layer].Take(_experts).Sum() / (MicroBatches * _slots));

    /// <summary>Share of a layer's chosen slots that are real; 1 before the first micro-batch.</summary>
    public double RealShare(int layer)
    {
        long all = Counts[layer].Sum();
        return all == 0 ? 1 : (double)Counts[layer].AsSpan(0, _experts).ToArray().Sum() / all;
    }

    /// <summary>Real slots, mean over layers; NaN without layers.</summary>
    public double MeanRealSlots() => MeanOverLayers(layer => Counts[layer].Take(_experts).Sum());

    /// <summary>Mean number of real experts per token of a layer; NaN before the first micro-batch.</summary>
    public double RealExperts(int layer) => (double)Counts[layer].Take(_experts).Sum() / (MicroBatches * _tokens);

    /// <summary>Share of slots that cost nothing, mean over layers; NaN without layers.</summary>
    public double MeanNullShare() => MeanOverLayers(NullShare);

    /// <summary>Share of a layer's real slots that each expert got; zeros when there were none.</summary>
    public double[] ExpertLoad(int layer)
    {
        long[] real = Counts[layer][.._experts];
        double all = Math.Max(real.Sum(), 1);
        return Array.ConvertAll(real, count => count / all);
    }

    /// <summary>Largest expert load over the mean, mean over layers; 1 is even, 0 when every slot was null, NaN without layers.</summary>
    public double LoadBalance() => MeanOverLayers(layer => ExpertLoad(layer).Max() * _experts);

    /// <summary>Slots per column of a pass. Where experts choose, the gate counts all tokens and the plan those that were taken.</summary>
    private void ReadCounts(MoeOutput layer)
    {
        if (layer.Spec.IsCausal)
        {
            layer.Routing.Counts.CopyTo<int>(_buffer);
            return;
        }

        int[] offsets = layer.Plan.Offsets.ToArray<int>();
        for (int expert = 0; expert < _experts; expert++)
        {
            _buffer[expert] = offsets[expert + 1] - offsets[expert];
        }
    }

    private double MeanOverLayers(Func<int, double> value) => Counts.Length == 0 ? double.NaN : Enumerable.Range(0, Counts.Length).Average(value);
}
