using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>Counts real experts per token, in all and by kind of token, over any number of forward passes.</summary>
internal sealed class RoutingTally
{
    private readonly string[] _kinds;
    private readonly long[] _real;
    private readonly long[] _empty;
    private readonly long[] _tokens;
    private readonly List<long[]> _rows = [];

    /// <summary>Makes an empty tally.</summary>
    /// <param name="kinds">Names of the kinds of tokens, used in the names of numbers.</param>
    public RoutingTally(params string[] kinds)
    {
        _kinds = kinds;
        _real = new long[kinds.Length];
        _empty = new long[kinds.Length];
        _tokens = new long[kinds.Length];
    }

    /// <summary>Adds the routing of a pass.</summary>
    /// <param name="layers">The MoE layers, in order, the same in every call.</param>
    /// <param name="kinds">Kind of every token; a negative one is not counted.</param>
    public void Add(IReadOnlyList<MoeOutput> layers, ReadOnlySpan<int> kinds)
    {
        for (int layer = 0; layer < layers.Count; layer++)
        {
            int[] ids = layers[layer].Routing.Ids.ToArray<int>();
            int slots = layers[layer].Spec.TopK;
            if (_rows.Count <= layer)
            {
                _rows.Add(new long[layers[layer].Spec.Experts]);
            }

            for (int token = 0; token < kinds.Length; token++)
            {
                int real = 0;
                for (int slot = token * slots; slot < (token + 1) * slots && kinds[token] >= 0; slot++)
                {
                    if (ids[slot] >= 0)
                    {
                        real++;
                        _rows[layer][ids[slot]]++;
                    }
                }

                if (kinds[token] >= 0)
                {
                    _real[kinds[token]] += real;
                    _empty[kinds[token]] += real == 0 ? 1 : 0;
                    _tokens[kinds[token]]++;
                }
            }
        }
    }

    /// <summary>
    /// Writes real_experts, width, expert_flops, all_null and expert_rows, and per kind real_KIND and null_KIND (share of slots that are null).
    /// </summary>
    public void Write(CellResult result, int slots, int hidden, int expertWidth)
    {
        double tokens = Math.Max(1, _tokens.Sum());
        double experts = _real.Sum() / tokens;
        result[Metric.RealExperts] = experts;
        result[Metric.Width] = experts * expertWidth;
        result[Metric.Flops] = 6 * experts * hidden * expertWidth;
        result["all_null"] = _empty.Sum() / tokens;
        for (int kind = 0; kind < _kinds.Length && _kinds.Length > 1; kind++)
        {
            double mean = _real[kind] / (double)Math.Max(1, _tokens[kind]);
            result["real_" + _kinds[kind]] = mean;
            result["null_" + _kinds[kind]] = 1 - (mean / slots);
        }

        double perLayer = Math.Max(1, tokens / Math.Max(1, _rows.Count));
        long[][] sorted = [.. _rows.Select(rows => rows.OrderDescending().ToArray())];
        result.Series[Metric.ExpertRows] = [.. Enumerable.Range(0, sorted.Length == 0 ? 0 : sorted[0].Length).Select(e => Math.Round(sorted.Average(rows => rows[e] / perLayer), 5))];
    }
}
