using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Balances experts without a loss: a bias that only the choice sees, moved against the load (DeepSeek-V3, arXiv 2412.19437; arXiv 2408.15664).</summary>
/// <remarks>
/// <para>The problem: a balance loss pulls on the same logits as the task. The choice: after every step each real expert's bias moves
/// by <c>rate * sign(mean load - load)</c> (2408.15664, algorithm 1), so an expert with too many tokens becomes less likely to be chosen
/// and keeps its weight when it is. The sign bounds the step whatever the batch, and does not move a bias whose load is the mean.</para>
/// <para>Its whole state is <see cref="MoeLayer.SelectionBias"/>, which is saved. Null columns keep their bias: how many slots are null is
/// the matter of <see cref="NullRateController"/>. Exact: integers are compared, so the same counts move the same biases everywhere.</para>
/// </remarks>
public sealed class LoadBiasController
{
    /// <summary>The rate of arXiv 2408.15664 and of DeepSeek-V3, on sigmoid scores.</summary>
    public const double PublishedRate = 0.001;

    /// <summary>Makes a controller; it has no state of its own.</summary>
    /// <param name="rate">Bias per step, &gt;= 0; 0 is off.</param>
    /// <exception cref="ArgumentException">The rate is negative or not finite.</exception>
    public LoadBiasController(double rate)
    {
        Guard.That(rate >= 0 && double.IsFinite(rate), $"The rate of the load bias is >= 0 and finite, got {rate}.");
        Rate = rate;
    }

    /// <summary>Bias per step.</summary>
    public double Rate { get; }

    /// <summary>Moves the bias of a layer by the routing of its last forward pass, whose counts it reads back.</summary>
    /// <exception cref="ArgumentException">The layer has no selection bias.</exception>
    public void Update(MoeLayer layer, GateResult routing) => Update(layer, Array.ConvertAll(routing.Counts.ToArray<int>(), count => (long)count));

    /// <summary>Moves the bias of a layer by measured loads, for sums over several passes.</summary>
    /// <param name="layer">Whose bias it is.</param>
    /// <param name="counts">[C] slots per logit column; the first E are read.</param>
    /// <exception cref="ArgumentException">The layer has no selection bias, or the counts have another length.</exception>
    public void Update(MoeLayer layer, IReadOnlyList<long> counts)
    {
        RouterSpec spec = layer.Options.Router;
        Guard.That(
            layer.SelectionBias is not null,
            "The load-bias controller needs a router with SelectionBias.Score or SelectionBias.Logit, this one has SelectionBias.None.");
        Guard.That(counts.Count == spec.Columns, $"The router has {spec.Columns} columns, got counts for {counts.Count}.");
        double[] bias = layer.SelectionBias!.ToDoubles();
        long all = counts.Take(spec.Experts).Sum();
        for (int expert = 0; expert < spec.Experts; expert++)
        {
            bias[expert] += Rate * Math.Sign(all - (counts[expert] * spec.Experts));
        }

        layer.SelectionBias.FromDoubles(bias);
    }
}
